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

"""A thread that works on the newest items only: what it has no time for is dropped, not queued."""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import Condition, Thread
from typing import Generic, TypeVar

Item = TypeVar('Item')


class NewestWorker(Generic[Item]):
    """
    One slot a lane between those who offer items and the thread that handles them.

    The thread takes what waits in all lanes at once, one item of each: no lane waits for another
    one's second item.

    :param handle: called on the thread with the newest items, in the order of their lanes; returns
        those that it leaves in their slots until something newer replaces them or `retry` is
        called. It must not raise.
    :param dropped: called for every item that was replaced before it was handled, or that waits
        when the worker stops; one call at a time. It must not call the worker.
    :param lanes: how many.
    """

    def __init__(self, handle: Callable[[list[Item]], Collection[Item]],
                 dropped: Callable[[Item], None], lanes: int = 1):
        self.handle = handle
        self.dropped = dropped
        self.changed = Condition()
        self.slots: list[Item | None] = [None] * lanes
        self.ready = [False] * lanes
        self.running = True
        self.thread = Thread(target=self._run, name='newest_worker', daemon=True)
        self.thread.start()

    def offer(self, item: Item, lane: int = 0) -> None:
        """Put an item into a lane's slot; one that still waits there is dropped."""
        with self.changed:
            waiting = self.slots[lane]
            if waiting is not None:
                self.dropped(waiting)
            self.slots[lane], self.ready[lane] = item, True
            self.changed.notify()

    def retry(self, lane: int = 0) -> None:
        """Have an item that was left in the slot, or is just being left there, handled again."""
        with self.changed:
            self.ready[lane] = True
            self.changed.notify()

    def stop(self) -> None:
        """Finish the items in hand, drop those that wait, and end the thread."""
        with self.changed:
            self.running = False
            self.changed.notify()
        self.thread.join()
        for lane, waiting in enumerate(self.slots):
            if waiting is not None:
                self.dropped(waiting)
                self.slots[lane] = None

    def _run(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: not self.running or self._waiting_lanes())
                if not self.running:
                    return
                items = {lane: self.slots[lane] for lane in self._waiting_lanes()}
                for lane in items:
                    self.slots[lane], self.ready[lane] = None, False
            left = self.handle(list(items.values()))
            for lane, item in items.items():
                if item in left:
                    self._leave(item, lane)

    def _waiting_lanes(self) -> list[int]:
        return [lane for lane, item in enumerate(self.slots)
                if item is not None and self.ready[lane]]

    def _leave(self, item: Item, lane: int) -> None:
        with self.changed:
            if self.slots[lane] is None:
                self.slots[lane] = item
            else:
                self.dropped(item)
