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
The command `bench --ros`: latency over DDS from a camera's stamp to the arrival of the outputs.

The camera, the nodes and the receiver are separate processes. The perception node is compared with
a node that only copies the image, and with a conventional node that publishes the same outputs.
They take turns with the same camera and the same receiver.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
import os
from pathlib import Path
import tempfile
from typing import Any

import rclpy
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image, PointCloud2
from sync_perception.ros.tools.bench_subjects import (
    measure_subjects,
    Receiver,
    Subject,
    SubjectResult,
    warm_up_subjects,
)
from sync_perception.ros.tools.processes import ChildProcess, NODE_MODULES, use_quiet_domain
from sync_perception.runtime.benchmark.bench_frames import BenchFrames
from sync_perception.runtime.benchmark.reports import (
    machine,
    PERCENTILES,
    summarize_times,
    write_report,
)
from sync_perception.runtime.predictor_options import PredictorOptions

ROUNDS = 4
MAPS = {'sync/depth': Image, 'sync/semantics': Image, 'sync/semantics/confidence': Image,
        'sync/points': PointCloud2}
SUBJECTS = {
    'perception': Subject('sync_perception', NODE_MODULES['perception'], (), MAPS),
    'conventional': Subject(
        'the same outputs by a conventional node', 'sync_perception.ros.tools.bench_nodes',
        ('conventional',), MAPS),
    'copy': Subject(
        'pass-through of a copy of the image', 'sync_perception.ros.tools.bench_nodes', ('copy',),
        {'sync/copy': Image}),
}


def bench_dds(
        options: PredictorOptions, frames: BenchFrames, rate: float = 5.0,
        rounds: int = ROUNDS, json: str | Path | None = None) -> dict[str, Any]:
    """
    Measure latency over DDS and processor time of the nodes, and print a table.

    :param options: which model to run, and how.
    :param frames: the images, and their number for each subject.
    :param rate: images per second.
    :param rounds: number of turns of each subject.
    :param json: path of the report.
    :return: the report: machine, latencies in milliseconds, processor time.
    :raises BenchFailed: if a process fails.
    :raises ValueError: if an argument is not positive, or there are fewer frames than rounds.
    """
    if rounds < 1 or rate <= 0 or frames.count < rounds:
        raise ValueError(
            f'expected at least 1 round, {rounds} frames and a positive rate, got {rounds} '
            f'rounds, {frames.count} frames, {rate} a second')
    begin = machine()
    console = Console()
    results, conversions = run_subjects(options, frames, rate, rounds, console)
    report = {
        'machine': begin, 'load_average_after': [round(each, 2) for each in os.getloadavg()],
        'middleware': rclpy.get_rmw_implementation_identifier(),
        'model': str(options.model or 'default'), 'image_size': list(frames.size), 'rate': rate,
        'frames': frames.count, 'rounds': rounds, 'conversions': conversions,
        'subjects': {name: subject_report(result) for name, result in results.items()}}
    console.print(dds_table(report))
    if json is not None:
        write_report(report, json)
    return report


def run_subjects(
        options: PredictorOptions, frames: BenchFrames, rate: float, rounds: int,
        console: Console) -> tuple[dict[str, SubjectResult], str]:
    """
    Start the processes, and measure the subjects in turns.

    :return: the results by subject, and the conversion library of the conventional node.
    :raises BenchFailed: if a process fails.
    """
    use_quiet_domain()
    rclpy.init(args=[])
    with ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='bench_ros_')))
        camera = stack.enter_context(camera_process([*SUBJECTS], rate, frames, logs))
        nodes = {name: stack.enter_context(ChildProcess(
            f'The node {name!r}', subject.module,
            [*subject.words, *node_arguments(node_parameters(options), namespace=name)],
            logs / f'{name}.log')) for name, subject in SUBJECTS.items()}
        children = [camera, *nodes.values()]
        receiver = Receiver(SUBJECTS)
        stack.callback(receiver.close)
        with console.status('Starting the processes, preparing the network ...'):
            receiver.wait_for_all(children)
            warm_up_subjects(receiver, nodes, children, rate)
        with console.status(f'{len(SUBJECTS)} x {frames.count} images at {rate:g} Hz ...'):
            results = measure_subjects(receiver, nodes, children, frames.count, rounds, rate)
        return results, conversion_library(nodes['conventional'])


def camera_process(
        subjects: Sequence[str], rate: float, frames: BenchFrames, logs: Path) -> ChildProcess:
    """
    Start the camera of a benchmark.

    :param subjects: namespaces to which it sends images on request.
    :param rate: images per second.
    :param logs: folder for its log.
    """
    return ChildProcess(
        'The camera', 'sync_perception.ros.tools.bench_nodes', ['camera', *node_arguments([
            f'subjects:={[*subjects]}', f'rate:={float(rate)}', f'width:={frames.size[1]}',
            f'height:={frames.size[0]}', f'image:={frames.image or ""}'])], logs / 'camera.log')


def node_parameters(options: PredictorOptions) -> list[str]:
    """Return the parameters of a node that select the model, `name:=value`."""
    return [f'model:={options.model or ""}', f'device:={options.device}',
            f'half:={options.half}'.lower(), f'backend:={options.backend}',
            f'precision:={options.precision}']


def node_arguments(parameters: Sequence[str], namespace: str = '') -> list[str]:
    """Return parameters, `name:=value`, as a command line; an empty value keeps the default."""
    words = ['--ros-args']
    if namespace:
        words += ['-r', f'__ns:=/{namespace}']
    for parameter in parameters:
        if not parameter.endswith(':='):
            words += ['-p', parameter]
    return words


def conversion_library(node: ChildProcess) -> str:
    """Return the library with which the conventional node converts images, from its log."""
    return node.log.read_text(errors='replace').partition('images by ')[2].partition('\n')[0]


def subject_report(result: SubjectResult) -> dict[str, Any]:
    """Return the results of a subject for the report."""
    return {
        'sent': result.sent, 'answered': len(result.latencies),
        'latency_milliseconds': summarize_times([1000 * each for each in result.latencies]),
        'first_output_milliseconds': summarize_times([1000 * each for each in result.first]),
        'cpu_seconds_per_frame': round(result.cpu / len(result.latencies), 4)}


def dds_table(report: dict[str, Any]) -> Table:
    """Return a report as a table for the terminal."""
    height, width = report['image_size']
    facts = report['machine']
    shown = Table(
        title=f'{width}x{height} at {report["rate"]:g} Hz over {report["middleware"]}: '
        'from the stamp to the arrival of all outputs',
        caption=f'{facts["processor"]}, {facts["cores"]} cores, load {facts["load_average"][0]} '
                f'before and {report["load_average_after"][0]} after, {facts["commit"]}; the '
                f'conventional node converts by {report["conversions"]}')
    shown.add_column('milliseconds')
    for mark in PERCENTILES:
        shown.add_column(f'p{mark}', justify='right')
    shown.add_column('CPU s/frame', justify='right')
    shown.add_column('answered', justify='right')
    for name, values in report['subjects'].items():
        marks = values['latency_milliseconds']
        shown.add_row(
            SUBJECTS[name].title, *(f'{marks[f"p{mark}"]:.1f}' for mark in PERCENTILES),
            f'{values["cpu_seconds_per_frame"]:.3f}', f'{values["answered"]}/{values["sent"]}')
    return shown
