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

"""Counters of the frames of the mapping node."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sync_perception.ros.health.counters import Counters


@dataclass
class MapCounters(Counters):
    """
    Counts since the node was activated; `received` are depth images, `published` fused frames.

    Every depth image that arrives is finally counted as one of published, dropped, skipped,
    failed, refused, incomplete, repeated or without_pose.

    :param skipped: frames that exceed map.rate.
    :param incomplete: frames that lack messages of the same stamp, by what they lack.
    :param repeated: frames with the stamp of another one, or an earlier one.
    :param without_pose: frames without a pose.
    """

    incomplete: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    without_pose: int = 0

    def summary(self) -> str:
        """Return the counts as one line for the log."""
        counts = {
            'dropped': self.dropped, 'skipped': self.skipped, 'repeated': self.repeated,
            'failed': self.failed, 'incomplete': sum(self.incomplete.values()),
            'refused': sum(self.refused.values())}
        return (f'{self.received} depth images received, {self.published} frames fused, '
                f'{self.without_pose} without a pose, '
                + ', '.join(f'{count} {name}' for name, count in counts.items()))
