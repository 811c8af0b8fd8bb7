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
Reader of own recordings: folders of frames or videos, with the camera's intrinsics.

For self-supervised training: there are no annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
import logging
import os
from pathlib import Path
import shutil

import cv2
import numpy as np
from sync_perception.calibration.camera_calibration import Calibration, read_calibration
from sync_perception.calibration.plausibility import contradictions, distortion_warning
from sync_perception.calibration.rectification import rectification_of
from sync_perception.datasets.files import read_list
from sync_perception.datasets.sample import DenseDataset, NEIGHBOURS, Sample
from sync_perception.files.whole_files import write_bytes
from sync_perception.geometry import pinhole
from sync_perception.images.headers import oriented_jpeg
from sync_perception.images.orientation import turn_calibration, turn_intrinsics
from sync_perception.images.reading import images_by_stem, natural_order, read_upright
from sync_perception.images.videos import Video, VIDEO_SUFFIXES

LOG = logging.getLogger(__name__)
CALIBRATION = 'camera_info.yaml'
UNPACKED = '.frames'
JPEG_QUALITY = 95


class Frames(DenseDataset):
    """
    Consecutive frames of one camera: images in the order of their names, or of a video.

    The order is the natural one: 1, 2, 10. An orientation in the header of an image or a video is
    applied to the images and to their intrinsics.

    The root is a clip, or a folder of clips: a clip is a folder of images or a video file. Frames
    that are consecutive by name are neighbours, whatever their numbers. A video is unpacked once,
    as JPEG files, into a folder beside it with the suffix `.frames`, because seeking in videos is
    slow and inexact.

    Images must be rectified unless `rectify` is set, as for the node. Intrinsics come from the
    arguments, or from a file `camera_info.yaml` of ROS's camera_calibration in the clip's folder
    or above it. Ids: `clip/name`, or `name` if the root is the clip.

    :param root: the clip or the folder of clips.
    :param split: name of a file such as `train.txt` that lists clips, one per line; or `all`.
    :param fx: focal length in pixels; fy is the same unless given.
    :param fy: focal length downwards, pixels.
    :param cx: column of the principal point, by default the image's centre.
    :param cy: row of the principal point, by default the image's centre.
    :param camera_info: calibration file, instead of the intrinsics.
    :param rectify: whether to undistort the images by their calibration file. Choose a P without
        borders (alpha 0): black pixels outside the lens's view are used in training like others.
    :raises ValueError: if intrinsics are missing or given twice, or a file is malformed.
    :raises FileNotFoundError: if there are no frames.
    """

    splits = ('train', 'val')
    label_space = None
    layout = (
        'a folder of images in order or a video (.mp4, .avi, .mkv, .mov, .webm), or folders or '
        'videos of that kind, with camera_info.yaml')
    video_suffixes = VIDEO_SUFFIXES

    def __init__(
            self, root: str | Path, split: str = 'all', fx: float | None = None,
            fy: float | None = None, cx: float | None = None, cy: float | None = None,
            camera_info: str | Path | None = None, rectify: bool = False):
        if fx is not None and camera_info is not None:
            raise ValueError('frames: expected fx or camera_info, got both')
        if fx is None and any(value is not None for value in (fy, cx, cy)):
            raise ValueError('frames: expected fx with fy, cx and cy, got none')
        if fx is not None and not min(fx, fy or fx) > 0:
            raise ValueError(f'frames: expected positive focal lengths, got fx {fx}, fy {fy}')
        if fx is not None and rectify:
            raise ValueError('frames: rectify needs camera_info to rectify by, got fx')
        self.fx, self.fy, self.cx, self.cy = fx, fy, cx, cy
        self.rectify = rectify
        self.camera_info = None if camera_info is None else Path(os.path.expandvars(camera_info))
        self.cameras: dict[Path, Calibration] = {}
        root = Path(root)
        super().__init__(unpacked(root) if self.is_video(root) else root, split)

    def is_video(self, path: Path) -> bool:
        """Return whether this is a video file, by its suffix."""
        return path.suffix.lower() in self.video_suffixes and path.is_file()

    def list_ids(self) -> list[str]:
        """Return the ids by clip and name, and find each clip's intrinsics."""
        self.images: dict[str, Path] = {}
        self.places: dict[str, tuple[str, int]] = {}
        self.clips: dict[str, list[str]] = {}
        for video in natural_order(filter(self.is_video, self.root.iterdir())):
            unpacked(video)
        for folder in self.folders():
            paths = images_by_stem(folder).values()
            clip = folder.relative_to(self.root).as_posix()
            ids = [path.relative_to(self.root).with_suffix('').as_posix() for path in paths]
            if ids:
                self.check_intrinsics(folder)
            self.clips[clip] = ids
            self.images.update(zip(ids, paths))
            self.places.update((name, (clip, place)) for place, name in enumerate(ids))
        return list(self.images)

    def folders(self) -> list[Path]:
        """Return the split's folders that may be clips."""
        if self.split == 'all':
            return [self.root, *natural_order(
                path for path in self.root.iterdir()
                if path.is_dir() and not path.name.startswith('.'))]
        path = self.root / f'{self.split}.txt'
        clips = [self.root / name for name in read_list(path, self.split, 'the clips')]
        clips = [unpacked(clip) if self.is_video(clip) else clip for clip in clips]
        missing = [clip for clip in clips if not clip.is_dir()]
        if missing:
            raise FileNotFoundError(f'{path} lists {missing[0].name}, but there is no such clip')
        return clips

    def check_intrinsics(self, clip: Path) -> None:
        """
        Raise ValueError unless a clip's intrinsics are known.

        Warping needs them, so the error is raised before a training begins.
        """
        if self.fx is None:
            self.calibration(clip)

    def calibration(self, clip: Path) -> Calibration:
        """Return the calibration of a clip's file."""
        places = [clip / CALIBRATION, clip.parent / CALIBRATION]
        path = self.camera_info or next((file for file in places if file.is_file()), None)
        if path is None:
            raise ValueError(
                f'no intrinsics of {clip}: expected the arguments fx (and fy, cx, cy) or '
                f'camera_info, or a file {places[0]} or {places[1]}')
        if path not in self.cameras:
            self.cameras[path] = calibration = read_calibration(path)
            for warning in filter(None, (distortion_warning(calibration, self.rectify),
                                       contradictions(calibration))):
                LOG.warning('%s: %s', path, warning)
        return self.cameras[path]

    def photograph(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """
        Read an image with its intrinsics, both rotated upright; rectified if requested.

        :return: uint8 (H, W, 3) RGB, and K float64 (3, 3).
        :raises ValueError: if the calibration is for another size, or cannot be used.
        """
        image, orientation, stored = read_upright(path)
        if self.fx is not None:
            height, width = stored
            cx = (width - 1) / 2 if self.cx is None else self.cx
            cy = (height - 1) / 2 if self.cy is None else self.cy
            K = pinhole(self.fx, self.fy or self.fx, cx, cy)
            return image, turn_intrinsics(K, stored, orientation)
        try:
            calibration = turn_calibration(self.calibration(path.parent), stored, orientation)
            if not self.rectify:
                return image, calibration.intrinsics.copy()
            rectification = rectification_of(calibration)
        except ValueError as error:
            raise ValueError(f'{path.parent}: {error}') from error
        return rectification.image(image), rectification.K.copy()

    def read(self, sample_id: str) -> Sample:
        """Read a frame with its intrinsics."""
        image, K = self.photograph(self.images[sample_id])
        return Sample(id=sample_id, image=image, K=K)

    def neighbours(
            self, sample_id: str, offsets: Sequence[int] = NEIGHBOURS
            ) -> list[np.ndarray | None]:
        """Read the images before and after a sample, prepared like the sample's own."""
        files = (self.neighbour_file(sample_id, offset) for offset in offsets)
        return [None if path is None else self.photograph(path)[0] for path in files]

    def neighbour_file(self, sample_id: str, offset: int) -> Path | None:
        """Return the frame `offset` positions later in the same clip."""
        clip, place = self.places[sample_id]
        place += offset
        ids = self.clips[clip]
        return self.images[ids[place]] if 0 <= place < len(ids) else None


def unpacked(video: Path) -> Path:
    """
    Return the folder with a video's frames; it is written on first use.

    :raises ValueError: if OpenCV cannot read the video, or the folder cannot be written.
    """
    folder = video.with_name(video.name + UNPACKED)
    if folder.is_dir():
        return folder
    part = folder.with_name(f'.{folder.name}.{os.getpid()}.part')
    recorded = Video(video)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    count = 0
    try:
        part.mkdir()
        for count, frame in enumerate(recorded.frames(), 1):
            coded = cv2.imencode('.jpg', cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)[1]
            write_bytes(part / f'{count - 1:06}.jpg', oriented_jpeg(
                coded.tobytes(), recorded.orientation))
        if not count:
            raise ValueError(f'{video} is not a video that OpenCV can read')
        part.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # another process may have written it
            raise ValueError(f'{video} cannot be unpacked into {folder}: {error}') from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder
