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

from sync_perception.ros.node.worker import Worker

PATIENCE = 10.0


class Desk:
    """Handles items one by one when it is let, and writes down what happened."""

    def __init__(self, refuse: tuple = (), lanes: int = 1, keep_all: bool = False):
        self.handled, self.dropped, self.batches = [], [], []
        self.refuse = set(refuse)
        self.begun, self.go = Event(), Event()
        self.worker = Worker(self.handle, self.dropped.append, lanes, keep_all)

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


def wait_for(condition) -> None:
    """Wait until a condition holds that another thread brings about."""
    ticker = Event()
    for _ in range(1000):
        if condition():
            return
        ticker.wait(PATIENCE / 1000)
    raise AssertionError('it never happened')


def test_the_newest_item_wins():
    desk = Desk()
    desk.offer_while_busy(1, 2, 3, 4)
    desk.go.set()
    wait_for(lambda: desk.handled == [1, 4])
    desk.worker.stop()
    assert desk.dropped == [2, 3]


def test_every_item_is_handled_by_a_worker_that_keeps_up():
    desk = Desk()
    desk.go.set()
    for item in range(1, 6):
        desk.worker.offer(item)
        wait_for(lambda item=item: desk.handled[-1:] == [item])
    desk.worker.stop()
    assert desk.handled == [1, 2, 3, 4, 5] and desk.dropped == []


def test_an_item_that_is_left_is_handled_again_on_retry():
    desk = Desk(refuse=(1,))
    desk.go.set()
    desk.worker.offer(1)
    wait_for(lambda: list(desk.worker.waiting[0]) == [1])
    assert desk.handled == []
    desk.refuse.clear()
    desk.worker.retry()
    wait_for(lambda: desk.handled == [1])
    desk.worker.stop()
    assert desk.dropped == []


def test_a_retry_while_the_item_is_in_hand_is_not_lost():
    desk = Desk(refuse=(1,))
    desk.offer_while_busy(1)
    desk.worker.retry()
    desk.begun.clear()
    desk.go.set()
    assert desk.begun.wait(PATIENCE)  # it was left, and taken up again at once
    desk.worker.stop()


def test_an_item_that_is_left_gives_way_to_a_newer_one():
    desk = Desk(refuse=(1,))
    desk.offer_while_busy(1, 2)
    desk.go.set()
    wait_for(lambda: desk.handled == [2])
    desk.worker.stop()
    assert desk.dropped == [1]


def test_stopping_finishes_what_is_in_hand_and_drops_what_waits():
    desk = Desk()
    desk.offer_while_busy(1, 2)
    stopping = Thread(target=desk.worker.stop)
    stopping.start()
    wait_for(lambda: not desk.worker.running)
    desk.go.set()
    stopping.join(PATIENCE)
    assert desk.handled == [1] and desk.dropped == [2]
    assert not desk.worker.thread.is_alive()


def test_stopping_does_not_wait_for_ever_and_gives_up_what_is_in_hand():
    desk = Desk(refuse=(1,))
    desk.offer_while_busy(1, 2)
    assert not desk.worker.stop(patience=0.05)
    assert desk.dropped == [1, 2] and desk.worker.thread.is_alive()
    later = []
    successor = Worker(
        lambda items: later.extend(items) or [], desk.dropped.append, after=desk.worker.thread)
    successor.offer(3)
    assert not successor.stop(patience=0.05)  # it has not begun yet
    assert later == [] and desk.dropped == [1, 2, 3]
    successor = Worker(
        lambda items: later.extend(items) or [], desk.dropped.append, after=successor.thread)
    successor.offer(4)
    desk.go.set()
    wait_for(lambda: later == [4])
    assert successor.stop() and not desk.worker.thread.is_alive()
    assert desk.dropped == [1, 2, 3]  # each once


def test_the_newest_of_every_lane_is_handled_at_once():
    desk = Desk(lanes=3)
    desk.worker.offer('a1', 0)
    assert desk.begun.wait(PATIENCE)
    for item, lane in (('b1', 1), ('a2', 0), ('b2', 1), ('c1', 2), ('b3', 1)):
        desk.worker.offer(item, lane)
    desk.go.set()
    wait_for(lambda: len(desk.handled) == 4)
    desk.worker.stop()
    assert desk.handled == ['a1', 'a2', 'b3', 'c1'] and desk.batches == [1, 3]
    assert desk.dropped == ['b1', 'b2']


def test_a_lane_that_waits_does_not_hold_up_the_others():
    desk = Desk(refuse=('a',), lanes=2)
    desk.go.set()
    desk.worker.offer('a', 0)
    wait_for(lambda: list(desk.worker.waiting[0]) == ['a'])
    for item in ('b', 'c'):
        desk.worker.offer(item, 1)
        wait_for(lambda item=item: desk.handled[-1:] == [item])
    assert list(desk.worker.waiting[0]) == ['a']
    desk.worker.stop()
    assert desk.dropped == ['a']


def test_a_greedy_lane_does_not_starve_another():
    desk = Desk(lanes=2)
    desk.go.set()
    for number in range(200):
        desk.worker.offer(('greedy', number), 0)
        if number % 20 == 0:
            desk.worker.offer(('rare', number), 1)
            wait_for(lambda number=number: ('rare', number) in desk.handled)
    desk.worker.stop()
    assert sum(name == 'rare' for name, _ in desk.handled) == 10


def test_when_all_are_kept_every_item_is_handled_in_order():
    desk = Desk(keep_all=True, lanes=2)
    desk.offer_while_busy('a0', 'a1', 'a2', 'a3')
    desk.worker.offer('b0', 1)
    desk.go.set()
    wait_for(lambda: len(desk.handled) == 5)
    assert [item for item in desk.handled if item[0] == 'a'] == ['a0', 'a1', 'a2', 'a3']
    assert desk.batches == [1, 2, 1, 1]
    desk.worker.stop()
    assert desk.dropped == []


def test_when_all_are_kept_an_item_that_is_left_keeps_its_place():
    desk = Desk(refuse=(1,), keep_all=True)
    desk.offer_while_busy(1, 2, 3)
    desk.go.set()
    wait_for(lambda: list(desk.worker.waiting[0]) == [1, 2, 3])
    desk.refuse.clear()
    desk.worker.retry()
    wait_for(lambda: desk.handled == [1, 2, 3])
    desk.worker.stop()
    assert desk.dropped == []


def test_an_errand_goes_before_what_waits_and_holds_up_nothing_after_it():
    desk, done = Desk(lanes=2), []
    desk.worker.offer('a', 0)
    assert desk.begun.wait(PATIENCE)
    desk.worker.offer('b', 1)
    desk.worker.run(lambda: done.append('outdated'), 1)
    desk.worker.run(lambda: done.append(list(desk.handled)), 1)
    desk.go.set()
    wait_for(lambda: desk.handled == ['a', 'b'])
    assert done == [['a']]
    desk.worker.run(lambda: done.append('alone'))
    wait_for(lambda: done[-1] == 'alone')
    assert desk.worker.stop() and desk.dropped == []
