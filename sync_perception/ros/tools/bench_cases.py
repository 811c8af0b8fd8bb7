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

"""
The command `bench --case NAME`: the perception node under several kinds of load.

Each case starts the node anew, so it also measures the start. The camera, the node and the
receiver are separate processes on the same cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
import os
from pathlib import Path
import tempfile
import time
from typing import Any

import psutil
import rclpy
from rich.console import Console
from rich.table import Table
from sync_perception.files.pages import replace_part, split_page
from sync_perception.ros.node.outputs import OUTPUTS
from sync_perception.ros.tools.bench_dds import camera_process, node_arguments, node_parameters
from sync_perception.ros.tools.bench_subjects import (
    BenchFailed,
    processor_time,
    Receiver,
    Subject,
    wait_for_answers,
)
from sync_perception.ros.tools.processes import (
    ChildProcess,
    NODE_MODULES,
    START_LIMIT,
    use_quiet_domain,
)
from sync_perception.runtime.benchmark.bench_frames import BenchFrames
from sync_perception.runtime.benchmark.reports import machine, summarize_times, write_report
from sync_perception.runtime.memory import MIB
from sync_perception.runtime.predictor_options import PredictorOptions

NODE = 'perception'
ALL = {output.topic: output.message_type for output in OUTPUTS}
LABELS = {'sync/semantics': ALL['sync/semantics']}
MAPS = {topic: ALL[topic] for topic in ('sync/depth', 'sync/semantics')}
KITTI = (375, 1242)
PART = 'bench cases'
HEADS = (
    'answered', 'received p50 ms', 'p95', 'taken p50 ms', 'p95', 'CPU s/frame', 'MiB', 'start s')


@dataclass(frozen=True)
class Case:
    """
    A kind of load.

    :param title: title for the user.
    :param rate: images per second of each camera.
    :param frames: number of images of each camera.
    :param size: height and width of the images, unless they come from a drive or a photograph.
    :param cameras: number of cameras, whose images have the same stamps.
    :param topics: subscribed outputs, by their names below the camera's.
    """

    title: str
    rate: float
    frames: int
    size: tuple[int, int] = KITTI
    cameras: int = 1
    topics: dict[str, type] = field(default_factory=lambda: ALL)

    @property
    def names(self) -> list[str]:
        """Return the names of the cameras; one camera has an empty name."""
        return [f'camera{index}' for index in range(self.cameras)] if self.cameras > 1 else ['']


CASES = {
    'drive': Case('10 Hz, all topics', 10.0, 53),
    'labels': Case('10 Hz, labels only', 10.0, 53, topics=LABELS),
    'fast': Case('60 Hz, all topics', 60.0, 180),
    'six': Case('six cameras at 5 Hz each, all topics', 5.0, 25, cameras=6),
    '4k': Case('3840x2160 at 5 Hz, depth and labels', 5.0, 25, (2160, 3840), topics=MAPS),
    '4k_cloud': Case('3840x2160 at 5 Hz, all topics', 5.0, 25, (2160, 3840)),
}


def bench_cases(
        names: Sequence[str], options: PredictorOptions, image: str | Path | None = None,
        json: str | Path | None = None, page: str | Path | None = None) -> dict[str, Any]:
    """
    Measure the node under some kinds of load, and print a table.

    :param names: keys of `CASES`.
    :param options: which model to run, and how.
    :param image: photograph, resized, or a KITTI drive, for cases of its size; by default a
        synthetic street image.
    :param json: path of the report.
    :param page: documentation page whose table, between two markers, is replaced.
    :return: the report.
    :raises BenchFailed: if a process fails, or answers nothing.
    :raises ValueError: if a name is unknown, or the page lacks the markers.
    """
    if page is not None:
        split_page(page, PART)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise ValueError(f'case must be one of {", ".join(CASES)}, got {", ".join(unknown)}')
    report = {'machine': machine(), 'model': str(options.model or 'default'), 'cases': {}}
    use_quiet_domain()
    console = Console()
    for name in names:
        case = CASES[name]
        shown = image if case.size == KITTI else None
        with console.status(f'{case.title}: {case.frames} images of each camera ...'):
            report['cases'][name] = {
                'title': case.title, **run_case(case, shown, node_parameters(options))}
    report['load_average_after'] = [round(each, 2) for each in os.getloadavg()]
    console.print(cases_table(report))
    if json is not None:
        write_report(report, json)
    if page is not None:
        replace_part(page, PART, ['', *cases_markdown(report), ''])
    return report


def run_case(case: Case, image: str | Path | None, parameters: Sequence[str]) -> dict[str, Any]:
    """
    Start the node, send it the images of a case, and return what was measured.

    :param parameters: parameters of the node, `name:=value`.
    :raises BenchFailed: if a process fails, or answers nothing.
    """
    subjects = {'/'.join(filter(None, (NODE, name))): Subject(
        case.title, NODE_MODULES['perception'], (), case.topics) for name in case.names}
    rclpy.init(args=[])
    with ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='bench_case_')))
        camera = stack.enter_context(camera_process(
            [*subjects], case.rate, BenchFrames(case.frames, case.size, image), logs))
        receiver = Receiver(subjects)
        stack.callback(receiver.close)
        receiver.spin_until(
            lambda: receiver.node.count_publishers(f'{next(iter(subjects))}/image'),
            [camera], START_LIMIT, 'starting the camera')
        receiver.order(subjects, -1)  # until the next order
        begin = time.time_ns()
        node = stack.enter_context(ChildProcess(
            'The node', NODE_MODULES['perception'],
            node_arguments([*parameters, f'cameras:={case.names}'], namespace=NODE),
            logs / 'node.log'))
        children = [camera, node]
        receiver.spin_until(
            lambda: all(receiver.complete(name) for name in subjects), children, START_LIMIT,
            'starting')
        started = min(max(times.values()) for name in subjects
                      for times in receiver.complete(name).values()) - begin
        results = measure_case(receiver, case, subjects, node, children)
    return {'start_seconds': round(started / 1e9, 2), **results}


def measure_case(
        receiver: Receiver, case: Case, subjects: dict[str, Subject], node: ChildProcess,
        children: Sequence[ChildProcess]) -> dict[str, Any]:
    """
    Send the images of a case to the running node, and return what was measured.

    :raises BenchFailed: if a process fails, or a camera gets no answer.
    """
    process = psutil.Process(node.process.pid)
    before = processor_time(process)
    stamps = wait_for_answers(receiver, [*subjects], case.frames, children, 1 / case.rate)
    cpu = processor_time(process) - before
    answered = {name: receiver.complete(name).keys() & set(stamps) for name in subjects}
    frames = [(name, stamp) for name, own in answered.items() for stamp in own]
    if not frames:
        raise BenchFailed(f'the node published nothing:\n{node.last_lines()}')
    return {
        'sent': len(stamps) * len(subjects), 'answered': len(frames),
        'least_of_a_camera': min(map(len, answered.values())),
        'received_milliseconds': delays(receiver.received, frames),
        'taken_milliseconds': delays(receiver.arrivals, frames),
        'cpu_seconds_per_frame': round(cpu / len(frames), 4),
        'memory_mib': round(process.memory_info().rss / MIB)}


def delays(times: dict[tuple[str, int], dict[str, int]], frames: Sequence[tuple[str, int]]
           ) -> dict[str, float]:
    """Summarize the milliseconds from the stamps of some frames to the last of their outputs."""
    return summarize_times([1e-6 * (max(times[frame].values()) - frame[1]) for frame in frames])


def case_rows(report: dict[str, Any]) -> list[list[str]]:
    """Return the title and the figures of each case as text."""
    found = []
    for values in report['cases'].values():
        marks = [values[when][mark] for when in ('received_milliseconds', 'taken_milliseconds')
                 for mark in ('p50', 'p95')]
        found.append([
            values['title'], f'{values["answered"]} of {values["sent"]}',
            *(f'{mark:.0f}' for mark in marks), f'{values["cpu_seconds_per_frame"]:.3f}',
            f'{values["memory_mib"]}', f'{values["start_seconds"]:.1f}'])
    return found


def cases_setup(report: dict[str, Any]) -> str:
    """Return a line with the machine, its load and the commit."""
    facts = report['machine']
    return (f'{facts["processor"]}, {facts["cores"]} cores, load {facts["load_average"][0]} '
            f'before and {report["load_average_after"][0]} after, commit {facts["commit"]}')


def cases_table(report: dict[str, Any]) -> Table:
    """Return a report as a table for the terminal."""
    shown = Table(
        title='From the stamp of an image until all subscribed outputs are received by the '
        'middleware, and taken by rclpy', caption=cases_setup(report))
    shown.add_column('load')
    for head in HEADS:
        shown.add_column(head, justify='right')
    for row in case_rows(report):
        shown.add_row(*row)
    return shown


def cases_markdown(report: dict[str, Any]) -> list[str]:
    """Return a report as lines of a documentation page."""
    return [f'Measured {report["machine"]["time"][:10]}: {cases_setup(report)}.', '',
            f'| load | {" | ".join(HEADS)} |', '|---|' + '---:|' * len(HEADS),
            *(f'| {" | ".join(row)} |' for row in case_rows(report))]
