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


"""Writes the files that data sets are made of."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def write_image():
    """Return a function that writes an array, colour as RGB, and makes the folders above it."""
    def write(path: Path, array: np.ndarray) -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = array[..., ::-1] if array.ndim == 3 else array
        assert cv2.imwrite(str(path), stored)
        return array
    return write


@pytest.fixture
def random_image():
    """Return a function that makes a photograph of noise, different at each call."""
    generator = np.random.default_rng(0)

    def make(height: int = 8, width: int = 12) -> np.ndarray:
        return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return make
