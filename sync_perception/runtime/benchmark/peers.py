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
The command `bench --peers`: networks of comparable projects beside this package, in turns.

The peers have random weights, on which time does not depend. Each gets an image of the size that
the measured model's network gets, in eager torch and in float32, as their projects run them. They
predict depth or labels; the measured model predicts both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sync_perception.files.pages import replace_part, split_page
from sync_perception.models import hub
from sync_perception.models.catalogue.ready_made import (
    CATALOGUE,
    DEPTH_ANYTHING,
    Entry,
    FOR_PRETRAINED,
    SEGFORMER,
)
from sync_perception.models.perception_model import build_model
from sync_perception.resources import default_model_folder
from sync_perception.runtime.backends import EagerBackend
from sync_perception.runtime.benchmark.network_timing import run_once
from sync_perception.runtime.benchmark.stages import (
    drawn_street,
    machine,
    summarize,
    write_report,
)
from sync_perception.runtime.pointcloud import POINT, point_cloud
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame
import torch

PART = 'bench peers'
WHOLE = 'sync_perception, the whole frame with its cloud'
NETWORK = 'sync_perception, network alone'
EAGER = 'sync_perception, network alone, eager torch'
WARM_UP = 2
PEERS = {
    'SegFormer-B0, labels': Entry('', 'sync', {'depth': None, 'semantics': {
        'kind': 'transformers_segmentation', 'pretrained': SEGFORMER.format(0)}},
        settings=FOR_PRETRAINED),
    'Depth Anything V2 small, depth': Entry('', 'sync', {'semantics': None, 'depth': {
        'kind': 'transformers_depth', 'pretrained': DEPTH_ANYTHING.format('Small')}},
        settings=FOR_PRETRAINED),
    'Light-Weight RefineNet on MobileNetV2, depth and labels': CATALOGUE['refinenet'],
}
MISSING = "left out: pip install 'sync_perception[transformers]'"


def bench_peers(
        json: str | Path | None = None, page: str | Path | None = None,
        model: str | Path | None = None, device: str = 'auto', half: bool = False,
        frames: int = 100, size: tuple[int, int] = (375, 1242), backend: str = 'auto',
        precision: str = 'auto') -> dict[str, Any]:
    """
    Time the peers' networks and the predictor in turns, and print a table with their ratios.

    :param json: path of the report.
    :param page: documentation page whose table, between two markers, is replaced.
    :param model: model folder or hub id; None is the default model.
    :param device: auto, cpu, cuda or cuda:N.
    :param half: run the network in the device's 16-bit format; the peers run in float32.
    :param frames: number of timed frames.
    :param size: height and width of the frames.
    :param backend: auto, torch, cuda_graph, openvino or onnxruntime.
    :param precision: auto, float32, half or int8.
    :return: the report.
    :raises ValueError: if there is no such model, or the page lacks the markers.
    """
    if page is not None:
        split_page(page, PART)
    begin = machine()
    folder = default_model_folder() if model is None else model
    predictor = Predictor(folder, device, half, backend=backend, precision=precision)
    focal = 0.58 * size[1]
    K = np.array([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]])
    frame = Frame(drawn_street(size), K)
    image = predictor.prepare(frame).clone()

    cloud = np.zeros(size, POINT)  # reused, as in the node

    def whole() -> None:
        prediction = predictor.predict(frame)
        if 'depth' in predictor.available:
            point_cloud(frame, prediction, predictor.labels, out=cloud)

    ways: dict[str, Callable[[], object]] = {
        WHOLE: whole, NETWORK: partial(predictor.backend, image),
        EAGER: partial(EagerBackend(hub.load(folder, predictor.device)), image)}
    there = {name: entry for name, entry in PEERS.items()
             if find_spec('transformers') is not None or not entry.needs_transformers}
    for name, entry in there.items():
        torch.manual_seed(0)
        ways[name] = partial(
            EagerBackend(build_model(entry.config()).eval().to(predictor.device)), image)
    report = {
        'machine': begin, 'model': {**predictor.describe(), 'model': str(model or 'default')},
        'frames': frames,
        'image_size': list(size), 'network_size': list(image.shape[-2:]),
        'milliseconds': in_turns(ways, predictor.device, frames),
        'load_average_after': [round(each, 2) for each in os.getloadavg()],
        'left_out': sorted(PEERS.keys() - there.keys())}
    Console().print(table(report))
    if json is not None:
        write_report(report, json)
    if page is not None:
        replace_part(page, PART, ['', *markdown(report), ''])
    return report


def in_turns(ways: dict[str, Callable[[], object]], device: torch.device, frames: int
             ) -> dict[str, dict[str, float]]:
    """Run each function once per frame, and summarize its milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(WARM_UP + frames):
        for name, run in ways.items():
            spent = run_once(run, device)
            if turn >= WARM_UP:
                times[name].append(spent)
    return {name: summarize(values) for name, values in times.items()}


def rows(report: dict[str, Any]) -> list[list[str]]:
    """Return what is compared, its time in times of the whole frame, p50 and p95 as text."""
    own = report['milliseconds'][WHOLE]['p50']
    return [[name, f'{marks["p50"] / own:.2f}', f'{marks["p50"]:.0f}', f'{marks["p95"]:.0f}']
            for name, marks in report['milliseconds'].items()]


def place(report: dict[str, Any]) -> str:
    """Return a line with the machine, its load, the sizes and the commit."""
    facts, model = report['machine'], report['model']
    height, width = report['image_size']
    return (
        f'{facts["processor"]}, {facts["torch_threads"]} threads, device {model["device"]}, load '
        f'{facts["load_average"][0]} before and {report["load_average_after"][0]} after; image '
        f'{width}x{height}, network {report["network_size"][1]}x{report["network_size"][0]}, '
        f'{report["frames"]} frames, {model["backend"]} in {model["precision"]}, torch '
        f'{facts["torch"]}, commit {facts["commit"]}')


def table(report: dict[str, Any]) -> Table:
    """Return a report as a table for the terminal."""
    caption = [place(report), *(f'{name}: {MISSING}' for name in report['left_out'])]
    # as Text, since a string in brackets would be taken for markup
    shown = Table(title='Time in times of the whole frame, in turns',
                  caption=Text('; '.join(caption)))
    shown.add_column('')
    for head in ('ratio', 'p50 ms', 'p95 ms'):
        shown.add_column(head, justify='right')
    for row in rows(report):
        shown.add_row(*row)
    return shown


def markdown(report: dict[str, Any]) -> list[str]:
    """Return a report as lines of a documentation page."""
    return [
        f'Measured {report["machine"]["time"][:10]}: {place(report)}.', '',
        '| | ratio | p50 ms | p95 ms |', '|---|---:|---:|---:|',
        *(f'| {" | ".join(row)} |' for row in rows(report)),
        *(f'| {name} | {MISSING} | | |' for name in report['left_out'])]
