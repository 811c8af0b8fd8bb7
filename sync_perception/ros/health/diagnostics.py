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
import time

from diagnostic_msgs.msg import DiagnosticStatus
from sync_perception.ros.core.middleware import advice
from sync_perception.ros.health.counters import Pace
from sync_perception.ros.health.report import latencies, Report
from sync_perception.ros.node.camera import Camera
from sync_perception.ros.node.pipeline import Pipeline


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
    for trouble in (*camera.troubles.values(), *camera.watched.mismatches.values()):
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
        **latencies('stamp to publish (ms)', counters.ages), **camera.mounting.values(),
        **camera.temporal.values()}
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
    for warning in filter(None, (predictor.reduced, predictor.relative)):
        report.find(DiagnosticStatus.WARN, warning)
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
