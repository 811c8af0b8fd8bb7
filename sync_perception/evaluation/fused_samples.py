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


"""Temporal fusion of a model's outputs for the consecutive frames of a data set."""

from __future__ import annotations

from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.mapping.temporal_fusion import TemporalFusion
from sync_perception.models.network_input import camera_scale
from sync_perception.types import DenseOutput
from torch import nn


class FusedSamples:
    """
    Outputs of a model, fused over consecutive frames by the poses of the data set.

    :param model: module from a normalised image batch to a DenseOutput with depth and logits, with
        `config` and `labels`.
    :param data: the recordings.
    :raises ValueError: if the model's depth is not metric.
    :ivar fused: number of frames that were fused with the one before.
    """

    def __init__(self, model: nn.Module, data: DenseDataset):
        if not model.config.metric:
            raise ValueError('temporal: fuse needs metric depth, got a model of relative depth')
        self.config, self.data = model.config, data
        self.fusion = TemporalFusion(model.labels)
        self.fused = 0
        self._latest: str | None = None

    def fuse(self, sample: Sample, output: DenseOutput) -> DenseOutput:
        """
        Return the output for a sample, fused with those for the frames before it.

        A sample without pose or intrinsics, or that does not follow the last one, starts anew.

        :raises ValueError: if the model predicts no depth or no labels.
        """
        if output.depth is None or output.logits is None:
            raise ValueError('temporal: fuse needs a model of depth and labels')
        if self._latest is None or self.data.neighbour_id(sample.id, -1) != self._latest:
            self.fusion.reset()
        self._latest = sample.id
        if sample.K is None:
            self.fusion.reset()
            return output
        size = sample.image.shape[:2]
        output = self.fusion.fuse(output, sample.K, size, camera_scale(
            self.config, sample.K, size), self.data.pose(sample.id))
        self.fused += self.fusion.share > 0
        return output

    def describe(self) -> str:
        """Return how many frames were fused."""
        return f'{self.fused} frames are fused with the frames before, by the poses of the data'
