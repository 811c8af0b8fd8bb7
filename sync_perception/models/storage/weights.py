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

"""Checks of a model's weights: names, shapes and finite values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open
import torch
from torch import nn

NAMED_AT_MOST = 12


def model_shapes(
        model_type: Callable[[Any], nn.Module], config: Any) -> dict[str, tuple[int, ...]]:
    """
    Return the shapes of a model's weights by name.

    If possible, no memory is allocated for the weights, so that a config with absurd sizes is
    rejected before it exhausts memory.
    """
    try:
        with torch.device('meta'):
            model = model_type(config)
    except RuntimeError:  # the constructor reads values of its tensors
        model = model_type(config)
    return {name: tuple(weight.shape) for name, weight in model.state_dict().items()}


def check_weights(path: str | Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """
    Check the names and shapes of a file of weights, without reading its data.

    :param shapes: expected shapes by name.
    :raises ValueError: naming the differences.
    """
    with safe_open(path, 'pt') as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    problems = weight_differences(found, shapes)
    if problems:
        raise ValueError(f'the weights do not fit the config; {problems}')


def weight_differences(
        found: dict[str, tuple[int, ...] | str], expected: dict[str, tuple[int, ...]]) -> str:
    """
    Describe the differing names and shapes of two sets of weights; '' if there are none.

    :param found: shapes by name, or the type name of other values.
    :param expected: shapes by name.
    """
    parts = {
        'missing': [name for name in expected if name not in found],
        'not expected': [name for name in found if name not in expected],
        'of another shape': [
            f'{name} {found[name]} instead of {shape}'
            for name, shape in expected.items() if name in found and found[name] != shape]}
    return '; '.join(
        f'{what}: {enumerate_some(names)}' for what, names in parts.items() if names)


def enumerate_some(names: list[str]) -> str:
    """Join names; of long lists, only the first names and the number of others."""
    shown = ', '.join(names[:NAMED_AT_MOST])
    more = len(names) - NAMED_AT_MOST
    return f'{shown} and {more} more' if more > 0 else shown


def check_finite(model: nn.Module) -> None:
    """
    Check that all weights are finite.

    :raises ValueError: naming the first tensor with NaN or infinite values.
    """
    for name, weight in model.state_dict().items():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            wrong = int((~torch.isfinite(weight)).sum())
            raise ValueError(
                f'{name}: expected finite weights, got {wrong} of {weight.numel()} that are NaN '
                'or infinite')
