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

"""`sync_perception calibrate`: fit confidences and uncertainties of a model to frames kept out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from sync_perception.datasets import open_dataset
from sync_perception.datasets.sample import Sample
from sync_perception.evaluation.evaluate import evenly_spread
from sync_perception.evaluation.metrics import DepthMetrics
from sync_perception.evaluation.sample_evaluation import Evaluation
from sync_perception.files.whole_files import read_json, write_json
from sync_perception.labels import LabelSpace, VOID
from sync_perception.models import hub
from sync_perception.models.finish import Finish
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.models.storage.folder import CONFIG_NAME
from sync_perception.types import DenseOutput
import torch
from torch import Tensor

PIXELS = 2000
"""Pixels of each frame that are used, drawn at random."""
WITHIN_ONE = 0.6827
"""Fraction of Gaussian errors within one standard deviation."""
TEMPERATURES = np.geomspace(0.25, 4, 141)  # steps of 2 %
SCORES = ('label_calibration_error', 'depth_within_1_sigma', 'depth_within_2_sigma')


class Collector:
    """
    Collector of what the calibration is fitted to: true classes and errors at some pixels.

    :param evaluation: evaluation of the model on the data set, for its classes and its scale.
    """

    def __init__(self, evaluation: Evaluation):
        self.evaluation, self.rng = evaluation, np.random.default_rng(0)
        self.logits: list[Tensor] = []
        self.classes: list[Tensor] = []
        self.ratios: list[np.ndarray] = []

    def add(self, sample: Sample, output: DenseOutput) -> None:
        """Add a frame and the model's output for it."""
        if sample.labels is not None and output.logits is not None:
            self.add_labels(sample.labels, output.logits)
        if sample.depth is not None and sample.K is not None and output.log_variance is not None:
            self.add_depth(sample, output)

    def add_labels(self, labels: np.ndarray, logits: Tensor) -> None:
        """Add the logits of labelled pixels, and the data set's classes there."""
        truth = self.evaluation.classes.table[labels]
        row, column = self.drawn(truth != VOID)
        self.classes.append(torch.from_numpy(truth[row, column].astype(np.int64)))
        self.logits.append(values_at(logits, row, column, labels.shape))

    def add_depth(self, sample: Sample, output: DenseOutput) -> None:
        """Add errors of ln(depth), relative to their predicted standard deviation."""
        limits = self.evaluation.depth
        row, column = self.drawn(
            (sample.depth > limits.min_depth) & (sample.depth < limits.max_depth))
        depth, log_variance = (
            values_at(values, row, column, sample.depth.shape)[:, 0].double().numpy()
            for values in (output.depth * self.evaluation.metres(sample), output.log_variance))
        error = np.abs(np.log(depth) - np.log(sample.depth[row, column]))
        self.ratios.append(error / np.exp(log_variance / 2))

    def drawn(self, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows and columns of PIXELS valid pixels at most."""
        places = np.flatnonzero(valid)
        if len(places) > PIXELS:
            places = self.rng.choice(places, PIXELS, replace=False)
        return np.unravel_index(places, valid.shape)

    def temperature(self) -> float:
        """Return the temperature of the least negative log-likelihood of the true classes."""
        among = self.evaluation.classes.candidates
        members = self.evaluation.classes.members[:, among]
        logits, classes = torch.cat(self.logits)[:, among], torch.cat(self.classes)

        def loss(temperature: float) -> float:
            probabilities = (logits / temperature).softmax(dim=1) @ members.T
            right = probabilities.gather(1, classes[:, None])
            return -right.clamp(min=1e-12).log().mean().item()

        return float(min(TEMPERATURES, key=loss))

    def deviation_scale(self) -> float:
        """Return the factor of the deviations that puts WITHIN_ONE of the errors within one."""
        return float(np.quantile(np.concatenate(self.ratios), WITHIN_ONE))


def values_at(values: Tensor, row: np.ndarray, column: np.ndarray,
              size: tuple[int, int]) -> Tensor:
    """Return a map (1, C, h, w) at pixels of an image of another size, nearest: (N, C)."""
    height, width = values.shape[-2:]
    rows = torch.from_numpy(row * height // size[0])
    columns = torch.from_numpy(column * width // size[1])
    return values[0, :, rows, columns].float().cpu().T


def calibrate(
        model: str | Path, dataset: str, root: str | Path | None, split: str = 'val',
        arguments: dict[str, Any] | None = None, images: int = 100) -> dict[str, Any]:
    """
    Fit the temperature of labels and the scale of the deviation of depth; write them to the model.

    Every other frame is used for the fit, the rest for the scores. The data set's annotations
    decide what is fitted: labels, depth, or both. The model's `finish` keeps its other values.

    :param model: a model folder, whose config.json is written.
    :param dataset: a key of `sync_perception.datasets.DATASETS`, with frames kept out of training.
    :param root: its folder.
    :param split: one of its splits.
    :param arguments: further arguments of the data set's class.
    :param images: greatest number of frames.
    :return: `finish`, and SCORES `before` and `after` on the other frames.
    :raises ValueError: if the model is no folder, or the data set has fewer than two frames or
        nothing that the model predicts.
    """
    folder = Path(model)
    if not folder.is_dir():
        raise ValueError(f'expected a model folder to write to, got {model}')
    network = hub.load(folder)
    samples = open_dataset(dataset, root, split, arguments)
    ids = evenly_spread(samples.ids, images)
    if len(ids) < 2:
        raise ValueError(f'{dataset}, {split}: expected at least two frames, got {len(ids)}')
    space = samples.label_space and LabelSpace.load(samples.label_space)

    def evaluated(names: list[str], finish: Finish) -> tuple[dict[str, float], Collector]:
        network.finish = finish
        evaluation = Evaluation(network, space, DepthMetrics(max_depth=samples.max_depth))
        if space is not None:
            evaluation.share_classes()
        collector = Collector(evaluation)
        for name in track(names, f'{dataset}, {split}', console=Console(stderr=True)):
            sample = samples.read(name)
            collector.add(sample, evaluation.add(sample, samples.crop(name)))
        scores = evaluation.scores()
        return {name: scores[name] for name in SCORES if name in scores}, collector

    given = network.finish
    plain = replace(given, temperature=1.0, deviation_scale=1.0)
    fitted = replace(given, **fit_finish(evaluated(ids[::2], plain)[1], f'{dataset}, {split}'))
    before, after = (evaluated(ids[1::2], finish)[0] for finish in (given, fitted))
    write_finish(folder, network, fitted)
    return {'finish': network.config.finish, 'before': before, 'after': after}


def fit_finish(collector: Collector, name: str) -> dict[str, float]:
    """
    Return the arguments of `Finish` for which there is truth.

    :param name: name of the data set, for the error message.
    :raises ValueError: if there is none.
    """
    values = {}
    if collector.logits:
        values['temperature'] = round(collector.temperature(), 3)
    if collector.ratios:
        values['deviation_scale'] = round(collector.deviation_scale(), 3)
    if not values:
        raise ValueError(f'{name}: expected labels, or depth with intrinsics and a model with '
                         'uncertainty, got neither')
    return values


def write_finish(folder: Path, network: PerceptionModel, finish: Finish) -> None:
    """Write the values that differ from the defaults to a model's config.json."""
    values = {name: value for name, value in vars(finish).items()
              if value != getattr(Finish, name)}
    network.config = replace(network.config, finish=values)
    write_json(folder / CONFIG_NAME, {**read_json(folder / CONFIG_NAME), 'finish': values})
