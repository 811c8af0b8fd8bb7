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


"""Objects between the carriageway and the properties."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sync_perception.street_world.mesh import Mesh
from sync_perception.street_world.pool import pick
from sync_perception.street_world.site import Site
from sync_perception.street_world.things import scenery
from sync_perception.street_world.things.road import BEHIND

START = -BEHIND + 3.0


def parked(site: Site, side: int, q: float) -> None:
    """Park vehicles in a row along the kerb."""
    rng, s = site.rng, START + 3.0
    density = rng.uniform(0.3, 0.95)
    while s < site.length - 10:
        if rng.random() < density and not site.section.in_junction(s, 8):
            site.park(s, side * q)
        s += rng.uniform(5.3, 6.5)


def lamps(site: Site, side: int, q: float) -> None:
    """Place a row of equal street lamps or masts."""
    rng = site.rng
    if rng.random() > 0.85:
        return
    post = pick(rng, scenery.street_lamp if rng.random() < 0.8 else scenery.mast)
    for s in np.arange(START + rng.uniform(0, 22), site.length - 10, rng.uniform(18, 42)):
        if not site.section.in_junction(s, 1):
            site.put(post, s, side * q, site.facing(side), sink=0.1)


def trees(site: Site, side: int, q: float) -> None:
    """Plant a row of trees."""
    rng, row = site.rng, site.rng.uniform(0.0, 0.4)
    for s in np.arange(START + rng.uniform(0, 6), site.length - 10, rng.uniform(6.5, 16)):
        if not site.section.in_junction(s, 3) and rng.random() < 0.9:
            site.tree(s, side * (q + row), rng.uniform(0.55, 1.1))


def bollards(site: Site, side: int, q: float) -> None:
    """Place delineator posts along a country road."""
    if site.rng.random() < 0.6:
        for s in np.arange(START, site.length - 10, 25):
            site.put(scenery.bollard(), s, side * q)


def signs(site: Site, side: int, q: float, town: bool) -> None:
    """Place traffic signs that face the traffic, and in towns dustbins and cabinets."""
    rng, end = site.rng, site.length - 10
    facing = np.pi if side > 0 else 0.0
    for _ in range(rng.poisson(end / 28)):
        site.put(pick(rng, scenery.traffic_sign), rng.uniform(-20, end), side * q,
                 facing + rng.normal(scale=0.15), sink=0.1)
    if town:
        for _ in range(rng.poisson(end / 40)):
            site.put(pick(rng, scenery.bin_or_cabinet), rng.uniform(-20, end),
                     side * (site.edges[side] + 0.4), np.pi / 2)


def people(site: Site, side: int, q: float, density: float
           ) -> Iterator[tuple[Mesh, float, float, float]]:
    """Yield walkers with their s, q and yaw on the pavement of one side."""
    rng, end = site.rng, site.length - 10
    for _ in range(rng.poisson(end * density)):
        yield (pick(rng, scenery.pedestrian), rng.uniform(-20, end),
               side * rng.uniform(q + 0.3, max(q + 0.6, site.edges[side])),
               rng.uniform(0, 6.28))


def junctions(site: Site, town: bool) -> None:
    """Place traffic lights at the side streets and park cars in them."""
    rng = site.rng
    left, right = site.section.carriageway
    for a, b in site.section.junctions:
        if rng.random() < (0.55 if town else 0.1):
            site.put(pick(rng, scenery.traffic_light), a - 1.5, right + 0.5, np.pi, sink=0.1)
            site.put(pick(rng, scenery.traffic_light), b + 1.5, left - 0.5, 0.0, sink=0.1)
            if rng.random() < 0.5:
                site.put(pick(rng, scenery.traffic_light), b + 1.5, right + 0.5, np.pi, sink=0.1)
        for side in (1, -1):
            for far in (12, 19, 27):
                if rng.random() < 0.35:
                    s = a + 1.1 if rng.random() < 0.5 else b - 1.1
                    site.park(s, side * (abs(right if side > 0 else left) + far), np.pi / 2)


def median(site: Site, width: float, open_country: bool) -> None:
    """Place a guard rail, or trees and bushes, on the median strip."""
    rng, end = site.rng, site.length - 10
    if open_country and rng.random() < 0.7:
        site.guard_rail(-width / 2, START, end)
        return
    for s in np.arange(-20, end, rng.uniform(8, 20)):
        if site.section.in_junction(s, 4):
            continue
        if width > 2.5 and rng.random() < 0.6:
            site.tree(s, -width / 2, rng.uniform(0.5, 0.9))
        else:
            site.bush(s, -width / 2, 0.5)
