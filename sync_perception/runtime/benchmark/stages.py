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

"""Timing of the stages from a frame to its point cloud, beside lower bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
import time
from typing import Any

import numpy as np
from rich.table import Table
from sync_perception.calibration.camera_calibration import Calibration
from sync_perception.calibration.rectification import Rectification
from sync_perception.models import hub
from sync_perception.resources import model_source
from sync_perception.runtime.backends import choose_device, EagerBackend
from sync_perception.runtime.benchmark.bench_frames import BenchFrames
from sync_perception.runtime.benchmark.reports import machine, PERCENTILES, summarize_times
from sync_perception.runtime.pointcloud import POINT, point_cloud
from sync_perception.runtime.predictor import Predictor
from sync_perception.runtime.predictor_options import PredictorOptions
from sync_perception.types import DenseOutput, Frame, Prediction
import torch
from torch import Tensor

NETWORK, WHOLE, AROUND = 'network', 'whole', 'around the network'
COPY, EAGER = 'beside: plain copy of the same bytes', 'beside: network, eager float32'
RECTIFY = 'beside: rectification of the image'


@dataclass
class Work:
    """Intermediate results of the stages for one frame."""

    frame: Frame | None = None
    batch: Tensor | None = None
    output: DenseOutput | None = None
    prediction: Prediction | None = None
    cloud: np.ndarray | None = None
    messages: dict[str, Any] = field(default_factory=dict)


Stage = tuple[str, Callable[[Work], None]]


def runtime_stages(predictor: Predictor) -> list[Stage]:
    """
    Return the stages from a frame to its point cloud, as (name, function of the work).

    A model without depth has no point cloud stage.
    """
    def preprocess(work: Work) -> None:
        work.batch = predictor.prepare(work.frame)
        _synchronize(predictor.device)

    def network(work: Work) -> None:
        work.output = predictor.backend(work.batch)
        _synchronize(predictor.device)

    def postprocess(work: Work) -> None:
        work.prediction = predictor.finish(work.output, work.frame)

    def cloud(work: Work) -> None:
        work.cloud = point_cloud(
            work.frame, work.prediction, predictor.labels, out=work.cloud)

    stages = [
        ('preprocessing', preprocess), (NETWORK, network), ('post-processing', postprocess)]
    return [*stages, ('cloud', cloud)] if 'depth' in predictor.available else stages


def copy_stage(size: tuple[int, int]) -> Stage:
    """Return a stage that copies as many bytes as the image, the maps and the cloud have."""
    pixels = size[0] * size[1]
    source = np.ones(pixels * (3 + 4 + 1 + 4 + POINT.itemsize), np.uint8)
    target = np.zeros_like(source)
    return COPY, lambda work: np.copyto(target, source)


def eager_stage(model: str | Path, device: torch.device) -> Stage:
    """Return a stage that runs the network in eager torch, in float32, on the same input."""
    backend = EagerBackend(hub.load(model, device))

    def run(work: Work) -> None:
        backend(work.batch)
        _synchronize(device)

    return EAGER, run


def rectify_stage(frame: Frame) -> Stage:
    """Return a stage that rectifies a frame: five coefficients, with precomputed maps."""
    calibration = Calibration(frame.size, frame.K, D=np.array([-0.3, 0.1, 0.001, -0.001, 0.0]))
    rectification = Rectification(calibration)
    return RECTIFY, lambda work: rectification.image(frame.image)


def time_stages(
        stages: Sequence[Stage], beside: Sequence[Stage], work: Work, frames: int,
        warm_up: int = 5) -> dict[str, list[float]]:
    """
    Time every stage for every frame, and the reference stages after each frame.

    :param stages: run in order on the same work; their sum is the total.
    :param beside: reference stages, run after each frame and not part of the total.
    :param work: input of the first stage.
    :param frames: number of timed frames.
    :param warm_up: number of untimed frames before them.
    :return: milliseconds of each frame by stage, with the total and the total without network.
    """
    times: dict[str, list[float]] = {}
    for index in range(warm_up + frames):
        spent = {name: _milliseconds(run, work) for name, run in stages}
        spent[WHOLE] = sum(spent.values())
        spent[AROUND] = spent[WHOLE] - spent[NETWORK]
        spent |= {name: _milliseconds(run, work) for name, run in beside}
        if index >= warm_up:
            for name, value in spent.items():
                times.setdefault(name, []).append(value)
    return times


def bench_runtime(
        options: PredictorOptions, frames: BenchFrames,
        before: Callable[[Frame], list[Stage]] | None = None,
        after: Callable[[Frame, Predictor], list[Stage]] | None = None) -> dict[str, Any]:
    """
    Benchmark a model on this machine.

    :param options: which model to run, and how.
    :param frames: the frames to run it on.
    :param before: returns stages that run before the frame exists (conversion from messages).
    :param after: returns stages that run after the cloud (conversion to messages).
    :return: the report: machine, model, milliseconds by stage.
    """
    frame = frames.frame()
    start = time.perf_counter()
    predictor = options.load()
    loaded = time.perf_counter()
    predictor.predict(frame)
    first = time.perf_counter()
    stages = [
        *(before(frame) if before else []), *runtime_stages(predictor),
        *(after(frame, predictor) if after else [])]
    beside = [
        copy_stage(frame.size), rectify_stage(frame),
        eager_stage(model_source(options.model), choose_device(options.device))]
    times = time_stages(stages, beside, Work(frame=frame), frames.count)
    whole = np.percentile(times[WHOLE], 50)
    batch = predictor.prepare(frame)
    return {
        'machine': machine(), 'model': predictor.describe(), 'frames': frames.count,
        'image_size': list(frame.size), 'network_size': list(batch.shape[-2:]),
        'load_seconds': round(loaded - start, 3), 'first_frame_seconds': round(first - loaded, 3),
        'frames_per_second': round(float(1000 / whole), 2),
        'around_share': round(float(np.percentile(times[AROUND], 50) / whole), 4),
        'milliseconds': {name: summarize_times(values) for name, values in times.items()}}


def stages_table(report: dict[str, Any]) -> Table:
    """Return a report as a table for the terminal."""
    model, size = report['model'], report['image_size']
    shown = Table(
        title=f'{size[1]}x{size[0]}, network {report["network_size"][1]}x'
        f'{report["network_size"][0]}, {model["device"]}, {model["precision"]}, '
        f'{model["backend"]}: {report["frames_per_second"]} frames/s, '
        f'{report["around_share"]:.0%} around the network',
        caption=f'{report["machine"]["processor"]}, {report["machine"]["torch_threads"]} threads, '
        f'load {report["machine"]["load_average"][0]}, torch {report["machine"]["torch"]}, '
        f'{report["machine"]["commit"]}')
    shown.add_column('milliseconds')
    columns = [*(f'p{mark}' for mark in PERCENTILES), 'mean', 'min']
    for column in columns:
        shown.add_column(column, justify='right')
    for name, marks in report['milliseconds'].items():
        style = 'bold' if name == WHOLE else 'dim' if name in (COPY, RECTIFY, EAGER) else None
        shown.add_row(name, *(f'{marks[column]:.2f}' for column in columns), style=style)
    return shown


def _milliseconds(run: Callable[[Work], None], work: Work) -> float:
    start = time.perf_counter()
    run(work)
    return (time.perf_counter() - start) * 1000


def _synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished; its calls are asynchronous."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
