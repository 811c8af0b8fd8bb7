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


"""Site of a street: centre line, cross-section, and placement of objects."""

from __future__ import annotations

import numpy as np
from sync_perception.street_world import pool
from sync_perception.street_world.mesh import box, Kind, Material, Mesh, sheet, tube
from sync_perception.street_world.pool import pick
from sync_perception.street_world.things import scenery, vehicles
from sync_perception.street_world.things.road import CentreLine, CrossSection

THICKNESS = 0.25
"""Thickness of walls, metres."""


class Site:
    """
    Builder of a list of meshes along a road.

    Positions are (s, q): metres along the centre line, and metres from it to the driving side. A
    `side` is the sign of q.

    :param rng: random generator.
    :param line: the centre line.
    :param section: the cross-section.
    :param edges: |q| of the properties' front, by side: {1: ..., -1: ...}.
    :param length: s where the street ends.
    """

    def __init__(self, rng: np.random.Generator, line: CentreLine, section: CrossSection,
                 edges: dict[int, float], length: float):
        self.rng, self.line, self.section = rng, line, section
        self.edges, self.length = edges, length
        self.meshes: list[Mesh] = []
        plants = [pick(rng, scenery.tree) for _ in range(6)]
        self.trees = [near for near, _ in plants]
        self.far_trees = [far for _, far in plants]
        self.bushes = [pick(rng, scenery.bush) for _ in range(5)]

    def point(self, s, q, up=0.0) -> np.ndarray:
        """Return the world's coordinates (..., 3) of (s, q), `up` metres over the road."""
        return self.line.at(s, self.section.hand * np.asarray(q), up)

    def heading(self, s: float) -> float:
        """Return the street's direction in radians."""
        return float(self.line.heading_at(s))

    def ground(self, s: float, q: float) -> float:
        """Return the ground's height over the centre line."""
        return 0.0 if self.section.in_junction(s) else self.section.height(q)

    def placed(self, mesh: Mesh, s: float, q: float, yaw: float = 0.0, scale=1.0, sink=0.0
               ) -> Mesh:
        """Return a mesh at (s, q) on the ground, rotated by `yaw` from the street's direction."""
        position = self.point(s, q, self.ground(s, q) - sink)
        return mesh.placed(position, self.heading(s) + yaw, scale)

    def put(self, mesh: Mesh, s: float, q: float, yaw: float = 0.0, scale=1.0, sink=0.0) -> None:
        """Place a mesh at (s, q), `sink` metres in the ground."""
        self.meshes.append(self.placed(mesh, s, q, yaw, scale, sink))

    def front(self, mesh: Mesh, s: float, width: float, side: int, q: float) -> None:
        """Place a mesh, whose front is at y = 0, at |q|, from s to s + width along the street."""
        left = side * self.section.hand > 0
        self.put(mesh, s if left else s + width, side * q, 0.0 if left else np.pi)

    def facing(self, side: int) -> float:
        """Return the yaw of an object that faces the road from a side."""
        return np.pi / 2 * (1 if -side * self.section.hand > 0 else -1)

    def tree(self, s: float, q: float, scale: float | None = None, far: bool = False) -> None:
        """Place a tree; `far` ones are coarser."""
        kinds = self.far_trees if far else self.trees
        self.put(kinds[self.rng.integers(len(kinds))], s, q, self.rng.uniform(0, 6.28),
                 scale or self.rng.uniform(0.7, 1.25), 0.1)

    def bush(self, s: float, q: float, scale: float | None = None) -> None:
        """Plant a bush."""
        self.put(self.bushes[self.rng.integers(len(self.bushes))], s, q,
                 self.rng.uniform(0, 6.28), scale or self.rng.uniform(0.6, 1.5), 0.1)

    def park(self, s: float, q: float, turn: float = 0.0) -> None:
        """Park a car, a van or a two-wheeler."""
        rng, draw = self.rng, self.rng.random()
        mesh = pick(rng, vehicles.car if draw < 0.83 else vehicles.van if draw < 0.93 else (
            pool.MOTORCYCLE if draw < 0.96 else pool.BICYCLE))
        flip = np.pi if rng.random() < 0.2 else 0.0
        self.put(mesh, s, q, (0.0 if q > 0 else np.pi) + turn + flip + rng.normal(scale=0.02))

    def rod(self, q: float, s: float, end: float, up: float, radius: float, kind: Kind, color
            ) -> None:
        """Place a rod along the street."""
        at = np.arange(s, end + 0.1, 2.4)
        if len(at) > 1:
            self.meshes.append(tube(self.point(at, q, up), radius, kind, Material.METAL, color, 4))

    def wall(self, side: int, s: float, end: float, q: float, height: float, material: Material,
             color) -> None:
        """Build a wall along the street."""
        at = np.linspace(s, end, max(2, int((end - s) / 3) + 1))
        base = self.section.height(side * q)
        outline = [(q, -0.3), (q, height), (q + THICKNESS, height), (q + THICKNESS, -0.3)]
        points = np.stack([self.point(at, side * a, b + base) for a, b in outline])
        level = np.cumsum([0, height + 0.3, THICKNESS, height + 0.3])
        uv = np.stack(np.broadcast_arrays(at[None], level[:, None]), axis=-1)
        self.meshes.append(sheet(points, Kind.WALL, material, color, uv))
        for end_points in (points[:, 0], points[:, -1]):
            self.meshes.append(sheet(end_points[[[0, 3], [1, 2]]], Kind.WALL, material, color))

    def guard_rail(self, q: float, s: float, end: float) -> None:
        """Build a W-beam on posts, its beam towards the carriageway."""
        color = np.array(scenery.GALVANISED) * self.rng.uniform(0.8, 1.6)
        at, base = np.arange(s, end, 4.0), self.section.height(q)
        toward = -np.sign(q)
        profile = [(0.0, 0.45), (0.06, 0.5), (0.06, 0.55), (0.0, 0.6), (0.06, 0.65), (0.06, 0.7),
                   (0.0, 0.75)]
        points = np.stack([self.point(at, q + toward * a, b + base) for a, b in profile])
        self.meshes.append(sheet(points, Kind.GUARD_RAIL, Material.METAL, color))
        post = box((0.06, 0.1, 0.75), (0, 0, 0.35), Kind.GUARD_RAIL, Material.METAL, color * 0.7)
        for v in at:
            self.put(post, v, q - toward * 0.08)
