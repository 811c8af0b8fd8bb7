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

"""Export of a map's surface as PLY, with colour, label and confidence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sync_perception.files.ply import VERTEX, write_vertices
from sync_perception.mapping.semantic_map.surface import Surface


def write_surface(path: str | Path, surface: Surface, mesh: bool = True) -> None:
    """
    Write a surface as binary PLY: x, y, z, red, green, blue, label, confidence.

    :param mesh: whether to write the triangles too.
    :raises OSError: if the disk is full.
    """
    vertices = np.empty(len(surface), VERTEX)
    for name, column in zip(('x', 'y', 'z'), surface.points.T):
        vertices[name] = column
    for name, column in zip(('red', 'green', 'blue'), surface.colors.T):
        vertices[name] = column
    vertices['label'], vertices['confidence'] = surface.labels, surface.confidence
    write_vertices(path, vertices, surface.triangles() if mesh else None)
