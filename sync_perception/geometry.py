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
Camera geometry: intrinsics under resize, crop and flip, projection, warping and normals.

Optical frame: z forward, x right, y down. A pixel's centre has integer coordinates, as in OpenCV,
so the image of width W spans [-0.5, W - 0.5].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar('Array', np.ndarray, 'Tensor')
NEAREST_DEPTH = 1e-6
"""Least depth in metres of a point in front of the camera."""


def pinhole(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """Return intrinsics without skew: float64 (3, 3), pixels."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)


def centred_pinhole(focal: float, size: tuple[int, int]) -> np.ndarray:
    """
    Return intrinsics with square pixels and the principal point in the centre.

    :param focal: focal length, pixels.
    :param size: height and width of the image.
    """
    return pinhole(focal, focal, (size[1] - 1) / 2, (size[0] - 1) / 2)


def resize_intrinsics(
        K: np.ndarray, old_size: tuple[int, int], new_size: tuple[int, int]) -> np.ndarray:
    """
    Return the intrinsics of a resized image.

    :param K: float64 (3, 3), pixels of the old image.
    :param old_size: height and width before.
    :param new_size: height and width after.
    """
    scale_y, scale_x = new_size[0] / old_size[0], new_size[1] / old_size[1]
    resized = np.array(K, np.float64)
    resized[0] *= scale_x
    resized[1] *= scale_y
    resized[0, 2] = (K[0, 2] + 0.5) * scale_x - 0.5
    resized[1, 2] = (K[1, 2] + 0.5) * scale_y - 0.5
    return resized


def crop_intrinsics(K: np.ndarray, top: float, left: float) -> np.ndarray:
    """Return the intrinsics of a crop that starts at row `top` and column `left`."""
    cropped = np.array(K, np.float64)
    cropped[0, 2] -= left
    cropped[1, 2] -= top
    return cropped


def flip_intrinsics(K: np.ndarray, width: int) -> np.ndarray:
    """Return the intrinsics of a horizontally mirrored image of the given width."""
    flipped = np.array(K, np.float64)
    flipped[0, 2] = width - 1 - K[0, 2]
    flipped[0, 1] = -K[0, 1]
    return flipped


def pixel_rays(K: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """
    Return the viewing ray of every pixel, scaled to z = 1.

    :param K: float64 (3, 3), upper triangular.
    :param size: height and width.
    :return: float32 (H, W, 3).
    """
    height, width = size
    u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    return (pixels @ np.linalg.inv(K).T).astype(np.float32)


def camera_rays(K_b33: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Return the viewing rays of a batch of cameras on their device, scaled to z = 1.

    :param K_b33: float (B, 3, 3).
    :param size: height and width.
    :return: float (B, H, W, 3).
    """
    import torch  # takes seconds, and the NumPy functions here do without it
    v, u = torch.meshgrid(
        *(torch.arange(side, dtype=K_b33.dtype, device=K_b33.device) for side in size),
        indexing='ij')
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1).reshape(1, -1, 3)
    return (pixels @ torch.linalg.inv(K_b33).mT).reshape(-1, *size, 3)


def backproject(depth: Array, rays: Array) -> Array:
    """
    Backproject depth along z to points.

    :param depth: (..., H, W), metres.
    :param rays: (..., H, W, 3), as returned by `pixel_rays`.
    :return: (..., H, W, 3), metres in the optical frame.
    """
    return depth[..., None] * rays


def transform(points: Array, target_T_source: Array) -> Array:
    """Transform (..., 3) points by a 4x4 rigid transform."""
    return points @ target_T_source[:3, :3].T + target_T_source[:3, 3]


def project(points: Array, K: Array) -> Array:
    """
    Project (..., 3) points in the optical frame to (..., 2) pixels (u, v).

    The pixels of points with z <= 0 are meaningless; mask them by z.
    """
    homogeneous = points @ K.T
    return homogeneous[..., :2] / homogeneous[..., 2:]


def warp(source_bchw: Tensor, depth_b1hw: Tensor, K: Tensor, source_T_target: Tensor
         ) -> tuple[Tensor, Tensor]:
    """
    Warp a source image into the target view by the target's depth (Zhou et al., 2017, eq. 2).

    :param source_bchw: float (B, C, H, W).
    :param depth_b1hw: float (B, 1, H, W), metres along z in the target camera.
    :param K: float (B, 3, 3), intrinsics of both images.
    :param source_T_target: float (B, 4, 4).
    :return: the warped image (B, C, H, W), and bool (B, 1, H, W), true where the point lies in
        front of the source camera and inside its image.
    """
    uv, z = locate(depth_b1hw, K, source_T_target)
    warped, inside = sample_bilinear(source_bchw, uv)
    return warped, inside & (z > NEAREST_DEPTH)


def locate(depth_b1hw: Tensor, K: Tensor, source_T_target: Tensor) -> tuple[Tensor, Tensor]:
    """
    Project the pixels of a target image into a source camera.

    :param depth_b1hw: float (B, 1, H, W), metres along z in the target camera.
    :param K: float (B, 3, 3), intrinsics of both images.
    :param source_T_target: float (B, 4, 4).
    :return: source pixels (u, v), (B, H, W, 2), meaningless where the point is not in front of the
        source camera; and the depth along z in the source camera, (B, 1, H, W), metres.
    """
    height, width = depth_b1hw.shape[-2:]
    rays = camera_rays(K, (height, width)).flatten(1, 2)
    points = depth_b1hw.flatten(1)[..., None] * rays
    points = points @ source_T_target[:, :3, :3].mT + source_T_target[:, None, :3, 3]
    z = points[..., 2:]
    uv = (points @ K.mT)[..., :2] / z.clamp(min=NEAREST_DEPTH)
    return uv.reshape(-1, height, width, 2), z.reshape(-1, 1, height, width)


def sample_bilinear(source_bchw: Tensor, uv_bhw2: Tensor) -> tuple[Tensor, Tensor]:
    """
    Sample an image bilinearly; pixels outside take the value at the border.

    :param source_bchw: float (B, C, H, W).
    :param uv_bhw2: float (B, H, W, 2), pixels (u, v) of the source image.
    :return: (B, C, H, W), and bool (B, 1, H, W), true where the pixel lies inside.
    """
    import torch  # takes seconds, and the NumPy functions here do without it
    from torch.nn.functional import grid_sample
    height, width = source_bchw.shape[-2:]
    size = torch.tensor([width, height], dtype=uv_bhw2.dtype, device=uv_bhw2.device)
    grid = (2 * uv_bhw2 + 1) / size - 1
    sampled = grid_sample(
        source_bchw, grid, mode='bilinear', padding_mode='border', align_corners=False)
    return sampled, (grid.abs() <= 1).all(dim=-1)[:, None]


def normals_from_points(points: Array) -> Array:
    """
    Return the surface normals of an organized cloud, estimated by central differences.

    :param points: float (..., H, W, 3), optical frame.
    :return: float32 (..., H, W, 3), unit length, towards the camera; NaN at the border and where
        a neighbour is invalid.
    """
    along_u = points[..., 1:-1, 2:, :] - points[..., 1:-1, :-2, :]
    along_v = points[..., 2:, 1:-1, :] - points[..., :-2, 1:-1, :]
    if isinstance(points, np.ndarray):
        normals = np.full(points.shape, np.nan, np.float32)
        cross = np.cross(along_v, along_u)
    else:
        normals = points.new_full(points.shape, np.nan)
        cross = along_v.cross(along_u, dim=-1)
    with np.errstate(invalid='ignore', divide='ignore'):
        cross = cross / ((cross ** 2).sum(-1) ** 0.5)[..., None]
        away = (cross * points[..., 1:-1, 1:-1, :]).sum(-1) > 0
    cross[away] *= -1
    normals[..., 1:-1, 1:-1, :] = cross
    return normals


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """
    Return the unit quaternion of a rotation matrix.

    The quaternion is the dominant eigenvector of Bar-Itzhack's matrix ("New method for extracting
    the quaternion from a rotation matrix", 2000). It is exact for rotations, and the nearest
    rotation for a matrix that is not exactly orthogonal.

    :param rotation: float64 (3, 3).
    :return: x, y, z, w, with w >= 0.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    matrix = np.array([
        [xx - yy - zz, yx + xy, zx + xz, zy - yz],
        [yx + xy, yy - xx - zz, zy + yz, xz - zx],
        [zx + xz, zy + yz, zz - xx - yy, yx - xy],
        [zy - yz, xz - zx, yx - xy, xx + yy + zz]]) / 3
    vector = np.linalg.eigh(matrix)[1][:, -1]
    x, y, z, w = (vector if vector[3] >= 0 else -vector).tolist()
    return x, y, z, w
