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

"""Read published checkpoints without running their code, and compare them with a network."""

from __future__ import annotations

from pathlib import Path
import re
from typing import Any

import numpy as np
from safetensors.torch import load_file
from sync_perception.files.checks import mapping
from sync_perception.models.storage.weights import weight_differences
import torch
from torch import Tensor

PICKLED = ('.ckpt', '.pth', '.pt')


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """
    Read a checkpoint's state dict: names without prefix to tensors (or other values).

    :raises FileNotFoundError: if there is none.
    :raises ValueError: if it has another suffix, cannot be read, or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no checkpoint {path}')
    if path.suffix not in (*PICKLED, '.safetensors'):
        raise ValueError(
            f'{path}: expected a file ending in {", ".join((*PICKLED, ".safetensors"))}')
    try:
        if path.suffix == '.safetensors':
            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals(numpy_scalars()):
                content = torch.load(path, map_location='cpu', weights_only=True)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # torch raises many types of errors for damaged archives
        reason = re.search('GLOBAL [^ ]+', str(error))
        raise ValueError(
            f'{path} cannot be read without running code that it names'
            + (f' ({reason.group()})' if reason else '; is it a complete checkpoint?')
        ) from error
    if isinstance(content, dict) and isinstance(content.get('state_dict'), dict):
        content = content['state_dict']
    if not isinstance(content, dict) or not any(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f'{path}: expected a dictionary of tensors, got {type(content).__name__}')
    mapping(content, str(path))
    if all(name.startswith('module.') for name in content):
        content = {name.removeprefix('module.'): value for name, value in content.items()}
    # batch counters of newer versions of PyTorch, unused here
    return {name: value for name, value in content.items()
            if not name.endswith('.num_batches_tracked')}


def numpy_scalars() -> list[Any]:
    """Return the globals needed to unpickle a numpy scalar, such as a stored best score."""
    scalar = np.float64(0).__reduce__()[0]
    types = {type(np.dtype(name)) for name in ('f4', 'f8', 'i4', 'i8', '?')}
    return [scalar, (scalar, 'numpy.core.multiarray.scalar'), np.dtype, *types]


def check_checkpoint(
        state: dict[str, Any], shapes: dict[str, tuple[int, ...]], complaint: str) -> None:
    """
    Check the names and shapes of a state dict; one message names all differences.

    :param shapes: expected shapes by name.
    :param complaint: beginning of the message.
    """
    problems = weight_differences({name: shape_of(value) for name, value in state.items()}, shapes)
    if problems:
        raise ValueError(f'{complaint}; {problems}')


def shape_of(value: Any) -> tuple[int, ...] | str:
    """Return a tensor's shape, or the type name of another value."""
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
