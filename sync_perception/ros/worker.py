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


"""A thread that works on the newest item only: what it has no time for is dropped, not queued."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Thread
from typing import Generic, TypeVar

Item = TypeVar('Item')


class NewestWorker(Generic[Item]):
    """
    One slot between those who offer items and the thread that handles them.

    :param handle: called on the thread with the newest item; returns False to leave the item in
        the slot until something newer replaces it or `retry` is called. It must not raise.
    :param dropped: called for every item that was replaced before it was handled, or that waits
        when the worker stops; one call at a time. It must not call the worker.
    """

    def __init__(self, handle: Callable[[Item], bool], dropped: Callable[[Item], None]):
        self.handle = handle
        self.dropped = dropped
        self.changed = Condition()
        self.slot: Item | None = None
        self.ready = False
        self.running = True
        self.thread = Thread(target=self._run, name='newest_worker', daemon=True)
        self.thread.start()

    def offer(self, item: Item) -> None:
        """Put an item into the slot; one that still waits there is dropped."""
        with self.changed:
            if self.slot is not None:
                self.dropped(self.slot)
            self.slot, self.ready = item, True
            self.changed.notify()

    def retry(self) -> None:
        """Have an item that was left in the slot, or is just being left there, handled again."""
        with self.changed:
            self.ready = True
            self.changed.notify()

    def stop(self) -> None:
        """Finish the item in hand, drop the one that waits, and end the thread."""
        with self.changed:
            self.running = False
            self.changed.notify()
        self.thread.join()
        if self.slot is not None:
            self.dropped(self.slot)
            self.slot = None

    def _run(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(
                    lambda: not self.running or (self.ready and self.slot is not None))
                if not self.running:
                    return
                item, self.slot, self.ready = self.slot, None, False
            if not self.handle(item):
                self._leave(item)

    def _leave(self, item: Item) -> None:
        with self.changed:
            if self.slot is None:
                self.slot = item
            else:
                self.dropped(item)
