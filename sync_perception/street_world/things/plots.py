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


"""Objects on the properties along a street, one function per kind of land use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sync_perception.street_world.mesh import box, join, Kind, Material
from sync_perception.street_world.site import Site
from sync_perception.street_world.things import buildings, scenery

FENCES = ((0.05, 0.1, 0.06), (0.3, 0.3, 0.3), (0.6, 0.6, 0.58), (0.14, 0.09, 0.05))


def blocks(site: Site, side: int, s: float, end: float, q: float) -> None:
    """Build a row of town blocks of similar height."""
    rng = site.rng
    height = rng.uniform(8, 24)
    while s < end - 6:
        width = min(rng.uniform(9, 28), end - s)
        tall = height * rng.uniform(0.8, 1.2)
        site.front(buildings.block(rng, width, rng.uniform(9, 14), tall), s, width, side, q)
        s += width + (rng.uniform(2, 8) if rng.random() < 0.2 else 0.02)


def houses(site: Site, side: int, s: float, end: float, q: float) -> None:
    """Build dwelling houses, in a row or apart, with front gardens and their boundaries."""
    rng, edge = site.rng, site.edges[side] + 0.3
    boundary = rng.choice(['hedge', 'wall', 'fence', 'open'], p=[0.3, 0.2, 0.25, 0.25])
    if q - edge > 1.5 and boundary != 'open':
        {'hedge': low_hedge, 'wall': low_wall, 'fence': low_fence}[boundary](
            site, side, s, end, edge)
    while s < end - 7:
        width = min(rng.uniform(7, 14), end - s)
        at = q + rng.uniform(0, 1.5)
        site.front(buildings.house(rng, width, rng.uniform(7, 11)), s, width, side, at)
        if q - edge > 2.5:
            for _ in range(rng.integers(0, 4)):
                where = s + rng.uniform(0, width), side * rng.uniform(edge + 1, q - 0.6)
                if rng.random() < 0.3:
                    site.tree(*where, rng.uniform(0.35, 0.7))
                else:
                    site.bush(*where)
        s += width + rng.choice([0.02, rng.uniform(2.5, 7)])
        if rng.random() < 0.5:
            site.tree(s - 1, side * (q + rng.uniform(8, 18)), far=True)


def hall_plot(site: Site, side: int, s: float, end: float, q: float) -> None:
    """Build a shed or a supermarket behind a row of parked cars."""
    rng, width = site.rng, end - s - 2
    site.front(buildings.hall(rng, width, rng.uniform(12, 20)), s, width, side,
               q + rng.uniform(6, 12))
    for at in np.arange(s, end, 3.0):
        if rng.random() < 0.4:
            site.park(at, side * (q + 2.8), np.pi / 2)


def park(site: Site, side: int, s: float, end: float, q: float) -> None:
    """Plant trees and bushes on a lawn."""
    rng = site.rng
    for _ in range(int((end - s) / 5)):
        away = 1 + rng.exponential(9)
        site.tree(rng.uniform(s, end), side * (q + away), far=away > 15)
    for _ in range(int((end - s) / 4)):
        site.bush(rng.uniform(s, end), side * (q + rng.exponential(5)))
    if rng.random() < 0.3:
        low_fence(site, side, s, end, q - 0.3)


def woods(site: Site, side: int, s: float, end: float, q: float) -> None:
    """Plant the edge of a wood: bushes in front, three rows of trees."""
    rng = site.rng
    for row, gap in ((2.5, 5.0), (7.0, 5.5), (14.0, 7.0)):
        for at in np.arange(s, end, gap):
            site.tree(at + rng.uniform(-2, 2), side * (q + row + rng.uniform(-1.5, 1.5)),
                      far=row > 5)
    for at in np.arange(s, end, 2.2):
        site.bush(at + rng.uniform(-1, 1), side * (q + rng.uniform(0, 2)))


def field(site: Site, side: int, s: float, end: float, q: float) -> None:
    """Leave the land open, optionally with a row of trees at its far end."""
    rng = site.rng
    for _ in range(rng.integers(0, 5)):
        site.bush(rng.uniform(s, end), side * (q + rng.exponential(6)))
    if rng.random() < 0.5:
        for at in np.arange(s, end, rng.uniform(4, 9)):
            site.tree(at, side * rng.uniform(34, 42), far=True)


def low_hedge(site: Site, side: int, s: float, end: float, q: float, top: float = 1.8) -> None:
    """Grow a clipped hedge along the street."""
    rng = site.rng
    height, thick = rng.uniform(0.9, top), rng.uniform(0.5, 1.0)
    while s < end - 2:
        length = min(6.0, end - s)
        site.front(scenery.hedge(rng, length, height, thick), s, length, side, q)
        s += length


def low_wall(site: Site, side: int, s: float, end: float, q: float,
             heights: tuple[float, float] = (0.6, 1.6)) -> None:
    """Build a wall of brick or plaster along the street."""
    rng = site.rng
    material = Material.BRICK if rng.random() < 0.5 else Material.PLASTER
    site.wall(side, s, end, q, rng.uniform(*heights), material, buildings.wall_color(rng) * 0.8)


def low_fence(site: Site, side: int, s: float, end: float, q: float,
              heights: tuple[float, float] = (0.8, 1.4)) -> None:
    """Build a fence of slats or of rods on posts along the street."""
    rng = site.rng
    height, color = rng.uniform(*heights), FENCES[rng.integers(len(FENCES))]
    base = site.section.height(side * q)
    post = box((0.07, 0.07, height), (0, 0, height / 2), Kind.FENCE, Material.METAL, color)
    for at in np.arange(s, end, 2.4):
        site.put(post, at, side * q)
    levels = np.arange(0.1, 1.0, 0.2 / height)
    if rng.random() < 0.5:
        slat = box((0.07, 0.025, height * 0.95), (0, 0, height * 0.5), Kind.FENCE,
                   Material.PLAIN, color)
        slats = [site.placed(slat, at, side * q)
                 for at in np.arange(s, end, rng.uniform(0.13, 0.22))]
        if slats:
            site.meshes.append(join(slats))
        levels = np.array([0.25, 0.8])
    for level in levels:
        site.rod(side * q, s, end, height * level + base, 0.02, Kind.FENCE, color)


def hedge_plot(site: Site, side: int, s: float, end: float, q: float) -> None:
    """Grow a tall hedge with trees behind it."""
    low_hedge(site, side, s, end, q, 3.0)
    park(site, side, s, end, q + 3)


def wall(site: Site, side: int, s: float, end: float, q: float) -> None:
    """Build a tall wall with trees behind it."""
    low_wall(site, side, s, end, q, (1.8, 3.5))
    park(site, side, s, end, q + 2)


def fence(site: Site, side: int, s: float, end: float, q: float) -> None:
    """Build a tall fence with trees behind it."""
    low_fence(site, side, s, end, q, (1.6, 2.2))
    park(site, side, s, end, q + 3)


PLOTS: dict[str, Callable[[Site, int, float, float, float], None]] = {
    'blocks': blocks, 'houses': houses, 'hall': hall_plot, 'park': park, 'woods': woods,
    'field': field, 'hedge': hedge_plot, 'wall': wall, 'fence': fence}


def fill(site: Site, side: int, start: float, shares: dict[str, float],
         setback: tuple[float, float]) -> None:
    """
    Fill one side of a street with plots, except its side streets.

    :param shares: shares of the kinds of land use, keys of `PLOTS`, which sum to 1.
    :param setback: least and greatest distance of the buildings from the properties' front.
    """
    rng, s = site.rng, start
    while s < site.length - 15:
        end = min(s + rng.uniform(22, 75), site.length - 5)
        for a, b in site.section.junctions:
            if s < b + 2 and end > a - 2:
                if a - 2 - s > 8:
                    end = a - 2
                else:
                    s, end = b + 2, min(max(end, b + 20), site.length - 5)
        name = str(rng.choice(list(shares), p=list(shares.values())))
        if end > s + 3:
            PLOTS[name](site, side, s, end, site.edges[side] + rng.uniform(*setback))
        s = end + rng.uniform(0, 3)
