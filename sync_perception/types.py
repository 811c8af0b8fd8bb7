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

"""Data types shared by the whole package, and the error for inputs that cannot be interpreted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sync_perception.labels import VOID

if TYPE_CHECKING:
    from torch import Tensor

INVALID = {'depth': np.nan, 'labels': VOID, 'confidence': 0.0, 'uncertainty': np.nan,
           'normals': np.nan}
"""Values of the maps of a prediction at invalid pixels."""


class MalformedInput(ValueError):
    """
    A message or an image that cannot be interpreted.

    :param reason: short description of the cause; errors are counted by it.
    :param message: what was got and what was expected.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Frame:
    """
    Camera image with its intrinsics, acquisition time and coordinate frame.

    :param image: uint8 (H, W, 3), RGB.
    :param K: float64 (3, 3), pinhole intrinsics in pixels of this image.
    :param stamp: acquisition time in nanoseconds.
    :param frame_id: name of the camera's optical frame (z forward, x right, y down).
    :param void: flat indices of the pixels of a rectified image that the camera does not cover;
        their predictions are invalid. None if the camera covers every pixel.
    :raises ValueError: if the image or the intrinsics are not as stated.
    """

    image: np.ndarray
    K: np.ndarray
    stamp: int = 0
    frame_id: str = ''
    void: np.ndarray | None = None

    def __post_init__(self):
        """Validate the image and the intrinsics."""
        image, K = self.image, self.K
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(
                f'a frame needs a non-empty uint8 (H, W, 3) RGB image, got {image.dtype} '
                f'{image.shape}')
        if K.shape != (3, 3) or not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise ValueError(
                'a frame needs finite (3, 3) intrinsics with positive focal lengths, got '
                f'{K.tolist()}')

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True)
class DenseOutput:
    """
    Output of a network for a batch of images.

    (h, w) is the network's input size, or that size divided by an integer. Consumers that need
    another size resize these maps once.

    :param depth: (B, 1, h, w), metres along z *in the canonical camera*: multiply by
        f / f_canonical (f: focal length at the network's input size) for metres. None for a
        network without depth.
    :param logits: (B, C, h, w), unnormalised log-probabilities of the label space's classes.
        None for a network without semantics.
    :param normals: (B, 3, h, w), unit surface normals in the optical frame, or None.
    :param log_variance: (B, 1, h, w), log of the variance of ln(depth), or None.
    """

    depth: Tensor | None = None
    logits: Tensor | None = None
    normals: Tensor | None = None
    log_variance: Tensor | None = None

    def maps(self) -> dict[str, Tensor]:
        """Return the maps that are not None, by name."""
        return {name: values for name, values in vars(self).items() if values is not None}

    def apply(self, function: Callable[[Tensor], Tensor]) -> DenseOutput:
        """Return an output with a function applied to each map."""
        return DenseOutput(**{name: function(values) for name, values in self.maps().items()})

    def sample(self, index: int) -> DenseOutput:
        """Return a view of the output for one image of the batch, with a batch size of 1."""
        return self.apply(lambda values: values[index, None])


@dataclass(frozen=True)
class Prediction:
    """
    Predicted maps of one frame at the camera's resolution; absent maps are None.

    :param depth: float32 (H, W), metres along z, NaN where invalid (sky, beyond range).
    :param labels: uint8 (H, W), ids of the model's label space, 255 void.
    :param confidence: float32 (H, W) in [0, 1], probability of the label.
    :param uncertainty: float32 (H, W), standard deviation of the depth in metres.
    :param normals: float32 (H, W, 3), unit normals in the optical frame.
    """

    depth: np.ndarray | None = None
    labels: np.ndarray | None = None
    confidence: np.ndarray | None = None
    uncertainty: np.ndarray | None = None
    normals: np.ndarray | None = None

    def blank(self, pixels: np.ndarray | None) -> Prediction:
        """
        Invalidate some pixels in place: depth NaN, label void, confidence 0.

        :param pixels: flat indices, or None.
        :return: this prediction.
        """
        if pixels is not None and pixels.size:
            size = next(map_.shape[:2] for map_ in vars(self).values() if map_ is not None)
            rows, columns = np.unravel_index(pixels, size)
            for name, invalid in INVALID.items():
                if getattr(self, name) is not None:
                    getattr(self, name)[rows, columns] = invalid
        return self
