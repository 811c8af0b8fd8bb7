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


"""Towns by seed: what kind of street it is, and what stands where along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sync_perception.training.data.synthetic import buildings, scenery, vehicles
from sync_perception.training.data.synthetic.mesh import (
    box, join, Kind, Material, Mesh, sheet, tube)
from sync_perception.training.data.synthetic.road import (
    BEHIND, CentreLine, CrossSection, hills, Marking, SIDE, Strip, sweep)

AHEAD = 230.0


@dataclass(frozen=True)
class Style:
    """How a kind of street is drawn; shares and ranges, metres."""

    share: float
    lanes: tuple[int, int]
    parking: float
    pavement: tuple[float, float]
    setback: tuple[float, float]
    zones: dict[str, float]
    winding: tuple[float, float]
    people: float
    street_trees: float
    rail: float = 0.0
    kerb: bool = True
    median: float = 0.0


STYLES = {
    'city': Style(0.24, (1, 3), 0.75, (2.0, 4.5), (0.0, 1.5), {
        'blocks': 0.75, 'park': 0.1, 'hall': 0.05, 'building site': 0.1}, (0, 0.4), 0.07, 0.5),
    'residential': Style(0.28, (1, 2), 0.7, (1.2, 2.5), (1.0, 7.0), {
        'houses': 0.62, 'hedge': 0.08, 'blocks': 0.12, 'park': 0.1, 'wall': 0.08}, (0, 0.9), 0.03,
        0.35),
    'suburb': Style(0.2, (1, 3), 0.3, (1.5, 3.0), (3.0, 12.0), {
        'houses': 0.25, 'blocks': 0.2, 'park': 0.25, 'hall': 0.15, 'woods': 0.15}, (0, 0.7), 0.02,
        0.5),
    'country': Style(0.18, (1, 2), 0.0, (0.0, 0.0), (2.0, 6.0), {
        'woods': 0.4, 'field': 0.4, 'houses': 0.1, 'hedge': 0.1}, (0.1, 1.0), 0.002, 0.2, 0.5,
        False),
    'motorway': Style(0.1, (2, 4), 0.0, (0.0, 0.0), (4.0, 9.0), {
        'woods': 0.5, 'field': 0.3, 'wall': 0.1, 'hall': 0.1}, (0, 0.3), 0.0, 0.1, 0.9, False,
        3.0)}


@dataclass
class Mover:
    """Something that moves along the street: at s = start + speed * t, q to the side."""

    mesh: Mesh
    start: float
    q: float
    speed: float
    turn: float


class Layout:
    """
    One street with everything on it.

    :param seed: the street's seed; the weather does not depend on it.
    :param travel: metres that the camera drives; the street reaches `AHEAD` metres further.
    """

    def __init__(self, seed: int, travel: float):
        self.rng = rng = np.random.default_rng([seed, 11])
        shares = np.array([s.share for s in STYLES.values()])
        self.style_name = str(rng.choice(list(STYLES), p=shares / shares.sum()))
        self.style = style = STYLES[self.style_name]
        self.length = travel + AHEAD
        slope = 0.0 if rng.random() < 0.4 else rng.uniform(0, 0.045)
        self.line = CentreLine(rng, self.length, rng.uniform(*style.winding), slope)
        self.meadow = np.array([0.06, 0.085, 0.02]) * rng.uniform(0.6, 1.5) * [
            rng.uniform(0.8, 1.7), 1, 1]
        self.asphalt = np.array([1, 1, 1.02]) * rng.uniform(0.07, 0.19)
        self.static: list[Mesh] = []
        self.movers: list[Mover] = []
        self._cross_section()
        self.static.append(sweep(self.line, self.section, self.asphalt))
        self.static.append(hills(rng, self.line, rng.choice([0, 25, 60, 120]), self.meadow))
        self.trees = [scenery.broadleaf(rng) if rng.random() < 0.72 else scenery.conifer(rng)
                      for _ in range(6)]
        self.bushes = [scenery.bush(rng) for _ in range(5)]
        for side in (1, -1):
            self._zones(side)
            self._kerbside(side)
        self._junction_furniture()
        self._distance()
        self._traffic()

    def _cross_section(self) -> None:
        rng, style = self.rng, self.style
        self.lane = lane = rng.uniform(2.9, 3.7)
        self.lanes = int(rng.integers(style.lanes[0], style.lanes[1] + 1))
        oneway = self.style_name in ('city', 'residential') and rng.random() < 0.2
        against = 0 if oneway else self.lanes if rng.random() < 0.8 else 1
        self.against = against
        self.parking = [rng.random() < style.parking for _ in range(2)]
        margin = [2.2 if p else rng.uniform(0.3, 0.6) for p in self.parking]
        if self.style_name == 'motorway':
            margin = [2.5, 2.5]
        median = style.median or (rng.uniform(2, 6) if self.lanes > 1 and rng.random() < 0.25
                                  and not oneway else 0.0)
        self.median = median
        right = self.lanes * lane + margin[0]
        left = -(median + against * lane + margin[1])
        kerb = rng.uniform(0.08, 0.15) if style.kerb else 0.0
        pavement = [rng.uniform(*style.pavement) if style.pavement[1] else 0.0 for _ in range(2)]
        verge = [rng.uniform(0.6, 3.0) if not style.kerb or rng.random() < 0.3 else 0.0
                 for _ in range(2)]
        grey = np.array([1, 0.98, 0.94]) * rng.uniform(0.14, 0.34)
        paving = Material.PAVING if rng.random() < 0.7 else Material.CONCRETE
        paved_yards = self.style_name == 'city'
        ground = (Material.CONCRETE, grey * 0.8) if paved_yards else (Material.GRASS, self.meadow)
        base = kerb if kerb else 0.02
        walk = (base, Kind.SIDEWALK, paving, grey)
        grass = (base, Kind.TERRAIN, Material.GRASS, self.meadow)
        yard = (base, Kind.SIDEWALK if paved_yards else Kind.TERRAIN, *ground)
        road = (0.0, Kind.ROAD, Material.ASPHALT, self.asphalt)
        self.edge = [left - verge[1] - pavement[1], right + verge[0] + pavement[0]]
        bands = [(self.edge[0], *yard)]
        bands += [(left - verge[1], *walk)] if pavement[1] else []
        bands += [(left, *grass)] if verge[1] else []
        if median:
            bands += [(-median, *road), (0.0, max(kerb, 0.05), Kind.TERRAIN, Material.GRASS,
                                         self.meadow)]
        bands.append((right, *road))
        bands += [(right + verge[0], *grass)] if verge[0] else []
        bands += [(self.edge[1], *walk)] if pavement[0] else []
        bands.append((SIDE, *yard))
        self.section = CrossSection(
            hand=1 if rng.random() < 0.3 else -1, start=-SIDE, strips=[Strip(*b) for b in bands],
            carriageway=(left, right))
        self.pavement, self.verge, self.kerb = pavement, verge, base
        self._junctions()
        self._markings(right - margin[0], left + margin[1])

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

    def _markings(self, right: float, left: float) -> None:
        rng, lane, lines = self.rng, self.lane, self.section.markings
        painted = rng.random() < (0.5 if self.style_name == 'residential' else 0.92)
        if not painted:
            return
        dash = (3.0, 6.0) if self.style_name != 'motorway' else (6.0, 12.0)
        for i in range(1, self.lanes):
            lines.append(Marking(i * lane, 0.13, *dash))
        for i in range(1, self.against):
            lines.append(Marking(-self.median - i * lane, 0.13, *dash))
        if self.against and not self.median:
            lines.append(Marking(0.0, 0.13, *((0, 0) if rng.random() < 0.3 else dash)))
        if self.median:
            lines += [Marking(0.25, 0.15), Marking(-self.median - 0.25, 0.15)]
        if any(self.parking) or not self.style.kerb or rng.random() < 0.4:
            lines += [Marking(right, 0.14), Marking(left, 0.14)]

    def put(self, mesh: Mesh, s: float, q: float, yaw: float = 0.0, scale=1.0, sink=0.0) -> None:
        """Stand a mesh at (s, q), its x axis turned by `yaw` from the street's direction."""
        d = self.section.hand * q
        position = self.line.at(s, d, self.section.height(q) - sink)
        self.static.append(mesh.placed(position, float(self.line.heading_at(s)) + yaw, scale))

    def _front(self, mesh: Mesh, s: float, width: float, side: int, q: float) -> None:
        """Stand a building with its front at q, from s to s + width along the street."""
        left = side * self.section.hand > 0
        self.put(mesh, s if left else s + width, side * q, 0.0 if left else np.pi)

    def _tree(self, s: float, q: float, scale=None) -> None:
        mesh = self.trees[self.rng.integers(len(self.trees))]
        self.put(mesh, s, q, self.rng.uniform(0, 6.28), scale or self.rng.uniform(0.7, 1.25), 0.1)

    def _bush(self, s: float, q: float, scale=None) -> None:
        mesh = self.bushes[self.rng.integers(len(self.bushes))]
        self.put(mesh, s, q, self.rng.uniform(0, 6.28), scale or self.rng.uniform(0.6, 1.5), 0.1)

    def _zones(self, side: int) -> None:
        """Fill one side of the street, stretch by stretch."""
        rng, s = self.rng, -BEHIND + 5.0
        names, shares = list(self.style.zones), np.array(list(self.style.zones.values()))
        edge = abs(self.edge[1 if side > 0 else 0])
        while s < self.length - 15:
            name = str(rng.choice(names, p=shares / shares.sum()))
            end = min(s + rng.uniform(22, 75), self.length - 5)
            for a, b in self.section.junctions:
                if s < b + 2 and end > a - 2:
                    if a - 2 - s > 8:
                        end = a - 2
                    else:
                        s, end = b + 2, max(end, b + 20)
            draw = {'blocks': self._blocks, 'houses': self._houses, 'hall': self._hall,
                    'park': self._park, 'woods': self._woods, 'field': self._field,
                    'hedge': self._hedge, 'wall': self._wall, 'building site': self._fence}[name]
            draw(side, s, end, edge + rng.uniform(*self.style.setback))
            s = end + rng.uniform(0, 3)

    def _blocks(self, side: int, s: float, end: float, q: float) -> None:
        rng = self.rng
        height = rng.uniform(8, 24)
        while s < end - 6:
            width = min(rng.uniform(9, 28), end - s)
            depth = rng.uniform(9, 14)
            tall = height * rng.uniform(0.8, 1.2)
            self._front(buildings.block(rng, width, depth, tall), s, width, side, q)
            s += width + (rng.uniform(2, 8) if rng.random() < 0.2 else 0.02)

    def _houses(self, side: int, s: float, end: float, q: float) -> None:
        rng = self.rng
        boundary = rng.choice(['hedge', 'wall', 'fence', 'open'], p=[0.3, 0.2, 0.25, 0.25])
        edge = abs(self.edge[1 if side > 0 else 0]) + 0.3
        if q - edge > 1.5 and boundary != 'open':
            {'hedge': self._hedge, 'wall': self._wall, 'fence': self._fence}[boundary](
                side, s, end, edge, True)
        while s < end - 7:
            width = min(rng.uniform(7, 14), end - s)
            at = q + rng.uniform(0, 1.5)
            self._front(buildings.house(rng, width, rng.uniform(7, 11)), s, width, side, at)
            if q - edge > 2.5:
                for _ in range(rng.integers(0, 4)):
                    where = s + rng.uniform(0, width), side * rng.uniform(edge + 1, q - 0.6)
                    self._tree(*where, rng.uniform(0.35, 0.7)) if rng.random() < 0.3 else (
                        self._bush(*where))
            s += width + rng.choice([0.02, rng.uniform(2.5, 7)])
            for _ in range(rng.integers(0, 2)):
                self._tree(s - 1, side * (q + rng.uniform(8, 18)))

    def _hall(self, side: int, s: float, end: float, q: float) -> None:
        width, depth = end - s - 2, self.rng.uniform(12, 20)
        self._front(buildings.hall(self.rng, width, depth), s, width, side, q + self.rng.uniform(
            2, 10))
        for at in np.arange(s, end, 3.0):
            if self.rng.random() < 0.3:
                self._parked(at, side * (q + 0.5), np.pi / 2)

    def _park(self, side: int, s: float, end: float, q: float) -> None:
        rng = self.rng
        for _ in range(int((end - s) / 5)):
            self._tree(rng.uniform(s, end), side * (q + 1 + rng.exponential(9)))
        for _ in range(int((end - s) / 4)):
            self._bush(rng.uniform(s, end), side * (q + rng.exponential(5)))
        if rng.random() < 0.3:
            self._fence(side, s, end, q - 0.3, True)

    def _woods(self, side: int, s: float, end: float, q: float) -> None:
        rng = self.rng
        for row, gap in ((2.5, 5.5), (7.0, 6.5), (14.0, 9.0)):
            for at in np.arange(s, end, gap):
                self._tree(at + rng.uniform(-2, 2), side * (q + row + rng.uniform(-1.5, 1.5)))
        for at in np.arange(s, end, 2.2):
            self._bush(at + rng.uniform(-1, 1), side * (q + rng.uniform(0, 2)))

    def _field(self, side: int, s: float, end: float, q: float) -> None:
        rng = self.rng
        for _ in range(rng.integers(0, 5)):
            self._bush(rng.uniform(s, end), side * (q + rng.exponential(6)))
        if rng.random() < 0.5:
            for at in np.arange(s, end, rng.uniform(4, 9)):
                self._tree(at, side * rng.uniform(34, 42))

    def _hedge(self, side: int, s: float, end: float, q: float, low: bool = False) -> None:
        rng = self.rng
        height, thick = rng.uniform(0.9, 1.8 if low else 3.0), rng.uniform(0.5, 1.0)
        while s < end - 4:
            length = min(6.0, end - s)
            self._front(scenery.hedge(rng, length, height, thick), s, length, side, q)
            s += length
        if not low:
            self._park(side, s - 10, end, q + 3)

    def _wall(self, side: int, s: float, end: float, q: float, low: bool = False) -> None:
        rng = self.rng
        height = rng.uniform(0.6, 1.6) if low else rng.uniform(1.8, 3.5)
        material = Material.BRICK if rng.random() < 0.5 else Material.PLASTER
        color = buildings.FACADES[rng.integers(len(buildings.FACADES))] * 0.7
        self._ribbon(side, s, end, q, height, Kind.WALL, material, color, 0.25)
        if not low:
            self._park(side, s, end, q + 2)

    def _fence(self, side: int, s: float, end: float, q: float, low: bool = False) -> None:
        rng = self.rng
        height = rng.uniform(0.8, 1.4) if low else rng.uniform(1.6, 2.2)
        color = [(0.05, 0.1, 0.06), (0.3, 0.3, 0.3), (0.6, 0.6, 0.58), (0.14, 0.09, 0.05)][
            rng.integers(4)]
        d, post = [], 2.4
        for at in np.arange(s, end, post):
            self.put(box((0.07, 0.07, height), (0, 0, height / 2), Kind.FENCE, Material.METAL,
                         color), at, side * q)
        slats = rng.random() < 0.5
        if slats:
            for at in np.arange(s, end, rng.uniform(0.13, 0.22)):
                d.append(box((0.07, 0.025, height * 0.95), (0, 0, height * 0.5), Kind.FENCE,
                             Material.PLAIN, color).placed(self.line.at(
                                 at, self.section.hand * side * q, self.kerb),
                                 float(self.line.heading_at(at))))
            if d:
                self.static.append(join(d))
        rails = (0.25, 0.8) if slats else np.arange(0.1, 1.0, 0.2 / height)
        for level in rails:
            self._rod(side * q, s, end, height * level + self.kerb, 0.02, Kind.FENCE, color)
        if not low:
            self._park(side, s, end, q + 3)

    def _rod(self, q, s, end, up, radius, kind, color) -> None:
        at = np.arange(s, end + 0.1, 2.4)
        if len(at) > 1:
            path = self.line.at(at, self.section.hand * q, up)
            self.static.append(tube(path, radius, kind, Material.METAL, color, 4))

    def _ribbon(self, side, s, end, q, height, kind, material, color, thick) -> None:
        """Build a wall along the street."""
        at = np.linspace(s, end, max(2, int((end - s) / 3) + 1))
        hand = self.section.hand * side
        outline = [(q, -0.3), (q, height), (q + thick, height), (q + thick, -0.3)]
        points = np.stack([self.line.at(at, hand * a, b + self.kerb) for a, b in outline])
        level = np.cumsum([0, height + 0.3, thick, height + 0.3])
        uv = np.stack(np.broadcast_arrays(at[None], level[:, None]), axis=-1)
        self.static.append(sheet(points, kind, material, color, uv))
        for e in (0, -1):
            self.static.append(sheet(points[[0, 3]][:, e][None].repeat(2, 0) + np.array(
                [[[0, 0, 0]], [[0, 0, height + 0.3]]]), kind, material, color))

    def _parked(self, s: float, q: float, turn: float = 0.0) -> None:
        rng = self.rng
        draw = rng.random()
        mesh = vehicles.car(rng) if draw < 0.85 else vehicles.van(rng) if draw < 0.95 else (
            vehicles.two_wheeler(rng, draw < 0.97, False))
        flip = np.pi if rng.random() < 0.2 else 0.0
        self.put(mesh, s, q, (0.0 if q > 0 else np.pi) + turn + flip + rng.normal(scale=0.02))

    def _kerbside(self, side: int) -> None:
        """Place what stands between the carriageway and the buildings on one side."""
        rng, style, i = self.rng, self.style, 0 if side > 0 else 1
        kerb = abs(self.section.carriageway[1 if side > 0 else 0])
        end, clear = self.length - 10, self.section.in_junction
        if self.parking[i]:
            density, s = rng.uniform(0.3, 0.95), -BEHIND + 6.0
            while s < end:
                if rng.random() < density and not clear(s, 8):
                    self._parked(s, side * (kerb - 1.1))
                s += rng.uniform(5.3, 6.5)
        stand = kerb + (0.5 if style.kerb else 1.2)
        if rng.random() < 0.85:
            lamp = scenery.street_lamp(rng) if rng.random() < 0.8 else scenery.mast(rng)
            toward = np.pi / 2 * (1 if -side * self.section.hand > 0 else -1)
            for s in np.arange(-BEHIND + rng.uniform(3, 25), end, rng.uniform(18, 42)):
                if not clear(s, 1):
                    self.put(lamp, s, side * stand, toward, sink=0.1)
        room = self.verge[i] + self.pavement[i] > 1.8 or not style.kerb
        if room and rng.random() < style.street_trees:
            for s in np.arange(-BEHIND + rng.uniform(3, 9), end, rng.uniform(6.5, 16)):
                if not clear(s, 3) and rng.random() < 0.9:
                    self._tree(s, side * (stand + rng.uniform(0.2, 0.6) + 1.5 * (not style.kerb)),
                               rng.uniform(0.55, 1.1))
        if rng.random() < style.rail:
            self._guard_rail(side * (kerb + 0.35), -BEHIND + 5, end)
        elif not style.kerb and rng.random() < 0.6:
            for s in np.arange(-BEHIND + 3, end, 25):
                self.put(scenery.bollard(rng), s, side * (kerb + 0.4))
        self._people_and_signs(side, stand, end)

    def _people_and_signs(self, side: int, stand: float, end: float) -> None:
        rng, style, i = self.rng, self.style, 0 if side > 0 else 1
        for _ in range(rng.poisson(end / 28)):
            s = rng.uniform(-20, end)
            facing = np.pi if side > 0 else 0.0
            self.put(scenery.traffic_sign(rng), s, side * stand, facing + rng.normal(scale=0.15),
                     sink=0.1)
        if style.kerb:
            for _ in range(rng.poisson(end / 40)):
                self.put(scenery.bin_or_cabinet(rng), rng.uniform(-20, end), side * (
                    abs(self.edge[1 - i]) + 0.4), np.pi / 2)
        for _ in range(rng.poisson(end * style.people)):
            s, q = rng.uniform(-20, end), side * rng.uniform(stand + 0.3, max(
                stand + 0.6, abs(self.edge[1 - i])))
            if rng.random() < 0.3:
                self.put(scenery.pedestrian(rng), s, q, rng.uniform(0, 6.28))
            else:
                way = rng.choice([-1, 1])
                self.movers.append(Mover(scenery.pedestrian(rng), s, q, way * rng.uniform(
                    0.8, 1.6), 0.0 if way > 0 else np.pi))

    def _guard_rail(self, q: float, s: float, end: float) -> None:
        """Build a W-beam on posts."""
        color = np.array(scenery.GALVANISED) * self.rng.uniform(0.8, 1.6)
        at = np.arange(s, end, 4.0)
        toward = -np.sign(q) if q else 1.0
        profile = [(0.0, 0.45), (0.06, 0.5), (0.06, 0.55), (0.0, 0.6), (0.06, 0.65), (0.06, 0.7),
                   (0.0, 0.75)]
        hand, base = self.section.hand, self.section.height(q)
        points = np.stack([self.line.at(at, hand * (q + toward * a), b + base)
                           for a, b in profile])
        self.static.append(sheet(points, Kind.GUARD_RAIL, Material.METAL, color))
        posts = [box((0.06, 0.1, 0.75), (0, 0, 0.35), Kind.GUARD_RAIL, Material.METAL, color * 0.7)
                 .placed(self.line.at(v, hand * (q - toward * 0.08), base), float(
                     self.line.heading_at(v))) for v in at]
        self.static.append(join(posts))

    def _junction_furniture(self) -> None:
        rng = self.rng
        left, right = self.section.carriageway
        for a, b in self.section.junctions:
            if rng.random() < (0.55 if self.style.kerb else 0.1):
                self.put(scenery.traffic_light(rng), a - 1.5, right + 0.5, np.pi, sink=0.1)
                self.put(scenery.traffic_light(rng), b + 1.5, left - 0.5, 0.0, sink=0.1)
                if rng.random() < 0.5:
                    self.put(scenery.traffic_light(rng), b + 1.5, right + 0.5, np.pi, sink=0.1)
            for side in (1, -1):
                for far in (12, 19, 27):
                    if rng.random() < 0.35:
                        edge = abs(right if side > 0 else left)
                        self._parked((a if rng.random() < 0.5 else b - 2.2) + 1.1, side * (
                            edge + far), np.pi / 2)
        if self.median:
            if rng.random() < 0.7 and not self.style.kerb:
                self._guard_rail(-self.median / 2, -BEHIND + 5, self.length - 10)
            else:
                for s in np.arange(-20, self.length - 10, rng.uniform(8, 20)):
                    if not self.section.in_junction(s, 4):
                        self._tree(s, -self.median / 2, rng.uniform(0.5, 0.9)) if (
                            self.median > 2.5 and rng.random() < 0.6) else self._bush(
                                s, -self.median / 2, 0.5)

    def _distance(self) -> None:
        """Close the view: woods and houses beyond the street's own ground."""
        rng = self.rng
        end = self.line.at(self.length - 5, 0.0)
        heading = float(self.line.heading_at(self.length))
        for _ in range(70):
            reach, turn = rng.uniform(10, 260), heading + rng.normal(scale=0.6)
            at = end + [reach * np.cos(turn), reach * np.sin(turn), -1.2]
            mesh = self.trees[rng.integers(len(self.trees))]
            self.static.append(mesh.placed(at, rng.uniform(0, 6.28), rng.uniform(0.9, 1.5)))
        for _ in range(8):
            reach, turn = rng.uniform(25, 160), heading + rng.normal(scale=0.4)
            at = end + [reach * np.cos(turn), reach * np.sin(turn), -1.0]
            self.static.append(buildings.house(rng, rng.uniform(8, 15), 10.0).placed(
                at, rng.uniform(0, 6.28)))

    def _traffic(self) -> None:
        """Put vehicles into the lanes; a lane has one speed, so nobody runs into another."""
        rng = self.rng
        self.ego_lane = int(rng.integers(0, self.lanes))
        self.ego_q = (self.ego_lane + 0.5) * self.lane
        fast = {'motorway': (18, 30), 'country': (12, 22)}.get(self.style_name, (5, 13))
        self.speed = rng.uniform(*fast)
        jam = rng.random() < 0.12
        gap = (9, 16) if jam else (14, 90)
        for i in range(-self.against, self.lanes):
            own = i == self.ego_lane
            with_us = i >= 0
            q = (i + 0.5) * self.lane - (0 if with_us else self.median)
            speed = self.speed if own else rng.uniform(0.6, 1.3) * self.speed
            speed = speed if with_us else -speed
            s = rng.uniform(*gap) if own else -30 + rng.uniform(0, 20)
            while s < self.length:
                if own and abs(s) < 9:
                    s = 9.0
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
            return vehicles.lorry(rng)
        if draw < heavy + 0.03:
            return vehicles.bus(rng)
        if draw < heavy + 0.12:
            return vehicles.van(rng)
        if draw < heavy + 0.17 and self.style_name != 'motorway':
            return vehicles.two_wheeler(rng, rng.random() < 0.4, True)
        return vehicles.car(rng)
