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


"""Initialisation of parts of a network from pretrained models."""

from __future__ import annotations

from dataclasses import dataclass

from sync_perception.models import hub
from sync_perception.resources import model_source
import torch
from torch import nn


@dataclass(frozen=True)
class Origin:
    """
    Source of the initial weights of a part of a network.

    :param model: folder or hub id of the pretrained model; `default` is that of the package.
    :param part: its submodule; by default the one of the same name.
    :param leave: submodules of the part that are not copied, such as the `head` of another task.
    """

    model: str
    part: str | None = None
    leave: tuple[str, ...] = ()


def start_from(network: nn.Module, origins: dict[str, Origin]) -> None:
    """
    Copy the weights of pretrained parts; each part completely or not at all.

    :param network: network of `sync_perception.models`, not yet trained.
    :param origins: by submodule of the network: `depth`, `semantics.encoder`.
    :raises ValueError: if a part does not exist or does not fit.
    :raises FileNotFoundError: if a model does not exist.
    """
    for name, origin in origins.items():
        part = submodule(network, name, f'initial {name}: the network')
        folder = model_source(origin.model)
        donor = hub.load(folder, torch.device('cpu')).network
        source = origin.part or name
        where = f'initial {name}: {source} of {origin.model}'
        taken = submodule(donor, source, f'initial {name}: {origin.model}').state_dict()
        copy_weights(part, taken, origin.leave, where)


def submodule(network: nn.Module, name: str, owner: str) -> nn.Module:
    """
    Return a network's submodule.

    :param owner: name of the network, for the error message.
    :raises ValueError: if there is no submodule of this name.
    """
    try:
        part = network.get_submodule(name)
    except AttributeError:
        part = None
    if part is None:
        there = ', '.join(child for child, module in network.named_children())
        raise ValueError(f'{owner} has no part {name!r}, expected one of: {there}')
    return part


def copy_weights(
        part: nn.Module, taken: dict[str, torch.Tensor], leave: tuple[str, ...], where: str
        ) -> None:
    """
    Copy weights into a part, except those of some submodules.

    :param where: source of the weights, for the error message.
    :raises ValueError: unless names and shapes match.
    """
    for name in leave:
        submodule(part, name, where)

    def kept(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: weight for name, weight in state.items()
                if not any(name.startswith(f'{left}.') for left in leave)}

    own, taken = kept(part.state_dict()), kept(taken)
    wrong = sorted(set(own) ^ set(taken))
    wrong += [name for name in own if name in taken and own[name].shape != taken[name].shape]
    if wrong:
        found = taken.get(wrong[0])
        expected = own.get(wrong[0])
        raise ValueError(
            f'{where} does not fit: {wrong[0]} is {shape(found)}, expected {shape(expected)}; '
            f'{len(wrong) - 1} other(s) differ. List submodules in `leave` to initialise them '
            'anew')
    part.load_state_dict(taken, strict=False)


def shape(weight: torch.Tensor | None) -> str:
    """Return a weight's shape as text, also for a missing weight."""
    return 'absent' if weight is None else str(tuple(weight.shape))
