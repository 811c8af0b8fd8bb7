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
import os
from pathlib import Path
import platform
import subprocess
import time
from typing import Any

import cv2
import numpy as np
from rich.table import Table
from sync_perception.calibration.camera_calibration import Calibration
from sync_perception.calibration.rectification import Rectification
from sync_perception.files.whole_files import write_json
from sync_perception.images.reading import read_image
from sync_perception.machine import processor_name
from sync_perception.models import hub
from sync_perception.resources import model_source, package_folder
from sync_perception.runtime.backends import choose_device, EagerBackend
from sync_perception.runtime.pointcloud import POINT, point_cloud
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import DenseOutput, Frame, Prediction
import torch
from torch import Tensor

NETWORK, WHOLE, AROUND = 'network', 'whole', 'around the network'
COPY, EAGER = 'beside: plain copy of the same bytes', 'beside: network, eager float32'
RECTIFY = 'beside: rectification of the image'
PERCENTILES = (50, 95, 99)


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


def measure(
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
        model: str | Path | None = None, device: str = 'auto', half: bool = False,
        frames: int = 100, size: tuple[int, int] = (375, 1242), image: str | Path | None = None,
        before: Callable[[Frame], list[Stage]] | None = None,
        after: Callable[[Frame, Predictor], list[Stage]] | None = None,
        backend: str = 'auto', precision: str = 'auto') -> dict[str, Any]:
    """
    Benchmark a model on this machine.

    :param model: model folder or hub id; None is the default model.
    :param frames: number of timed frames.
    :param size: height and width of the frames.
    :param image: photograph to use, resized; by default a synthetic street image.
    :param before: returns stages that run before the frame exists (conversion from messages).
    :param after: returns stages that run after the cloud (conversion to messages).
    :param backend: auto, torch, cuda_graph, openvino or onnxruntime.
    :param precision: auto, float32, half or int8.
    :return: the report: machine, model, milliseconds by stage.
    :raises ValueError: if frames or the size are not positive.
    """
    if frames < 1 or min(size) < 1:
        raise ValueError(f'expected at least 1 frame of at least 1x1, got {frames} of {size}')
    folder = model_source(model)
    picture = drawn_street(size) if image is None else cv2.resize(read_image(image), size[::-1])
    focal = 0.58 * size[1]
    K = np.array([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]])
    frame = Frame(picture, K, frame_id='camera')
    start = time.perf_counter()
    predictor = Predictor(folder, device, half, backend=backend, precision=precision)
    loaded = time.perf_counter()
    predictor.predict(frame)
    first = time.perf_counter()
    stages = [
        *(before(frame) if before else []), *runtime_stages(predictor),
        *(after(frame, predictor) if after else [])]
    beside = [
        copy_stage(size), rectify_stage(frame), eager_stage(folder, choose_device(device))]
    times = measure(stages, beside, Work(frame=frame), frames)
    whole = np.percentile(times[WHOLE], 50)
    batch = predictor.prepare(frame)
    return {
        'machine': machine(), 'model': predictor.describe(), 'frames': frames,
        'image_size': list(size), 'network_size': list(batch.shape[-2:]),
        'load_seconds': round(loaded - start, 3), 'first_frame_seconds': round(first - loaded, 3),
        'frames_per_second': round(float(1000 / whole), 2),
        'around_share': round(float(np.percentile(times[AROUND], 50) / whole), 4),
        'milliseconds': {name: summarize(values) for name, values in times.items()}}


def summarize(values: Sequence[float]) -> dict[str, float]:
    """Return the percentiles, the mean and the minimum of some times."""
    marks = dict(zip([f'p{mark}' for mark in PERCENTILES], np.percentile(values, PERCENTILES)))
    marks |= {'mean': np.mean(values), 'min': np.min(values)}
    return {name: round(float(value), 3) for name, value in marks.items()}


def drawn_street(size: tuple[int, int]) -> np.ndarray:
    """Return a reproducible street image of flat shapes and noise: uint8 (H, W, 3)."""
    height, width = size
    picture = np.full((height, width, 3), (150, 185, 225), np.uint8)
    horizon = int(height * 0.46)
    picture[horizon:] = (95, 130, 70)
    rng = np.random.default_rng(0)
    for left in range(0, width, max(1, width // 12)):
        top = int(horizon * rng.uniform(0.1, 0.8))
        shade = tuple(int(value) for value in rng.integers(60, 200, 3))
        cv2.rectangle(picture, (left, top), (left + width // 14, horizon + 8), shade, -1)
    corners = [[0.1, 1], [0.48, 0.46], [0.52, 0.46], [0.9, 1]]
    road = np.rint(np.array(corners) * (width, height)).astype(np.int32)
    cv2.fillPoly(picture, [road], (105, 105, 110))
    for x, scale in ((0.35, 0.10), (0.62, 0.07), (0.53, 0.03)):
        center = np.array([x * width, (0.5 + scale) * height])
        half = np.array([scale * width / 2, scale * height])
        low, high = np.rint([center - half, center + half]).astype(int)
        cv2.rectangle(picture, tuple(low.tolist()), tuple(high.tolist()), (40, 40, 120), -1)
    grain = rng.integers(-12, 13, picture.shape)
    return (picture + grain).clip(0, 255).astype(np.uint8)


def machine() -> dict[str, Any]:
    """Return a description of the machine: host, processor, threads, load, versions, commit."""
    return {
        'host': platform.node(), 'system': platform.platform(), 'processor': processor_name(),
        'cores': os.cpu_count(), 'torch_threads': torch.get_num_threads(),
        'load_average': [round(value, 2) for value in os.getloadavg()],
        'python': platform.python_version(), 'torch': torch.__version__,
        'opencv': cv2.__version__, 'numpy': np.__version__, 'commit': _commit(),
        'time': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}


def table(report: dict[str, Any]) -> Table:
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


def write_report(report: dict[str, Any], path: str | Path) -> None:
    """Write a report as JSON, and create its folder if missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, report)


def _milliseconds(run: Callable[[Work], None], work: Work) -> float:
    start = time.perf_counter()
    run(work)
    return (time.perf_counter() - start) * 1000


def _synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished; its calls are asynchronous."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _commit() -> str:
    """Return the commit of the source tree, or 'unknown' for an installed package."""
    try:
        found = subprocess.run(
            ['git', 'describe', '--always', '--dirty', '--abbrev=12'], cwd=package_folder(),
            capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return 'unknown'
    return found.stdout.strip()
