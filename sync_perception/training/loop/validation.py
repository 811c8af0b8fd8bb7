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


"""Validation during training, by the protocols of `sync_perception evaluate`."""

from __future__ import annotations

from typing import Any

from sync_perception.evaluation.evaluate import Evaluation
from sync_perception.evaluation.metrics import DepthMetrics
from sync_perception.labels import LabelSpace
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.training.feeding.recordings import EvaluationSamples, Measurement
from sync_perception.types import DenseOutput
import torch
from torch import distributed

TALLIES = {
    'depth': ('sums',), 'calibration': ('pixels', 'within'), 'segmentation': ('confusion',),
    'normals': ('images', 'total', 'below', 'histogram'), 'boundaries': ('scores',)}
NUMBERS = ('labelled', 'cropped', 'without_intrinsics')
COUNTS = (*TALLIES, *NUMBERS, 'classes')


class SourceEvaluation:
    """
    Evaluation of one source, optionally distributed over several processes.

    :param model: the evaluated model, in evaluation mode.
    :param measured: the source's samples.
    :param median_scaling: whether each depth map is scaled by its frame's median, in addition to
        the source's own setting.
    """

    def __init__(
            self, model: PerceptionModel, measured: EvaluationSamples,
            median_scaling: bool = False):
        space = measured.data.label_space
        self.name, self.data = measured.source.name, measured.data
        self.evaluation = Evaluation(
            model, LabelSpace.load(space) if space else None,
            DepthMetrics(median_scaling=median_scaling or measured.source.median_scaling,
                         max_depth=measured.data.max_depth))

    def add(self, measurement: Measurement) -> DenseOutput | None:
        """Evaluate a sample in full precision, and return the model's output."""
        sample = measurement.sample
        if sample is None:
            return None
        with torch.autocast(self.evaluation.device.type, enabled=False):
            return self.evaluation.add(sample, self.data.crop(sample.id))

    def gather(self) -> None:
        """Combine the processes' results in every process."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return
        parts: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, {
            name: value for name, value in vars(self.evaluation).items() if name in COUNTS})
        join(self.evaluation, parts)

    def scores(self) -> dict[str, float]:
        """Return the available metrics, named source/metric."""
        return {f'{self.name}/{metric}': value
                for metric, value in self.evaluation.scores().items() if metric != 'iou'}


def join(evaluation: Evaluation, parts: list[dict[str, Any]]) -> None:
    """
    Combine several evaluations into one by adding all their sums.

    :param evaluation: evaluation that receives the sums.
    :param parts: the attributes COUNTS of evaluations of the same model and label space; those
        without a labelled sample have neither classes nor a segmentation.
    """
    for part in parts:
        if part['classes'] is not None:
            evaluation.classes, evaluation.segmentation = part['classes'], part['segmentation']
    for name, tallies in TALLIES.items():
        counted = [part[name] for part in parts if name in part]
        for tally in tallies if counted else ():
            first, *others = (getattr(metric, tally) for metric in counted)
            setattr(getattr(evaluation, name), tally, sum(others, first))
    for name in NUMBERS:
        first, *others = (part[name] for part in parts)
        setattr(evaluation, name, sum(others, first))
