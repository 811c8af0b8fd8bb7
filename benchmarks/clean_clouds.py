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
Measure the share of points that hang between two surfaces, on rendered streets.

    python benchmarks/clean_clouds.py

A point hangs if its depth lies between those of the true surfaces within 4 pixels, and is more
than 20 % from each of them.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sync_perception.runtime.clean_depth import clean_depth
from sync_perception.runtime.predictor import Predictor
from sync_perception.street_world import StreetWorld

SEED = 900_021
REACH = 4
"""Pixels within which surfaces count."""
APART = 1.2
"""Ratio of depths that are different surfaces."""
LIMITS = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.4), (0.5, 0.3))
"""points.surface_distance and points.max_uncertainty."""


def hanging(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return which points hang between surfaces, bool (H, W)."""
    padded = np.pad(truth, REACH, mode='edge')
    nearer, farther, apart = (np.zeros(depth.shape, bool), np.zeros(depth.shape, bool),
                              np.ones(depth.shape, bool))
    height, width = depth.shape
    for row in range(2 * REACH + 1):
        for column in range(2 * REACH + 1):
            other = padded[row:row + height, column:column + width]
            nearer |= other * APART < depth
            farther |= other > depth * APART
            apart &= (other * APART < depth) | (other > depth * APART)
    return nearer & farther & apart & np.isfinite(depth)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=4)
    parser.add_argument('--model', default=None)
    options = parser.parse_args()
    predictor = Predictor(options.model)
    ground = predictor.labels.ground
    sums = np.zeros((len(LIMITS), 5))
    for index in range(options.frames):
        rendered = StreetWorld(SEED + index).render(20)
        found = predictor.predict(rendered.frame, predictor.available - {'normals'})
        hangs = hanging(found.depth, rendered.depth)
        points = np.isfinite(found.depth)
        on_ground = points & np.append(ground, np.zeros(256 - len(ground), bool))[found.labels]
        for row, (distance, uncertainty) in enumerate(LIMITS):
            start = time.process_time()
            kept = np.isfinite(clean_depth(
                found.depth, rendered.frame.K, distance, found.uncertainty, uncertainty))
            seconds = time.process_time() - start
            removed = points & ~kept
            sums[row] += (np.sum(hangs & kept) / max(np.sum(kept), 1),
                          np.sum(removed) / np.sum(points),
                          np.sum(removed & on_ground) / max(np.sum(on_ground), 1),
                          np.sum(removed & hangs) / max(np.sum(removed), 1), seconds)
    print('| `points.surface_distance` | `points.max_uncertainty` | hanging points '
          '| points removed | ground removed | of the removed hang | ms |')
    print('|---|---|---|---|---|---|---|')
    for (distance, uncertainty), values in zip(LIMITS, sums / options.frames):
        print(f'| {distance:g} | {uncertainty:g} | '
              + ' | '.join(f'{100 * value:.1f} %' for value in values[:4])
              + f' | {1000 * values[4]:.0f} |')


if __name__ == '__main__':
    main()
