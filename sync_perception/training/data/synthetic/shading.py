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


"""From hits to light: textures, sun and shadows, sky, reflections, fog."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from sync_perception.training.data.synthetic import noise, surfaces
from sync_perception.training.data.synthetic.mesh import Material
from sync_perception.training.data.synthetic.road import CrossSection
from sync_perception.training.data.synthetic.scene import Scene
from sync_perception.training.data.synthetic.weather import Weather

# Pixels shaded at once: few enough for the arrays to stay in the caches.
CHUNK = 1 << 15


@dataclass
class Rendered:
    """
    What the rays of one image found, pixel by pixel (N of them, row by row).

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
    Renders one scene in one weather.

    :param section: the street's cross-section, for its paint.
    :param wear: 0 new to 1 worn roads.
    :param seed: of the clouds.
    """

    def __init__(self, scene: Scene, weather: Weather, section: CrossSection, wear: float,
                 seed: int):
        self.scene, self.weather, self.section = scene, weather, section
        self.wear, self.seed = wear, seed

    def render(self, directions: np.ndarray, origin: np.ndarray, size: tuple[int, int],
               focal: float, rng: np.random.Generator) -> Rendered:
        """
        Cast an image's rays and shade what they hit.

        :param directions: float32 (H * W, 3), world frame, of length 1 along the optical axis.
        :param origin: float32 (3,), the camera's position.
        :param focal: focal length in pixels.
        """
        count = len(directions)
        hits = [np.empty(count, np.float32), np.empty(count, np.int64),
                np.empty((count, 2), np.float32), np.empty((count, 3), np.float32)]
        sunlit = np.ones(count, np.float32)
        for start in range(0, count, 4 * CHUNK):
            part = slice(start, start + 4 * CHUNK)
            rays = np.empty((len(directions[part]), 6), np.float32)
            rays[:, :3], rays[:, 3:] = origin, directions[part]
            for whole, found in zip(hits, self.scene.cast(rays)):
                whole[part] = found
            sunlit[part] = self._unshadowed(rays, [h[part] for h in hits], rng)
        sunlit = self._soften(sunlit, hits[0], size, focal)
        radiance = np.empty((count, 3), np.float32)
        for start in range(0, count, CHUNK):
            part = slice(start, start + CHUNK)
            radiance[part] = self._light(directions[part], origin, [h[part] for h in hits],
                                         sunlit[part], focal)
        depth, triangle, _, normal = hits
        return Rendered(radiance, depth, triangle, normal)

    def _shading_normals(self, triangle, corner, normal) -> np.ndarray:
        """Return the normals that light sees: interpolated where the mesh has some."""
        smooth = np.flatnonzero(~self.scene.flat[triangle])
        shading = normal.copy()
        corners = self.scene.normals[triangle[smooth]]
        a, b = corner[smooth, :1], corner[smooth, 1:]
        mixed = corners[:, :3] * (1 - a - b) + corners[:, 3:6] * a + corners[:, 6:] * b
        mixed /= np.maximum(np.sqrt(np.einsum('ij,ij->i', mixed, mixed)), 1e-6)[:, None]
        shading[smooth] = mixed
        return shading

    def _unshadowed(self, rays, hits, rng) -> np.ndarray:
        """Return 1 where the sun is in sight, 0 in shadow; undefined where nothing is lit."""
        depth, _, _, normal = hits
        weather = self.weather
        sunlit = np.ones(len(depth), np.float32)
        rows = np.flatnonzero(np.isfinite(depth))
        toward = np.empty((len(rows), 6), np.float32)
        toward[:, :3] = (rays[rows, :3] + rays[rows, 3:] * depth[rows, None]
                         + normal[rows] * np.float32(0.02))
        start = int(rng.integers(noise.GRAIN))
        scatter = noise.grain()[start:start + 3 * len(rows)]
        toward[:, 3:] = weather.sun + np.float32(weather.spread) * scatter.reshape(-1, 3)
        sunlit[rows] -= self.scene.occluded(toward)
        return sunlit

    def _soften(self, sunlit, depth, size, focal) -> np.ndarray:
        """Blur the one-ray estimate of a wide light; the sky does not take part."""
        half = 6 * focal / 725 if self.weather.shadow < 1 else focal / 725
        width = 2 * max(1, round(half)) + 1
        solid = np.isfinite(depth).astype(np.float32).reshape(size)
        total = cv2.blur(sunlit.reshape(size) * solid, (width, width))
        share = cv2.blur(solid, (width, width))
        soft = total / np.maximum(share, 1e-3)
        return (1 - self.weather.shadow * (1 - soft)).astype(np.float32).reshape(-1)

    def _light(self, directions, origin, hits, sunlit, focal) -> np.ndarray:
        """Return the light (N, 3) that arrives at the camera."""
        lengths = np.sqrt(np.einsum('ij,ij->i', directions, directions))
        view = directions / lengths[:, None]
        depth = hits[0]
        solid = np.flatnonzero(np.isfinite(depth))
        if len(solid) == len(depth):
            return self._surface(view, lengths, origin, hits, sunlit, focal)
        radiance = np.empty(view.shape, np.float32)
        sky = np.flatnonzero(np.isinf(depth))
        radiance[sky] = self.weather.sky(view[sky], self.seed)
        if len(solid):
            radiance[solid] = self._surface(view[solid], lengths[solid], origin,
                                            [h[solid] for h in hits], sunlit[solid], focal)
        return radiance

    def _surface(self, view, lengths, origin, hits, sunlit, focal) -> np.ndarray:
        depth, triangle, corner, normal = hits
        scene, weather = self.scene, self.weather
        distance = depth * lengths
        point = origin + view * distance[:, None]
        material, color = scene.material[triangle], scene.color[triangle]
        corners = scene.uv[triangle]
        a, b = corner[:, :1], corner[:, 1:]
        uv = corners[:, :2] * (1 - a - b) + corners[:, 2:4] * a + corners[:, 4:] * b
        part = scene.part[triangle]
        footprint = distance * np.float32(1 / focal)
        grazing = np.abs(np.einsum('ij,ij->i', normal, view))
        mirror = np.zeros(len(depth), np.float32)
        for kind in scene.materials:
            rows = np.flatnonzero(material == kind)
            if len(rows):
                found = surfaces.Hits(point[rows], uv[rows], part[rows], footprint[rows],
                                      grazing[rows])
                color[rows], mirror[rows] = surfaces.shade(
                    kind, found, color[rows], self.section, self.wear)
        if weather.wet:
            road = np.flatnonzero(material == Material.ASPHALT)
            color[road] *= np.float32(1 - 0.45 * weather.wet)
            mirror[road] = np.float32(weather.wet * 0.5) * (1 - grazing[road]) ** 4
        shading = self._shading_normals(triangle, corner, normal)
        cosine = shading @ weather.sun
        leaf = material == Material.LEAVES
        # Leaves scatter: a crown's far side is darker, not black.
        cosine[leaf] = np.float32(0.25) + np.float32(0.75) * cosine[leaf]
        direct = np.maximum(cosine, 0) * sunlit
        light = direct[:, None] * weather.sun_color + weather.ambient(shading[:, 2])
        light[material == Material.LAMP] += np.float32(1.5)
        light *= color
        shiny = np.flatnonzero(mirror > 0.01)
        if len(shiny):
            light[shiny] += mirror[shiny, None] * weather.reflection(
                view[shiny], shading[shiny], sunlit[shiny])
        veil = np.exp(np.float32(-weather.fog) * distance)[:, None]
        light *= veil
        light += (1 - veil) * (weather.horizon * np.float32(0.9))
        return light
