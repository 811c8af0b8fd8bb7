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

"""Depth from the motion of the camera alone, as Monodepth2 learns it (Godard et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
import logging
from typing import Any, TypedDict

from sync_perception.datasets.neighbours import STEREO
from sync_perception.geometry import camera_rays, warp
from sync_perception.models.interface import Interface, Network, to_depth
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.models.posenet import inverse, PoseNet, transforms
from sync_perception.models.resizing import resize_bilinear
from sync_perception.training.feeding.mixture import Mixture
from sync_perception.training.losses.camera_height import camera_height_loss, find_ground
from sync_perception.training.losses.photometric import photometric_error, photometric_loss
from sync_perception.training.losses.smoothness import edge_aware_smoothness
from sync_perception.training.recipes import check_known
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor
from torch.nn import functional

LOG = logging.getLogger(__name__)
UNIT = 5.0  # Monodepth2's: its depth begins at 0.2, its translations in units of 1
SMALLEST = 8  # pixels: scales with a shorter side say nothing


class PoseSettings(TypedDict, total=False):
    """
    The network that estimates the camera's motion.

    :ivar backbone: a key of `sync_perception.models.unet.resnet.RESNETS`, by default `resnet18`.
    :ivar pretrained: weights of its encoder.
    :ivar learning_rate: its peak rate, by default 1e-4.
    """

    backbone: str
    pretrained: str
    learning_rate: float


class SelfSupervisionSettings(TypedDict, total=False):
    """
    How depth learns from neighbouring images, which the data's `neighbours` and `stereo` bring.

    :ivar weight: of the photometric error of the warped neighbours, by default 1.
    :ivar smoothness: weight of disparity that is smooth where the image is, by default 1e-3; at
        scale s it is divided by 2^s.
    :ivar scales: at which depth is asked to explain the image, by default 4.
    :ivar mask_after: steps after which pixels that no motion explains are masked out, by default
        0. While the motion is not learned yet, the mask leaves just those pixels that happen to
        agree with it, which makes it go on in whatever direction it began.
    :ivar pose: the network that estimates the motion between neighbours in time; None for none.
    :ivar known_poses: whether poses that the data knows are used, before those of the network.
    :ivar feature_distance: weight of the distance between the encoder's coarsest features and
        those of its pretrained weights, by default 0; the paper's is 1e-2.
    :ivar camera_height: metres of the cameras above the road, which gives the scale where poses
        do not; None where it is not known, or not the same for all that have neighbours.
    :ivar camera_height_weight: of the logarithm by which depth gets that height wrong, by default
        0.1.
    """

    weight: float
    smoothness: float
    scales: int
    mask_after: int
    pose: PoseSettings | None
    known_poses: bool
    feature_distance: float
    camera_height: float | None
    camera_height_weight: float


class SelfSupervision(nn.Module):
    """
    The terms of depth that needs no labels, and the pose network that learns beside it.

    Geometry is computed in float32 whatever the network's precision. Stereo partners are always
    warped by their known pose, which gives the scale. The pose network sees the photographs as
    they are, where Monodepth2 shows it all of a sample with the same changed colours: it serves
    no other images than these, and the neighbours need not be changed.

    :param settings: what is used.
    :param interface: the normalisation in which images arrive, and the range of depth.
    :param canonical_focal: focal length in pixels of the camera for which depth is given; None
        for metres.
    :param first_depth: about the depth that the network gives before it has learned: translations
        are learned in units of five times that, so that motion is as easy to learn as depth.
    :raises ValueError: for unknown settings, or if there would be no poses.
    """

    def __init__(
            self, settings: SelfSupervisionSettings, interface: Interface,
            canonical_focal: float | None, first_depth: float = 1 / UNIT):
        super().__init__()
        check_settings(settings)
        self.unit = UNIT * first_depth
        self.scales = settings.get('scales', 4)
        self.mask_after = settings.get('mask_after', 0)
        self.known_poses = settings.get('known_poses', False)
        self.camera_height = settings.get('camera_height')
        self.depth_range, self.canonical_focal = interface.depth_range, canonical_focal
        mean, std = (torch.tensor(values)[:, None, None]
                     for values in (interface.mean, interface.std))
        self.register_buffer('mean', mean, persistent=False)
        self.register_buffer('std', std, persistent=False)
        self.pose: PoseNet | None = None
        self.learning_rate = 0.0
        if settings.get('pose') is not None:
            pose = dict(settings['pose'])
            self.learning_rate = pose.pop('learning_rate', 1e-4)
            self.pose = PoseNet(interface, **pose)

    def forward(
            self, depths: list[Tensor], batch: dict[str, Any], step: int = 0
            ) -> dict[str, Tensor]:
        """
        Return the terms `photometric` and `smooth_disparity`, if a sample has a neighbour.

        With them `camera_height`, if that is known and such a sample shows the road.

        :param depths: (B, 1, h, w) of the canonical camera, of any size: one, of which coarser
            ones are made, or those of several scales, finest first.
        :param batch: of `sync_perception.training.feeding.mixture`, with neighbours.
        :param step: steps that the network has made.
        :return: scalars, each the mean over the samples and the scales; samples without a
            neighbour count as 0.
        :raises ValueError: if a sample with a neighbour has no intrinsics.
        """
        there = self.usable(batch)
        members = there.any(dim=1)
        if not members.any():
            return {}
        check_intrinsics(batch, members, 'self_supervision')
        depths = [depth[members].float() for depth in pyramid(depths, self.scales)]
        batch = of_members(batch, members)
        there = there[members]
        image = unit_range(batch['image'])
        neighbours = unit_range(batch['neighbours'].flatten(0, 1)).unflatten(0, there.shape)
        poses = self.poses(image, neighbours, there, batch)
        share = members.float().mean()
        with torch.autocast(image.device.type, enabled=False):
            photometric, smooth = self.compared(
                depths, image, neighbours, poses.float(), there, batch, step >= self.mask_after)
            height = self.wrong_height(depths[0], batch)
        terms = {'photometric': photometric, 'smooth_disparity': smooth, 'camera_height': height}
        return {name: share * term for name, term in terms.items() if term is not None}

    def check_offsets(self, offsets: Sequence[int]) -> None:
        """
        Refuse data that bring no neighbours, or none with a pose.

        :param offsets: of the neighbours that the data bring.
        :raises ValueError: if nothing could be learned from them.
        """
        times = [offset for offset in offsets if offset != STEREO]
        if not offsets:
            raise ValueError(
                'self_supervision needs neighbours: expected `neighbours: [-1, 1]` or '
                "`stereo: true` in the recipe's data, got neither")
        if times and self.pose is None and not self.known_poses:
            raise ValueError(
                f'self_supervision: neighbours {times} need poses: expected a network, `pose: '
                '{backbone: resnet18}`, or `known_poses: true`, got neither')
        if self.pose is not None and not times:
            raise ValueError(
                'self_supervision.pose: a pose network needs neighbours in time, which a stereo '
                "partner is not: expected `neighbours: [-1, 1]` in the recipe's data, or `pose: "
                'null`')

    def check_poses(self, mixture: Mixture) -> None:
        """
        Refuse recordings that know no poses where only those would do.

        :raises ValueError: if `known_poses` is set, and no sample has any.
        """
        times = [offset for offset in mixture.offsets if offset != STEREO]
        if not times or not self.known_poses or mixture.knows_poses():
            return
        message = (
            f'self_supervision.known_poses: true, but no sample of '
            f'{", ".join(name for name, _ in mixture.recordings)} has a pose and one at {times}')
        if self.pose is None:
            raise ValueError(f'{message}: expected data that know poses, or a network, `pose: '
                             '{backbone: resnet18}`')
        LOG.warning('%s: the pose network estimates all of them', message)

    def usable(self, batch: dict[str, Any]) -> Tensor:
        """Say which neighbours are there and have a pose, known or to be estimated: (B, N)."""
        there = batch['neighbour_there']
        known = self.known(batch)
        return there & known if self.pose is None else there & (
            known | (batch['neighbour_offset'] != STEREO))

    def known(self, batch: dict[str, Any]) -> Tensor:
        """Say which neighbours are warped by the pose that the data knows: bool (B, N)."""
        known = torch.isfinite(batch['neighbour_pose']).flatten(2).all(dim=2)
        return known & (self.known_poses | (batch['neighbour_offset'] == STEREO))

    def scale_from(self, batch: dict[str, Any], terms: dict[str, Tensor]) -> set[str]:
        """
        Say what in a batch tells how long a metre is.

        :param terms: what was made of the batch.
        :return: some of `sync_perception.models.config.SCALES`.
        """
        known, stereo = self.usable(batch) & self.known(batch), batch['neighbour_offset'] == STEREO
        told = {'stereo': (known & stereo).any(), 'poses': (known & ~stereo).any(),
                'camera height': 'camera_height' in terms}
        return {name for name, told_by in told.items() if told_by}

    def poses(
            self, image_b3hw: Tensor, neighbours_bn3hw: Tensor, there_bn: Tensor,
            batch: dict[str, Any]) -> Tensor:
        """Return neighbour_T_image, (B, N, 4, 4): known, estimated, or 1 if there is neither."""
        known = self.known(batch)
        identity = torch.eye(4, device=image_b3hw.device)
        poses = torch.where(known[..., None, None], batch['neighbour_pose'], identity)
        wanted = there_bn & ~known
        if self.pose is None or not wanted.any():
            return poses
        b, n = wanted.nonzero(as_tuple=True)
        estimated = self.estimated(
            image_b3hw[b], neighbours_bn3hw[b, n], batch['neighbour_offset'][b, n])
        return poses.index_put((b, n), estimated)

    def estimated(self, images: Tensor, neighbours: Tensor, offsets: Tensor) -> Tensor:
        """Let the pose network see pairs in the order of time: (P, 4, 4) neighbour_T_image."""
        before = (offsets < 0)[:, None, None]
        images, neighbours = ((x - self.mean) / self.std for x in (images, neighbours))
        earlier = torch.where(before[..., None], neighbours, images)
        later = torch.where(before[..., None], images, neighbours)
        motion = self.pose.motions(earlier, later)
        later_T_earlier = transforms(torch.cat([motion[:, :3], motion[:, 3:] * self.unit], dim=1))
        return torch.where(before, inverse(later_T_earlier), later_T_earlier)

    def compared(
            self, depths: list[Tensor], image_b3hw: Tensor, neighbours_bn3hw: Tensor,
            poses_bn44: Tensor, there_bn: Tensor, batch: dict[str, Any], masked: bool
            ) -> tuple[Tensor, Tensor]:
        """Return the photometric error and the roughness of disparity, over all scales."""
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

    def wrong_height(self, depth: Tensor, batch: dict[str, Any]) -> Tensor | None:
        """Return by how much depth gets the camera's height above the road wrong, if asked."""
        if self.camera_height is None:
            return None
        size = batch['labels'].shape[-2:]
        # a map's pixel sees along the mean ray of the image's pixels that it stands for
        rays = functional.interpolate(
            camera_rays(batch['K'], tuple(batch['image'].shape[1:3])).movedim(-1, 1), size=size,
            mode='area').movedim(1, -1)
        metres = self.metres(1 / functional.interpolate(
            1 / depth.clamp(*self.depth_range), size=size, mode='bilinear', align_corners=False),
            batch)
        return camera_height_loss(metres, rays, find_ground(batch, rays), self.camera_height)

    def metres(self, canonical_b1hw: Tensor, batch: dict[str, Any]) -> Tensor:
        """Bring depth from the canonical camera to the crop's."""
        if self.canonical_focal is None:
            return canonical_b1hw
        return canonical_b1hw * (batch['focal'] / self.canonical_focal)[:, None, None, None]

    def untouched(self, depths: list[Tensor]) -> Tensor:
        """Return 0, of all depths and poses: every weight gets a gradient in every process."""
        weights = [] if self.pose is None else [weight.sum() for weight in self.pose.parameters()]
        return sum([*weights, *(depth.float().mean() for depth in depths)]) * 0


def check_settings(settings: SelfSupervisionSettings) -> None:
    """
    Refuse settings that mean nothing.

    :raises ValueError: naming what was got and what was expected.
    """
    check_known('self_supervision', settings, SelfSupervisionSettings.__annotations__)
    if settings.get('scales', 4) < 1:
        raise ValueError(
            f'self_supervision: expected at least 1 scale, got {settings["scales"]}')
    height = settings.get('camera_height')
    if height is not None and not height > 0:
        raise ValueError(
            f'self_supervision.camera_height: expected metres above the road, got {height}')
    check_known(
        'self_supervision.pose', settings.get('pose') or {}, PoseSettings.__annotations__)


def check_intrinsics(batch: dict[str, Any], members_b: Tensor, wanted_by: str) -> None:
    """
    Refuse samples that are to be warped though nothing is known of their camera.

    :param members_b: bool (B,), which are to be warped.
    :param wanted_by: the setting that warps them.
    :raises ValueError: naming the first one.
    """
    blind = members_b & ~torch.isfinite(batch['K']).flatten(1).all(dim=1)
    if blind.any():
        raise ValueError(
            f'{wanted_by}: {batch["id"][blind.tolist().index(True)]} has neighbours, but no '
            'intrinsics, which warping them needs: `neighbours: false` leaves those of this '
            'source out')


def first_depth(network: Network, depth_range: tuple[float, float]) -> float:
    """
    Return the depth, metres, that a network's raw map of zeros stands for.

    :raises ValueError: for a network without depth.
    """
    if getattr(network, 'depth', network) is None:
        raise ValueError(
            'self_supervision: expected a network with depth, got one of semantics alone')
    form = getattr(getattr(network, 'depth', network), 'depth_form', 'disparity')
    if form == 'metres':  # as they come: the range says what is usual
        form = 'log'
    return to_depth(torch.zeros(1), form, depth_range).item()


def depth_scales(model: PerceptionModel, image_b3hw: Tensor) -> tuple[DenseOutput, list[Tensor]]:
    """
    Run a model, and return with its maps its depth, at several scales if it has them.

    :param image_b3hw: normalised.
    :return: depth of the canonical camera, (B, 1, h / 2^s, w / 2^s) each, finest first; none of a
        network without depth.
    """
    network = model.network
    whole = not any(side % network.multiple for side in image_b3hw.shape[-2:])
    if hasattr(network, 'forward_scales') and whole:
        output, disparities = network.forward_scales(image_b3hw)
        return output, [network.depth_of(disparity) for disparity in disparities]
    output = model(image_b3hw)
    return output, [] if output.depth is None else [output.depth]


def pyramid(depths: list[Tensor], scales: int) -> list[Tensor]:
    """
    Return depth at so many scales, each half as large as the one before, or fewer if too small.

    :param depths: (B, 1, h, w), finest first; missing ones are averaged from the last, in inverse
        depth.
    """
    depths = list(depths[:scales])
    while len(depths) < scales and min(depths[-1].shape[-2:]) >= 2 * SMALLEST:
        depths.append(1 / functional.avg_pool2d(1 / depths[-1].float(), 2))
    return depths


def of_members(batch: dict[str, Any], members_b: Tensor) -> dict[str, Any]:
    """Return of a batch what some samples' terms need: theirs."""
    names = ('image', 'neighbours', 'neighbour_pose', 'neighbour_offset', 'K', 'focal', 'labels',
             'expert_labels', 'space', 'expert_space')
    return {
        name: batch[name][members_b] if isinstance(batch[name], Tensor)
        else list(compress(batch[name], members_b.tolist()))
        for name in names if name in batch}


def unit_range(images_bhw3: Tensor) -> Tensor:
    """Turn images, uint8 (B, h, w, 3), into float32 (B, 3, h, w) in [0, 1]."""
    return images_bhw3.permute(0, 3, 1, 2).float() / 255
