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

"""Selection of devices by name."""

from __future__ import annotations

import torch

OPENVINO = 'openvino:'
EXPECTED = 'auto, cpu, cuda, cuda:N, openvino:GPU or openvino:NPU'


def choose_device(name: str) -> torch.device:
    """
    Return the torch device that prepares images and postprocesses maps.

    With `openvino:GPU` or `openvino:NPU` only the network runs on that device; preprocessing and
    postprocessing run on the CPU.

    :param name: auto, cpu, cuda, cuda:N, openvino:GPU or openvino:NPU.
    :raises ValueError: if the name is unknown, or the machine has no such CUDA device.
    """
    return torch.device('cpu') if openvino_device(name) else torch_device(name)


def torch_device(name: str) -> torch.device:
    """
    Return the device on which torch runs a network.

    :param name: auto (the GPU if there is one), cpu, cuda or cuda:N.
    :raises ValueError: if the name is unknown, or the machine has no such CUDA device.
    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    kind, _, index = name.partition(':')
    if kind not in ('cpu', 'cuda') or (index and not index.isdecimal()):
        raise ValueError(f'device must be {EXPECTED}, got {name!r}')
    count = torch.cuda.device_count()
    if kind == 'cuda' and int(index or 0) >= count:
        raise ValueError(f'device {name!r} was requested, but this machine has {count} CUDA '
                         'devices')
    return torch.device(name)


def openvino_device(name: str) -> str:
    """Return OpenVINO's device name, such as GPU for `openvino:GPU`; empty for torch devices."""
    return name.removeprefix(OPENVINO) if name.startswith(OPENVINO) else ''
