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

from sync_perception.evaluation.metrics import DepthMetrics
from sync_perception.evaluation.sample_evaluation import Evaluation
from sync_perception.labels import LabelSpace
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.training.feeding.recordings import EvaluationSamples, Measurement
from sync_perception.types import DenseOutput
import torch


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
        self.evaluation.synchronise()

    def scores(self) -> dict[str, float]:
        """Return the available metrics, named source/metric."""
        return {f'{self.name}/{metric}': value
                for metric, value in self.evaluation.scores().items() if metric != 'iou'}
