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

"""Messages on /diagnostics: the status of the model and of each camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from rclpy.time import Time
from sync_perception.ros.core.middleware import advice
from sync_perception.ros.health.counters import Counters
from sync_perception.ros.node.camera import Camera
from sync_perception.ros.node.pipeline import Pipeline

PERIOD = 1.0
"""Seconds between two messages."""
PERCENTILES = (50, 95, 99)
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


def camera_report(camera: Camera, pace: Pace, now: float, name: str) -> Report:
    """
    Return the report on a camera that the node listens to.

    :param now: seconds of the monotonic clock.
    :param name: name of the node.
    """
    received, published, refused, failed, lost, silence = pace.measure(camera.counters, now)
    counters = camera.counters
    report = Report(
        f'{name}: {camera.title}', f'{received:.1f} images/s in, {published:.1f} frames/s out')
    for wait in camera.describe_waits(silence, now - pace.begun):
        report.find(DiagnosticStatus.WARN, wait)
    if refused:
        reasons = ', '.join(f'{count} {reason}' for reason, count in counters.refused.items())
        report.find(DiagnosticStatus.WARN, f'images are refused (so far: {reasons})')
    if failed:
        report.find(DiagnosticStatus.ERROR, 'frames fail')
    if lost:
        report.find(DiagnosticStatus.WARN, (
            f'images are lost on the way (so far: {counters.lost}): {advice()}'))
    for trouble in (*camera.troubles.values(), *camera.mismatches.values()):
        report.find(DiagnosticStatus.WARN, trouble)
    report.values = {
        'images received': counters.received, 'frames published': counters.published,
        'images dropped': counters.dropped, 'images while warming up': counters.warming_up,
        'images skipped': counters.skipped,
        'images unwanted': counters.unwanted, 'images lost on the way': counters.lost,
        'frames failed': counters.failed,
        'images refused': sum(counters.refused.values()),
        **{f'refused for {reason}': count for reason, count in counters.refused.items()},
        'input rate (Hz)': f'{received:.2f}', 'output rate (Hz)': f'{published:.2f}',
        **latencies('arrival to publish (ms)', counters.durations),
        **latencies('stamp to publish (ms)', counters.ages), **camera.mounting.values()}
    return report


def model_report(state: str, pipeline: Pipeline | None, problem: str, enabled: bool,
                 name: str, loading: str = '') -> Report:
    """
    Return the report on the model.

    :param state: life-cycle state of the node.
    :param problem: why the node could not be configured or activated, or empty.
    :param enabled: whether the node listens to its cameras when it is active.
    :param name: name of the node.
    :param loading: the model that is being loaded, or empty.
    """
    report = Report(f'{name}: model', state, values={'state': state, 'enabled': enabled})
    if problem:
        report.find(DiagnosticStatus.ERROR, problem)
    if loading:
        report.find(DiagnosticStatus.OK, f'{state}, {loading}')
    if not enabled:
        report.find(DiagnosticStatus.OK, 'disabled: images are ignored')
    if pipeline is None:
        return report
    predictor = pipeline.predictor
    report.values.update({**predictor.describe(), **predictor.memory()})
    report.summary = f'{state}, {report.values["model"]} on {report.values["device"]}'
    if pipeline.warming:
        report.find(DiagnosticStatus.OK, f'{state}, {pipeline.warming}')
    if pipeline.halted:
        report.find(DiagnosticStatus.ERROR, pipeline.halted)
    if pipeline.straggler is not None and pipeline.straggler.is_alive():
        report.find(DiagnosticStatus.WARN, 'an abandoned frame is still being computed')
    for doubt in filter(None, (predictor.reduced, predictor.relative)):
        report.find(DiagnosticStatus.WARN, doubt)
    if pipeline.monitor is not None:
        for camera, score in dict(pipeline.monitor.scores).items():
            of = f' ({camera})' if camera else ''
            report.values[f'similarity of depth and labels{of}'] = f'{score:.3f}'
    return report


class Reporter:
    """
    Source of a node's reports, with the rates since the last reports.

    :param name: name of the node.
    """

    def __init__(self, name: str):
        self.name = name.removeprefix('/')
        self.paces: dict[str, Pace] = {}

    def reports(self, state: str, pipeline: Pipeline | None, cameras: Sequence[Camera],
                problem: str, enabled: bool, loading: str = '') -> list[Report]:
        """Return the reports on the model and on all cameras, including inactive ones."""
        now = time.monotonic()
        reports = [model_report(state, pipeline, problem, enabled, self.name, loading)]
        for camera in cameras:
            if camera.inputs:
                pace = self.paces.setdefault(camera.name, Pace())
                reports.append(camera_report(camera, pace, now, self.name))
            else:
                reports.append(Report(
                    f'{self.name}: {camera.title}',
                    state if enabled else f'{state}, disabled: images are ignored'))
        return reports


def latencies(name: str, seconds: Sequence[float]) -> dict[str, str]:
    """Return the percentiles of latencies in milliseconds, by name."""
    seconds = list(seconds)
    if not seconds:
        return {}
    if np.abs(seconds).max() > FOREIGN:
        return {name: 'unknown: the stamps are not from the clock of this node'}
    return {f'{name} p{percentile}': f'{value * 1e3:.1f}'
            for percentile, value in zip(PERCENTILES, np.percentile(seconds, PERCENTILES))}


def message(reports: Sequence[Report], hardware_id: str, time: Time) -> DiagnosticArray:
    """Return the message with all reports."""
    array = DiagnosticArray(status=[report.status(hardware_id) for report in reports])
    array.header.stamp = time.to_msg()
    return array
