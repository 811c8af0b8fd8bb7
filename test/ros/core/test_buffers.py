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

"""Memory of messages is used again, and never while somebody holds it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import os
import sys

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from sync_perception.ros.core.buffers import Buffers, KEPT
from sync_perception.ros.io.conversions import image_message

ROUNDS = 1000

def test_memory_is_used_again_when_nobody_holds_it():
    buffers = Buffers()
    first = buffers.take(64)
    held, address = buffers.take(64), first.buffer_info()[0]
    assert held is not first
    del first
    again = buffers.take(64)
    assert again.buffer_info()[0] == address
    assert len(buffers.take(65)) == 65


def test_a_message_or_a_view_keeps_its_memory():
    buffers = Buffers()
    message = Image(check_fields=True)
    message.data = buffers.take(8)
    view = np.frombuffer(buffers.take(8), np.uint8)
    new = buffers.take(8)
    new[:] = new.__class__('B', b'new data')
    assert bytes(message.data) != b'new data'
    assert view.tobytes() != b'new data'


def test_no_two_threads_get_the_same_memory_at_once():
    """Each finds in it what it wrote, however often the threads are switched."""
    buffers, interval = Buffers(), sys.getswitchinterval()

    def spoiled(thread: int) -> int:
        count = 0
        for _ in range(ROUNDS):
            memory = buffers.take(8)
            memory[0] = thread
            os.sched_yield()
            count += memory[0] != thread
            del memory
        return count
    try:
        sys.setswitchinterval(1e-6)
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(spoiled, range(4))) == 0
    finally:
        sys.setswitchinterval(interval)


def test_only_so_many_arrays_are_kept():
    buffers = Buffers()
    held = [buffers.take(100) for _ in range(3 * KEPT)]
    assert len({array.buffer_info()[0] for array in held}) == 3 * KEPT
    assert len(buffers.arrays) <= KEPT + 1
    for size in range(1, 3 * KEPT):
        buffers.take(size)
    assert len(buffers.arrays) <= KEPT + 1
    assert 100 not in {len(array) for array in buffers.arrays}


def test_messages_that_are_held_keep_their_pixels():
    pixels = [np.full((5, 7), value, np.uint8) for value in range(40)]
    messages = [image_message(each, Header(), 'mono8') for each in pixels]
    for message, each in zip(messages, pixels):
        assert bytes(message.data) == each.tobytes()
