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

"""Files of predictions: depth in KITTI's format, and clouds that Open3D reads."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.runtime.image_files.result_files import encode_depth, write_ply
from sync_perception.runtime.pointcloud import POINT


def test_depth_png_is_kitti_s():
    depth = np.array([[1.0, 80.25, np.nan, np.inf, -1.0, 0.0, 1e-4, 300.0]], np.float32)
    assert encode_depth(depth).tolist() == [[256, 20544, 0, 0, 0, 0, 1, 65535]]


def test_ply_is_read_by_open3d(tmp_path):
    open3d = pytest.importorskip('open3d')
    points = np.zeros(3, POINT)
    points['x'], points['y'], points['z'] = [1, 2, 3], [4, 5, 6], [7, 8, 9]
    points['rgb'], points['label'] = [0xFF0000, 0x00FF00, 0x0000FF], [3, 255, 0]
    points['confidence'] = [0.25, 0.5, 1.0]
    write_ply(points, tmp_path / 'cloud.ply')
    cloud = open3d.t.io.read_point_cloud(str(tmp_path / 'cloud.ply')).point
    np.testing.assert_array_equal(
        cloud['positions'].numpy(), [[1, 4, 7], [2, 5, 8], [3, 6, 9]])
    np.testing.assert_array_equal(cloud['colors'].numpy(), np.eye(3) * 255)
    np.testing.assert_array_equal(cloud['label'].numpy().ravel(), [3, 255, 0])
    np.testing.assert_array_equal(cloud['confidence'].numpy().ravel(), [0.25, 0.5, 1.0])
