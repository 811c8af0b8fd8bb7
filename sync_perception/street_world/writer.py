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


"""
Write street worlds to disk in the layout of Virtual KITTI 2.

Source of the layout: Cabon et al., "Virtual KITTI 2", arXiv:2001.10773 (release 2.0.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import math
from pathlib import Path

import cv2
import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from sync_perception.files.whole_files import write_text
from sync_perception.images.reading import write_image
from sync_perception.labels import LabelSpace
from sync_perception.street_world.camera import draw_camera, KITTI_MOUNT, KITTI_SIZE
from sync_perception.street_world.world import kinds_to_ids, StreetWorld, SyntheticFrame

SCENES = ('Scene01', 'Scene02', 'Scene06', 'Scene18', 'Scene20')
BASELINE = 0.532725
CENTIMETRES = 100
SKY = 65535
JPEG_QUALITY = 95


@dataclass(frozen=True)
class SceneVariant:
    """Variant of a scene: its weather or the camera's yaw."""

    weather: str | None = None
    yaw: float = 0.0


SCENE_VARIANTS = {
    'clone': SceneVariant(), 'fog': SceneVariant('fog'), 'morning': SceneVariant('morning'),
    'overcast': SceneVariant('overcast'), 'rain': SceneVariant('rain'),
    'sunset': SceneVariant('sunset'),
    '15-deg-left': SceneVariant(yaw=math.radians(15)),
    '15-deg-right': SceneVariant(yaw=math.radians(-15)),
    '30-deg-left': SceneVariant(yaw=math.radians(30)),
    '30-deg-right': SceneVariant(yaw=math.radians(-30))}


def write_vkitti2(
        out: str | Path, worlds: int = 5, frames: int = 50, height: int = KITTI_SIZE[0],
        width: int = KITTI_SIZE[1], seed: int = 0, variants: Sequence[str] = ('clone',),
        stereo: bool = False, every: int = 1, vary_camera: bool = False,
        progress: bool = True) -> Path:
    """
    Render streets and write them in the layout of Virtual KITTI 2.0.3.

    Each world is a scene: Scene01, 02, 06, 18, 20 as in the original, then from Scene21 on. Only
    persons and vehicles have instance ids, in the order of the world's parts.

    :param out: output folder; created if missing.
    :param worlds: number of streets.
    :param frames: number of frames of each street, at 10 Hz.
    :param height: height of the images, pixels.
    :param width: width of the images, pixels.
    :param seed: seed of the first street; the others have the following ones.
    :param variants: weathers and viewing angles, keys of `SCENE_VARIANTS`.
    :param stereo: also write the right camera, Camera_1, `BASELINE` metres to the right.
    :param every: keep only every n-th frame of the drive, for few, dissimilar frames.
    :param vary_camera: draw focal length, principal point and mount for every street
        (`draw_camera`); otherwise all have Virtual KITTI's camera.
    :param progress: show a progress bar.
    :return: the folder.
    :raises ValueError: for a count or size below one, or an unknown variant.
    """
    for name, value in (('worlds', worlds), ('frames', frames), ('height', height),
                        ('width', width), ('every', every)):
        if value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')
    unknown = [name for name in variants if name not in SCENE_VARIANTS]
    if unknown:
        raise ValueError(f'variants are {", ".join(SCENE_VARIANTS)}, got {", ".join(unknown)}')
    out = Path(out)
    names = [*SCENES, *(f'Scene{n:02d}' for n in range(21, 21 + worlds))][:worlds]
    with _bar(worlds * len(variants) * frames, progress) as advance:
        for number, scene in enumerate(names):
            for name in variants:
                variant = SCENE_VARIANTS[name]
                K, mount = (draw_camera(seed + number, (height, width)) if vary_camera
                            else (None, KITTI_MOUNT))
                world = StreetWorld(
                    seed + number, (height, width), K, variant.weather, frames * every, mount)
                advance(0, f'{scene}/{name}')
                _write_variant(
                    out / scene / name, world, variant.yaw, 2 if stereo else 1, every, advance)
    return out


@contextmanager
def _bar(total: int, shown: bool) -> Iterator:
    """Yield a function that advances a progress bar, and optionally renames it."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not shown) as bar:
        task = bar.add_task('', total=total)

        def advance(steps: int, description: str | None = None) -> None:
            bar.update(task, advance=steps, **(
                {} if description is None else {'description': description}))

        yield advance


def _write_variant(
        folder: Path, world: StreetWorld, yaw: float, cameras: int, every: int, advance) -> None:
    """Render one drive and write its frames, poses, intrinsics and colours."""
    space = LabelSpace.load('vkitti2')
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f'{name} {r} {g} {b}' for name, (r, g, b) in zip(space.names, space.colors)]
    write_text(folder / 'colors.txt', '\n'.join(['Category r g b', *rows]) + '\n')
    intrinsics = ['frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]']
    cells = [f'r{i},{j}' if j < 4 else f't{i}' for i in (1, 2, 3) for j in (1, 2, 3, 4)]
    extrinsics = [' '.join(['frame', 'cameraID', *cells, '0', '0', '0', '1'])]
    tracks = world.track_ids()
    for index in range(world.frames // every):
        for camera in range(cameras):
            rendered = world.render(index * every, yaw=yaw, right=camera * BASELINE)
            _write_frame(folder / 'frames', rendered, index, camera, space, tracks)
            K = rendered.frame.K
            values = [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]
            intrinsics.append(f'{index} {camera} ' + ' '.join(f'{v:.9g}' for v in values))
            pose = np.linalg.inv(rendered.world_T_camera)
            extrinsics.append(f'{index} {camera} ' + ' '.join(f'{v:.9g}' for v in pose.flat))
        advance(1)
    write_text(folder / 'intrinsic.txt', '\n'.join(intrinsics) + '\n')
    write_text(folder / 'extrinsic.txt', '\n'.join(extrinsics) + '\n')


def _write_frame(folder: Path, rendered: SyntheticFrame, index: int, camera: int,
                 space: LabelSpace, tracks: np.ndarray) -> None:
    depth = np.full(rendered.depth.shape, SKY, np.uint16)
    solid = np.isfinite(rendered.depth)
    depth[solid] = np.clip(np.rint(rendered.depth[solid] * CENTIMETRES), 0, SKY - 1)
    classes = space.colorize(kinds_to_ids('vkitti2')[rendered.kinds])
    instances = tracks[rendered.instances]
    files = {
        f'rgb/Camera_{camera}/rgb_{index:05d}.jpg': rendered.frame.image[..., ::-1],
        f'depth/Camera_{camera}/depth_{index:05d}.png': depth,
        f'classSegmentation/Camera_{camera}/classgt_{index:05d}.png': classes[..., ::-1],
        f'instanceSegmentation/Camera_{camera}/instancegt_{index:05d}.png': instances}
    for name, array in files.items():
        path = folder / name
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == '.jpg' else []
        write_image(path, array, options)
