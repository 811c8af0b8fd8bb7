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


"""Fused maps are the textbook's means; what moves, hides or is new stays that of its own frame."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.geometry import pixel_rays
from sync_perception.labels import LabelSpace
from sync_perception.mapping.correspondence import correspond
from sync_perception.mapping.temporal_fusion import FusionSettings, TemporalFusion
from sync_perception.types import DenseOutput
import torch

SPACE = LabelSpace.load('driving')
SIZE = (48, 64)
K = np.array([[60.0, 0, 31.5], [0, 60, 23.5], [0, 0, 1]])
BUILDING, ROAD, CAR, SKY = (SPACE.index(name) for name in ('building', 'road', 'car', 'sky'))
REMEMBER = FusionSettings(depth_memory=1.0, label_memory=1.0, correlation=0.0)


def output(depth, labels=BUILDING, variance: float | None = 0.01, sure: float = 0.9
           ) -> DenseOutput:
    """Return a network's output with depth in metres and labels of a probability."""
    depth = np.broadcast_to(np.asarray(depth, np.float32), SIZE)
    labels = np.broadcast_to(labels, SIZE)[::2, ::2]
    probability = np.full((*labels.shape, len(SPACE)), (1 - sure) / (len(SPACE) - 1), np.float32)
    np.put_along_axis(probability, labels[..., None], sure, axis=2)
    return DenseOutput(
        depth=torch.from_numpy(depth.copy())[None, None],
        logits=torch.from_numpy(np.log(probability)).permute(2, 0, 1)[None],
        log_variance=None if variance is None else torch.full((1, 1, *SIZE), np.log(variance)))


def at(x: float = 0, z: float = 0) -> np.ndarray:
    """Return the pose of a camera moved to the right and forward, metres."""
    pose = np.eye(4)
    pose[0, 3], pose[2, 3] = x, z
    return pose


def fuse(frames, settings=None, scale: float = 1.0) -> DenseOutput:
    """Return the last of some fused frames, pairs of output and pose."""
    fusion = TemporalFusion(SPACE, settings)
    for each, pose in frames:
        fused = fusion.fuse(each, K, SIZE, scale, pose)
    return fused


def test_two_views_give_the_textbook_mean_and_variance():
    """ln(depth) is the mean weighted by the inverse variances, which add; labels multiply."""
    first, second = output(10, variance=0.01, sure=0.6), output(10.5, variance=0.03, sure=0.8)
    fused = fuse([(first, at()), (second, at())], REMEMBER)
    expected = np.exp((np.log(10) / 0.01 + np.log(10.5) / 0.03) / (1 / 0.01 + 1 / 0.03))
    np.testing.assert_allclose(fused.depth.numpy(), expected, rtol=1e-5)
    other = len(SPACE) - 1
    product = np.sqrt(0.6 * 0.8), np.sqrt(0.4 / other * 0.2 / other)  # of one frame's evidence
    np.testing.assert_allclose(
        fused.logits.softmax(dim=1)[0, BUILDING].numpy(),
        product[0] / (product[0] + other * product[1]), rtol=1e-4)
    np.testing.assert_allclose(fused.log_variance, -np.log(1 / 0.01 + 1 / 0.03), rtol=1e-5)


@pytest.mark.parametrize('correlation', [0.0, 0.4, 1.0])
def test_the_variance_of_a_mean_of_correlated_errors(correlation):
    """It is sigma^2 (1 + (n - 1) rho) / n, and that of the single frame where none is fused."""
    settings = FusionSettings(depth_memory=1.0, correlation=correlation)
    fused = fuse([(output(10), at(x=x)) for x in (0, 0, 0, 3)], settings).log_variance.exp()[0, 0]
    np.testing.assert_allclose(fused[:, 2:40], 0.01 * (1 + 3 * correlation) / 4, rtol=1e-4)
    np.testing.assert_allclose(fused[:, -16:], 0.01, rtol=1e-5)


def test_noise_that_frames_share_stays_in_the_variance():
    """The predicted variance is that of the errors: half of it common to all frames."""
    random = np.random.default_rng(3)
    common = random.normal(0, 0.02, SIZE)
    frames = [(output(10 * np.exp(common + random.normal(0, 0.02, SIZE)), variance=0.0008), at())
              for _ in range(8)]
    fused = fuse(frames, FusionSettings(correlation=0.5))
    error = np.log(fused.depth[0, 0].numpy() / 10)
    assert error.var() == pytest.approx(fused.log_variance.exp().mean().item(), rel=0.1)


def test_memory_fades():
    """With the memory m, earlier frames have the weights m, m^2, ... relative to the latest."""
    depths = (10.0, 10.2, 10.5)
    fused = fuse([(output(depth), at()) for depth in depths], FusionSettings(depth_memory=0.5))
    expected = np.exp(np.average(np.log(depths), weights=(0.25, 0.5, 1)))
    np.testing.assert_allclose(fused.depth.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize('pose', [at(z=1.0), at(x=0.5), at(x=-0.3, z=-1.0)])
def test_a_plane_is_warped_by_a_known_motion(pose):
    """The correspondence of a slanted plane is exact, from a first guess that is 10 % off."""
    rays = pixel_rays(K, SIZE).astype(np.float64)
    normal = np.array([0.1, 0.2, 1.0])
    earlier = 12 / (rays @ normal)
    present = (12 - normal @ pose[:3, 3]) / (rays @ normal)
    noisy = (np.log(present) + 0.1).astype(np.float32)
    found = correspond(noisy, K, np.log(earlier).astype(np.float32), K, pose,
                       np.zeros(SIZE, bool))
    points = rays * present[..., None] + pose[:3, 3]
    np.testing.assert_allclose(found.u[found.seen], (
        points[..., 0] / points[..., 2] * 60 + 31.5)[found.seen], atol=0.06)
    np.testing.assert_allclose(
        np.exp(found.log_depth)[found.seen], present[found.seen], rtol=2e-3)
    assert found.seen.mean() > 0.7


def test_noise_of_a_static_scene_falls_and_the_mean_stays():
    """While driving towards a wall, noise of 3 % falls by more than half; scale is respected."""
    random = np.random.default_rng(0)
    frames = [(output((30 - z) / 2 * np.exp(random.normal(0, 0.03, SIZE))), at(z=z))
              for z in np.arange(0, 8, 0.5)]
    error = np.log(fuse(frames, scale=2.0).depth[0, 0, 8:-8, 8:-8].numpy() * 2 / 22.5)
    assert error.std() < 0.015
    assert abs(error.mean()) < 0.01


@pytest.mark.parametrize('kind', [CAR, BUILDING])
def test_a_moving_box_leaves_no_ghost(kind):
    """Where the box was, and where it is, depth and labels are those of the single frame."""
    def scene(left: int) -> DenseOutput:
        depth, labels = np.full(SIZE, 20.0), np.full(SIZE, ROAD)
        depth[12:36, left:left + 16], labels[12:36, left:left + 16] = 8, kind
        return output(depth, labels)
    frames = [(scene(left), at()) for left in (4, 12, 20, 28)]
    fused, single = fuse(frames), frames[-1][0]
    np.testing.assert_allclose(fused.depth, single.depth, rtol=1e-4)
    np.testing.assert_array_equal(fused.logits.argmax(dim=1), single.logits.argmax(dim=1))


def test_what_was_not_seen_before_is_that_of_the_single_frame():
    """Beyond the border of the earlier view nothing is fused."""
    fused = fuse([(output(10), at()), (output(10.5), at(x=3))])
    columns = 3 / 10.5 * 60
    new = fused.depth[0, 0, :, -int(columns) + 2:]
    np.testing.assert_allclose(new, 10.5, rtol=1e-5)
    assert (fused.depth[0, 0, :, 2:40] < 10.5).all()


def test_the_labels_of_the_sky_are_fused_but_not_its_depth():
    """The sky does not move when the camera drives on."""
    random = np.random.default_rng(1)
    frames = [(output(random.uniform(50, 150, SIZE), SKY, sure=sure), at(z=z))
              for z, sure in enumerate((0.9, 0.9, 0.9, 0.5))]
    fused = fuse(frames, FusionSettings(label_memory=1.0))
    assert fused.logits.softmax(dim=1)[0, SKY].min() > 0.8
    np.testing.assert_allclose(fused.depth, frames[-1][0].depth, rtol=1e-4)


def test_a_frame_without_pose_is_used_alone():
    """It is returned unchanged, and so is the next one, which has nothing to be fused with."""
    fusion = TemporalFusion(SPACE)
    for depth, pose in ((10, at()), (11, None), (10.4, at())):
        given = output(depth)
        fused = fusion.fuse(given, K, SIZE, 1.0, pose)
    assert fused is given
    assert fusion.share == 0
    fusion.fuse(output(10), K, SIZE, 1.0, at())
    assert fusion.share == 1


def test_frames_before_take_part_in_a_better_scale():
    """Metres of all frames grow by the same factor, so the mean in the network's unit stays."""
    fusion = TemporalFusion(SPACE)
    for index in range(6):
        scale = 1.0 + 0.1 * index
        fusion.rescale(scale / max(1.0, scale - 0.1))
        fused = fusion.fuse(output(10), K, SIZE, scale, at())
        assert index == 0 or fusion.share > 0.9
    np.testing.assert_allclose(fused.depth, 10, rtol=1e-5)


def test_a_network_without_uncertainty_is_fused_with_equal_weights():
    """The mean of two frames is then the geometric mean of their depths."""
    fused = fuse([(output(10, variance=None), at()), (output(10.4, variance=None), at())],
                 REMEMBER)
    np.testing.assert_allclose(fused.depth, np.sqrt(10 * 10.4), rtol=1e-5)
