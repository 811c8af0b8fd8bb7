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

"""Camera geometry against OpenCV, Open3D and hand-computed cases."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception import geometry
from sync_perception.geometry import quaternion
import torch

K = np.array([[721.5, 0, 609.6], [0, 718.2, 172.9], [0, 0, 1]])
SIZE = (375, 1242)


def test_a_centred_pinhole_sees_as_far_to_either_side():
    """The corner pixels of an image lie opposite each other about the optical axis."""
    K = geometry.centred_pinhole(500.0, SIZE)
    corners = np.array([[0, 0, 1], [SIZE[1] - 1, SIZE[0] - 1, 1]], float) @ np.linalg.inv(K).T
    np.testing.assert_allclose(corners[0, :2], -corners[1, :2])
    assert K[0, 0] == K[1, 1] == 500


def test_projection_is_opencvs():
    points = np.random.default_rng(0).uniform((-8, -2, 3), (8, 2, 40), (50, 3))
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, None)
    np.testing.assert_allclose(geometry.project(points, K), expected[:, 0], rtol=1e-9)


def test_backprojection_is_open3ds():
    o3d = pytest.importorskip('open3d')
    depth = np.random.default_rng(1).uniform(2, 60, (40, 60)).astype(np.float32)
    small = np.array([[50.0, 0, 29.3], [0, 52.0, 21.1], [0, 0, 1]])
    intrinsic = o3d.camera.PinholeCameraIntrinsic(60, 40, small)
    cloud = o3d.geometry.PointCloud.create_from_depth_image(
        o3d.geometry.Image(depth), intrinsic, depth_scale=1.0, depth_trunc=100.0)
    points = geometry.backproject(depth, geometry.pixel_rays(small, depth.shape))
    np.testing.assert_allclose(points.reshape(-1, 3), np.asarray(cloud.points), atol=2e-5)


def test_intrinsics_follow_a_resized_image():
    # Where a pattern's centre lands after OpenCV's resize is where the new intrinsics put it.
    image = np.zeros((240, 320), np.float32)
    cv2.circle(image, (150, 90), 20, 1, -1)
    resized = cv2.resize(image, (96, 60), interpolation=cv2.INTER_AREA)
    K_old = np.array([[200.0, 0, 160], [0, 200, 120], [0, 0, 1]])
    K_new = geometry.resize_intrinsics(K_old, image.shape, resized.shape)
    ray = np.linalg.inv(K_old) @ [*centroid(image), 1]
    np.testing.assert_allclose(geometry.project(ray, K_new), centroid(resized), atol=0.02)


def test_intrinsics_follow_a_crop_and_a_flip():
    point = np.array([1.5, 0.4, 12.0])
    u, v = geometry.project(point, K)
    cropped = geometry.project(point, geometry.crop_intrinsics(K, top=30, left=200))
    np.testing.assert_allclose(cropped, [u - 200, v - 30])
    mirrored = geometry.project(point * [-1, 1, 1], geometry.flip_intrinsics(K, SIZE[1]))
    np.testing.assert_allclose(mirrored, [SIZE[1] - 1 - u, v])


def test_transform_is_a_matrix_product():
    rng = np.random.default_rng(2)
    target_T_source = np.eye(4)
    target_T_source[:3, :3] = cv2.Rodrigues(rng.normal(size=3))[0]
    target_T_source[:3, 3] = rng.normal(size=3)
    points = rng.normal(size=(5, 7, 3))
    homogeneous = np.concatenate([points, np.ones((5, 7, 1))], axis=-1)
    expected = np.einsum('ij,hwj->hwi', target_T_source, homogeneous)[..., :3]
    np.testing.assert_allclose(geometry.transform(points, target_T_source), expected)


def test_warp_by_a_sideways_step_shifts_by_the_disparity():
    # f b / z = 100 * 0.5 / 10 = 5 pixels
    source = torch.arange(64.0).expand(1, 1, 32, 64).contiguous()
    K_small = torch.tensor([[[100.0, 0, 31.5], [0, 100, 15.5], [0, 0, 1]]])
    source_T_target = torch.eye(4)[None]
    source_T_target[0, 0, 3] = 0.5
    depth = torch.full((1, 1, 32, 64), 10.0)
    warped, inside = geometry.warp(source, depth, K_small, source_T_target)
    torch.testing.assert_close(warped[0, 0, 7, :59], source[0, 0, 7, 5:], atol=1e-3, rtol=0)
    assert inside[0, 0, 7].tolist() == [True] * 59 + [False] * 5


def test_warp_says_what_lies_behind_the_source():
    source_T_target = torch.eye(4)[None]
    source_T_target[0, 2, 3] = -20
    _, inside = geometry.warp(
        torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 10.0),
        torch.tensor([[[10.0, 0, 3.5], [0, 10, 3.5], [0, 0, 1]]]), source_T_target)
    assert not inside.any()


def test_normals_of_a_tilted_plane():
    normal = np.array([0.3, -0.8, -0.5])
    normal /= np.linalg.norm(normal)
    rays = geometry.pixel_rays(K, (40, 50))
    depth = (-4 / (rays @ normal)).astype(np.float32)
    points = geometry.backproject(depth, rays)
    points[20, 20] = np.nan
    normals = geometry.normals_from_points(points)
    assert np.isnan(normals[0]).all() and np.isnan(normals[20, 21]).all()
    valid = np.isfinite(normals).all(axis=-1)
    assert valid.sum() == 38 * 48 - 4  # the central differences around the hole
    expected = np.broadcast_to(normal, (valid.sum(), 3))
    np.testing.assert_allclose(normals[valid], expected, atol=1e-2)


def test_normals_and_rays_of_a_batch_are_those_of_its_members():
    intrinsics = [K, geometry.flip_intrinsics(K, 50)]
    depth = np.random.default_rng(0).uniform(4, 5, (2, 40, 50)).astype(np.float32)
    rays = geometry.camera_rays(torch.from_numpy(np.stack(intrinsics)), (40, 50)).float()
    found = geometry.normals_from_points(geometry.backproject(torch.from_numpy(depth), rays))
    for place, own in enumerate(intrinsics):
        alone = geometry.pixel_rays(own, (40, 50))
        np.testing.assert_allclose(rays[place], alone, atol=1e-6)
        np.testing.assert_allclose(
            found[place],
            geometry.normals_from_points(geometry.backproject(depth[place], alone)), atol=1e-3)


def centroid(image):
    """Return the (u, v) centre of mass."""
    v, u = np.mgrid[:image.shape[0], :image.shape[1]]
    return np.array([(u * image).sum(), (v * image).sum()]) / image.sum()


def test_quaternions_are_scipys():
    rotation = pytest.importorskip('scipy.spatial.transform').Rotation
    turns = [*rotation.random(50, random_state=0),
             *(rotation.from_rotvec(np.pi * axis) for axis in np.eye(3)),
             rotation.from_rotvec([0, 0, np.pi - 1e-9]), rotation.identity()]
    for turn in turns:
        ours, theirs = np.array(quaternion(turn.as_matrix())), turn.as_quat()
        assert ours[3] >= 0
        assert abs(ours @ theirs) == pytest.approx(1, abs=1e-12)  # q and -q are one rotation
