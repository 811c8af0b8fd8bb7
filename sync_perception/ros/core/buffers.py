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

"""Memory for the data of messages, used again once nobody holds the message any more."""

from __future__ import annotations

import array
from collections import deque
import sys
from threading import Lock

KEPT = 16
"""So many arrays are kept at most, and only of the sizes that were taken as lately."""


def holders(arrays: list[array.array], index: int) -> int:
    """Return Python's count of those that hold an array, views of its memory among them."""
    return sys.getrefcount(arrays[index])


NOBODY = holders([array.array('B')], 0)
"""The count where the list alone holds the array."""


class Buffers:
    """
    Byte arrays that are handed out again as soon as nobody else holds them.

    New memory costs a page fault every 4 kB, which takes longer than writing to it.
    """

    def __init__(self):
        self.lock = Lock()
        self.arrays: list[array.array] = []  # the one taken last is the last
        self.sizes: deque[int] = deque(maxlen=KEPT)

    def take(self, size: int) -> array.array:
        """
        Return an array of so many bytes, whatever they hold.

        :param size: in bytes.
        """
        with self.lock:
            self.sizes.append(size)
            self.arrays = [kept for kept in self.arrays[-KEPT:] if len(kept) in self.sizes]
            for index in range(len(self.arrays)):
                if len(self.arrays[index]) == size and holders(self.arrays, index) == NOBODY:
                    self.arrays.append(self.arrays.pop(index))
                    return self.arrays[-1]
            self.arrays.append(array.array('B', bytes(1)) * size)
            return self.arrays[-1]
