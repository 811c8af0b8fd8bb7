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

"""Conversion of 16-bit images, of which a camera may use fewer bits, to 8 bits."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

DEPTHS = (8, 10, 12, 14, 16)
"""Usual bit depths of cameras."""
SAMPLED = 4
"""Stride of the rows and columns from which the range of values is estimated."""
ENDS = (0.5, 99.5)
"""Percentiles used as the darkest and the brightest value, so that hot pixels do not count."""
THERMAL = (1 / 2, 1 / 4)
"""Thresholds of a thermal image: darkest value relative to the brightest, above which there are no
dark parts; range of values relative to the full range, below which there is little contrast."""
DARK = 1 / 8
"""Darkest value relative to the brightest, below which an image has dark parts after all."""
MARGIN = 0.25
"""Margin at either end of a new range, relative to the range of values, so that it lasts."""
SHRINKING = 1 / 128
"""Fraction of a range's excess width removed per frame: too little to be visible."""
LEAST = 1 / 64
"""Least range of values relative to the full range; a narrower one would amplify noise."""


class BitDepth:
    """
    Conversion of the 16-bit images of one camera to 8 bits, consistent over time.

    The number of significant bits is given, or inferred as the smallest of `DEPTHS` that holds all
    values so far. If the first image is grey, without dark parts and with little contrast, as from
    a thermal camera, images are stretched. The range widens immediately for values beyond
    it, and narrows too slowly to be visible.

    :param significant_bits: 1 to 16, for a fixed scale; 0 to infer them.
    :param report: receives a line for the user whenever an inferred setting changes.
    :ivar bits: significant bits inferred so far; 0 before the first image.
    :ivar range: lowest and highest value if images are stretched; otherwise empty.
    """

    def __init__(self, significant_bits: int = 0,
                 report: Callable[[str], None] = lambda text: None):
        self.significant_bits = significant_bits
        self.report = report
        self.bits = 0
        self.range: tuple[float, float] | tuple[()] = ()

    def to_8_bits(self, pixels: np.ndarray, sensed: np.ndarray | None = None) -> np.ndarray:
        """
        Return an image scaled to 8 bits.

        :param pixels: uint16, of any shape.
        :param sensed: raw sensor values if the pixels were computed from them (Bayer).
        :return: uint8 of the same shape.
        """
        if self.significant_bits:
            return scaled(pixels, 0, 2 ** self.significant_bits - 1)
        self._learn(pixels if sensed is None else sensed, may_stretch=pixels.ndim == 2)
        return scaled(pixels, *(self.range or (0, 2 ** (self.bits or 16) - 1)))

    def _learn(self, pixels: np.ndarray, may_stretch: bool) -> None:
        lowest, highest = map(int, cv2.minMaxLoc(pixels.reshape(pixels.shape[0], -1))[:2])
        if not highest:
            return  # such as with a closed shutter
        begins, stretched, known = not self.bits, bool(self.range), self.bits
        self.bits = max(known, next(bits for bits in DEPTHS if highest < 2 ** bits))
        if may_stretch and (begins or stretched):
            self._follow(pixels)
        if self.range:
            if begins:
                self.report(
                    f'the values of the 16-bit images lie between {lowest} and {highest}: they '
                    'are stretched unless the significant bits are set')
        elif stretched or self.bits > known and (known or self.bits < 16):
            self.report(
                f'the values of the 16-bit images are up to {highest}: {self.bits} bits are '
                'assumed to be significant unless they are set')

    def _follow(self, pixels: np.ndarray) -> None:
        """Adapt the range of values; stop stretching if an image has dark and bright parts."""
        dark, bright = np.percentile(pixels[::SAMPLED, ::SAMPLED], ENDS)
        full = 2 ** self.bits
        thermal = dark > THERMAL[0] * bright and bright - dark < THERMAL[1] * full
        if not (dark > DARK * bright if self.range else thermal):
            self.range = ()
            return
        margin = MARGIN * max(bright - dark, LEAST * full)
        low, high = max(dark - margin, 0), min(bright + margin, 65535)
        if not self.range:
            self.range = (low, high)
            return
        lowest, highest = self.range
        self.range = (
            dark - margin if dark < lowest else lowest + SHRINKING * max(low - lowest, 0),
            bright + margin if bright > highest else highest - SHRINKING * max(highest - high, 0))


def scaled(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return uint16 values scaled to uint8: low becomes 0, high becomes 255, with saturation."""
    alpha = 255 / (high - low)
    if low:
        pixels = cv2.subtract(pixels, round(low))
    return cv2.convertScaleAbs(pixels, alpha=alpha)
