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

"""Diagnostic status of one part of a node, and the message that carries all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from rclpy.time import Time

REPORT_PERIOD = 1.0
"""Seconds between two messages."""
LATENCY_PERCENTILES = (50, 95, 99)
FOREIGN = 3600.0
"""Age in seconds beyond which a stamp must be from another clock."""


@dataclass
class Report:
    """
    Builder of one diagnostic status, whose level is that of the worst finding.

    :param name: name of the status.
    :param summary: message of the status if there are no findings.
    """

    name: str
    summary: str
    level: bytes = DiagnosticStatus.OK
    findings: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def find(self, level: bytes, finding: str) -> None:
        """Add a finding."""
        self.level = max(self.level, level)
        self.findings.append(finding)

    def status(self, hardware_id: str) -> DiagnosticStatus:
        """Return the message."""
        return DiagnosticStatus(
            level=self.level, name=self.name, hardware_id=hardware_id,
            message='; '.join(self.findings) or self.summary,
            values=[KeyValue(key=key, value=str(value)) for key, value in self.values.items()])


def latencies(name: str, seconds: Sequence[float]) -> dict[str, str]:
    """Return the percentiles of latencies in milliseconds, by name."""
    seconds = list(seconds)
    if not seconds:
        return {}
    if np.abs(seconds).max() > FOREIGN:
        return {name: 'unknown: the stamps are not from the clock of this node'}
    values = np.percentile(seconds, LATENCY_PERCENTILES)
    return {f'{name} p{percentile}': f'{value * 1e3:.1f}'
            for percentile, value in zip(LATENCY_PERCENTILES, values)}


def message(reports: Sequence[Report], hardware_id: str, time: Time) -> DiagnosticArray:
    """Return the message with all reports."""
    array = DiagnosticArray(status=[report.status(hardware_id) for report in reports])
    array.header.stamp = time.to_msg()
    return array
