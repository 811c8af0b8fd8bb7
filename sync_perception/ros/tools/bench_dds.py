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
    measure,
    Receiver,
    Subject,
    SubjectResult,
    warm_up,
)
from sync_perception.ros.tools.processes import ChildProcess, NODE_MODULES, use_quiet_domain
from sync_perception.runtime.benchmark.stages import machine, PERCENTILES, summarize, write_report

ROUNDS = 4
MAPS = {'sync/depth': Image, 'sync/semantics': Image, 'sync/semantics/confidence': Image,
        'sync/points': PointCloud2}


SUBJECTS = {
    'perception': Subject('sync_perception', NODE_MODULES['perception'], (), MAPS),
    'usual': Subject(
        'the same outputs by a conventional '
        'node', 'sync_perception.ros.tools.bench_nodes', ('usual',),
        MAPS),
    'copy': Subject(
        'pass-through of a copy of the image', 'sync_perception.ros.tools.bench_nodes', ('copy',),
        {'sync/copy': Image}),
}


def bench_dds(
        json: str | Path | None = None, model: str | Path | None = None, device: str = 'auto',
        half: bool = False, frames: int = 100, width: int = 1242, height: int = 375,
        image: str | Path | None = None, rate: float = 5.0, rounds: int = ROUNDS,
        backend: str = 'auto', precision: str = 'auto') -> dict[str, Any]:
    """
    Measure latency over DDS and processor time of the nodes, and print a table.

    :param json: path of the report.
    :param model: model folder or hub id; None is the default model.
    :param device: auto, cpu, cuda or cuda:N.
    :param half: run the network in the device's 16-bit format.
    :param frames: number of images for each subject.
    :param width: width of the images, pixels.
    :param height: height of the images, pixels.
    :param image: photograph to use, resized; by default a synthetic street image.
    :param rate: images per second.
    :param rounds: number of turns of each subject.
    :param backend: auto, torch, cuda_graph, openvino or onnxruntime.
    :param precision: auto, float32, half or int8.
    :return: the report: machine, latencies in milliseconds, processor time.
    :raises BenchFailed: if a process fails.
    :raises ValueError: if an argument is not positive, or there are fewer frames than rounds.
    """
    if min(width, height, rounds) < 1 or rate <= 0 or frames < rounds:
        raise ValueError(
            f'expected at least 1x1 pixels, {rounds} frames and a positive rate, got '
            f'{width}x{height}, {frames} frames, {rate} a second')
    begin = machine()
    use_quiet_domain()
    rclpy.init(args=[])
    with ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='bench_ros_')))
        parameters = [f'model:={model or ""}', f'device:={device}', f'half:={half}'.lower(),
                      f'backend:={backend}', f'precision:={precision}']
        camera = stack.enter_context(ChildProcess(
            'The camera', 'sync_perception.ros.tools.bench_nodes', ['camera', *ros_arguments([
                f'subjects:={[*SUBJECTS]}', f'rate:={float(rate)}', f'width:={width}',
                f'height:={height}', f'image:={image or ""}'])], logs / 'camera.log'))
        nodes = {name: stack.enter_context(ChildProcess(
            f'The node {name!r}', subject.module,
            [*subject.words, *ros_arguments(parameters, namespace=name)], logs / f'{name}.log'))
            for name, subject in SUBJECTS.items()}
        children = [camera, *nodes.values()]
        receiver = Receiver(SUBJECTS)
        stack.callback(receiver.close)
        console = Console()
        with console.status('Starting the processes, preparing the network ...'):
            receiver.wait_for_all(children)
            warm_up(receiver, nodes, children, rate)
        with console.status(f'{len(SUBJECTS)} x {frames} images at {rate:g} Hz ...'):
            results = measure(receiver, nodes, children, frames, rounds, rate)
        report = {
            'machine': begin, 'load_average_after': [round(each, 2) for each in os.getloadavg()],
            'middleware': rclpy.get_rmw_implementation_identifier(),
            'model': str(model or 'default'), 'image_size': [height, width], 'rate': rate,
            'frames': frames, 'rounds': rounds, 'usual_way': conversion_library(nodes['usual']),
            'subjects': {name: describe(result) for name, result in results.items()}}
    console.print(table(report))
    if json is not None:
        write_report(report, json)
    return report


def ros_arguments(parameters: Sequence[str], namespace: str = '') -> list[str]:
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


def describe(result: SubjectResult) -> dict[str, Any]:
    """Return the results of a subject for the report."""
    return {
        'sent': result.sent, 'answered': len(result.latencies),
        'latency_milliseconds': summarize([1000 * each for each in result.latencies]),
        'first_output_milliseconds': summarize([1000 * each for each in result.first]),
        'cpu_seconds_per_frame': round(result.cpu / len(result.latencies), 4)}


def table(report: dict[str, Any]) -> Table:
    """Return a report as a table for the terminal."""
    height, width = report['image_size']
    facts = report['machine']
    shown = Table(
        title=f'{width}x{height} at {report["rate"]:g} Hz over {report["middleware"]}: '
        'from the stamp to the arrival of all outputs',
        caption=f'{facts["processor"]}, {facts["cores"]} cores, load {facts["load_average"][0]} '
                f'before and {report["load_average_after"][0]} after, {facts["commit"]}; the '
                f'conventional node converts by {report["usual_way"]}')
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
