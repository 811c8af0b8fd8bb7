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


"""Random layout of a street: style, lanes, furniture and traffic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sync_perception.street_world import pool
from sync_perception.street_world.mesh import Kind, Material, Mesh
from sync_perception.street_world.pool import pick
from sync_perception.street_world.site import Site
from sync_perception.street_world.things import buildings, kerbside, plots, vehicles
from sync_perception.street_world.things.road import (
    BEHIND,
    CentreLine,
    CrossSection,
    hills,
    Marking,
    SIDE_STREET,
    Strip,
    sweep,
)

AHEAD = 230.0
STREET_RATE = 10.0


@dataclass(frozen=True)
class Style:
    """
    Parameters of a kind of street; lengths in metres.

    :param share: share of all streets.
    :param lanes: least and greatest number of lanes per direction.
    :param speed: least and greatest speed, metres per second.
    :param parking: probability of parked cars on a side.
    :param pavement: width of the pavements; zero for none.
    :param setback: distance of buildings behind the properties' front.
    :param plots: shares of the kinds of land use.
    :param winding: 0 straight to 1 winding.
    :param people: pedestrians per metre and side.
    :param trees: probability of a row of trees on a side.
    :param rail: probability of a guard rail on a side.
    :param kerb: whether the road has kerbs.
    :param median: width of the strip between the directions, 0 for none.
    """

    share: float
    lanes: tuple[int, int]
    speed: tuple[float, float]
    parking: float
    pavement: tuple[float, float]
    setback: tuple[float, float]
    plots: dict[str, float]
    winding: tuple[float, float]
    people: float
    trees: float
    rail: float = 0.0
    kerb: bool = True
    median: float = 0.0


STYLES = {
    'city': Style(0.24, (1, 3), (4, 13), 0.75, (2.0, 4.5), (0.0, 1.5), {
        'blocks': 0.75, 'park': 0.1, 'hall': 0.05, 'fence': 0.1}, (0, 0.4), 0.07, 0.5),
    'residential': Style(0.28, (1, 1), (4, 12), 0.7, (1.2, 2.5), (1.0, 7.0), {
        'houses': 0.62, 'hedge': 0.08, 'blocks': 0.12, 'park': 0.1, 'wall': 0.08}, (0, 0.9), 0.03,
        0.35),
    'suburb': Style(0.2, (1, 3), (6, 15), 0.3, (1.5, 3.0), (3.0, 12.0), {
        'houses': 0.25, 'blocks': 0.2, 'park': 0.25, 'hall': 0.1, 'woods': 0.12, 'fence': 0.08},
        (0, 0.7), 0.02, 0.5),
    'country': Style(0.18, (1, 2), (12, 22), 0.0, (0.0, 0.0), (2.0, 6.0), {
        'woods': 0.4, 'field': 0.4, 'houses': 0.1, 'hedge': 0.1}, (0.1, 1.0), 0.002, 0.2, 0.5,
        False),
    'motorway': Style(0.1, (2, 4), (18, 30), 0.0, (0.0, 0.0), (4.0, 9.0), {
        'woods': 0.5, 'field': 0.3, 'wall': 0.1, 'hall': 0.1}, (0, 0.3), 0.0, 0.1, 0.9, False,
        3.0)}


@dataclass
class Mover:
    """Object that moves along the street: at s = start + speed * t, q to the side."""

    mesh: Mesh
    start: float
    q: float
    speed: float
    turn: float


class StreetLayout:
    """
    Layout of one street with all objects.

    :param seed: the street's seed; the weather does not depend on it.
    :param frames: number of frames at `STREET_RATE` hertz of the camera's drive; the street ends
        `AHEAD` metres further.
    """

    def __init__(self, seed: int, frames: int):
        self.rng = rng = np.random.default_rng([seed, 11])
        shares = np.array([s.share for s in STYLES.values()])
        self.style_name = str(rng.choice(list(STYLES), p=shares / shares.sum()))
        self.style = style = STYLES[self.style_name]
        self.speed = rng.uniform(*style.speed)
        self.length = frames * self.speed / STREET_RATE + AHEAD
        slope = 0.0 if rng.random() < 0.4 else rng.uniform(0, 0.045)
        self.line = CentreLine(rng, self.length, rng.uniform(*style.winding), slope)
        self.meadow = np.array([0.06, 0.085, 0.02]) * rng.uniform(0.6, 1.5) * [
            rng.uniform(0.8, 1.7), 1, 1]
        self.asphalt = np.array([1, 1, 1.01]) * rng.uniform(0.07, 0.19)
        self._carriageway()
        edges = self._cross_section()
        self._junctions()
        self.site = site = Site(rng, self.line, self.section, edges, self.length)
        site.meshes += [sweep(self.line, self.section, self.asphalt),
                        hills(rng, self.line, rng.choice([0, 25, 60, 120]), self.meadow)]
        self.movers: list[Mover] = []
        for side in (1, -1):
            plots.fill(site, side, -BEHIND + 5.0, style.plots, style.setback)
            self._beside(side)
        kerbside.junctions(site, style.kerb)
        if self.median:
            kerbside.median(site, self.median, not style.kerb)
        self._distance()
        self._traffic()

    def _carriageway(self) -> None:
        """Draw lanes, parking strips and the median strip."""
        rng, style = self.rng, self.style
        self.lane = rng.uniform(2.9, 3.7)
        self.lanes = int(rng.integers(style.lanes[0], style.lanes[1] + 1))
        oneway = self.style_name in ('city', 'residential') and rng.random() < 0.25
        self.against = 0 if oneway else self.lanes if rng.random() < 0.8 else 1
        self.parking = {side: rng.random() < style.parking for side in (1, -1)}
        margin = {side: 2.2 if self.parking[side] else rng.uniform(0.3, 0.6) for side in (1, -1)}
        if self.style_name == 'motorway':
            margin = {1: 2.5, -1: 2.5}
        divided = self.lanes > 1 and not oneway and rng.random() < 0.25
        self.median = style.median or (rng.uniform(2, 6) if divided else 0.0)
        self.right = self.lanes * self.lane
        self.left = -(self.median + self.against * self.lane)
        self.kerbs = self.left - margin[-1], self.right + margin[1]

    def _cross_section(self) -> dict[int, float]:
        """Create the cross-section's strips; return |q| of the properties' front on both sides."""
        rng, style = self.rng, self.style
        left, right = self.kerbs
        base = rng.uniform(0.08, 0.15) if style.kerb else 0.02
        self.pavement = {s: rng.uniform(*style.pavement) for s in (1, -1)}
        self.verge = {s: rng.uniform(0.6, 3.0) if not style.kerb or rng.random() < 0.3 else 0.0
                      for s in (1, -1)}
        grey = np.array([1, 0.98, 0.94]) * rng.uniform(0.14, 0.34)
        walk = (base, Kind.SIDEWALK, Material.PAVING if rng.random() < 0.7 else Material.CONCRETE,
                grey)
        grass = (base, Kind.TERRAIN, Material.GRASS, self.meadow)
        road = (0.0, Kind.ROAD, Material.ASPHALT, self.asphalt)
        yard = (base, Kind.SIDEWALK, Material.CONCRETE, grey * 0.8) if (
            self.style_name == 'city') else grass
        edges = [left - self.verge[-1] - self.pavement[-1],
                 right + self.verge[1] + self.pavement[1]]
        bands = [(edges[0], *yard), (left - self.verge[-1], *walk), (left, *grass)]
        if self.median:
            bands += [(-self.median, *road),
                      (0.0, max(base, 0.05), Kind.TERRAIN, Material.GRASS, self.meadow)]
        bands += [(right, *road), (right + self.verge[1], *grass), (edges[1], *walk),
                  (SIDE_STREET, *yard)]
        start, strips = -SIDE_STREET, []
        for band in bands:
            if band[0] > start + 1e-6:
                strips.append(Strip(*band))
                start = band[0]
        self.section = CrossSection(
            hand=1 if rng.random() < 0.3 else -1, start=-SIDE_STREET, strips=strips,
            carriageway=self.kerbs, markings=self._markings())
        return {1: edges[1], -1: -edges[0]}

    def _markings(self) -> list[Marking]:
        rng, lane, lines = self.rng, self.lane, []
        if rng.random() > (0.4 if self.style_name == 'residential' else 0.92):
            return lines
        dash = (6.0, 12.0) if self.style_name == 'motorway' else (3.0, rng.choice([3.0, 6.0]))
        for i in range(1, self.lanes):
            lines.append(Marking(i * lane, 0.13, *dash))
        for i in range(1, self.against):
            lines.append(Marking(-self.median - i * lane, 0.13, *dash))
        if self.median:
            lines += [Marking(0.25, 0.15), Marking(-self.median - 0.25, 0.15)]
        elif self.against:
            lines.append(Marking(0.0, 0.13, *((0, 0) if rng.random() < 0.3 else dash)))
        if any(self.parking.values()) or not self.style.kerb or rng.random() < 0.4:
            lines += [Marking(self.right, 0.14), Marking(self.left, 0.14)]
        return lines

    def _junctions(self) -> None:
        rng = self.rng
        if self.style_name == 'motorway':
            return
        s = rng.uniform(25, 140)
        while s < self.length - 20:
            self.section.junctions.append((s, s + rng.uniform(6, 12)))
            if self.style.kerb and rng.random() < 0.6:
                self.section.crossings.append((s - 5.5, s - 2.0))
            s += rng.uniform(60, 220)

    def _beside(self, side: int) -> None:
        """Place the objects between the carriageway and the properties on one side."""
        rng, style, site = self.rng, self.style, self.site
        kerb = abs(self.kerbs[1 if side > 0 else 0])
        if self.parking[side]:
            kerbside.parked(site, side, kerb - 1.1)
        stand = kerb + (0.5 if style.kerb else 1.2)
        kerbside.lamps(site, side, stand)
        room = self.verge[side] + self.pavement[side] > 1.8 or not style.kerb
        if room and rng.random() < style.trees:
            kerbside.trees(site, side, stand + (0.4 if style.kerb else 2.0))
        if rng.random() < style.rail:
            site.guard_rail(side * (kerb + 0.35), -BEHIND + 5, self.length - 10)
        elif not style.kerb:
            kerbside.bollards(site, side, kerb + 0.4)
        kerbside.signs(site, side, stand, style.kerb)
        for mesh, s, q, yaw in kerbside.people(site, side, stand, style.people):
            way = rng.choice([-1, 1])
            if rng.random() < 0.3:
                site.put(mesh, s, q, yaw)
            else:
                self.movers.append(Mover(mesh, s, q, way * rng.uniform(0.8, 1.6),
                                         0.0 if way > 0 else np.pi))

    def _distance(self) -> None:
        """Place distant woods and houses beyond the street's own ground."""
        rng, site = self.rng, self.site
        end, heading = self.line.at(self.length - 5, 0.0), site.heading(self.length)
        for _ in range(70):
            reach, turn = rng.uniform(10, 260), heading + rng.normal(scale=0.6)
            at = end + [reach * np.cos(turn), reach * np.sin(turn), -1.2]
            mesh = site.far_trees[rng.integers(len(site.far_trees))]
            site.meshes.append(mesh.placed(at, rng.uniform(0, 6.28), rng.uniform(0.9, 1.5)))
        for _ in range(8):
            reach, turn = rng.uniform(25, 160), heading + rng.normal(scale=0.4)
            at = end + [reach * np.cos(turn), reach * np.sin(turn), -1.0]
            house = buildings.house(rng, rng.uniform(8, 15), 10.0)
            site.meshes.append(house.placed(at, rng.uniform(0, 6.28)))

    def _traffic(self) -> None:
        """Place vehicles in the lanes; a lane has one speed, so that vehicles do not collide."""
        rng = self.rng
        ego = int(rng.integers(0, self.lanes))
        self.ego_q = (ego + 0.5) * self.lane
        gap = (9, 16) if rng.random() < 0.12 else (14, 90)
        for i in range(-self.against, self.lanes):
            own, with_us = i == ego, i >= 0
            q = (i + 0.5) * self.lane - (0 if with_us else self.median)
            speed = self.speed * (1 if own else rng.uniform(0.6, 1.3)) * (1 if with_us else -1)
            s = rng.uniform(*gap) if own else -30 + rng.uniform(0, 20)
            while s < self.length:
                mesh = self._vehicle()
                half = np.ptp(mesh.vertices[:, 0]) / 2
                if rng.random() < 0.8:
                    self.movers.append(Mover(mesh, s + half, q + rng.normal(scale=0.15), speed,
                                             0.0 if with_us else np.pi))
                s += 2 * half + rng.uniform(*gap)

    def _vehicle(self) -> Mesh:
        rng, draw = self.rng, self.rng.random()
        heavy = 0.18 if self.style_name == 'motorway' else 0.07
        if draw < heavy:
            return pick(rng, vehicles.lorry)
        if draw < heavy + 0.03:
            return pick(rng, vehicles.bus)
        if draw < heavy + 0.12:
            return pick(rng, vehicles.van)
        if draw < heavy + 0.18 and self.style_name != 'motorway':
            return pick(rng, pool.MOTORCYCLIST if rng.random() < 0.4 else pool.CYCLIST)
        return pick(rng, vehicles.car)

    def position(self, mover: Mover, seconds: float) -> float:
        """Return s of a mover; movers that leave the far end reappear at the near end."""
        loop = self.length + BEHIND + 40.0
        return (mover.start + mover.speed * seconds + BEHIND) % loop - BEHIND

    def movers_at(self, seconds: float) -> list[Mesh]:
        """Return the vehicles and pedestrians at their positions after some seconds."""
        return [self.site.placed(m.mesh, self.position(m, seconds), m.q, m.turn)
                for m in self.movers]
