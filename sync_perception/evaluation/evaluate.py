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

"""`sync_perception evaluate`: evaluate a model on a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import logging
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sync_perception.datasets import DatasetOptions
from sync_perception.datasets.sample import DenseDataset, READ_ERRORS, Sample
from sync_perception.evaluation.calibration import DepthCalibration, LabelCalibration
from sync_perception.evaluation.fused_samples import FusedSamples
from sync_perception.evaluation.metrics import (
    DepthMetrics,
    MIN_DEPTH,
    NormalMetrics,
)
from sync_perception.evaluation.sample_evaluation import Evaluation
from sync_perception.evaluation.video import check_video, VideoEvaluation, VideoMetrics
from sync_perception.files.whole_files import write_json
from sync_perception.labels import LabelSpace
from sync_perception.mapping.temporal_modes import TEMPORAL
from sync_perception.models import hub
from sync_perception.resources import model_source
from sync_perception.runtime.backends.devices import torch_device
from sync_perception.types import DenseOutput
from torch import nn

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationOptions:
    """
    Options of an evaluation.

    :param device: auto, cpu, cuda or cuda:N.
    :param pooled: whether depth errors are pooled over all pixels instead of averaged over
        frames.
    :param median_scaling: whether each depth map is scaled by its frame's median first.
    :param max_depth: upper limit of the evaluated true depth, metres; None for the data set's.
    :param frames: whether the result lists the frames' ids.
    :param skip_bad: whether unreadable samples are logged, skipped and listed with their errors as
        `skipped`; otherwise the first error is raised.
    :param limit: number of frames, spread evenly over the split; None for all.
    :param video: whether to measure temporal consistency, too.
    :param temporal: off, or fuse to evaluate outputs that are fused over consecutive frames by the
        poses of the data set.
    :raises ValueError: if `max_depth` or `temporal` is invalid.
    """

    device: str = 'auto'
    pooled: bool = False
    median_scaling: bool = False
    max_depth: float | None = None
    frames: bool = False
    skip_bad: bool = False
    limit: int | None = None
    video: bool = False
    temporal: str = 'off'

    def __post_init__(self):
        """Check the options."""
        if self.max_depth is not None and self.max_depth <= MIN_DEPTH:
            raise ValueError(f'max_depth must be above {MIN_DEPTH} m, got {self.max_depth}')
        if self.temporal not in TEMPORAL:
            raise ValueError(
                f'temporal: expected {" or ".join(TEMPORAL)}, got {self.temporal!r}')


def evaluate(
        model: str | Path | None, data: DatasetOptions,
        options: EvaluationOptions = EvaluationOptions(),
        watch: Callable[[Evaluation, Sample, DenseOutput], None] | None = None) -> dict[str, Any]:
    """
    Evaluate a model on a data set.

    :param model: a model folder or hub id; None for the default model.
    :param watch: callback after each frame, with the evaluation, the frame and the model's output.
    :return: model, dataset, split, frames (their number), device, protocol; miou, pixel_accuracy,
        label_calibration_error and iou by class name, if there are labels; abs_rel, sq_rel, rmse,
        rmse_log, silog, delta1, delta2 and delta3, if there are depth and intrinsics, with
        depth_within_1_sigma and depth_within_2_sigma if the model predicts its uncertainty, and
        boundary_f1 if depth is dense; normals_mean, normals_median (degrees),
        normals_within_11.25, _22.5 and _30, if data set and model have normals; for a video
        temporal_miou and temporal_abs_rel of `VideoMetrics`.
    :raises ValueError: if the data set, the split or the device is unknown.
    :raises FileNotFoundError: if the model or the recording does not exist.
    """
    samples = data.open()
    ids = evenly_spread(samples.ids, options.limit)
    folder = model_source(model)
    network = hub.load(folder, torch_device(options.device))
    if not (network.config.metric or options.median_scaling):
        LOG.warning('%s gives relative depth, which is evaluated as metric depth: see '
                    '--median-scaling', folder)
    evaluation = evaluation_of(network, samples, options)
    moving = None
    if options.video:
        check_video(samples, ids)
        moving = VideoEvaluation(
            network, samples, evaluation.depth.max_depth, options.skip_bad)
    skipped = {}
    for name in track(ids, f'{data.name}, {data.split}', console=Console(stderr=True)):
        try:
            sample = samples.read(name)
        except READ_ERRORS as error:
            if not options.skip_bad:
                raise
            LOG.warning('skipped %s:%s: %s', data.name, name, error)
            skipped[name] = str(error)
            continue
        output = evaluation.add(sample, samples.crop(name))
        if moving is not None:
            moving.add(sample, output)
        if watch is not None:
            watch(evaluation, sample, output)
    return {
        'model': str(folder), 'dataset': data.name, 'split': data.split, 'frames': len(ids),
        'device': str(evaluation.device), 'label_space': samples.label_space,
        **evaluation.scores(), **(moving.metrics.compute() if moving else {}),
        'protocol': {
            **evaluation.protocol(), **({'video': moving.protocol()} if moving else {})},
        **({'skipped': skipped} if skipped else {}), **({'ids': ids} if options.frames else {})}


def evaluation_of(
        network: nn.Module, samples: DenseDataset, options: EvaluationOptions) -> Evaluation:
    """Return the evaluation of a network on a data set."""
    return Evaluation(
        network, None if samples.label_space is None else LabelSpace.load(samples.label_space),
        DepthMetrics(options.pooled, options.median_scaling,
                     max_depth=options.max_depth or samples.max_depth),
        FusedSamples(network, samples) if options.temporal == 'fuse' else None)


def evenly_spread(ids: list[str], limit: int | None) -> list[str]:
    """
    Return `limit` evenly spread ids; all for None.

    :raises ValueError: if the limit is less than one.
    """
    if limit is None or limit >= len(ids):
        return list(ids)
    if limit < 1:
        raise ValueError(f'limit must be at least 1, got {limit}')
    return [ids[index] for index in np.linspace(0, len(ids), limit, endpoint=False).astype(int)]


def print_evaluation(result: dict[str, Any], json_file: str | Path | None = None) -> None:
    """
    Print the result of `evaluate` as a table, and optionally write it as JSON.

    :param json_file: path of the JSON file; missing folders are created.
    """
    table = Table(title=f'{result["model"]} on {result["dataset"]}, {result["split"]} '
                        f'({result["frames"]} frames)')
    table.add_column('metric')
    table.add_column('value', justify='right')
    for name in ('miou', 'pixel_accuracy', *LabelCalibration.NAMES, *DepthMetrics.NAMES,
                 *DepthCalibration.NAMES, *NormalMetrics.NAMES, *VideoMetrics.NAMES):
        if name in result:
            table.add_row(name, f'{result[name]:.4f}')
    for name, iou in result.get('iou', {}).items():
        table.add_row(f'IoU {name}', 'absent' if iou is None else f'{iou:.4f}')
    if 'skipped' in result:
        table.add_row('skipped frames', str(len(result['skipped'])))
    console = Console()
    console.print(table)
    for name, note in result['protocol'].items():
        console.print(f'{name}: {note}', highlight=False)
    if json_file is not None:
        Path(json_file).parent.mkdir(parents=True, exist_ok=True)
        write_json(json_file, result)
