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
Computational cost of a network: parameters and floating-point operations.

A FLOP is one multiplication or one addition: a multiply-add counts two. The count includes
convolutions and matrix products, also those inside attention, but not normalisations, activations,
pooling and resizing. Nothing is computed: the network runs on the `meta` device, on which the
counter also sees the operations of fused attention.
"""

from __future__ import annotations

from sync_perception.models.catalogue.stored_costs import Cost
from sync_perception.models.config import ModelConfig
from sync_perception.models.perception_model import build_model, PerceptionModel
import torch
from torch.utils.flop_counter import FlopCounterMode

TASKS = {
    'depth': 'depth', 'logits': 'labels', 'normals': 'normals', 'log_variance': 'uncertainty'}


def measure_cost(config: ModelConfig, sizes: list[tuple[int, int]]) -> Cost:
    """
    Count a network's parameters and operations.

    :param config: config of the network, without pretrained sources, whose files would be read.
    :param sizes: heights and widths of the images; padding and resizing by the network are
        included.
    """
    try:
        with torch.device('meta'):
            model = build_model(config)
        return run_empty(model, sizes)
    except RuntimeError:  # the constructor reads values of its tensors
        return run_empty(build_model(config).to('meta'), sizes)


def run_empty(model: PerceptionModel, sizes: list[tuple[int, int]]) -> Cost:
    """Return the cost of a network on the `meta` device."""
    flops, given = {}, set()
    with torch.no_grad(), torch.device('meta'):
        for size in sizes:
            with FlopCounterMode(display=False) as counter:
                given |= model.eval()(torch.empty(1, 3, *size)).maps().keys()
            flops[size] = counter.get_total_flops()
    return Cost(count_parameters(model), flops, tuple(
        task for name, task in TASKS.items() if name in given))


def count_parameters(model: PerceptionModel) -> int:
    """Return the number of parameters in use, including frozen ones."""
    unused = set()
    for module in model.modules():
        if getattr(module, 'enabled', True) is False:
            unused |= set(module.parameters())
    return sum(weight.numel() for weight in model.parameters() if weight not in unused)
