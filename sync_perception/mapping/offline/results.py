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

"""Files that are made of a map: surface, pictures, navigation grid and trajectory."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from sync_perception.files.whole_files import write_text
from sync_perception.images.reading import write_image
from sync_perception.mapping.offline.pictures import picture_from_above, picture_from_the_side
from sync_perception.mapping.pose_files import write_tum
from sync_perception.mapping.semantic_map.export import write_surface
from sync_perception.mapping.semantic_map.grid import FREE, Grid, navigation_grid, OCCUPIED
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.surface import LEAST_WEIGHT, surface_of
from sync_perception.mapping.trajectory import Trajectory

GREY = {FREE: 254, OCCUPIED: 0}
UNKNOWN_GREY = 205
"""Grey values of nav2's map_server."""


def write_map_results(
        out: Path, semantic_map: SemanticMap, trajectory: Trajectory,
        least_weight: float = LEAST_WEIGHT) -> list[str]:
    """
    Write everything that is made of a map.

    The files are `map.ply` (mesh with colour, label and confidence), `trajectory.txt` (TUM),
    `above.png`, `side.png`, and the navigation grid as `grid.pgm` and `grid.yaml`, as nav2's
    map_server reads it.

    :param least_weight: least weight of the surface's voxels.
    :return: names of the files.
    """
    surface = surface_of(semantic_map, least_weight)
    space, up = semantic_map.space, semantic_map.settings.up
    write_surface(out / 'map.ply', surface)
    write_tum(out / 'trajectory.txt', trajectory)
    for name, draw in (('above', picture_from_above), ('side', picture_from_the_side)):
        picture = draw(surface, trajectory.poses, space, up)
        write_image(out / f'{name}.png', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    write_grid(out, navigation_grid(surface, space, np.asarray(up)))
    return ['map.ply', 'trajectory.txt', 'above.png', 'side.png', 'grid.pgm', 'grid.yaml']


def write_grid(out: Path, grid: Grid) -> None:
    """Write a navigation grid as nav2's map_server reads it: a picture and a description."""
    grey = np.full(grid.values.shape, UNKNOWN_GREY, np.uint8)
    for value, level in GREY.items():
        grey[grid.values == value] = level
    if not grey.size:
        grey = np.full((1, 1), UNKNOWN_GREY, np.uint8)
    write_image(out / 'grid.pgm', grey[::-1])
    write_text(out / 'grid.yaml', '\n'.join([
        'image: grid.pgm', 'mode: trinary', f'resolution: {grid.resolution:g}',
        f'origin: [{grid.origin[0]:.3f}, {grid.origin[1]:.3f}, 0.0]', 'negate: 0',
        'occupied_thresh: 0.65', 'free_thresh: 0.196', '']))
