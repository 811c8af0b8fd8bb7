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


"""Shading of ray hits: textures, sun and shadows, sky, reflections, fog."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
import os

import cv2
import numpy as np
from sync_perception.street_world.mesh import Material
from sync_perception.street_world.rendering import noise, surfaces
from sync_perception.street_world.rendering.weather import Weather
from sync_perception.street_world.scene import Scene
from sync_perception.street_world.things.road import CrossSection

# Pixels shaded at once, so that the arrays fit into the caches.
CHUNK = 1 << 15


@dataclass
class Rendered:
    """
    Ray-casting result of one image, for N pixels in row-major order.

    :param radiance: float32 (N, 3), linear light.
    :param depth: float32 (N,), metres along z, inf in the sky.
    :param triangle: int64 (N,), meaningless in the sky.
    :param normal: float32 (N, 3), unit, world frame, towards the camera.
    """

    radiance: np.ndarray
    depth: np.ndarray
    triangle: np.ndarray
    normal: np.ndarray


def turned(vectors: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rotate float32 (N, 3) vectors; a BLAS product of this shape is several times slower."""
    return cv2.transform(vectors[:, None], np.ascontiguousarray(rotation))[:, 0]


class Shader:
    """
    Renderer of one scene in one weather.

    :param section: the street's cross-section, for its paint.
    :param wear: 0 new to 1 worn roads.
    :param seed: random seed of the clouds.
    """

    def __init__(self, scene: Scene, weather: Weather, section: CrossSection, wear: float,
                 seed: int):
        self.scene, self.weather, self.section = scene, weather, section
        self.wear, self.seed = wear, seed

    def render(self, directions: np.ndarray, lengths: np.ndarray, origin: np.ndarray,
               size: tuple[int, int], focal: float, rng: np.random.Generator) -> Rendered:
        """
        Cast an image's rays and shade what they hit.

        :param directions: float32 (H * W, 3), world frame, of length 1 along the optical axis.
        :param lengths: float32 (H * W,), lengths of the directions.
        :param origin: float32 (3,), the camera's position.
        :param focal: focal length in pixels.
        :param rng: draws the directions of soft shadows.
        """
        count = len(directions)
        hits = [np.empty(count, np.float32), np.empty(count, np.int64),
                np.empty((count, 2), np.float32), np.empty((count, 3), np.float32)]
        sunlit, tested = np.zeros(count, np.float32), np.zeros(count, np.float32)
        for part in _slices(count, 4 * CHUNK):
            rays = np.empty((len(directions[part]), 6), np.float32)
            rays[:, :3], rays[:, 3:] = origin, directions[part]
            found = self.scene.cast(rays)
            for whole, piece in zip(hits, found):
                whole[part] = piece
            self._see_sun(rays, found, sunlit[part], tested[part], rng)
        sunlit = self._soften(sunlit, tested, size, focal)
        radiance = np.empty((count, 3), np.float32)

        def light(part: slice) -> None:
            radiance[part] = self._light(
                directions[part], lengths[part], origin, [h[part] for h in hits], sunlit[part],
                focal)

        # NumPy releases the GIL: two threads are nearly twice as fast.
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            list(pool.map(light, _slices(count, CHUNK)))
        return Rendered(radiance, hits[0], hits[1], hits[3])

    def _see_sun(self, rays, found, sunlit, tested, rng) -> None:
        """Set `tested` to 1 on surfaces facing the sun, and `sunlit` there to its visibility."""
        depth, triangle, _, normal = found
        weather = self.weather
        # Leaves let light through, so their far side counts as well.
        towards = (normal @ weather.sun > 0) | ~self.scene.flat.take(triangle, mode='clip')
        rows = np.flatnonzero(towards & np.isfinite(depth))
        toward = np.empty((len(rows), 6), np.float32)
        chosen = rays.take(rows, axis=0)
        toward[:, :3] = chosen[:, :3] + chosen[:, 3:] * depth.take(rows)[:, None]
        toward[:, :3] += normal.take(rows, axis=0) * np.float32(0.02)
        start = int(rng.integers(noise.GRAIN))
        scatter = noise.grain()[start:start + 3 * len(rows)]
        toward[:, 3:] = weather.sun + np.float32(weather.spread) * scatter.reshape(-1, 3)
        tested[rows] = 1
        sunlit[rows] = ~self.scene.occluded(toward)

    def _soften(self, sunlit, tested, size, focal) -> np.ndarray:
        """Average the single-ray estimates of soft shadows over tested neighbours."""
        half = 6 * focal / 725 if self.weather.shadow < 1 else focal / 725
        width = 2 * max(1, round(half)) + 1
        total = cv2.blur(sunlit.reshape(size), (width, width))
        share = cv2.blur(tested.reshape(size), (width, width))
        soft = total / np.maximum(share, np.float32(1e-3))
        return (1 - np.float32(self.weather.shadow) * (1 - soft)).reshape(-1)

    def _light(self, directions, lengths, origin, hits, sunlit, focal) -> np.ndarray:
        """Return the light (N, 3) that arrives at the camera."""
        view = directions / lengths[:, None]
        depth = hits[0]
        solid = np.flatnonzero(np.isfinite(depth))
        if len(solid) == len(depth):
            return self._surface(view, lengths, origin, hits, sunlit, focal)
        radiance = np.empty(view.shape, np.float32)
        sky = np.flatnonzero(np.isinf(depth))
        radiance[sky] = self.weather.sky(view.take(sky, axis=0), self.seed)
        if len(solid):
            radiance[solid] = self._surface(
                view.take(solid, axis=0), lengths.take(solid), origin,
                [h.take(solid, axis=0) for h in hits], sunlit.take(solid), focal)
        return radiance

    def _surface(self, view, lengths, origin, hits, sunlit, focal) -> np.ndarray:
        """Return the light (N, 3) that surfaces send to the camera."""
        depth, triangle, corner, normal = hits
        weather = self.weather
        distance = depth * lengths
        grazing = np.abs(np.einsum('ij,ij->i', normal, view))
        material = self.scene.material.take(triangle)
        color, mirror = self._paint(material, triangle, corner, origin + view * distance[:, None],
                                    distance * np.float32(1 / focal), grazing)
        shading = self._shading_normals(triangle, corner, normal)
        cosine = shading @ weather.sun
        leaf = np.flatnonzero(material == Material.LEAVES)
        # Leaves scatter: a crown's far side is darker, not black.
        cosine[leaf] = np.float32(0.25) + np.float32(0.75) * cosine[leaf]
        direct = np.maximum(cosine, 0) * sunlit
        light = weather.ambient(shading[:, 2])
        light += direct[:, None] * weather.sun_color
        light[material == Material.LAMP] += np.float32(1.5)
        light *= color
        shiny = np.flatnonzero(mirror > 0.01)
        if len(shiny):
            light[shiny] += mirror[shiny, None] * weather.reflection(
                view.take(shiny, axis=0), shading.take(shiny, axis=0), sunlit.take(shiny))
        veil = np.exp(np.float32(-weather.fog) * distance)[:, None]
        light *= veil
        light += (1 - veil) * (weather.horizon * np.float32(0.9))
        return light

    def _paint(self, material, triangle, corner, point, footprint, grazing):
        """Return the albedo (N, 3) and the share of mirror reflection (N,)."""
        looks, weather = self.scene.looks.take(triangle, axis=0), self.weather
        color = np.ascontiguousarray(looks[:, :3])
        a, b = corner[:, 0], corner[:, 1]
        c = 1 - a - b
        uv = np.empty((len(a), 2), np.float32)
        for i in (0, 1):
            uv[:, i] = looks[:, 3 + i] * c + looks[:, 5 + i] * a + looks[:, 7 + i] * b
        part = self.scene.part.take(triangle)
        mirror = np.zeros(len(a), np.float32)
        for kind in self.scene.materials:
            rows = np.flatnonzero(material == kind)
            if len(rows):
                found = surfaces.Hits(*(values.take(rows, axis=0) for values in (
                    point, uv, part, footprint, grazing)))
                color[rows], mirror[rows] = surfaces.shade(
                    kind, found, color.take(rows, axis=0), self.section, self.wear)
        if weather.wet:
            road = np.flatnonzero(material == Material.ASPHALT)
            color[road] *= np.float32(1 - 0.45 * weather.wet)
            mirror[road] = np.float32(weather.wet * 0.5) * (1 - grazing[road]) ** 4
        return color, mirror

    def _shading_normals(self, triangle, corner, normal) -> np.ndarray:
        """Return the shading normals: interpolated if the mesh has vertex normals."""
        smooth = np.flatnonzero(~self.scene.flat.take(triangle))
        shading = normal.copy()
        corners = self.scene.normals.take(triangle.take(smooth), axis=0)
        a, b = corner[smooth, :1], corner[smooth, 1:]
        mixed = corners[:, :3] * (1 - a - b) + corners[:, 3:6] * a + corners[:, 6:] * b
        mixed /= np.maximum(np.sqrt(np.einsum('ij,ij->i', mixed, mixed)), 1e-6)[:, None]
        shading[smooth] = mixed
        return shading


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]
