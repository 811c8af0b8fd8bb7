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


"""Count, rate and latency of the messages on each topic, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table


@dataclass
class Arrivals:
    """
    Arrivals on one topic.

    :param times: arrival times of the messages, seconds of a monotonic clock.
    :param latencies: seconds from the arrival of an image to that of its output.
    """

    times: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float | None:
        """Messages per second between the first and the last, or None for fewer than two."""
        if len(self.times) < 2 or self.times[-1] <= self.times[0]:
            return None
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])

    def latency(self, percent: float) -> float | None:
        """Return a percentile of the latencies in seconds, or None if there are none."""
        return float(np.percentile(self.latencies, percent)) if self.latencies else None


class Progress:
    """
    Progress of images and their outputs, as seen by one subscriber to all topics.

    A frame is answered when a message arrives on an output topic. Since outputs arrive in order,
    an unanswered frame older than an answered one was dropped.

    :param source: topic of the images.
    :param outputs: topics of the outputs.
    """

    def __init__(self, source: str, outputs: Iterable[str]):
        self.source = source
        self.topics = {topic: Arrivals() for topic in (source, *outputs)}
        self.images: dict[int, float] = {}
        self.answered: set[int] = set()

    def record(self, topic: str, stamp: int, time: float) -> None:
        """
        Record a message.

        :param stamp: stamp in the header, nanoseconds.
        :param time: arrival time, seconds of a monotonic clock.
        """
        arrivals = self.topics[topic]
        arrivals.times.append(time)
        if topic == self.source:
            self.images[stamp] = time
            return
        self.answered.add(stamp)
        if stamp in self.images:
            arrivals.latencies.append(time - self.images[stamp])

    @property
    def pending(self) -> int:
        """Return the number of images newer than every answered one."""
        newest = max(self.answered, default=-1)
        return sum(stamp > newest for stamp in self.images)

    @property
    def received(self) -> int:
        """Return the number of images, including missed ones whose outputs arrived."""
        return len(self.images.keys() | self.answered)

    @property
    def dropped(self) -> int:
        """Return the number of images dropped for newer ones."""
        return self.received - len(self.answered) - self.pending

    def table(self, title: str) -> Table:
        """Return the counts as a table for the terminal."""
        table = Table(
            title=title, title_justify='left', caption_justify='left',
            caption=f'{self.received} frames in, {len(self.answered)} out, '
                    f'{self.dropped} dropped')
        table.add_column('topic')
        for heading in ('messages', 'rate [Hz]', 'latency p50 [ms]', 'p95 [ms]'):
            table.add_column(heading, justify='right')
        for topic, arrivals in self.topics.items():
            milliseconds = [arrivals.latency(50), arrivals.latency(95)]
            table.add_row(
                topic, str(len(arrivals.times)), _number(arrivals.rate),
                *(_number(None if value is None else 1e3 * value) for value in milliseconds))
        return table

    def summary(self) -> dict[str, Any]:
        """Return the counts in plain types, for JSON; values without data are None."""
        return {
            'frames': {'in': self.received, 'out': len(self.answered),
                       'dropped': self.dropped, 'unanswered': self.pending},
            'topics': {
                topic: {'messages': len(arrivals.times), 'rate_hz': arrivals.rate,
                        'latency_p50_s': arrivals.latency(50),
                        'latency_p95_s': arrivals.latency(95)}
                for topic, arrivals in self.topics.items()}}


def _number(value: float | None) -> str:
    return '' if value is None else f'{value:.1f}'
