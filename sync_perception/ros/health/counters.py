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


"""Counters of the images of one camera, and the rates that follow from them."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field


@dataclass
class Counters:
    """
    Counts since the node was activated.

    Every received image is finally counted as one of published, dropped, warming_up, skipped,
    unwanted, failed or refused.

    :param received: images that arrived.
    :param published: frames with at least one published output.
    :param dropped: images replaced by a newer one before they were processed.
    :param warming_up: images replaced by a newer one while the network was prepared for them.
    :param skipped: images that exceeded the parameter max_rate.
    :param unwanted: images that were not processed because no output has a subscriber.
    :param failed: frames whose processing failed.
    :param lost: images lost between their publisher and this node; they are not counted as
        received.
    :param refused: malformed images and camera_infos, by reason.
    :param durations: seconds from arrival to publication of the latest frames.
    :param ages: seconds from stamp to publication of the latest frames, by the node's clock.
    """

    received: int = 0
    published: int = 0
    dropped: int = 0
    warming_up: int = 0
    skipped: int = 0
    unwanted: int = 0
    failed: int = 0
    lost: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    durations: deque[float] = field(default_factory=lambda: deque(maxlen=256))
    ages: deque[float] = field(default_factory=lambda: deque(maxlen=256))

    def summary(self) -> str:
        """Return the counts as one line for the log."""
        refused = ', '.join(f'{count} {reason}' for reason, count in self.refused.items())
        return (f'{self.received} images received, {self.published} frames published, '
                f'{self.dropped} dropped, {self.warming_up} while warming up, '
                f'{self.skipped} skipped, {self.unwanted} unwanted, '
                f'{self.failed} failed, '
                f'{sum(self.refused.values())} refused' + (f' ({refused})' if refused else '')
                + (f', {self.lost} lost on the way' if self.lost else ''))


class Pace:
    """
    Rates of a camera since the last call.

    :ivar begun: time of the first call since the node listens to the camera.
    """

    def __init__(self):
        self.before: Counters | None = None
        self.counts = (0, 0, 0, 0, 0)
        self.time = 0.0
        self.begun = self.heard = 0.0

    def measure(self, counters: Counters, now: float) -> tuple[float, ...]:
        """
        Return the rates since the last call.

        :param now: seconds of the monotonic clock.
        :return: images received, frames published, images refused, frames failed and images lost,
            each per second; and the seconds since the last image, at the resolution of the calls.
        """
        counts = (counters.received, counters.published, sum(counters.refused.values()),
                  counters.failed, counters.lost)
        if counters is not self.before:
            self.before, self.counts, self.time = counters, (0, 0, 0, 0, 0), now
            self.begun = self.heard = now
        if counts[0] > self.counts[0]:
            self.heard = now
        elapsed = max(now - self.time, 1e-9)
        rates = [(new - old) / elapsed if now > self.time else 0.0
                 for new, old in zip(counts, self.counts)]
        self.counts, self.time = counts, now
        return *rates, now - self.heard
