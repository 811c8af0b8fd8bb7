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
Losses as pure functions that return a scalar, and their registries for recipes.

The functions of each registry share one signature: depth (predicted_b1hw, true_b1hw, valid_b1hw),
semantics (logits_bchw, labels_bhw, groups_gc, weights_g, confidence_bhw, candidates_bc), normals
(predicted_b3hw, true_b3hw, valid_b1hw); other parameters have defaults.
"""

from __future__ import annotations

from collections.abc import Callable

from sync_perception.training.losses.depth import berhu, l1, log_l1, silog
from sync_perception.training.losses.normals import angular_distance, cosine_distance
from sync_perception.training.losses.scale_shift import log_gradient, scale_shift_invariant_depth
from sync_perception.training.losses.semantics import (
    grouped_cross_entropy,
    grouped_ohem_cross_entropy,
)
import torch
from torch import Tensor

DEPTH_LOSSES: dict[str, Callable[..., Tensor]] = {
    'silog': silog,
    'log_l1': log_l1,
    'l1': l1,
    'berhu': berhu,
    'log_gradient': log_gradient,
    'scale_shift_invariant': scale_shift_invariant_depth,
}
SEMANTIC_LOSSES: dict[str, Callable[..., Tensor]] = {
    'cross_entropy': grouped_cross_entropy,
    'ohem': grouped_ohem_cross_entropy,
}
NORMALS_LOSSES: dict[str, Callable[..., Tensor]] = {
    'cosine': cosine_distance,
    'angular': angular_distance,
}


def mean_over_samples(loss: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """
    Average a loss over the samples of a batch.

    :param loss: function of the maps of one sample; 0 if nothing is valid.
    :param maps: (B, ., h, w).
    """
    samples = zip(*(values.split(1) for values in maps))
    return torch.stack([loss(*sample) for sample in samples]).mean()
