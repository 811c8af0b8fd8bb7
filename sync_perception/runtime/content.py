# Copyright 2026 The sync_perception Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Detection of predictions without content: all depth NaN, or all labels void."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sync_perception.labels import VOID
from sync_perception.types import Prediction

SPARSE = 16
"""Stride of the rows and columns that are tested first."""


def missing_content(prediction: Prediction) -> str:
    """Return a warning if a prediction has no valid depth or no label at all; otherwise ''."""
    problems, depth, labels = [], prediction.depth, prediction.labels
    if depth is not None and holds_everywhere(np.isnan, depth):
        problems.append('depth is NaN everywhere: the image shows only sky, is out of range, or '
                        'is unlike the training data')
    if labels is not None and holds_everywhere(lambda ids: ids == VOID, labels):
        problems.append('every label is void: the image is unlike the training data, or '
                        'semantics.min_confidence is too high')
    return '; '.join(problems)


def holds_everywhere(test: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> bool:
    """Return whether a test holds for all pixels; a sparse subset is tested first."""
    return bool(test(pixels[::SPARSE, ::SPARSE]).all() and test(pixels).all())
