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

"""What a frame adds to the map, pixel by pixel."""

from __future__ import annotations

import numpy as np
from sync_perception.geometry import pixel_rays
from sync_perception.mapping.semantic_map.observation import slopes

K = np.array([[80.0, 0, 30.5], [0, 90.0, 20.5], [0, 0, 1]])
SIZE = (42, 62)


def plane(normal: np.ndarray, distance: float) -> np.ndarray:
    """Return the depth of a plane."""
    return (distance / (pixel_rays(K, SIZE) @ normal)).astype(np.float32)


def test_a_plane_has_its_normal_everywhere():
    """Also at the borders of the image, and beside depth that is not known on either side."""
    normal = np.array([0.2, 0.3, 0.9])
    normal /= np.linalg.norm(normal)
    depth = plane(normal, 4.0)
    depth[:, 20:24] = np.nan
    slope, normals = slopes(depth, K)
    known = np.isfinite(depth)
    np.testing.assert_allclose(normals[known], np.broadcast_to(normal, normals.shape)[known],
                               atol=1e-3)
    np.testing.assert_allclose(
        slope[known], (pixel_rays(K, SIZE) @ normal)[known], rtol=2e-3)


def test_the_edge_of_a_thing_has_the_normal_of_its_side():
    """Where one plane stands before another, the gradient does not cross the step."""
    depth = np.full(SIZE, 5.0, np.float32)
    depth[:, :30] = 2.0
    _, normals = slopes(depth, K)
    np.testing.assert_allclose(normals, np.broadcast_to([0, 0, 1.0], normals.shape), atol=1e-6)
