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


"""Road: centre line, cross-section, and the ground swept along the line."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sync_perception.street_world.mesh import Kind, Material, Mesh, sheet

BEHIND = 40.0
SIDE_STREET = 45.0


class CentreLine:
    """
    A smooth curve over the ground, sampled every metre; s is the length along it in metres.

    :param rng: random generator of bends and slopes.
    :param length: metres after s = 0; the line also reaches `BEHIND` metres back.
    :param winding: 0 for straight roads, 1 for the tightest bends (radius 70 m).
    :param slope: largest gradient, metres per metre.
    """

    def __init__(self, rng: np.random.Generator, length: float, winding: float, slope: float):
        count = int(length + BEHIND) + 1
        self.s = np.arange(count) - BEHIND
        curvature = _pieces(rng, count, (25, 110)) * winding / 70
        curvature = _smooth(curvature, 25)
        heading = np.cumsum(curvature)
        heading -= np.interp(0, self.s, heading)
        # With bends beyond a right angle, the road could cross itself.
        limit = 1.2
        heading = limit * np.tanh(heading / limit)
        gradient = _smooth(_pieces(rng, count, (40, 150)) * slope, 40)
        self.heading = heading
        self.x = self._integrate(np.cos(heading))
        self.y = self._integrate(np.sin(heading))
        self.z = self._integrate(gradient)

    def _integrate(self, rate: np.ndarray) -> np.ndarray:
        total = np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
        return total - np.interp(0, self.s, total)

    def at(self, s, d, up=0.0) -> np.ndarray:
        """
        Return the points `d` metres left of the line and `up` metres above it.

        :return: float64 (..., 3), metres in the world, z up.
        """
        heading = self.heading_at(s)
        x = np.interp(s, self.s, self.x) - np.sin(heading) * d
        y = np.interp(s, self.s, self.y) + np.cos(heading) * d
        z = np.interp(s, self.s, self.z) + up
        return np.stack(np.broadcast_arrays(x, y, z), axis=-1)

    def heading_at(self, s) -> np.ndarray:
        """Return the direction of the line in radians, anticlockwise from the world's x."""
        return np.interp(s, self.s, self.heading)


def _pieces(rng: np.random.Generator, count: int, lengths: tuple[float, float]) -> np.ndarray:
    """Draw a piecewise constant signal in [-1, 1] that is zero about half of the time."""
    signal = np.zeros(count)
    at = 0
    while at < count:
        run = int(rng.uniform(*lengths))
        signal[at:at + run] = rng.uniform(-1, 1) * (rng.random() < 0.55)
        at += run
    return signal


def _smooth(signal: np.ndarray, width: int) -> np.ndarray:
    padded = np.pad(signal, width, mode='edge')
    kernel = np.hanning(2 * width + 1)
    return np.convolve(padded, kernel / kernel.sum(), mode='valid')[:len(signal)]


@dataclass
class Strip:
    """A band of the cross-section, from the previous strip's edge to `edge` metres right."""

    edge: float
    height: float
    kind: Kind
    material: Material
    color: tuple[float, float, float]


@dataclass
class Marking:
    """A painted line at `q` metres from the centre line; dash 0 is an unbroken line."""

    q: float
    width: float = 0.12
    dash: float = 0.0
    gap: float = 0.0


@dataclass
class CrossSection:
    """
    Cross-section of a street; q is metres to the driving side, d = hand * q.

    :param hand: -1 for right-hand traffic, +1 for left-hand traffic.
    :param strips: from the far left end in q to the far right end.
    :param start: q where the first strip begins.
    :param junctions: (s0, s1) where a side street opens.
    :param crossings: (s0, s1) of zebra crossings.
    :param carriageway: (q0, q1) of the road's surface, including hard shoulders and parking.
    """

    hand: int
    start: float
    strips: list[Strip]
    carriageway: tuple[float, float]
    markings: list[Marking] = field(default_factory=list)
    junctions: list[tuple[float, float]] = field(default_factory=list)
    crossings: list[tuple[float, float]] = field(default_factory=list)

    def height(self, q: float) -> float:
        """Return the height of the ground above the centre line at q."""
        for strip in self.strips:
            if q <= strip.edge:
                return strip.height
        return self.strips[-1].height

    def in_junction(self, s: float, margin: float = 0.0) -> bool:
        """Return whether a side street opens at s, or within `margin` metres of it."""
        return any(a - margin < s < b + margin for a, b in self.junctions)


def sweep(line: CentreLine, section: CrossSection, asphalt: np.ndarray) -> Mesh:
    """
    Sweep the cross-section along the line: carriageway, kerbs, pavements, verges, side streets.

    :return: a mesh whose texture coordinates are (s, q) in metres.
    """
    q, heights, bands = [section.start], [section.strips[0].height], []
    for strip in section.strips:
        if strip.height != heights[-1]:
            q.append(q[-1] + 0.01)
            heights.append(strip.height)
            bands.append(Strip(q[-1], 0, strip.kind if strip.height > heights[-2] else bands[-1]
                               .kind, Material.CONCRETE, (0.3, 0.29, 0.27)))
        q.append(strip.edge)
        heights.append(strip.height)
        bands.append(strip)
    q, heights = np.array(q), np.array(heights)
    edges = [e for a, b in section.junctions for e in (a, a + 0.01, b - 0.01, b)]
    s = np.unique(np.concatenate([np.arange(line.s[0], line.s[-1], 2.0), edges]))
    middle = (s[1:] + s[:-1]) / 2
    open_row = np.array([section.in_junction(v) for v in s])
    open_band = np.array([section.in_junction(v) for v in middle])
    d = section.hand * q
    up = np.where(open_row[:, None], 0.0, heights[None])
    points = line.at(s[:, None], d[None], up)
    kind = np.broadcast_to([b.kind for b in bands], (len(middle), len(bands))).copy()
    material = np.broadcast_to([b.material for b in bands], kind.shape).copy()
    color = np.broadcast_to([b.color for b in bands], (*kind.shape, 3)).copy()
    kind[open_band], material[open_band], color[open_band] = Kind.ROAD, Material.ASPHALT, asphalt
    uv = np.stack(np.broadcast_arrays(s[:, None], q[None]), axis=-1)
    return sheet(points, kind, material, color, uv)


def hills(rng: np.random.Generator, line: CentreLine, height: float, color) -> Mesh:
    """
    Make the surrounding terrain: below the road's own ground near it, hills further off.

    :param height: height of the highest hills, metres.
    """
    cell, reach = 25.0, 900.0
    x = np.arange(line.x.min() - reach, line.x.max() + reach, cell)
    y = np.arange(line.y.min() - reach, line.y.max() + reach, cell)
    grid = np.stack(np.meshgrid(x, y, indexing='ij'), axis=-1)
    knots = np.stack([line.x, line.y], axis=-1)[::8]
    squared = ((grid[:, :, None] - knots) ** 2).sum(axis=-1)
    nearest = squared.argmin(axis=-1)
    distance = np.sqrt(squared.min(axis=-1))
    waves = rng.normal(size=(5, 2)) / 260
    relief = sum(np.sin(grid @ w + rng.uniform(0, 6.28)) for w in waves) / 2.2
    rise = np.clip((distance - 110) / 500, 0, 1)
    z = line.z[::8][nearest] - 1.2 + height * rise * (0.45 + 0.55 * relief)
    points = np.concatenate([grid, z[..., None]], axis=-1)
    # Hillsides are mostly wooded.
    climb = height * rise * (0.45 + 0.55 * relief)
    wooded = (climb[:-1, :-1] > 6) & (rng.random() < 0.75)
    kind = np.where(wooded, Kind.TREE, Kind.TERRAIN)
    material = np.where(wooded, Material.LEAVES, Material.GRASS)
    tint = np.where(wooded[..., None], np.array([0.05, 0.075, 0.025]), color)
    return sheet(points, kind, material, tint, grid)
