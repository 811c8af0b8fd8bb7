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

"""Writing of points and meshes as binary PLY."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sync_perception.files.whole_files import write_bytes

VERTEX = np.dtype([
    ('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('red', 'u1'), ('green', 'u1'), ('blue', 'u1'),
    ('label', 'u1'), ('confidence', '<f4')])
"""Vertex of a labelled cloud or mesh."""
FACE = np.dtype([('count', 'u1'), ('vertices', '<i4', (3,))])
PLY_TYPES = {'f4': 'float', 'u1': 'uchar'}


def write_vertices(path: str | Path, vertices: np.ndarray, triangles: np.ndarray | None = None
                   ) -> None:
    """
    Write vertices, and the triangles between them, as binary PLY.

    :param vertices: (N,), structured; float32 and uint8 fields become the properties.
    :param triangles: int (M, 3), indices of the vertices; None for a cloud.
    """
    properties = [
        f'property {PLY_TYPES[vertices.dtype[name].str[1:]]} {name}'
        for name in vertices.dtype.names]
    header = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(vertices)}',
              *properties]
    content = vertices.tobytes()
    if triangles is not None:
        header += [f'element face {len(triangles)}', 'property list uchar int vertex_indices']
        faces = np.empty(len(triangles), FACE)
        faces['count'], faces['vertices'] = 3, triangles
        content += faces.tobytes()
    write_bytes(path, '\n'.join([*header, 'end_header', '']).encode('ascii') + content)
