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


"""Albedo of surfaces, one function per material."""

from __future__ import annotations

import numpy as np
from sync_perception.street_world.mesh import Material
from sync_perception.street_world.rendering import noise
from sync_perception.street_world.things.road import CrossSection

SLANTS = {1: np.float32([0.4, 0.9]), 2: np.float32([-0.8, 0.4]), 4: np.float32([0.6, -0.9])}


class Hits:
    """
    The visible points of one material, as flat float32 arrays.

    :param point: (N, 3), metres, world frame.
    :param uv: (N, 2), texture coordinates.
    :param part: int32 (N,), the part of the scene, for random properties of parts.
    :param footprint: (N,), metres that a pixel covers across the line of sight.
    :param grazing: (N,), cosine between the line of sight and the normal.
    """

    def __init__(self, point, uv, part, footprint, grazing):
        self.point, self.uv, self.part = point, uv, part
        self.footprint, self.grazing = footprint, np.maximum(grazing, 0.02)

    def own(self, salt: int) -> np.ndarray:
        """Return a uniform number in [0, 1) for each hit's part."""
        return noise.hashes().take((self.part * 7919 + salt * 104729) & 65535)

    def fade(self, size: float) -> np.ndarray:
        """Return how well a pixel resolves a pattern of `size` metres, 0 to 1."""
        return 1.0 / (1.0 + (self.footprint * (0.7 / size)) ** 2)

    def stain(self, texels: float, seed: int = 1, rough: float = 0.8) -> np.ndarray:
        """Return noise of unit variance with `texels` per unit of the texture coordinates."""
        t = np.float32(texels)
        return noise.look_up(noise.noise_table(seed, rough), self.uv[:, 0] * t, self.uv[:, 1] * t)

    def speckle(self, texels: float, seed: int = 1, rough: float = 0.8) -> np.ndarray:
        """Return noise of unit variance with `texels` per metre of the surface."""
        # A 2D projection has streaks in one direction, which differs between seeds.
        slant_u, slant_v = SLANTS[seed]
        p, t = self.point, np.float32(texels)
        return noise.look_up(noise.noise_table(seed, rough), (p[:, 0] + slant_u * p[:, 2]) * t,
                             (p[:, 1] + slant_v * p[:, 2]) * t)


def fraction(values: np.ndarray) -> np.ndarray:
    """Return the fractional part of values; np.mod is four times slower."""
    return values - np.floor(values)


def band(x: np.ndarray, half: float, blur: np.ndarray) -> np.ndarray:
    """Return a stripe's coverage of pixels of width `blur` at distance x from its centre."""
    low = np.maximum(-half, x - blur * 0.5)
    high = np.minimum(half, x + blur * 0.5)
    return np.clip((high - low) / blur, 0, 1)


def asphalt(hits: Hits, color: np.ndarray, section: CrossSection, wear: float) -> np.ndarray:
    """Return the carriageway: grain, stains, wheel tracks, patches, cracks, paint."""
    s, q = hits.uv[:, 0], hits.uv[:, 1]
    tone = 1 + 0.13 * hits.stain(90, 1, 1.5) * hits.fade(0.02)
    coarse = noise.look_up(noise.noise_table(2, 0.7), s * 9, q * 25)
    tone += 0.07 * coarse * hits.fade(0.3)
    patch = noise.look_up(noise.noise_table(4, 0.5), s * 1.7, q * 6)
    tone += np.where(patch > 1.5, -0.18, 0.05 * patch)
    crack = np.abs(noise.look_up(noise.noise_table(6, 0.62), s * 14, q * 14))
    tone -= 0.3 * wear * (crack < 0.03) * hits.fade(0.05)
    tone += 0.06 * np.cos(q * (4 * np.pi / 3.3))
    result = color * tone[:, None]
    near = (q > section.carriageway[0]) & (q < section.carriageway[1])
    paint = np.zeros(len(s), np.float32)
    across = np.maximum(hits.footprint, 1e-3)
    along = across / hits.grazing
    for line in section.markings:
        cover = band(q - np.float32(line.q), line.width / 2, across)
        if line.dash:
            period = line.dash + line.gap
            phase = period * (fraction(s / np.float32(period)) - np.float32(0.5))
            cover *= band(phase, line.dash / 2, np.minimum(along, period))
        np.maximum(paint, cover, out=paint)
    for a, b in section.junctions:
        paint *= ~((s > a) & (s < b))
    for a, b in section.crossings:
        rows = np.flatnonzero((s > a - 1.5) & (s < b + 0.1) & near)
        stripe = band(fraction(q[rows]) - np.float32(0.5), 0.25, across[rows])
        inside = (s[rows] > a) & (s[rows] < b)
        stop = band(s[rows] - np.float32(a - 1), 0.22, along[rows]) * (q[rows] > 0)
        paint[rows] = np.where(inside, stripe, np.maximum(paint[rows] * 0, stop))
    paint *= near * (1 - wear * np.clip(0.4 + 0.5 * coarse, 0, 1))
    result += paint[:, None] * (np.float32(0.6) - result)
    return result


def paving(hits: Hits, color: np.ndarray) -> np.ndarray:
    """Return slabs with joints."""
    s, q = hits.uv[:, 0], hits.uv[:, 1]
    size = 0.35 + 0.45 * hits.own(1)
    blur = hits.footprint / size + 1e-3
    row = np.floor(q / size)
    x, y = fraction(s / size + 0.5 * row) - 0.5, fraction(q / size) - 0.5
    joint = np.maximum(1 - band(x, 0.475, blur / hits.grazing), 1 - band(y, 0.475, blur))
    slab = noise.hashes().take(
        (np.floor(s / size + 0.5 * row).astype(np.int32) * 131 + row.astype(np.int32) * 523)
        & 65535) - 0.5
    tone = 1 + 0.2 * slab * hits.fade(0.5) - 0.4 * joint * hits.fade(0.2)
    tone += 0.08 * hits.stain(70) * hits.fade(0.03) + 0.06 * hits.stain(5, 2, 0.7)
    return color * tone[:, None]


def grass(hits: Hits, color: np.ndarray) -> np.ndarray:
    """Return meadow: blades, tufts, dry and bare patches."""
    tone = 1 + 0.32 * hits.speckle(55, 1, 1.5) * hits.fade(0.04)
    tone += 0.24 * hits.speckle(9, 2, 1.3) * hits.fade(0.3)
    dry = np.clip(0.35 * hits.speckle(1.3, 4, 0.7) + 0.15, 0, 0.8)[:, None]
    straw = np.float32([0.16, 0.125, 0.055])
    return (color + dry * (straw - color)) * np.maximum(tone, 0.2)[:, None]


def facade(hits: Hits, color: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a wall with windows and its share of mirror reflection, float32 (N,)."""
    u, v = hits.uv[:, 0], hits.uv[:, 1]
    cell_u, cell_v = np.floor(u), np.floor(v)
    x, y = u - cell_u - 0.5, v - cell_v - 0.5
    blur = hits.footprint * 0.36 + 1e-3
    half_x = 0.17 + 0.22 * hits.own(2)
    half_y = 0.22 + 0.17 * hits.own(3)
    ground = (cell_v <= 0) & (hits.own(4) < 0.45)
    half_x = np.where(ground, np.minimum(half_x * 1.5, 0.44), half_x)
    blur_x = blur / hits.grazing
    frame = band(x, half_x + 0.03, blur_x) * band(y, half_y + 0.025, blur)
    pane = band(x, half_x, blur_x) * band(y, half_y, blur)
    cross = np.where(hits.own(5) < 0.6, 1 - band(x, 0.012, blur_x) * 0.9, 1.0)
    low = v < 0
    frame[low], pane[low] = 0, 0
    pane *= cross
    seed = (cell_u.astype(np.int32) * 193 + cell_v.astype(np.int32) * 769 + hits.part * 31)
    window = noise.hashes().take(seed & 65535)
    tone = 1 + 0.035 * hits.stain(130) * hits.fade(0.05) + 0.06 * hits.stain(8, 2, 0.75)
    tone -= 0.12 * np.clip(0.4 - v, 0, 0.4)
    plinth = (v < 0.22) & (hits.own(6) < 0.6)
    tone = np.where(plinth, tone * 0.62, tone)
    ledge = band(y + 0.48, 0.02, blur) * (hits.own(7) < 0.4)
    tone *= 1 - 0.25 * ledge
    result = color * tone[:, None]
    trim = np.where((hits.own(8) < 0.6)[:, None], np.float32([0.6, 0.6, 0.58]), color * 0.55)
    result += frame[:, None] * (trim - result)
    curtain = np.clip((window - 0.55) * 2.2, 0, 1) * (y > (fraction(window * 7) - 0.7) * half_y)
    inside = np.float32([0.02, 0.022, 0.026]) + (curtain * 0.28)[:, None]
    shutter = (hits.own(9) < 0.5) & (fraction(window * 13) < 0.25)
    inside[shutter] = np.float32([0.35, 0.34, 0.31])
    inside *= np.clip(0.5 + (half_y - y) * 5, 0.5, 1)[:, None]
    result += pane[:, None] * (inside - result)
    glint = pane * (0.08 + 0.5 * (1 - hits.grazing) ** 3) * ~shutter
    return result, glint


def brick(hits: Hits, color: np.ndarray) -> np.ndarray:
    """Return brickwork."""
    height, length = 0.08, 0.26
    z = hits.point[:, 2]
    row = np.floor(z / height)
    along = (hits.point[:, 0] + hits.point[:, 1]) / length + 0.5 * row
    blur = hits.footprint / height + 1e-3
    joint = np.maximum(1 - band(z / height - row - 0.5, 0.42, blur),
                       1 - band(fraction(along) - 0.5, 0.46, blur * 0.3))
    tone = noise.hashes().take((np.floor(along).astype(np.int32) * 37 + row.astype(np.int32) * 911)
                               & 65535)
    tone = 0.75 + 0.5 * tone * hits.fade(0.2) + 0.35 * joint * hits.fade(0.08)
    return color * (tone + 0.06 * hits.stain(4, 2))[:, None]


def tiles(hits: Hits, color: np.ndarray) -> np.ndarray:
    """Return a roof's rows of tiles."""
    v = hits.uv[:, 1] / 0.33
    shade = fraction(v)
    tone = 1 + (0.35 * (shade - 0.5)) * hits.fade(0.2)
    tone += 0.1 * hits.stain(14, 1, 0.9) * hits.fade(0.2) + 0.08 * hits.stain(1.5, 2)
    return color * tone[:, None]


def bark(hits: Hits, color: np.ndarray) -> np.ndarray:
    """Return bark: streaks along the trunk."""
    p = hits.point
    streak = noise.look_up(noise.noise_table(1, 0.9), (p[:, 0] + p[:, 1]) * 120, p[:, 2] * 25)
    return color * np.maximum(1 + 0.4 * streak * hits.fade(0.03), 0.15)[:, None]


def foliage(hits: Hits, color: np.ndarray) -> np.ndarray:
    """Return leaves: light and dark between them, down to the size of a leaf."""
    # Gaps between clumps and between leaves are dark, what sticks out is bright.
    clump = hits.speckle(4, 2, 1.3) * hits.fade(0.5)
    leaf = hits.speckle(45, 1, 1.5) * hits.fade(0.04)
    twig = hits.speckle(13, 4, 1.4) * hits.fade(0.15)
    tone = np.exp(0.42 * clump + 0.38 * leaf + 0.45 * twig - 0.15)
    return color * np.clip(tone, 0.12, 2.6)[:, None]


def rough(hits: Hits, color: np.ndarray, amount: float) -> np.ndarray:
    """Return a plain surface with some dirt."""
    tone = 1 + amount * (hits.stain(45) * hits.fade(0.04) + hits.stain(3, 2, 0.75))
    return color * np.maximum(tone, 0.1)[:, None]


def sign_face(hits: Hits, color: np.ndarray) -> np.ndarray:
    """Return a sign's face with a few strokes on it."""
    x, y = hits.uv[:, 0], hits.uv[:, 1]
    stroke = np.sin((3 + 5 * hits.own(1)) * x + 6 * hits.own(2)) * np.sin(
        (2 + 6 * hits.own(3)) * y + 6 * hits.own(4))
    ink = (np.abs(x) < 0.75) & (np.abs(y) < 0.7) & (stroke > 0.35)
    bright = color.mean(axis=1) > 0.3
    tint = np.where(bright, np.float32(0.03), np.float32(0.7))
    return np.where(ink[:, None], tint[:, None], color)


def shade(material: Material, hits: Hits, color: np.ndarray,
          section: CrossSection, wear: float) -> tuple[np.ndarray, np.ndarray | float]:
    """Return the albedo (N, 3) and the share of mirror reflection."""
    if material == Material.ASPHALT:
        return asphalt(hits, color, section, wear), 0.0
    if material == Material.PAVING:
        return paving(hits, color), 0.0
    if material in (Material.GRASS, Material.SOIL):
        return grass(hits, color), 0.0
    if material == Material.FACADE:
        return facade(hits, color)
    if material == Material.BRICK:
        return brick(hits, color), 0.0
    if material == Material.TILES:
        return tiles(hits, color), 0.0
    if material == Material.BARK:
        return bark(hits, color), 0.0
    if material == Material.LEAVES:
        return foliage(hits, color), 0.0
    if material == Material.SIGN:
        return sign_face(hits, color), 0.0
    if material == Material.PAINT:
        return color, 0.05 + 0.6 * (1 - hits.grazing) ** 4
    if material == Material.GLASS:
        return color, 0.07 + 0.75 * (1 - hits.grazing) ** 4
    if material == Material.METAL:
        return rough(hits, color, 0.05), 0.1
    return rough(hits, color, 0.09 if material == Material.PLASTER else 0.05), 0.0
