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


"""Synthetic street with a camera drive: rendered images and exact ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from sync_perception.geometry import pixel_rays
from sync_perception.labels import LabelSpace
from sync_perception.street_world.camera import (
    CameraMount,
    default_intrinsics,
    KITTI_MOUNT,
    KITTI_SIZE,
)
from sync_perception.street_world.layout import STREET_RATE, StreetLayout
from sync_perception.street_world.mesh import Kind
from sync_perception.street_world.rendering.shading import Shader, turned
from sync_perception.street_world.rendering.weather import Weather
from sync_perception.street_world.scene import Scene
from sync_perception.types import Frame

FRAME_ID = 'camera'
THINGS = (Kind.PERSON, Kind.RIDER, Kind.CAR, Kind.VAN, Kind.TRUCK, Kind.BUS, Kind.MOTORCYCLE,
          Kind.BICYCLE)
IS_THING = np.isin(np.arange(256), THINGS)
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
    One rendered camera image with its ground truth.

    :param frame: the image, its intrinsics, its stamp (10 Hz) and its frame id.
    :param depth: float32 (H, W), metres along z, inf in the sky.
    :param labels: uint8 (H, W), ids of `driving`, 255 void.
    :param kinds: uint8 (H, W), values of `Kind`.
    :param normals: float32 (H, W, 3), unit normals towards the camera, optical frame, NaN in the
        sky.
    :param instances: int32 (H, W), ids of persons and vehicles, 0 elsewhere.
    :param world_T_camera: float64 (4, 4), the camera's pose; the world's z points up.
    """

    frame: Frame
    depth: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray
    normals: np.ndarray
    instances: np.ndarray
    world_T_camera: np.ndarray


@cache
def kinds_to_ids(space: str) -> np.ndarray:
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
    Random street of a seed, with a camera that drives through it.

    :param seed: random seed of the street, and of the weather unless that is given.
    :param size: height and width of the images.
    :param K: float64 (3, 3), intrinsics in pixels; None keeps Virtual KITTI's view.
    :param weather: one of `weather.WEATHERS`; None draws one.
    :param frames: number of frames of the drive; later indices start over.
    :param mount: where the camera sits on its vehicle.
    """

    def __init__(self, seed: int, size: tuple[int, int] = KITTI_SIZE, K: np.ndarray | None = None,
                 weather: str | None = None, frames: int = 200, mount: CameraMount = KITTI_MOUNT):
        self.seed, self.size, self.frames = seed, size, frames
        self.K = default_intrinsics(size) if K is None else np.asarray(K, np.float64)
        self.weather = Weather.draw(seed, weather)
        self.layout = StreetLayout(seed, frames)
        rng = np.random.default_rng([seed, 31])
        self.mount = mount
        self.sway = rng.uniform(0.2, 1, 4), rng.uniform(0, 6.28, 4), rng.uniform(0.02, 0.09, 4)
        self.rays = pixel_rays(self.K, size).reshape(-1, 3)
        self.lengths = np.linalg.norm(self.rays, axis=1)
        self.scene = Scene(self.layout.site.meshes, [m.mesh for m in self.layout.movers])
        self.shader = Shader(self.scene, self.weather, self.layout.section, rng.uniform(0, 1),
                             seed)

    def track_ids(self) -> np.ndarray:
        """
        Return the table from `instances` to consecutive track ids of persons and vehicles, from 1.

        :return: uint8, or uint16 in a world of more than 255; 0 for 0 and for all other parts.
        """
        part, first = np.unique(self.scene.part, return_index=True)
        things = part[IS_THING[self.scene.kind[first]]]
        table = np.zeros(part[-1] + 1, np.uint8 if len(things) < 256 else np.uint16)
        table[things] = np.arange(1, len(things) + 1)
        return table

    def pose(self, index: int, yaw: float = 0.0, right: float = 0.0) -> np.ndarray:
        """
        Return the camera's pose at a frame.

        :param yaw: rotation of the camera to the left on its mount, radians.
        :param right: translation of the camera to its right, metres.
        :return: world_T_camera, float64 (4, 4); optical frame: z forward, x right, y down.
        """
        layout, line = self.layout, self.layout.line
        s = (index % self.frames) * layout.speed / STREET_RATE
        rate, phase, speed = self.sway
        sway = rate * np.sin(phase + speed * 6.28 * s)
        d = layout.section.hand * (layout.ego_q + 0.15 * sway[0])
        position = line.at(s, d, self.mount.height + 0.015 * sway[1])
        ahead = line.at(s + 4, 0.0) - line.at(s - 4, 0.0)
        yaw += self.mount.yaw + float(line.heading_at(s)) + 0.01 * sway[0]
        slope = np.arctan2(-ahead[2], np.hypot(ahead[0], ahead[1]))
        pitch = slope + self.mount.pitch + 0.006 * sway[2]
        roll = self.mount.roll + 0.008 * sway[3]
        forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch),
                            -np.sin(pitch)])
        across = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        down = np.cross(forward, across)
        pose = np.eye(4)
        pose[:3, 0] = np.cos(roll) * across + np.sin(roll) * down
        pose[:3, 1] = np.cos(roll) * down - np.sin(roll) * across
        pose[:3, 2] = forward
        pose[:3, 3] = position + right * pose[:3, 0]
        return pose

    def render(self, index: int, yaw: float = 0.0, right: float = 0.0) -> SyntheticFrame:
        """
        Render a frame of the drive; the same seed and index give the same frame.

        :param index: 0-based; beyond the drive's end it starts over.
        :param yaw: rotation of the camera to the left on its mount, radians.
        :param right: translation of the camera to its right, metres.
        """
        pose, at = self.pose(index, yaw, right), index % self.frames
        rng = np.random.default_rng([self.seed, at, 41])
        rotation = pose[:3, :3].astype(np.float32)
        self.scene.move(self.layout.movers_at(at / STREET_RATE))
        result = self.shader.render(
            turned(self.rays, rotation), self.lengths, pose[:3, 3].astype(np.float32),
            self.size, float(self.K[0, 0]), rng)
        sky = np.isinf(result.depth)
        triangle = np.where(sky, 0, result.triangle)
        kinds = np.where(sky, np.uint8(Kind.SKY), self.scene.kind[triangle])
        normals = turned(result.normal, rotation.T)
        normals[sky] = np.nan
        instances = np.where(IS_THING[kinds], self.scene.part[triangle], 0)
        image = self.weather.expose(result.radiance.reshape(*self.size, 3), rng)
        return SyntheticFrame(
            frame=Frame(image, self.K, stamp=int(index * 1e9 / STREET_RATE), frame_id=FRAME_ID),
            depth=result.depth.reshape(self.size),
            labels=kinds_to_ids('driving')[kinds].reshape(self.size),
            kinds=kinds.reshape(self.size), normals=normals.reshape(*self.size, 3),
            instances=instances.astype(np.int32).reshape(self.size), world_T_camera=pose)
