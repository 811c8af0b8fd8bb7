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

"""Reading of image files as frames: upright, with intrinsics, rectified on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import math
from pathlib import Path

import numpy as np
from sync_perception.calibration.camera_calibration import Calibration, read_calibration
from sync_perception.calibration.plausibility import contradictions, distortion_warning
from sync_perception.calibration.rectification import Rectifier
from sync_perception.geometry import centred_pinhole
from sync_perception.images.bit_depth import BitDepth
from sync_perception.images.headers import MAX_PIXELS
from sync_perception.images.orientation import turn_calibration
from sync_perception.images.reading import IMAGE_SUFFIXES, images_by_stem, read_upright
from sync_perception.types import Frame

ASSUMED_FIELD_OF_VIEW = 70.0
"""Horizontal field of view in degrees, assumed for an unknown camera."""


@dataclass(frozen=True)
class CameraOptions:
    """
    Camera of images, as on the command line.

    :param fx: focal length in pixels; square pixels, centred principal point. None if unknown.
    :param camera_info: calibration YAML as written by camera_calibration, instead of fx.
    :param rectify: rectify the images by camera_info; the results are for the rectified images.
    :param rate: frames per second of images without time; None for the source's own, or 10.
    :raises ValueError: if the options contradict each other.
    """

    fx: float | None = None
    camera_info: str | Path | None = None
    rectify: bool = False
    rate: float | None = None

    def __post_init__(self):
        """Check the options."""
        if self.fx is not None and self.camera_info is not None:
            raise ValueError('expected fx or camera_info, got both')
        if self.fx is not None and not (math.isfinite(self.fx) and self.fx > 0):
            raise ValueError(f'fx: expected a positive number of pixels, got {self.fx}')
        if self.rate is not None and not self.rate > 0:
            raise ValueError(f'rate: expected frames per second, got {self.rate}')
        if self.rectify and self.camera_info is None:
            raise ValueError('rectify: expected camera_info to rectify by, got none')

    @property
    def unknown(self) -> bool:
        """Return whether the intrinsics are unknown."""
        return self.fx is None and self.camera_info is None

    def calibration(self) -> Calibration | None:
        """Return the calibration of the file, if there is one."""
        return None if self.camera_info is None else read_calibration(self.camera_info)


class ImageReader:
    """
    Reader of the images of one camera.

    :param camera: options of the camera.
    :param bit_depth: bit depth of 16-bit pixels.
    :param max_pixels: limit of the pixels of an image.
    :raises ValueError: if the calibration cannot be read.
    """

    def __init__(self, camera: CameraOptions, bit_depth: BitDepth, max_pixels: int = MAX_PIXELS):
        self.camera, self.bit_depth, self.max_pixels = camera, bit_depth, max_pixels
        self.calibration = camera.calibration()
        self.rectifier = Rectifier() if camera.rectify else None

    def warnings(self) -> Iterator[str]:
        """Yield warnings about the calibration."""
        if self.calibration is not None:
            yield from filter(None, (
                distortion_warning(self.calibration, self.camera.rectify),
                contradictions(self.calibration)))

    def read(self, path: Path, stamp: int = 0) -> Frame:
        """
        Read an image file.

        :param stamp: time of the frame, nanoseconds.
        :raises ValueError: if the image cannot be read, or the calibration is unusable or for
            another size.
        """
        image, orientation, stored = read_upright(path, self.bit_depth, self.max_pixels)
        return self.frame(image, orientation, stored, stamp)

    def frame(self, image: np.ndarray, orientation: int, stored: tuple[int, int], stamp: int
              ) -> Frame:
        """
        Return the frame of an upright image, with intrinsics in the same orientation.

        :param orientation: EXIF orientation of the image as stored.
        :param stored: height and width of the image as stored.
        :raises ValueError: if the calibration is unusable or for another size.
        """
        if self.calibration is None:
            return Frame(image, assumed_intrinsics(image.shape[:2], self.camera.fx), stamp)
        calibration = turn_calibration(self.calibration, stored, orientation)
        frame = Frame(image, calibration.intrinsics, stamp)
        return frame if self.rectifier is None else self.rectifier(frame, calibration)


def find_images(images: Sequence[str | Path]) -> list[Path]:
    """
    Return the image files; a folder stands for its images, as listed by `images_by_stem`.

    :raises FileNotFoundError: if a path does not exist, or a folder contains no image.
    """
    paths: list[Path] = []
    for path in map(Path, images):
        if not path.exists():
            raise FileNotFoundError(f'no image or folder {path}')
        found = [path]
        if path.is_dir():
            found = [*images_by_stem(path).values()]
        if not found:
            raise FileNotFoundError(f'no image ({", ".join(IMAGE_SUFFIXES)}) in {path}')
        paths += found
    return paths


def assumed_intrinsics(size: tuple[int, int], fx: float | None = None) -> np.ndarray:
    """
    Return the intrinsics of an image without calibration.

    :param size: height and width of the image.
    :param fx: focal length in pixels; None for `ASSUMED_FIELD_OF_VIEW`.
    """
    if fx is None:
        fx = size[1] / 2 / math.tan(math.radians(ASSUMED_FIELD_OF_VIEW) / 2)
    return centred_pinhole(fx, size)
