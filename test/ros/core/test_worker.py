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


"""The newest item wins, nothing queues up, and nothing is lost without being counted."""

from __future__ import annotations

from threading import Event, Thread
import weakref

from conditions import PATIENCE, wait_until
import pytest
from sync_perception.ros.core.worker import Worker


class Recorder:
    """Handles items one by one when it is let, and writes down what happened."""

    def __init__(self, refuse: tuple = (), queues: int = 1, keep_all: bool = False,
                 together: bool = True):
        self.handled, self.dropped, self.batches = [], [], []
        self.refuse = set(refuse)
        self.begun, self.go = Event(), Event()
        self.worker = Worker(
            self.handle, self.dropped.append, queues, keep_all, together=together)

    def handle(self, items) -> list:
        """Wait for permission, then note the items; leave those that are to be refused."""
        self.begun.set()
        assert self.go.wait(PATIENCE)
        self.batches.append(len(items))
        self.handled += [item for item in items if item not in self.refuse]
        return [item for item in items if item in self.refuse]

    def offer_while_busy(self, first, *others):
        """Offer one item, and the others when the worker has it in hand."""
        self.worker.offer(first)
        assert self.begun.wait(PATIENCE)
        for item in others:
            self.worker.offer(item)


def test_the_newest_item_wins():
    recorder = Recorder()
    recorder.offer_while_busy(1, 2, 3, 4)
    recorder.go.set()
    wait_until(lambda: recorder.handled == [1, 4])
    recorder.worker.stop()
    assert recorder.dropped == [2, 3]


def test_every_item_is_handled_by_a_worker_that_keeps_up():
    recorder = Recorder()
    recorder.go.set()
    for item in range(1, 6):
        recorder.worker.offer(item)
        wait_until(lambda item=item: recorder.handled[-1:] == [item])
    recorder.worker.stop()
    assert recorder.handled == [1, 2, 3, 4, 5] and recorder.dropped == []


def test_an_item_that_is_left_is_handled_again_on_retry():
    recorder = Recorder(refuse=(1,))
    recorder.go.set()
    recorder.worker.offer(1)
    wait_until(lambda: list(recorder.worker.waiting[0]) == [1])
    assert recorder.handled == []
    recorder.refuse.clear()
    recorder.worker.retry()
    wait_until(lambda: recorder.handled == [1])
    recorder.worker.stop()
    assert recorder.dropped == []


def test_a_retry_while_the_item_is_in_hand_is_not_lost():
    recorder = Recorder(refuse=(1,))
    recorder.offer_while_busy(1)
    recorder.worker.retry()
    recorder.begun.clear()
    recorder.go.set()
    assert recorder.begun.wait(PATIENCE)  # it was left, and taken up again at once
    recorder.worker.stop()


def test_an_item_that_is_left_gives_way_to_a_newer_one():
    recorder = Recorder(refuse=(1,))
    recorder.offer_while_busy(1, 2)
    recorder.go.set()
    wait_until(lambda: recorder.handled == [2])
    recorder.worker.stop()
    assert recorder.dropped == [1]


def test_stopping_finishes_what_is_in_hand_and_drops_what_waits():
    recorder = Recorder()
    recorder.offer_while_busy(1, 2)
    stopping = Thread(target=recorder.worker.stop)
    stopping.start()
    wait_until(lambda: not recorder.worker.running)
    recorder.go.set()
    stopping.join(PATIENCE)
    assert recorder.handled == [1] and recorder.dropped == [2]
    assert not recorder.worker.thread.is_alive()


def test_stopping_does_not_wait_for_ever_and_gives_up_what_is_in_hand():
    recorder = Recorder(refuse=(1,))
    recorder.offer_while_busy(1, 2)
    assert not recorder.worker.stop(patience=0.05)
    assert recorder.dropped == [1, 2] and recorder.worker.thread.is_alive()
    later = []
    successor = Worker(
        lambda items: later.extend(items) or [], recorder.dropped.append,
        after=recorder.worker.thread)
    successor.offer(3)
    assert not successor.stop(patience=0.05)  # it has not begun yet
    assert later == [] and recorder.dropped == [1, 2, 3]
    successor = Worker(
        lambda items: later.extend(items) or [], recorder.dropped.append, after=successor.thread)
    successor.offer(4)
    recorder.go.set()
    wait_until(lambda: later == [4])
    assert successor.stop() and not recorder.worker.thread.is_alive()
    assert recorder.dropped == [1, 2, 3]  # each once


def test_the_newest_of_every_lane_is_handled_at_once():
    recorder = Recorder(queues=3)
    recorder.worker.offer('a1', 0)
    assert recorder.begun.wait(PATIENCE)
    for item, queue in (('b1', 1), ('a2', 0), ('b2', 1), ('c1', 2), ('b3', 1)):
        recorder.worker.offer(item, queue)
    recorder.go.set()
    wait_until(lambda: len(recorder.handled) == 4)
    recorder.worker.stop()
    assert recorder.handled == ['a1', 'a2', 'b3', 'c1'] and recorder.batches == [1, 3]
    assert recorder.dropped == ['b1', 'b2']


def test_one_by_one_every_lane_has_its_turn_with_its_newest_item():
    recorder = Recorder(queues=3, together=False)
    recorder.worker.offer('a1', 0)
    assert recorder.begun.wait(PATIENCE)
    for item, queue in (('a2', 0), ('c1', 2), ('b1', 1), ('b2', 1), ('a3', 0)):
        recorder.worker.offer(item, queue)
    recorder.go.set()
    wait_until(lambda: len(recorder.handled) == 4)
    recorder.worker.stop()
    assert recorder.handled == ['a1', 'b2', 'c1', 'a3'] and recorder.batches == [1] * 4
    assert recorder.dropped == ['b1', 'a2']


@pytest.mark.parametrize('together', [True, False])
def test_a_lane_that_waits_does_not_hold_up_the_others(together):
    recorder = Recorder(refuse=('a',), queues=2, together=together)
    recorder.go.set()
    recorder.worker.offer('a', 0)
    wait_until(lambda: list(recorder.worker.waiting[0]) == ['a'])
    for item in ('b', 'c'):
        recorder.worker.offer(item, 1)
        wait_until(lambda item=item: recorder.handled[-1:] == [item])
    assert list(recorder.worker.waiting[0]) == ['a']
    recorder.worker.stop()
    assert recorder.dropped == ['a']


@pytest.mark.parametrize('together', [True, False])
def test_a_greedy_lane_does_not_starve_another(together):
    recorder = Recorder(queues=2, together=together)
    recorder.go.set()
    for number in range(200):
        recorder.worker.offer(('greedy', number), 0)
        if number % 20 == 0:
            recorder.worker.offer(('rare', number), 1)
            wait_until(lambda number=number: ('rare', number) in recorder.handled)
    recorder.worker.stop()
    assert sum(name == 'rare' for name, _ in recorder.handled) == 10


def test_when_all_are_kept_every_item_is_handled_in_order():
    recorder = Recorder(keep_all=True, queues=2)
    recorder.offer_while_busy('a0', 'a1', 'a2', 'a3')
    recorder.worker.offer('b0', 1)
    recorder.go.set()
    wait_until(lambda: len(recorder.handled) == 5)
    assert [item for item in recorder.handled if item[0] == 'a'] == ['a0', 'a1', 'a2', 'a3']
    assert recorder.batches == [1, 2, 1, 1]
    recorder.worker.stop()
    assert recorder.dropped == []


def test_when_all_are_kept_an_item_that_is_left_keeps_its_place():
    recorder = Recorder(refuse=(1,), keep_all=True)
    recorder.offer_while_busy(1, 2, 3)
    recorder.go.set()
    wait_until(lambda: list(recorder.worker.waiting[0]) == [1, 2, 3])
    recorder.refuse.clear()
    recorder.worker.retry()
    wait_until(lambda: recorder.handled == [1, 2, 3])
    recorder.worker.stop()
    assert recorder.dropped == []


def test_a_request_goes_before_what_waits_and_holds_up_nothing_after_it():
    recorder, done = Recorder(queues=2), []
    recorder.worker.offer('a', 0)
    assert recorder.begun.wait(PATIENCE)
    recorder.worker.offer('b', 1)
    recorder.worker.run(lambda: done.append('outdated'), 1)
    recorder.worker.run(lambda: done.append(list(recorder.handled)), 1)
    recorder.go.set()
    wait_until(lambda: recorder.handled == ['a', 'b'])
    assert done == [['a']]
    recorder.worker.run(lambda: done.append('alone'))
    wait_until(lambda: done[-1] == 'alone')
    assert recorder.worker.stop() and recorder.dropped == []


def test_no_handled_item_is_kept_while_the_worker_waits():
    """A frame's image and maps are many megabytes."""
    class Packet:
        pass
    item, worker = Packet(), Worker(lambda items: [], lambda item: None)
    kept = weakref.ref(item)
    worker.offer(item)
    del item
    wait_until(lambda: kept() is None)
    assert worker.stop()
