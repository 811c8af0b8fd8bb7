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


"""Pools of meshes shared by all streets, so that new streets are built quickly."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from sync_perception.street_world.mesh import Mesh
from sync_perception.street_world.things import scenery, vehicles

Drawing = Callable[[np.random.Generator], Mesh]

BICYCLE = partial(vehicles.two_wheeler, motor=False, ridden=False)
MOTORCYCLE = partial(vehicles.two_wheeler, motor=True, ridden=False)
CYCLIST = partial(vehicles.two_wheeler, motor=False, ridden=True)
MOTORCYCLIST = partial(vehicles.two_wheeler, motor=True, ridden=True)

# Number of meshes of each kind; about 80 MB when all have been created.
SIZES: dict[Drawing, int] = {
    vehicles.car: 256, vehicles.van: 64, vehicles.lorry: 48, vehicles.bus: 16, BICYCLE: 24,
    MOTORCYCLE: 24, CYCLIST: 32, MOTORCYCLIST: 24, scenery.pedestrian: 128, scenery.tree: 64,
    scenery.bush: 48, scenery.street_lamp: 48, scenery.mast: 16, scenery.traffic_sign: 160,
    scenery.traffic_light: 32, scenery.bin_or_cabinet: 32}


@cache
def member(draw: Drawing, number: int):
    """Return a function's mesh of a number; created once, equal in every process."""
    return draw(np.random.default_rng([number, 61]))


def pick(rng: np.random.Generator, draw: Drawing):
    """Return a random mesh of the pool of a function of `SIZES`."""
    return member(draw, int(rng.integers(SIZES[draw])))
