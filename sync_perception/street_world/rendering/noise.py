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


"""Noise tables for textures, which are looked up instead of computed per pixel."""

from __future__ import annotations

from functools import cache, lru_cache

import cv2
import numpy as np

SIZE = 1024
GRAIN = 1 << 21


@cache
def noise_table(seed: int, rough: float) -> np.ndarray:
    """
    Return a tileable fractal noise table.

    :param rough: amplitude of an octave relative to the next coarser one.
    :return: float32 (SIZE * SIZE,), zero mean, unit variance.
    """
    rng = np.random.default_rng([seed, 5])
    total = np.zeros((SIZE, SIZE), np.float32)
    for octave in range(2, 11):
        cells = 1 << octave
        knots = rng.standard_normal((cells, cells)).astype(np.float32)
        tiled = np.pad(knots, min(4, cells), mode='wrap')
        scale = SIZE // cells
        fine = cv2.resize(tiled, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        margin = min(4, cells) * scale
        total += fine[margin:margin + SIZE, margin:margin + SIZE] * rough ** octave
    total -= total.mean()
    return np.ascontiguousarray(total / total.std()).reshape(-1)


def look_up(values: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Read a table of `noise_table` at texel coordinates, wrapping around; float32 like `u`."""
    index = np.floor(u).astype(np.int32) & (SIZE - 1)
    index <<= 10
    index |= np.floor(v).astype(np.int32) & (SIZE - 1)
    return values.take(index)


@lru_cache(maxsize=1)
def grain() -> np.ndarray:
    """Return a long float32 row of standard normal numbers for sensor noise."""
    return np.random.default_rng(17).standard_normal(2 * GRAIN).astype(np.float32)


@lru_cache(maxsize=1)
def hashes() -> np.ndarray:
    """Return float32 (65536,) uniform numbers, as random properties of parts or windows."""
    return np.random.default_rng(19).random(65536, dtype=np.float32)
