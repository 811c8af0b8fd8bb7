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

"""Self-supervised depth from camera motion, as in Monodepth2 (Godard et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
import logging
from typing import Any

from sync_perception.datasets.neighbours import STEREO
from sync_perception.files import checks
from sync_perception.geometry import camera_rays, warp
from sync_perception.models.interface import Interface
from sync_perception.models.resizing import resize_bilinear
from sync_perception.training.feeding.mixture import Mixture
from sync_perception.training.losses.camera_height import camera_height_loss, find_ground
from sync_perception.training.losses.photometric import photometric_error, photometric_loss
from sync_perception.training.losses.smoothness import edge_aware_smoothness
from sync_perception.training.objectives.camera_motion import (
    CameraMotion,
    check_intrinsics,
    finite_poses,
    first_depth,
    PoseConfig,
    unit_range,
)
from sync_perception.training.objectives.feature_reference import FeatureReference
from sync_perception.training.objectives.objective import (
    at_least_0,
    batch_scale,
    Objective,
    Setup,
    Step,
)
import torch
from torch import nn, Tensor
from torch.nn import functional

LOG = logging.getLogger(__name__)
KEY = 'objectives.self_supervised'
SMALLEST = 8  # pixels: scales with a shorter side are not used
GREATEST_HEIGHT = 1e3


@dataclass(frozen=True)
class SelfSupervisedConfig:
    """
    Settings of self-supervised depth from neighbours, which need `neighbours` or `stereo` data.

    :param weight: weight of the photometric error of the warped neighbours, 0 or more.
    :param smoothness: weight of the edge-aware smoothness of disparity, within `weight`, 0 or
        more; at scale s it is divided by 2^s.
    :param scales: number of scales of the photometric loss, 1 or more.
    :param mask_after: steps before the auto-mask is applied, 0 or more. Early in training, it
        would keep only the pixels that happen to agree with the predicted motion, and so reinforce
        a random direction.
    :param pose: settings of the pose network for neighbours in time; None for none.
    :param known_poses: whether poses of the data are preferred to those of the network.
    :param feature_distance: weight of the distance between the encoder's coarsest features and
        those of its pretrained weights, 0 or more; the paper's is 1e-2.
    :param camera_height: height of the cameras above the road, metres, above 0, as the metric
        scale without known poses; None if it is unknown, or differs between samples with
        neighbours.
    :param camera_height_weight: weight of the log error of that height, within `weight`, 0 or
        more.
    """

    weight: float = 1.0
    smoothness: float = 1e-3
    scales: int = 4
    mask_after: int = 0
    pose: PoseConfig | None = None
    known_poses: bool = False
    feature_distance: float = 0.0
    camera_height: float | None = None
    camera_height_weight: float = 0.1

    def __post_init__(self):
        """Check that all numbers are in range."""
        at_least_0(self, KEY, 'weight', 'smoothness', 'mask_after', 'feature_distance',
                   'camera_height_weight')
        checks.whole(1, 2 ** 10)(self.scales, f'{KEY}.scales')
        checks.optional(checks.number(1e-3, GREATEST_HEIGHT))(
            self.camera_height, f'{KEY}.camera_height')


class SelfSupervised(Objective):
    """
    Self-supervised depth from neighbouring images, optionally with a pose network.

    Geometry is computed in float32 at any precision of the network. Stereo partners are always
    warped by their known pose, which provides the metric scale.

    :raises ValueError: for a network without depth, or without pretrained weights if
        `feature_distance` needs them.
    """

    Config = SelfSupervisedConfig
    TASKS = {'photometric': 'depth', 'smooth_disparity': 'depth', 'camera_height': 'depth'}

    def __init__(self, config: SelfSupervisedConfig, setup: Setup):
        super().__init__(config, setup)
        model = setup.model.config
        self.depth_range = tuple(model.depth_range)
        self.canonical_focal = model.canonical_focal
        self.scale_free = True
        self.weights = {
            'photometric': config.weight, 'smooth_disparity': config.weight * config.smoothness,
            'camera_height': config.weight * config.camera_height_weight,
            'feature_distance': config.feature_distance}
        network = setup.model.network
        self.features = None
        if config.feature_distance:
            self.features = FeatureReference(network, setup.arguments)
        depth = first_depth(network, self.depth_range)
        self.motion: CameraMotion | None = None
        if config.pose is not None:
            self.motion = self.learned = CameraMotion(config.pose, Interface(
                depth_range=self.depth_range, mean=tuple(model.mean), std=tuple(model.std)),
                depth)

    def terms(self, step: Step) -> dict[str, Tensor]:
        """
        Return `photometric` and `smooth_disparity`, if a sample has a neighbour.

        They come with `camera_height`, if that is known and such a sample shows the road, and with
        `feature_distance` of all samples, if requested. Each term is the mean over the samples and
        the scales; samples without a neighbour count as 0.

        :raises ValueError: if a sample with a neighbour has no intrinsics.
        """
        terms = self.neighbour_terms(step)
        if self.features is not None:
            terms['feature_distance'] = self.features.distance(step.model.network, step.image)
        return terms

    def neighbour_terms(self, step: Step) -> dict[str, Tensor]:
        """Return the terms of the samples with a neighbour."""
        batch, there = step.batch, self.usable(step.batch)
        members = there.any(dim=1)
        if not members.any():
            return {}
        check_intrinsics(batch, members, KEY)
        depths = [depth[members].float() for depth in pyramid(step.depths, self.config.scales)]
        batch, there = of_members(batch, members), there[members]
        image = unit_range(batch['image'])
        neighbours = unit_range(batch['neighbours'].flatten(0, 1)).unflatten(0, there.shape)
        poses = self.poses(image, neighbours, there, batch)
        share = members.float().mean()
        with torch.autocast(image.device.type, enabled=False):
            photometric, smooth = self.compared(
                depths, image, neighbours, poses.float(), there, batch,
                step.number >= self.config.mask_after)
            height = self.height_error(depths[0], batch)
        terms = {'photometric': photometric, 'smooth_disparity': smooth, 'camera_height': height}
        return {name: share * term for name, term in terms.items() if term is not None}

    def prepare(self, model: nn.Module, device: torch.device) -> None:
        """Move the pretrained encoder to the device."""
        if self.features is not None:
            self.features.to(device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the pose network's weights, with their own learning rate."""
        return [{**group, 'lr': self.config.pose.learning_rate}
                for group in super().parameter_groups()]

    def check_offsets(self, offsets: Sequence[int]) -> None:
        """
        Check that the data provide neighbours with known or estimated poses.

        :param offsets: offsets of the data's neighbours.
        :raises ValueError: if none of them can be used.
        """
        times = [offset for offset in offsets if offset != STEREO]
        if not offsets:
            raise ValueError(
                f'{KEY} needs neighbours: expected `neighbours: [-1, 1]` or '
                "`stereo: true` in the recipe's data, got neither")
        if times and self.motion is None and not self.config.known_poses:
            raise ValueError(
                f'{KEY}: neighbours {times} need poses: expected a network, `pose: '
                '{backbone: resnet18}`, or `known_poses: true`, got neither')
        if self.motion is not None and not times:
            raise ValueError(
                f'{KEY}.pose: a pose network needs neighbours in time, not only a stereo partner: '
                "expected `neighbours: [-1, 1]` in the recipe's data, or `pose: null`")

    def check_mixture(self, mixture: Mixture) -> None:
        """
        Check that recordings have poses if these are required.

        :raises ValueError: if `known_poses` is set, and no sample has any.
        """
        times = [offset for offset in mixture.offsets if offset != STEREO]
        if not times or not self.config.known_poses or mixture.knows_poses():
            return
        message = (
            f'{KEY}.known_poses: true, but no sample of '
            f'{", ".join(name for name, _ in mixture.recordings)} has a pose and one at {times}')
        if self.motion is None:
            raise ValueError(f'{message}: expected data with poses, or a network, `pose: '
                             '{backbone: resnet18}`')
        LOG.warning('%s: the pose network estimates all of them', message)

    def usable(self, batch: dict[str, Any]) -> Tensor:
        """Return which neighbours exist and have a known or estimated pose: (B, N)."""
        posed = self.known(batch)
        if self.motion is not None:
            posed = posed | (batch['neighbour_offset'] != STEREO)
        return batch['neighbour_there'] & posed

    def known(self, batch: dict[str, Any]) -> Tensor:
        """Return which neighbours are warped by a pose of the data: bool (B, N)."""
        stereo = batch['neighbour_offset'] == STEREO
        return finite_poses(batch['neighbour_pose']) & (self.config.known_poses | stereo)

    def scale_from(self, step: Step, terms: Mapping[str, Tensor]) -> set[str]:
        """Return the sources of metric scale in a batch: `stereo`, `poses` or `camera height`."""
        used = self.usable(step.batch) & self.known(step.batch)
        stereo = step.batch['neighbour_offset'] == STEREO
        given = {'stereo': (used & stereo).any(), 'poses': (used & ~stereo).any(),
                 'camera height': 'camera_height' in terms}
        return {name for name, present in given.items() if present}

    def poses(
            self, image_b3hw: Tensor, neighbours_bn3hw: Tensor, there_bn: Tensor,
            batch: dict[str, Any]) -> Tensor:
        """Return neighbour_T_image, (B, N, 4, 4): known, estimated, or else the identity."""
        known = self.known(batch)
        identity = torch.eye(4, device=image_b3hw.device)
        poses = torch.where(known[..., None, None], batch['neighbour_pose'], identity)
        wanted = there_bn & ~known
        if self.motion is None or not wanted.any():
            return poses
        b, n = wanted.nonzero(as_tuple=True)
        estimated = self.motion(
            image_b3hw[b], neighbours_bn3hw[b, n], batch['neighbour_offset'][b, n])
        return poses.index_put((b, n), estimated)

    def compared(
            self, depths: list[Tensor], image_b3hw: Tensor, neighbours_bn3hw: Tensor,
            poses_bn44: Tensor, there_bn: Tensor, batch: dict[str, Any], masked: bool
            ) -> tuple[Tensor, Tensor]:
        """Return the photometric error and the smoothness of disparity, over all scales."""
        count = there_bn.shape[1]
        images = image_b3hw.repeat_interleave(count, dim=0)
        sources, poses = neighbours_bn3hw.flatten(0, 1), poses_bn44.flatten(0, 1)
        K = batch['K'].repeat_interleave(count, dim=0)
        still = photometric_error(sources, images).unflatten(0, there_bn.shape).squeeze(2)
        photometric, smooth = [], []
        for scale, depth in enumerate(depths):
            disparity = 1 / depth.clamp(*self.depth_range)
            metres = self.metres(1 / resize_bilinear(disparity, images.shape[-2:]), batch)
            warped, valid = warp(sources, metres.repeat_interleave(count, dim=0), K, poses)
            error = photometric_error(warped, images).unflatten(0, there_bn.shape).squeeze(2)
            valid = valid.unflatten(0, there_bn.shape).squeeze(2)
            photometric.append(photometric_loss(error, valid, still, there_bn, masked))
            small = functional.interpolate(image_b3hw, size=depth.shape[-2:], mode='area')
            smooth.append(edge_aware_smoothness(disparity, small) / 2 ** scale)
        return torch.stack(photometric).mean(), torch.stack(smooth).mean()

    def height_error(self, depth: Tensor, batch: dict[str, Any]) -> Tensor | None:
        """Return the error of the camera's height above the road; None if it is unknown."""
        if self.config.camera_height is None:
            return None
        size = batch['labels'].shape[-2:]
        # the ray of a map's pixel is the mean of the rays of the image pixels that it covers
        rays = functional.interpolate(
            camera_rays(batch['K'], tuple(batch['image'].shape[1:3])).movedim(-1, 1), size=size,
            mode='area').movedim(1, -1)
        metres = self.metres(
            1 / resize_bilinear(1 / depth.clamp(*self.depth_range), size), batch)
        return camera_height_loss(
            metres, rays, find_ground(batch, rays), self.config.camera_height)

    def metres(self, canonical_b1hw: Tensor, batch: dict[str, Any]) -> Tensor:
        """Return depth in the crop's camera, given depth in the canonical one."""
        return canonical_b1hw * batch_scale(batch, self.canonical_focal)


def pyramid(depths: list[Tensor], scales: int) -> list[Tensor]:
    """
    Return depth at a number of scales, each half as large as the one before, down to 8 pixels.

    :param depths: (B, 1, h, w), finest first; missing ones are averaged from the last, in inverse
        depth.
    """
    depths = list(depths[:scales])
    while len(depths) < scales and min(depths[-1].shape[-2:]) >= 2 * SMALLEST:
        depths.append(1 / functional.avg_pool2d(1 / depths[-1].float(), 2))
    return depths


def of_members(batch: dict[str, Any], members_b: Tensor) -> dict[str, Any]:
    """Return the part of a batch that the terms of some samples need."""
    names = ('image', 'neighbours', 'neighbour_pose', 'neighbour_offset', 'K', 'focal', 'labels',
             'expert_labels', 'space', 'expert_space')
    return {
        name: batch[name][members_b] if isinstance(batch[name], Tensor)
        else list(compress(batch[name], members_b.tolist()))
        for name in names if name in batch}
