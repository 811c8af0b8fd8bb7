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

"""Worker thread that handles the newest items and drops older ones, or handles every item."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from threading import Condition, Thread
from typing import Generic, TypeVar

Item = TypeVar('Item')
PATIENCE = 1.0
"""Seconds that stopping waits for the current items."""


class Worker(Generic[Item]):
    """
    Worker thread with one queue per source of items.

    No queue waits for the second item of another one: the thread takes one item from every
    non-empty queue at once, or one from each in turn.

    :param handle: called on the thread with the items in the order of their queues; returns the
        items that stay in their queues until `retry` is called or a newer item replaces them. It
        must not raise.
    :param dropped: called for every item that is replaced before it was handled, or is waiting
        when the worker stops; one call at a time. It must not call the worker.
    :param queues: number of queues.
    :param keep_all: whether items are queued instead of being replaced by newer ones.
    :param after: thread that must end before the first item is handled.
    :param together: whether items of several queues are handled at once. Where that takes as long
        as one by one, it is false: each item is then the newest when its turn comes, and done
        before the next one begins.
    """

    def __init__(self, handle: Callable[[list[Item]], Collection[Item]],
                 dropped: Callable[[Item], None], queues: int = 1, keep_all: bool = False,
                 after: Thread | None = None, together: bool = True):
        self.handle = handle
        self.dropped = dropped
        self.keep_all = keep_all
        self.together = together
        self.latest = queues - 1
        self.changed = Condition()
        self.waiting: list[deque[Item]] = [deque() for _ in range(queues)]
        self.ready = [False] * queues
        self.in_hand: dict[int, Item] = {}
        self.requests: dict[int, Callable[[], None]] = {}
        self.running = True
        self.after = after
        self.thread = Thread(target=self._run, name='worker', daemon=True)
        self.thread.start()

    def offer(self, item: Item, queue: int = 0) -> None:
        """Put an item into a queue; unless all are kept, it replaces a waiting item."""
        with self.changed:
            if self.waiting[queue] and not self.keep_all:
                self.dropped(self.waiting[queue].pop())
            self.waiting[queue].append(item)
            self.ready[queue] = True
            self.changed.notify()

    def retry(self, queue: int = 0) -> None:
        """Handle an item again that was left in its queue, or is just being left there."""
        with self.changed:
            self.ready[queue] = True
            self.changed.notify()

    def run(self, request: Callable[[], None], queue: int = 0) -> None:
        """
        Run a function on the thread before the next items are handled.

        :param request: function that must not raise; it replaces one of the same queue that has
            not started.
        """
        with self.changed:
            self.requests[queue] = request
            self.changed.notify()

    def stop(self, patience: float = PATIENCE) -> bool:
        """
        Finish the current items, drop the waiting ones, and end the thread.

        :param patience: seconds to wait for the current items. If they take longer, they are
            dropped, too, and the thread ends after them.
        :return: whether the thread has ended.
        """
        with self.changed:
            self.running = False
            self.changed.notify()
        self.thread.join(patience)
        with self.changed:
            for item in self.in_hand.values():
                self.dropped(item)
            self.in_hand = {}
            for waiting in self.waiting:
                while waiting:
                    self.dropped(waiting.popleft())
        return not self.thread.is_alive()

    def _run(self) -> None:
        if self.after is not None:
            self.after.join()
            self.after = None
        while True:
            with self.changed:
                self.changed.wait_for(
                    lambda: not self.running or self.requests or self._ready_queues())
                if not self.running:
                    return
                requests, self.requests = self.requests, {}
                if not requests:
                    self.in_hand = {
                        queue: self.waiting[queue].popleft() for queue in self._next_queues()}
                for queue in self.in_hand:
                    self.ready[queue] = False
            for request in requests.values():
                request()
            if not requests:
                self._handle()

    def _handle(self) -> None:
        """Handle the current items; no reference to them is kept afterwards."""
        left = self.handle(list(self.in_hand.values()))
        with self.changed:
            for queue, item in self.in_hand.items():  # empty if they took too long
                if item in left:
                    self._leave(item, queue)
                else:
                    self.ready[queue] |= bool(self.waiting[queue])
            self.in_hand = {}

    def _ready_queues(self) -> list[int]:
        return [queue for queue, waiting in enumerate(self.waiting)
                if waiting and self.ready[queue]]

    def _next_queues(self) -> list[int]:
        """Return the queues to take items from: all that are ready, or the next one."""
        queues = self._ready_queues()
        if self.together:
            return queues
        self.latest = min(queues, key=lambda queue: (queue - self.latest - 1) % len(self.waiting))
        return [self.latest]

    def _leave(self, item: Item, queue: int) -> None:
        if self.waiting[queue] and not self.keep_all:
            self.dropped(item)
        else:
            self.waiting[queue].appendleft(item)
