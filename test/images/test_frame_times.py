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

"""Times of numbered images, and of those whose names give no usable number."""

from __future__ import annotations

from pathlib import Path

import pytest
from sync_perception.images.frame_times import image_times

TENTH = 10 ** 8


@pytest.mark.parametrize(('names', 'numbers'), [
    (['frame-000040.color.png', 'frame-000042.color.png'], [40, 42]),
    (['7.png', '8.png'], [7, 8]),
    (['a.png', 'b.png'], [0, 1]),
    (['a2.png', 'b1.png'], [0, 1]),
    (['1403636579763555584.png', '1403636579813555456.png'], [0, 1])])
def test_number_of_an_image(names, numbers):
    """The number at the end counts, unless it does not ascend or is too long for a number."""
    assert image_times([Path(name) for name in names]) == [each * TENTH for each in numbers]
