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

"""Reports of the mapping node for /diagnostics: its map and its frames."""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticStatus
from sync_perception.ros.health.counters import Pace
from sync_perception.ros.health.report import latencies, Report
from sync_perception.ros.map.map_inputs import MapInputs
from sync_perception.ros.map.mapper import Mapper

WARN, ERROR = DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def map_report(name: str, state: str, problem: str, mapper: Mapper | None) -> Report:
    """
    Return the report on the map.

    :param name: name of the node.
    :param state: its life-cycle state.
    :param problem: why it could not be configured or activated, or empty.
    :param mapper: its mapper; None if it is not configured.
    """
    report = Report(f'{name}: map', state, values={'state': state})
    if problem:
        report.find(ERROR, problem)
    if mapper is None:
        return report
    if 'storage' in mapper.troubles:
        report.find(ERROR, mapper.troubles['storage'])
    store = mapper.store
    report.values['folder'] = store.folder or 'none'
    semantic_map = store.map
    if semantic_map is None:
        report.summary = f'{state}, no map yet'
        return report
    report.summary = f'{state}, map of {semantic_map.frames} frames'
    report.values.update({
        'frames in the map': semantic_map.frames, 'frames not saved': store.unsaved_frames,
        'label space': semantic_map.space.name, 'blocks in memory': len(semantic_map.blocks),
        'memory (MB)': f'{semantic_map.blocks.memory / 1e6:.1f}',
        'points published': mapper.publishers.points})
    return report


def frames_report(name: str, state: str, mapper: Mapper | None, inputs: MapInputs | None,
                  pace: Pace, waiting: int) -> Report:
    """
    Return the report on the frames.

    :param inputs: the subscriptions; None if the node is not active.
    :param pace: rates of the frames.
    :param waiting: number of frames that wait for their pose.
    """
    report = Report(f'{name}: frames', state)
    if mapper is None or inputs is None:
        return report
    counters, troubles = mapper.counters, mapper.troubles
    without_pose, incomplete = counters.without_pose, sum(counters.incomplete.values())
    received, fused, refused, failed, lost, _ = pace.measure(counters, time.monotonic())
    report.summary = f'{received:.1f} frames/s in, {fused:.1f} frames/s fused'
    for finding in (*inputs.waits(), *inputs.problems(), *filter(None, [troubles.get('pose')])):
        report.find(WARN, finding)
    if refused:
        reasons = ', '.join(f'{count} {reason}' for reason, count in counters.refused.items())
        report.find(WARN, f'messages are refused (so far: {reasons})')
    if failed:
        report.find(ERROR, 'frames fail')
    if lost:
        report.find(WARN, f'messages are lost on the way (so far: {counters.lost})')
    report.values = {
        'depth images received': counters.received, 'frames fused': counters.published,
        'frames dropped': counters.dropped, 'frames skipped (map.rate)': counters.skipped,
        'frames without a pose': without_pose, 'frames incomplete': incomplete,
        'frames repeated': counters.repeated, 'frames waiting for a pose': waiting,
        'frames failed': counters.failed, 'messages lost on the way': counters.lost,
        'messages refused': sum(counters.refused.values()),
        **{f'refused for {reason}': count for reason, count in counters.refused.items()},
        **{f'incomplete without {topics}': count
           for topics, count in counters.incomplete.items()},
        'input rate (Hz)': f'{received:.2f}', 'fused rate (Hz)': f'{fused:.2f}',
        **latencies('complete to fused (ms)', counters.durations),
        **latencies('stamp to fused (ms)', counters.ages)}
    return report
