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


"""Counts what arrives on each topic: how many, how often, how late; and shows it as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table


@dataclass
class Arrivals:
    """
    What arrived on one topic.

    :param times: seconds of a monotonic clock at which the messages arrived.
    :param latencies: seconds from the arrival of an image to that of its answer.
    """

    times: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float | None:
        """Messages a second between the first and the last, or None for fewer than two."""
        if len(self.times) < 2 or self.times[-1] <= self.times[0]:
            return None
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])

    def latency(self, percent: float) -> float | None:
        """Return a percentile of the latencies in seconds, or None if there are none."""
        return float(np.percentile(self.latencies, percent)) if self.latencies else None


class Progress:
    """
    Follows images in and their answers out, as one subscriber to all topics sees them.

    A frame is answered when something arrives on an output topic. As answers come in order and
    the newest frame wins, an unanswered frame older than an answered one was dropped.

    :param source: the topic of the images.
    :param outputs: the topics of the answers.
    """

    def __init__(self, source: str, outputs: Iterable[str]):
        self.source = source
        self.topics = {topic: Arrivals() for topic in (source, *outputs)}
        self.images: dict[int, float] = {}
        self.answered: set[int] = set()

    def record(self, topic: str, stamp: int, time: float) -> None:
        """
        Note a message.

        :param stamp: nanoseconds, as in its header.
        :param time: seconds of a monotonic clock when it arrived.
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
        """Count the images newer than every answer."""
        newest = max(self.answered, default=-1)
        return sum(stamp > newest for stamp in self.images)

    @property
    def received(self) -> int:
        """Count the images, with those that this subscriber missed but saw answered."""
        return len(self.images.keys() | self.answered)

    @property
    def dropped(self) -> int:
        """Count the images that were passed over for newer ones."""
        return self.received - len(self.answered) - self.pending

    def table(self, title: str) -> Table:
        """Lay out the counts for a terminal."""
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
        """Say the same in plain types, for JSON; what nobody could measure is None."""
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
