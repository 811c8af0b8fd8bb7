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
from sync_perception.resources import model_source
from sync_perception.runtime.backends import EagerBackend
from sync_perception.runtime.benchmark.bench_frames import BenchFrames
from sync_perception.runtime.benchmark.network_timing import run_once
from sync_perception.runtime.benchmark.reports import machine, summarize_times, write_report
from sync_perception.runtime.pointcloud import POINT, point_cloud
from sync_perception.runtime.predictor import Predictor
from sync_perception.runtime.predictor_options import PredictorOptions
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
        options: PredictorOptions, frames: BenchFrames,
        json: str | Path | None = None, page: str | Path | None = None) -> dict[str, Any]:
    """
    Time the peers' networks and the predictor in turns, and print a table with their ratios.

    :param options: which model to run, and how; the peers run in float32.
    :param frames: the frames to run it on.
    :param json: path of the report.
    :param page: documentation page whose table, between two markers, is replaced.
    :return: the report.
    :raises ValueError: if there is no such model, or the page lacks the markers.
    """
    if page is not None:
        split_page(page, PART)
    begin = machine()
    predictor = options.load()
    frame = frames.frame()
    image = predictor.prepare(frame).clone()
    peers = {name: entry for name, entry in PEERS.items()
             if find_spec('transformers') is not None or not entry.needs_transformers}
    ways = {**own_subjects(options, predictor, frame, image),
            **{name: peer(entry, predictor.device, image) for name, entry in peers.items()}}
    report = {
        'machine': begin,
        'model': {**predictor.describe(), 'model': str(options.model or 'default')},
        'frames': frames.count,
        'image_size': list(frame.size), 'network_size': list(image.shape[-2:]),
        'milliseconds': in_turns(ways, predictor.device, frames.count),
        'load_average_after': [round(each, 2) for each in os.getloadavg()],
        'left_out': sorted(PEERS.keys() - peers.keys())}
    Console().print(peers_table(report))
    if json is not None:
        write_report(report, json)
    if page is not None:
        replace_part(page, PART, ['', *peers_markdown(report), ''])
    return report


def own_subjects(
        options: PredictorOptions, predictor: Predictor, frame: Frame, image: torch.Tensor
        ) -> dict[str, Callable[[], object]]:
    """
    Return the functions that run the measured model, by name.

    :param image: the network's input for the frame.
    """
    cloud = np.zeros(frame.size, POINT)  # reused, as in the node

    def whole() -> None:
        prediction = predictor.predict(frame)
        if 'depth' in predictor.available:
            point_cloud(frame, prediction, predictor.labels, out=cloud)

    eager = EagerBackend(hub.load(model_source(options.model), predictor.device))
    return {WHOLE: whole, NETWORK: partial(predictor.backend, image),
            EAGER: partial(eager, image)}


def peer(entry: Entry, device: torch.device, image: torch.Tensor) -> Callable[[], object]:
    """Return the function that runs a peer with random weights on an image."""
    torch.manual_seed(0)
    return partial(EagerBackend(build_model(entry.config()).eval().to(device)), image)


def in_turns(ways: dict[str, Callable[[], object]], device: torch.device, frames: int
             ) -> dict[str, dict[str, float]]:
    """Run each function once per frame, and summarize its milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(WARM_UP + frames):
        for name, run in ways.items():
            spent = run_once(run, device)
            if turn >= WARM_UP:
                times[name].append(spent)
    return {name: summarize_times(values) for name, values in times.items()}


def peer_rows(report: dict[str, Any]) -> list[list[str]]:
    """Return name, time relative to the whole frame, p50 and p95 of each subject as text."""
    own = report['milliseconds'][WHOLE]['p50']
    return [[name, f'{marks["p50"] / own:.2f}', f'{marks["p50"]:.0f}', f'{marks["p95"]:.0f}']
            for name, marks in report['milliseconds'].items()]


def peers_setup(report: dict[str, Any]) -> str:
    """Return a line with the machine, its load, the sizes and the commit."""
    facts, model = report['machine'], report['model']
    height, width = report['image_size']
    return (
        f'{facts["processor"]}, {facts["torch_threads"]} threads, device {model["device"]}, load '
        f'{facts["load_average"][0]} before and {report["load_average_after"][0]} after; image '
        f'{width}x{height}, network {report["network_size"][1]}x{report["network_size"][0]}, '
        f'{report["frames"]} frames, {model["backend"]} in {model["precision"]}, torch '
        f'{facts["torch"]}, commit {facts["commit"]}')


def peers_table(report: dict[str, Any]) -> Table:
    """Return a report as a table for the terminal."""
    caption = [peers_setup(report), *(f'{name}: {MISSING}' for name in report['left_out'])]
    # as Text, since a string in brackets would be taken for markup
    shown = Table(title='Time relative to the whole frame of this package',
                  caption=Text('; '.join(caption)))
    shown.add_column('')
    for head in ('ratio', 'p50 ms', 'p95 ms'):
        shown.add_column(head, justify='right')
    for row in peer_rows(report):
        shown.add_row(*row)
    return shown


def peers_markdown(report: dict[str, Any]) -> list[str]:
    """Return a report as lines of a documentation page."""
    return [
        f'Measured {report["machine"]["time"][:10]}: {peers_setup(report)}.', '',
        '| | ratio | p50 ms | p95 ms |', '|---|---:|---:|---:|',
        *(f'| {" | ".join(row)} |' for row in peer_rows(report)),
        *(f'| {name} | {MISSING} | | |' for name in report['left_out'])]
