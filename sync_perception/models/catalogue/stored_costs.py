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


"""Stored computational costs of ready-made architectures; does not import torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from sync_perception.files.whole_files import read_json, write_json

STORED = Path(__file__).with_name('costs.json')
COST_SIZES = [(192, 640), (480, 640)]
"""Heights and widths of the images of the stored costs."""


@dataclass(frozen=True)
class Cost:
    """
    Cost and outputs of a network.

    :param parameters: number of parameters, without those of disabled couplings.
    :param flops: FLOPs for one image, by the image's (height, width).
    :param tasks: outputs of the network, of depth, labels, normals and uncertainty.
    """

    parameters: int
    flops: dict[tuple[int, int], int]
    tasks: tuple[str, ...]


@cache
def stored_costs() -> dict[str, Cost]:
    """Return the stored costs of ready-made architectures by name."""
    known = read_json(STORED) if STORED.is_file() else {}
    return {name: Cost(
        entry['parameters'],
        {tuple(map(int, size.split('x'))): flops for size, flops in entry['flops'].items()},
        tuple(entry['tasks'])) for name, entry in known.items()}


def store_costs(costs: dict[str, Cost]) -> None:
    """
    Add costs to those stored in the package.

    :param costs: costs by the names of architectures.
    """
    known = {**stored_costs(), **costs}
    write_json(STORED, {name: {
        **asdict(cost), 'flops': {f'{size[0]}x{size[1]}': flops for size, flops in
                                  cost.flops.items()}} for name, cost in known.items()})
    stored_costs.cache_clear()
