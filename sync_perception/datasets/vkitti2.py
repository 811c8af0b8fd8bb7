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
Reader of Virtual KITTI 2: five rendered streets with exact depth and labels.

Source: Cabon et al., "Virtual KITTI 2", arXiv:2001.10773 (release 2.0.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
import re

import numpy as np
from sync_perception.datasets.files import read_color_labels, shifted
from sync_perception.datasets.sample import DenseDataset, Sample
from sync_perception.files.poses import parse_pose, read_camera_rows
from sync_perception.geometry import pinhole
from sync_perception.images.reading import images_by_stem, read_image
from sync_perception.images.single_channel import read_depth
from sync_perception.labels import LabelSpace

SCENES = {
    'train': ('Scene01', 'Scene02', 'Scene06', 'Scene18'),
    'val': ('Scene20',),
}
VKITTI2_VARIANTS = (
    'clone', '15-deg-left', '15-deg-right', '30-deg-left', '30-deg-right', 'fog', 'morning',
    'overcast', 'rain', 'sunset')
CAMERAS = (0, 1)
ARCHIVE = 'vkitti_2.0.3_'  # prefix of the archives' folders
UNITS_PER_METRE = 100
SKY = 65535
SCENE = re.compile(r'Scene\d+', re.IGNORECASE)


@dataclass(frozen=True)
class Stream:
    """
    One camera's recording of one variant of a scene.

    :param rgb: the images by frame, a five-digit string.
    :param depth: the depth maps by frame; empty where they are not unpacked.
    :param labels: the colour-coded labels by frame; empty where they are not unpacked.
    :param intrinsics: (3, 3) by frame.
    :param extrinsics: the file of the world-to-camera matrices, or None.
    """

    rgb: dict[str, Path]
    depth: dict[str, Path]
    labels: dict[str, Path]
    intrinsics: dict[str, np.ndarray]
    extrinsics: Path | None


class VirtualKitti2(DenseDataset):
    """
    Rendered frames with intrinsics, dense depth and dense labels.

    Archives may be unpacked into one folder or each into its own `vkitti_2.0.3_*` folder; letter
    case does not matter. Depth or labels that are not unpacked are None. Variants of one scene
    show the same frames in other light or from other angles. The split `all` contains every scene
    in the root, including further ones in the same layout. Ids: `scene/variant/Camera_n/frame`.

    :param variants: variants to use, by default all.
    :param cameras: cameras to use, 0 left, 1 right.
    :raises ValueError: if a variant or a camera does not exist.
    """

    splits = tuple(SCENES)
    label_space = 'vkitti2'
    layout = (
        'Scene{nn}/{variant}/frames/{rgb,depth,classSegmentation}/Camera_{n}/ with rgb_%05d.jpg, '
        'depth_%05d.png, classgt_%05d.png, and Scene{nn}/{variant}/intrinsic.txt')

    def __init__(
            self, root: str | Path, split: str = 'all', variants: Iterable[str] = VKITTI2_VARIANTS,
            cameras: Iterable[int] = CAMERAS):
        self.variants, self.cameras = tuple(variants), tuple(cameras)
        for chosen, known in ((self.variants, VKITTI2_VARIANTS), (self.cameras, CAMERAS)):
            if not set(chosen) <= set(known):
                raise ValueError(f'Virtual KITTI 2 has {known}, got {chosen}')
        self.space = LabelSpace.load(self.label_space)
        super().__init__(root, split)

    def list_ids(self) -> list[str]:
        """Return the ids by scene, variant, camera and frame."""
        bases = [self.root, *sorted(path for path in self.root.iterdir()
                                    if path.name.lower().startswith(ARCHIVE))]
        scenes = SCENES.get(self.split) or sorted({
            path.name for base in bases for path in base.iterdir() if SCENE.fullmatch(path.name)})
        self.streams = {}
        for scene in scenes:
            for variant in self.variants:
                self.add_streams(bases, scene, variant)
        return [f'{name}/{frame}' for name, stream in self.streams.items() for frame in stream.rgb]

    def add_streams(self, bases: list[Path], scene: str, variant: str) -> None:
        """Add one variant's streams, whose folders may be in different bases."""
        cameras = {}
        for camera in self.cameras:
            rgb, depth, labels = (
                frames(find_entry(bases, scene, variant, 'frames', kind, f'Camera_{camera}'),
                       prefix)
                for kind, prefix in (
                    ('rgb', 'rgb'), ('depth', 'depth'), ('classSegmentation', 'classgt')))
            if rgb:
                cameras[camera] = rgb, depth, labels
        if not cameras:
            return
        path = find_entry(bases, scene, variant, 'intrinsic.txt')
        if path is None:
            raise FileNotFoundError(
                f'no {scene}/{variant}/intrinsic.txt in {", ".join(map(str, bases))}')
        intrinsics = read_camera_rows(path, 4)
        for camera, (rgb, depth, labels) in cameras.items():
            missing = [frame for frame in rgb if (frame, camera) not in intrinsics]
            if missing:
                raise ValueError(f'{path} has no row for frame {missing[0]} of camera {camera}')
            self.streams[f'{scene}/{variant}/Camera_{camera}'] = Stream(
                rgb, depth, labels,
                {frame: pinhole(*intrinsics[frame, camera]) for frame in rgb},
                find_entry(bases, scene, variant, 'extrinsic.txt'))

    def read(self, sample_id: str) -> Sample:
        """Read an image with its intrinsics, depth and labels."""
        name, frame = sample_id.rsplit('/', 1)
        stream = self.streams[name]
        image = read_image(stream.rgb[frame])
        size = image.shape[:2]
        depth = labels = None
        if stream.depth:
            depth = read_depth(
                require(stream.depth, frame, 'depth', name), size, UNITS_PER_METRE, infinite=SKY)
        if stream.labels:
            labels = read_color_labels(
                require(stream.labels, frame, 'labels', name), size, self.space)
        return Sample(
            id=sample_id, image=image, K=stream.intrinsics[frame].copy(), depth=depth,
            labels=labels)

    def neighbour_file(self, sample_id: str, offset: int) -> Path | None:
        """Return the image `offset` frames later of the same variant and camera."""
        name, frame = sample_id.rsplit('/', 1)
        return self.streams[name].rgb.get(shifted(frame, offset))

    def pose(self, sample_id: str, offset: int = 0) -> np.ndarray | None:
        """
        Return the camera's pose: world_T_camera, float64 (4, 4), metres.

        :return: None if extrinsic.txt is not unpacked or has no row for the frame.
        :raises ValueError: if the row is not a rigid transform.
        """
        name, frame = sample_id.rsplit('/', 1)
        path = self.streams[name].extrinsics
        if path is None:
            return None
        key = shifted(frame, offset), int(name[-1])
        matrix = read_camera_rows(path, 16).get(key)
        if matrix is None:
            return None
        return np.linalg.inv(parse_pose(matrix, f'{path}, frame {key[0]}, camera {key[1]},'))

    def partner_file(self, sample_id: str) -> Path | None:
        """Return the other camera's image of the same frame, whether it is used or not."""
        name, frame = sample_id.rsplit('/', 1)
        path, camera = self.streams[name].rgb[frame], int(name[-1])
        partner = path.parents[1] / f'{path.parent.name[:-1]}{1 - camera}' / path.name
        return partner if partner.is_file() else None

    def partner_pose(self, sample_id: str) -> np.ndarray | None:
        """Return partner_T_camera by extrinsic.txt; None without its row of the other camera."""
        name, frame = sample_id.rsplit('/', 1)
        path, here = self.streams[name].extrinsics, self.pose(sample_id)
        if here is None or self.partner_file(sample_id) is None:
            return None
        matrix = read_camera_rows(path, 16).get((frame, 1 - int(name[-1])))
        return None if matrix is None else parse_pose(matrix, f'{path}, frame {frame}') @ here

    def partner_image(self, sample_id: str) -> np.ndarray:
        """Read the other camera's image."""
        path = self.partner_file(sample_id)
        return super().partner_image(sample_id) if path is None else read_image(path)


def find_entry(bases: Iterable[Path], *names: str) -> Path | None:
    """Return the first base's descendant of these names, ignoring letter case, or None."""
    for path in bases:
        for name in names:
            entries = path.iterdir() if path.is_dir() else ()
            path = next((entry for entry in entries if entry.name.lower() == name.lower()), None)
            if path is None:
                break
        else:
            return path
    return None


def frames(folder: Path | None, prefix: str) -> dict[str, Path]:
    """Return the images named `prefix_%05d` of a folder by their number, a five-digit string."""
    if folder is None:
        return {}
    start = f'{prefix}_'
    return {stem[len(start):]: path for stem, path in images_by_stem(folder).items()
            if stem.lower().startswith(start)}


def require(paths: dict[str, Path], frame: str, kind: str, stream: str) -> Path:
    """Return a frame's file, or raise FileNotFoundError."""
    if frame not in paths:
        raise FileNotFoundError(
            f'no {kind} of frame {frame} of {stream}, although other frames have it')
    return paths[frame]
