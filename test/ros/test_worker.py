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

from sync_perception.ros.worker import NewestWorker

PATIENCE = 10.0


class Desk:
    """Handles items one by one when it is let, and writes down what happened."""

    def __init__(self, refuse: tuple = ()):
        self.handled, self.dropped = [], []
        self.refuse = set(refuse)
        self.begun, self.go = Event(), Event()
        self.worker = NewestWorker(self.handle, self.dropped.append)

    def handle(self, item) -> bool:
        """Wait for permission, then note the item; leave it if it is to be refused."""
        self.begun.set()
        assert self.go.wait(PATIENCE)
        if item in self.refuse:
            return False
        self.handled.append(item)
        return True

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
    wait_for(lambda: desk.worker.slot == 1)
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
