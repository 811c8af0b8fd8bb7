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


"""NYU Depth v2: written files come back, and real normals agree with real depth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.datasets.nyuv2.raw import NyuDepthV2, SIZE
from sync_perception.geometry import backproject, normals_from_points, pixel_rays


@pytest.fixture
def root(tmp_path, write_image, random_image):
    """Write two images, the first with all annotations, and a split of the second."""
    write_image(tmp_path / '000007.png', random_image(*SIZE))
    write_image(tmp_path / '000012.png', random_image(*SIZE))
    depth = np.full(SIZE, 12500, np.uint16)
    depth[0] = 0
    write_image(tmp_path / 'depth_gt_000007.png', depth)
    write_image(tmp_path / 'segm_gt_000007.png', np.tile(np.uint8([0, 39, 255, 5]), (480, 160)))
    normals = np.full((*SIZE, 3), 127, np.uint8)
    normals[1] = (128, 128, 255)  # a floor: straight up
    normals[2] = (128, 0, 128)  # a wall ahead: against the viewing direction
    write_image(tmp_path / 'norm_gt_000007.png', normals)
    (tmp_path / 'test.txt').write_text('000012\n')
    return tmp_path


def test_written_set_comes_back(root):
    dataset = NyuDepthV2(root)
    assert dataset.ids == ['000007', '000012']
    full, bare = dataset[0], dataset[1]
    assert np.isnan(full.depth[0]).all()
    assert (full.depth[1:] == 2.5).all()
    assert full.labels[5, :4].tolist() == [0, 39, 255, 5]
    assert bare.depth is None
    assert bare.labels is None
    assert bare.normals is None
    assert bare.K[0, 0] == pytest.approx(518.8579)


def test_normals_arrive_in_the_optical_frame(root):
    """Up is -y, and a wall ahead looks back along -z; grey pixels are unknown."""
    normals = NyuDepthV2(root)[0].normals
    assert normals.dtype == np.float32
    np.testing.assert_allclose(normals[1, 0], [0, -1, 0], atol=0.01)
    np.testing.assert_allclose(normals[2, 0], [0, 0, -1], atol=0.01)
    assert np.isnan(normals[0]).all()


def test_splits_are_lists_of_ids(root):
    assert NyuDepthV2(root, 'test').ids == ['000012']
    with pytest.raises(FileNotFoundError, match='train.txt'):
        NyuDepthV2(root, 'train')
    (root / 'test.txt').write_text('000012\n000099')
    with pytest.raises(FileNotFoundError, match='lists 000099'):
        NyuDepthV2(root, 'test')


def test_cropped_images_are_refused(root, write_image, random_image):
    write_image(root / '000012.png', random_image(427, 561))
    with pytest.raises(ValueError, match='561x427.*640x480'):
        NyuDepthV2(root)[1]


def test_eight_bit_depth_is_refused(root, write_image):
    write_image(root / 'depth_gt_000007.png', np.full(SIZE, 100, np.uint8))
    with pytest.raises(ValueError, match='8 bits.*16 bits'):
        NyuDepthV2(root)[0]


def test_real_normals_agree_with_real_depth(data_root):
    """Normals of the smoothed depth by central differences; other axes would be 45 degrees off."""
    sample = NyuDepthV2(data_root / 'nyuv2').read('000433')
    points = backproject(sample.depth, pixel_rays(sample.K, SIZE))
    smooth = cv2.GaussianBlur(np.nan_to_num(points), (0, 0), 3)
    cosine = (normals_from_points(smooth) * sample.normals).sum(axis=-1)
    known = np.isfinite(cosine)
    assert known.mean() > 0.6
    assert np.degrees(np.arccos(np.clip(np.median(cosine[known]), -1, 1))) < 20
