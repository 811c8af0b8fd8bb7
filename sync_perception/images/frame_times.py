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

"""Times of frames that are only numbered: images in a folder, and poses without times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
import re

SECOND = 10 ** 9  # nanoseconds
"""Nanoseconds."""
DEFAULT_RATE = 10.0
"""Frames per second if none are given, as in KITTI."""
DIGITS = 9
"""Most digits of a frame number; longer ones are times or identifiers."""


def frame_times(numbers: Iterable[int], rate: float | None = None) -> list[int]:
    """
    Return the times of numbered frames in nanoseconds, that of number 0 being 0.

    :param rate: frames per second; None for 10.
    """
    return [round(number * SECOND / (rate or DEFAULT_RATE)) for number in numbers]


def image_times(paths: Sequence[Path], rate: float | None = None) -> list[int]:
    """
    Return the times of image files in nanoseconds, by the numbers at the end of their names.

    If a name has none, if they do not ascend, or if one has more than 9 digits, the positions in
    the list are the numbers.

    :param rate: frames per second; None for 10.
    """
    found = [re.search(r'(\d+)\D*$', path.name.partition('.')[0]) for path in paths]
    numbers = [int(each[1]) for each in found if each and len(each[1]) <= DIGITS]
    if len(numbers) < len(paths) or any(b <= a for a, b in zip(numbers, numbers[1:])):
        numbers = list(range(len(paths)))
    return frame_times(numbers, rate)
