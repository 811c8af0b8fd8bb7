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


"""AdamW with layer-wise learning rates for encoders, and a warm-up and cosine schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
import math
from typing import Any

import lightning
from sync_perception.files import checks
from sync_perception.training.loop.pretrained_parts import submodule
import torch
from torch import nn


@dataclass(frozen=True)
class OptimizerConfig:
    """
    Settings of AdamW with linear warm-up and cosine decay.

    :param learning_rate: peak learning rate of decoders, heads and couplings, 0 or more.
    :param encoder_learning_rate: peak learning rate of submodules named `encoder`, which may be
        pretrained, 0 or more.
    :param encoder_layer_decay: ratio of the learning rates of each encoder layer and the next one,
        in (0, 1]; the last layer has `encoder_learning_rate`.
    :param weight_decay: decoupled weight decay, 0 or more.
    :param warmup: share of the training for the warm-up, in [0, 1].
    :param factors: factors of these learning rates by submodule of the network (`semantics`,
        `depth.encoder`), 0 or more; 0 freezes the submodule. Of nested ones the innermost counts.
        Batch norms keep adapting their statistics unless the branch has `frozen_norm`.
    """

    learning_rate: float = 1e-3
    encoder_learning_rate: float = 2e-4
    encoder_layer_decay: float = 1.0
    weight_decay: float = 1e-2
    warmup: float = 0.05
    factors: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        """Check that all numbers are in range."""
        for name, factor in self.factors.items():
            checks.number(0, 1e6)(factor, f'optimizer.factors.{name}')
        for name, most in (('learning_rate', 1e6), ('encoder_learning_rate', 1e6),
                           ('encoder_layer_decay', 1), ('weight_decay', 1e6), ('warmup', 1)):
            checks.number(0, most)(getattr(self, name), f'optimizer.{name}')
        if self.encoder_layer_decay == 0:
            checks.refuse('optimizer.encoder_layer_decay', 'a number in (0, 1]', 0)


def learned_parameters(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """
    Return a torch optimiser's parameter groups of the trainable weights, by learning rate.

    :return: groups with `params` and `lr`, each weight once; lower rates first.
    :raises ValueError: if everything is frozen.
    """
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    if not names:
        raise ValueError('the network has nothing to learn: all of its weights are frozen')
    distance = distances_from_top(names)
    groups: dict[float, list[nn.Parameter]] = {}
    for name in names:
        own = config.learning_rate
        if of_encoder(name):
            own = config.encoder_learning_rate * config.encoder_layer_decay ** distance[name]
        own *= factor_of(name.removeprefix('network.'), config.factors)
        groups.setdefault(own, []).append(model.get_parameter(name))
    return [{'params': groups[own], 'lr': own} for own in sorted(groups)]


def factor_of(name: str, factors: dict[str, float]) -> float:
    """Return the factor of the innermost submodule that holds a weight; 1 if there is none."""
    holders = [holder for holder in factors if f'{name}.'.startswith(f'{holder}.')]
    return factors[max(holders, key=len)] if holders else 1.0


def freeze_parts(network: nn.Module, factors: dict[str, float]) -> None:
    """
    Exclude the submodules with factor 0 from training.

    :param factors: by submodule, as in OptimizerConfig.
    :raises ValueError: if the network has no such submodule.
    """
    for name in factors:
        submodule(network, name, 'optimizer.factors: the network')
    for name, weight in network.named_parameters():
        if factor_of(name, factors) == 0:
            weight.requires_grad_(False)


def of_encoder(name: str) -> bool:
    """Return whether a parameter's name is below an `encoder` outside of any decoder."""
    path = name.split('.')
    return 'encoder' in path and 'decoder' not in path[:path.index('encoder')]


def distances_from_top(names: list[str]) -> dict[str, int]:
    """
    Return each encoder parameter's distance to the encoder's last layer, in layers.

    The first number after `encoder` is the index of the layer: `encoder.layer.3.attention.weight`
    belongs to the fourth. Parameters declared before all layers (embeddings, a stem) are one layer
    farther than the first; those without number after the layers (a norm) belong to the last.

    :param names: names of the parameters in the order of declaration.
    """
    places: dict[str, tuple[str, int]] = {}
    layers: dict[str, int] = {}
    for name in filter(of_encoder, names):
        path = name.split('.')
        behind = path.index('encoder') + 1
        encoder = '.'.join(path[:behind])
        number = next((int(part) for part in path[behind:] if part.isdecimal()), None)
        if number is None:
            number = layers.get(encoder, 0) - 1
        places[name] = encoder, number
        layers[encoder] = max(layers.get(encoder, 0), number + 1)
    return {name: layers[encoder] - 1 - number for name, (encoder, number) in places.items()}


def annealed(
        optimizer: torch.optim.Optimizer, trainer: lightning.Trainer, warmup: float
        ) -> dict[str, Any]:
    """
    Return Lightning's configuration of an optimiser with warm-up and cosine decay.

    :param warmup: share of the training for the warm-up.
    """
    steps = trainer.estimated_stepping_batches
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_cosine(step / steps, warmup))
    return {
        'optimizer': optimizer, 'lr_scheduler': {'scheduler': scheduler, 'interval': 'step'}}


def warm_cosine(progress: float, warmup: float) -> float:
    """
    Return the factor of the peak learning rate: linear warm-up, then cosine decay to zero.

    :param progress: completed share of the training.
    :param warmup: share of the training for the warm-up.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * min((progress - warmup) / (1 - warmup), 1)))
