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

"""Distinction of complete JPEG images with padding, as from webcams, from damaged ones."""

from __future__ import annotations

import re

COMPLAINT = re.compile(r'(\d+) extraneous bytes before marker 0xd([0-79])')
RESTART_INTERVAL = re.compile(rb'\xff\xdd\x00\x04(..)', re.DOTALL)
BASELINE = re.compile(rb'\xff\xc0..\x08(..)(..)(.)((?:.[\x11-\x44].)+)', re.DOTALL)
SCAN = b'\xff\xda'
RESTART = re.compile(rb'\xff([\xd0-\xd7])')
MOST = 16
"""Most padding bytes before a marker if restart markers show that the image is complete."""
MOST_WITHOUT_MARKERS = 2
"""Most padding bytes otherwise; a gap in the data leaves so few in one of 500 cases."""


def is_only_padded(data: bytes, complaint: str) -> bool:
    """
    Return whether a decoder's warning is only about padding.

    Webcams such as Logitech's C270 and C920 put some bytes between the image's data and the next
    marker. Where the image has restart markers, they must be complete and in order.

    :param data: a JPEG file.
    :param complaint: first warning of libjpeg.
    """
    found = COMPLAINT.search(complaint)
    if found is None:
        return False
    restarts = [match[1][0] & 7 for match in RESTART.finditer(data, data.find(SCAN))]
    if not restarts:
        return int(found[1]) <= MOST_WITHOUT_MARKERS
    return (int(found[1]) <= MOST and len(restarts) == expected_restarts(data)
            and all(number == place % 8 for place, number in enumerate(restarts)))


def expected_restarts(data: bytes) -> int:
    """Return the number of restart markers that the header of a baseline JPEG implies, or -1."""
    interval, frame = RESTART_INTERVAL.search(data), BASELINE.search(data)
    if interval is None or frame is None or not any(interval[1]):
        return -1
    height, width = (int.from_bytes(frame[part], 'big') for part in (1, 2))
    samplings = frame[4][1:3 * frame[3][0]:3]
    # a unit (MCU) is the area for which each component has a whole number of 8x8 blocks
    across, down = (max(each >> shift & 15 for each in samplings) if len(samplings) > 1 else 1
                    for shift in (4, 0))
    units = -(-width // (8 * across)) * -(-height // (8 * down))
    return -(-units // int.from_bytes(interval[1], 'big')) - 1
