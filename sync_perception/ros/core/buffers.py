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

"""Pool of memory for message data, reused once no message refers to it any more."""

from __future__ import annotations

import array
from collections import deque
import sys
from threading import Lock

KEPT = 16
"""Most arrays in the pool; only sizes among this many latest requests are kept."""


def holders(arrays: list[array.array], index: int) -> int:
    """Return Python's reference count of an array, including views of its memory."""
    return sys.getrefcount(arrays[index])


NOBODY = holders([array.array('B')], 0)
"""Reference count of an array that only the list refers to."""


class Buffers:
    """
    Pool of byte arrays that are reused as soon as nobody else refers to them.

    New memory costs a page fault per 4 kB, which takes longer than writing to it.
    """

    def __init__(self):
        self.lock = Lock()
        self.arrays: list[array.array] = []  # the most recently used is last
        self.sizes: deque[int] = deque(maxlen=KEPT)

    def take(self, size: int) -> array.array:
        """
        Return an uninitialised array.

        :param size: number of bytes.
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
