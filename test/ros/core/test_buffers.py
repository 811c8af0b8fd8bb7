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
import time

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from sync_perception.ros.core import buffers
from sync_perception.ros.core.buffers import Buffers, holders, KEPT
from sync_perception.ros.io.conversions import image_message


def test_memory_is_used_again_when_nobody_holds_it():
    shared = Buffers()
    first = shared.take(64)
    held, address = shared.take(64), first.buffer_info()[0]
    assert held is not first
    del first
    again = shared.take(64)
    assert again.buffer_info()[0] == address
    assert len(shared.take(65)) == 65


def test_a_message_or_a_view_keeps_its_memory():
    shared = Buffers()
    message = Image(check_fields=True)
    message.data = shared.take(8)
    view = np.frombuffer(shared.take(8), np.uint8)
    new = shared.take(8)
    new[:] = new.__class__('B', b'new data')
    assert bytes(message.data) != b'new data'
    assert view.tobytes() != b'new data'


def test_threads_take_memory_one_after_the_other(monkeypatch):
    """Else two might find the same array free."""
    inside, most = [], []

    def watched(*arguments):
        inside.append(None)
        most.append(len(inside))
        time.sleep(0.001)  # lets the other threads in, if they may
        inside.pop()
        return holders(*arguments)
    monkeypatch.setattr(buffers, 'holders', watched)
    shared = Buffers()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(shared.take, [8] * 40))
    assert len(most) >= 39 and max(most) == 1


def test_only_so_many_arrays_are_kept():
    shared = Buffers()
    held = [shared.take(100) for _ in range(3 * KEPT)]
    assert len({array.buffer_info()[0] for array in held}) == 3 * KEPT
    assert len(shared.arrays) <= KEPT + 1
    for size in range(1, 3 * KEPT):
        shared.take(size)
    assert len(shared.arrays) <= KEPT + 1
    assert 100 not in {len(array) for array in shared.arrays}


def test_messages_that_are_held_keep_their_pixels():
    pixels = [np.full((5, 7), value, np.uint8) for value in range(40)]
    messages = [image_message(each, Header(), 'mono8') for each in pixels]
    for message, each in zip(messages, pixels):
        assert bytes(message.data) == each.tobytes()
