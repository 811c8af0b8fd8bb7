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

"""How images of 16-bit pixels, of which a camera fills fewer, become images of 8 bits."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras fill."""
SAMPLED = 4
"""The range of values is estimated from every so many rows and columns."""
ENDS = (0.5, 99.5)
"""Percentiles that count as the darkest and the brightest value: a hot pixel is none."""
THERMAL = (1 / 2, 1 / 4)
"""Darkest value, as a share of the brightest, above which there are no dark parts; and range of
values, as a share of what the bits express, below which there is little contrast."""
DARK = 1 / 8
"""Share of the brightest value below which there are dark parts after all."""
MARGIN = 0.25
"""What is left free at either end of a range of values, as a share of it, so that it holds."""
SHRINKING = 1 / 128
"""How much of what is too wide in a range is given up with each frame: too little to be seen."""
LEAST = 1 / 64
"""A range of values is at least this share of what the bits can express, else noise fills it."""


class BitDepth:
    """
    Turns the 16-bit images of one camera into 8 bits, all of them alike.

    How many bits are significant is given, or follows from the values: the fewest of `DEPTHS`
    that hold all values so far. Grey images that begin without dark parts and with little
    contrast, as those of thermal cameras, are stretched: to a range that widens at once for
    values beyond it, and narrows too slowly to be seen.

    :param significant_bits: 1 to 16, which are then scaled as they are; 0 to find out.
    :param report: takes a line for the user whenever something was found out.
    :ivar bits: found so far; 0 before the first image.
    :ivar range: lowest and highest value where images are stretched; empty otherwise.
    """

    def __init__(self, significant_bits: int = 0,
                 report: Callable[[str], None] = lambda text: None):
        self.significant_bits = significant_bits
        self.report = report
        self.bits = 0
        self.range: tuple[float, float] | tuple[()] = ()

    def to_8_bits(self, pixels: np.ndarray, sensed: np.ndarray | None = None) -> np.ndarray:
        """
        Scale an image to 8 bits.

        :param pixels: uint16, of any shape.
        :param sensed: what the sensor gave, where the pixels were computed from it (Bayer).
        :return: uint8 of the pixels' shape.
        """
        if self.significant_bits:
            return scaled(pixels, 0, 2 ** self.significant_bits - 1)
        self._learn(pixels if sensed is None else sensed, may_stretch=pixels.ndim == 2)
        return scaled(pixels, *(self.range or (0, 2 ** (self.bits or 16) - 1)))

    def _learn(self, pixels: np.ndarray, may_stretch: bool) -> None:
        lowest, highest = map(int, cv2.minMaxLoc(pixels.reshape(pixels.shape[0], -1))[:2])
        if not highest:
            return  # as of a closed shutter, which says nothing
        begins, stretched, known = not self.bits, bool(self.range), self.bits
        self.bits = max(known, next(bits for bits in DEPTHS if highest < 2 ** bits))
        if may_stretch and (begins or stretched):
            self._follow(pixels)
        if self.range:
            if begins:
                self.report(
                    f'the values of the 16-bit images lie between {lowest} and {highest}: they '
                    'are stretched, unless the significant bits are set')
        elif stretched or self.bits > known and (known or self.bits < 16):
            self.report(
                f'the values of the 16-bit images are up to {highest}: {self.bits} bits are '
                'taken to be significant, unless they are set')

    def _follow(self, pixels: np.ndarray) -> None:
        """Adapt the range of values; give it up where an image has dark and bright parts."""
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
    """Scale uint16 values so that low becomes 0 and high 255, saturating: uint8."""
    alpha = 255 / (high - low)
    if low:
        pixels = cv2.subtract(pixels, round(low))
    return cv2.convertScaleAbs(pixels, alpha=alpha)
