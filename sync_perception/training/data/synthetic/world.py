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


"""A street that can be driven through: ray casting, shading, and everything exact about it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sync_perception.geometry import pixel_rays
from sync_perception.labels import LabelSpace
from sync_perception.training.data.synthetic import noise, surfaces
from sync_perception.training.data.synthetic.layout import Layout
from sync_perception.training.data.synthetic.mesh import join, Kind, Material, Mesh
from sync_perception.training.data.synthetic.weather import Weather
from sync_perception.types import Frame

KITTI_SIZE = (375, 1242)
KITTI_K = np.array([[725.0087, 0, 620.5], [0, 725.0087, 187.0], [0, 0, 1]])
RATE = 10.0
THINGS = (Kind.PERSON, Kind.RIDER, Kind.CAR, Kind.VAN, Kind.TRUCK, Kind.BUS, Kind.MOTORCYCLE,
          Kind.BICYCLE)
# Kind -> (class of `driving`, class of `vkitti2`); None is void.
CLASSES: dict[Kind, tuple[str | None, str]] = {
    Kind.ROAD: ('road', 'Road'), Kind.SIDEWALK: ('sidewalk', 'Terrain'),
    Kind.BUILDING: ('building', 'Building'), Kind.WALL: ('wall', 'Building'),
    Kind.FENCE: ('fence', 'GuardRail'), Kind.POLE: ('pole', 'Pole'),
    Kind.TRAFFIC_LIGHT: ('traffic light', 'TrafficLight'),
    Kind.TRAFFIC_SIGN: ('traffic sign', 'TrafficSign'), Kind.TREE: ('vegetation', 'Tree'),
    Kind.VEGETATION: ('vegetation', 'Vegetation'), Kind.TERRAIN: ('terrain', 'Terrain'),
    Kind.SKY: ('sky', 'Sky'), Kind.PERSON: ('person', 'Misc'), Kind.RIDER: ('rider', 'Misc'),
    Kind.CAR: ('car', 'Car'), Kind.VAN: ('car', 'Van'), Kind.TRUCK: ('truck', 'Truck'),
    Kind.BUS: ('bus', 'Truck'), Kind.MOTORCYCLE: ('motorcycle', 'Misc'),
    Kind.BICYCLE: ('bicycle', 'Misc'), Kind.GUARD_RAIL: ('guard rail', 'GuardRail'),
    Kind.MISC: (None, 'Misc')}


@dataclass(frozen=True)
class SyntheticFrame:
    """
    One rendered camera image with everything that is known about it.

    :param frame: the image, its intrinsics, its stamp (10 Hz) and its frame id.
    :param depth: float32 (H, W), metres along z, inf in the sky.
    :param labels: uint8 (H, W), ids of `driving`, 255 void.
    :param kinds: uint8 (H, W), values of `Kind`.
    :param normals: float32 (H, W, 3), unit normals towards the camera, optical frame, NaN in the
        sky.
    :param instances: int32 (H, W), 0 where there is no person or vehicle.
    :param world_T_camera: float64 (4, 4), the camera's pose; the world's z points up.
    """

    frame: Frame
    depth: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray
    normals: np.ndarray
    instances: np.ndarray
    world_T_camera: np.ndarray


def default_intrinsics(size: tuple[int, int]) -> np.ndarray:
    """Return Virtual KITTI's intrinsics for an image of this size: the same horizontal view."""
    height, width = size
    focal = KITTI_K[0, 0] * width / KITTI_SIZE[1]
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def class_table(space: str) -> np.ndarray:
    """Return uint8 (256,) from `Kind` to the ids of `driving` or `vkitti2`."""
    labels = LabelSpace.load(space)
    column = ('driving', 'vkitti2').index(space)
    table = np.full(256, labels.void, np.uint8)
    for kind, names in CLASSES.items():
        if names[column] is not None:
            table[kind] = labels.index(names[column])
    return table


class StreetWorld:
    """
    A street of its own for every seed.

    :param seed: decides everything; with the weather named, everything but the weather.
    :param size: height and width of the images.
    :param K: float64 (3, 3), intrinsics in pixels; None keeps Virtual KITTI's view.
    :param weather: one of `weather.WEATHERS`; None draws one.
    :param frames: how many frames long the drive is; later indices start over.
    :param camera_height: metres above the road.
    :param pitch: radians that the camera looks down on average.
    """

    def __init__(self, seed: int, size: tuple[int, int] = KITTI_SIZE, K: np.ndarray | None = None,
                 weather: str | None = None, frames: int = 200, camera_height: float = 1.65,
                 pitch: float = 0.0):
        self.seed, self.size, self.frames = seed, size, frames
        self.K = default_intrinsics(size) if K is None else np.asarray(K, np.float64)
        self.weather = Weather.draw(seed, weather)
        self.layout = Layout(seed, travel=frames * 1.2)
        rng = np.random.default_rng([seed, 31])
        self.camera_height, self.pitch = camera_height, pitch
        self.sway = rng.uniform(0.2, 1, 4), rng.uniform(0, 6.28, 4), rng.uniform(0.02, 0.09, 4)
        self.wear = rng.uniform(0, 1)
        self.step = min(self.layout.speed / RATE, 1.2)
        self.rays = pixel_rays(self.K, size).reshape(-1, 3)
        self._build()

    def _build(self) -> None:
        import open3d as o3d
        movers = [m.mesh for m in self.layout.movers]
        parts = self.layout.static + movers
        self.part = np.repeat(np.arange(1, len(parts) + 1), [len(p) for p in parts]).astype(
            np.int32)
        everything = join(parts)
        still = join(self.layout.static)
        self.still = len(still)
        self.scene = o3d.t.geometry.RaycastingScene()
        self.scene.add_triangles(still.vertices, still.triangles.astype(np.uint32))
        self.moving = join(movers) if movers else None
        self.material, self.kind = everything.material, everything.kind
        self.color = everything.color
        self.uv = everything.uv[everything.triangles].reshape(-1, 6)
        self.shading = everything.shading
        self.plain = np.isnan(everything.shading[:, 0])
        self.present = [Material(m) for m in np.unique(self.material)]

    def pose(self, index: int) -> np.ndarray:
        """
        Return the camera's pose at a frame.

        :return: world_T_camera, float64 (4, 4); optical frame: z forward, x right, y down.
        """
        layout, line = self.layout, self.layout.line
        s = (index % self.frames) * self.step
        rate, phase, speed = self.sway
        sway = rate * np.sin(phase + speed * 6.28 * s)
        d = layout.section.hand * (layout.ego_q + 0.15 * sway[0])
        position = line.at(s, d, self.camera_height + 0.015 * sway[1])
        ahead = line.at(s + 4, 0.0) - line.at(s - 4, 0.0)
        yaw = float(line.heading_at(s)) + 0.01 * sway[0]
        pitch = np.arctan2(-ahead[2], np.hypot(ahead[0], ahead[1])) + self.pitch + 0.006 * sway[2]
        roll = 0.008 * sway[3]
        forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch),
                            -np.sin(pitch)])
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        down = np.cross(forward, right)
        pose = np.eye(4)
        pose[:3, 0] = np.cos(roll) * right + np.sin(roll) * down
        pose[:3, 1] = np.cos(roll) * down - np.sin(roll) * right
        pose[:3, 2] = forward
        pose[:3, 3] = position
        return pose

    def _movers_at(self, index: int) -> Mesh:
        """Return the vehicles and walkers where they are at a frame."""
        layout, line = self.layout, self.layout.line
        seconds = (index % self.frames) * self.step / layout.speed
        meshes = []
        reach = layout.length + 30
        for mover in layout.movers:
            s = (mover.start + mover.speed * seconds + 35) % reach - 35
            d = layout.section.hand * mover.q
            up = layout.section.height(mover.q)
            if layout.section.in_junction(s):
                up = 0.0
            meshes.append(mover.mesh.placed(
                line.at(s, d, up), float(line.heading_at(s)) + mover.turn))
        return join(meshes)

    def render(self, index: int) -> SyntheticFrame:
        """
        Render the drive's frame at a position; the same seed and index give the same frame.

        :param index: 0-based; beyond the drive's end it starts over.
        """
        import open3d as o3d
        pose = self.pose(index)
        rng = np.random.default_rng([self.seed, index, 41])
        rotation = pose[:3, :3].astype(np.float32)
        origin = pose[:3, 3].astype(np.float32)
        rays = np.empty((len(self.rays), 6), np.float32)
        rays[:, :3] = origin
        rays[:, 3:] = self.rays @ rotation.T
        scenes = [self.scene]
        hit = self._cast(self.scene, rays)
        if self.moving is not None:
            mesh = self._movers_at(index)
            scene = o3d.t.geometry.RaycastingScene()
            scene.add_triangles(mesh.vertices, mesh.triangles.astype(np.uint32))
            scenes.append(scene)
            self._nearer(hit, self._cast(scene, rays))
        height, width = self.size
        depth, primitive, uv, normal = hit
        solid = np.flatnonzero(np.isfinite(depth))
        radiance = np.empty((len(depth), 3), np.float32)
        direction = rays[:, 3:]
        lengths = np.sqrt(np.einsum('ij,ij->i', direction, direction))
        view = direction / lengths[:, None]
        sky = np.flatnonzero(np.isinf(depth))
        radiance[sky] = self.weather.sky(view[sky], self.seed)
        facing = np.einsum('ij,ij->i', normal, direction) > 0
        normal[facing] *= -1
        radiance[solid] = self._light(scenes, rays[solid], view[solid], lengths[solid],
                                      depth[solid], primitive[solid], uv[solid], normal[solid],
                                      rng)
        image = self.weather.expose(radiance.reshape(height, width, 3), rng)
        kinds = np.full(len(depth), Kind.SKY, np.uint8)
        kinds[solid] = self.kind[primitive[solid]]
        instances = np.zeros(len(depth), np.int32)
        thing = np.flatnonzero(np.isin(kinds, THINGS))
        instances[thing] = self.part[primitive[thing]]
        normals = normal @ rotation
        normals[sky] = np.nan
        frame = Frame(image, self.K, stamp=int(index * 1e9 / RATE), frame_id='camera')
        return SyntheticFrame(
            frame=frame, depth=depth.reshape(height, width),
            labels=class_table_cached('driving')[kinds].reshape(height, width),
            kinds=kinds.reshape(height, width), normals=normals.reshape(height, width, 3),
            instances=instances.reshape(height, width), world_T_camera=pose)

    @staticmethod
    def _cast(scene, rays: np.ndarray) -> list[np.ndarray]:
        import open3d as o3d
        found = scene.cast_rays(o3d.core.Tensor.from_numpy(rays))
        return [found[name].numpy() for name in (
            't_hit', 'primitive_ids', 'primitive_uvs', 'primitive_normals')]

    def _nearer(self, hit: list[np.ndarray], other: list[np.ndarray]) -> None:
        """Overwrite the hits on what stands still where something that moves is nearer."""
        closer = np.flatnonzero(other[0] < hit[0])
        other[1] += np.uint32(self.still)
        for mine, theirs in zip(hit, other):
            mine[closer] = theirs[closer]

    def _light(self, scenes, rays, view, lengths, depth, primitive, uv, normal, rng):
        """Return the light (N, 3) that the visible surfaces send to the camera."""
        weather = self.weather
        point = rays[:, :3] + rays[:, 3:] * depth[:, None]
        distance = depth * lengths
        material, color = self.material[primitive], self.color[primitive]
        corners = self.uv[primitive]
        a, b = uv[:, :1], uv[:, 1:]
        texture = corners[:, :2] * (1 - a - b) + corners[:, 2:4] * a + corners[:, 4:] * b
        part = self.part[primitive]
        footprint = distance / np.float32(self.K[0, 0])
        grazing = np.abs(np.einsum('ij,ij->i', normal, view))
        mirror = np.zeros(len(depth), np.float32)
        for kind in self.present:
            rows = np.flatnonzero(material == kind)
            if len(rows):
                hits = surfaces.Hits(point[rows], texture[rows], part[rows], footprint[rows],
                                     grazing[rows])
                color[rows], mirror[rows] = surfaces.shade(
                    kind, hits, color[rows], view[rows], self.layout.section, self.wear)
        smooth = np.flatnonzero(~self.plain[primitive])
        shading = normal.copy()
        shading[smooth] = self.shading[primitive[smooth]]
        if weather.wet:
            road = material == Material.ASPHALT
            color[road] *= 1 - 0.45 * weather.wet
            mirror[road] = weather.wet * 0.5 * (1 - grazing[road]) ** 4
        cosine = shading @ weather.sun
        leaf = material == Material.LEAVES
        cosine = np.where(leaf, 0.25 + 0.75 * cosine, cosine)
        lit = self._sunlight(scenes, point, normal, cosine, rng)
        light = lit[:, None] * weather.sun_color + weather.ambient(shading[:, 2])
        glow = 1.5 * (material == Material.LAMP)
        result = color * light + color * glow[:, None]
        shiny = np.flatnonzero(mirror > 0.01)
        result[shiny] += mirror[shiny, None] * self._reflection(
            view[shiny], normal[shiny], lit[shiny] > 0)
        if weather.fog > 0:
            veil = np.exp(-weather.fog * distance)[:, None]
            result = result * veil + weather.horizon * (0.9 * (1 - veil))
        return result

    def _sunlight(self, scenes, point, normal, cosine, rng):
        """Return how much direct light arrives, 0 where something stands in the way."""
        import open3d as o3d
        weather = self.weather
        lit = np.maximum(cosine, 0)
        rows = np.flatnonzero(lit > 0.01)
        rays = np.empty((len(rows), 6), np.float32)
        rays[:, :3] = point[rows] + normal[rows] * np.float32(0.02)
        start = int(rng.integers(noise.GRAIN))
        scatter = np.resize(noise.grain()[start:start + noise.GRAIN], (len(rows), 3))
        rays[:, 3:] = weather.sun + np.float32(weather.spread) * scatter
        shaded = np.zeros(len(rows), bool)
        tensor = o3d.core.Tensor.from_numpy(rays)
        for scene in scenes:
            shaded |= scene.test_occlusions(tensor).numpy()
        lit[rows] *= 1 - np.float32(weather.shadow) * shaded
        return lit

    def _reflection(self, view, normal, sunny):
        """Return what a mirror shows: the sky, a dark street below it, and the sun's glint."""
        weather = self.weather
        bounced = view - 2 * np.einsum('ij,ij->i', view, normal)[:, None] * normal
        up = bounced[:, 2:]
        sky = weather.zenith + (weather.horizon - weather.zenith) * np.exp(-5 * np.maximum(up, 0))
        street = 0.12 * (weather.horizon + weather.sun_color * 0.3)
        blend = np.clip(up * 3 + 0.2, 0, 1)
        glint = np.maximum(bounced @ weather.sun, 0) ** 300 * sunny
        return street + (sky - street) * blend + (25 * glint)[:, None] * weather.sun_color


_TABLES: dict[str, np.ndarray] = {}


def class_table_cached(space: str) -> np.ndarray:
    """Return `class_table`, read once a process."""
    if space not in _TABLES:
        _TABLES[space] = class_table(space)
    return _TABLES[space]
