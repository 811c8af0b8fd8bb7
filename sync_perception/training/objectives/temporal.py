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
TemporalConsistency consistency of labels and depth between neighbouring frames.

It reduces the flicker of a single-frame network: the prediction for a frame is compared with the
prediction for a neighbour, warped into the frame. Used in training only; inference costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sync_perception.datasets.neighbours import STEREO
from sync_perception.evaluation.predict_sample import enlarge
from sync_perception.evaluation.video import motion_by_flow
from sync_perception.geometry import locate, NEAREST_DEPTH, resize_intrinsics, sample_bilinear
from sync_perception.models.network_input import normalise
from sync_perception.training.feeding.mixture import Mixture
from sync_perception.training.losses.photometric import photometric_error
from sync_perception.training.losses.temporal import depth_change, label_change, mean_change
from sync_perception.training.objectives.camera_motion import (
    CameraMotion,
    check_intrinsics,
    finite_poses,
    unit_range,
)
from sync_perception.training.objectives.objective import (
    at_least_0,
    batch_scale,
    Objective,
    Setup,
    Step,
)
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor
from torch.nn import functional

KEY = 'objectives.temporal'
POSES, FLOW = 'poses', 'flow'


@dataclass(frozen=True)
class TemporalConfig:
    """
    Settings of temporal consistency, which needs data with `neighbours`.

    :param labels: weight of the class probabilities, 0 or more.
    :param depth: weight of depth, 0 or more; None for 1 with poses and 0 with flow.
    :param motion: source of the correspondence. `poses`: depth, true if available, else the
        network's own, and the camera's pose, from the data or the pose network of
        self-supervision. `flow`: optical flow, which needs no poses but time on the CPU, and is
        used for labels only.
    :param tolerance: greatest |a - b| / (a + b) of depths of the same surface, 0 or more; larger
        differences are occlusions.
    :param agreement: greatest photometric error of corresponding pixels, 0 or more.
    """

    labels: float = 1.0
    depth: float | None = None
    motion: Literal['poses', 'flow'] = 'poses'
    tolerance: float = 0.2
    agreement: float = 0.2

    def __post_init__(self):
        """Check the range of numbers, and that depth is not used with flow."""
        at_least_0(self, KEY, 'labels', 'tolerance', 'agreement')
        if self.depth is not None:
            at_least_0(self, KEY, 'depth')
        if self.motion == FLOW and self.depth:
            raise ValueError(
                f'{KEY}.depth: expected 0 by flow, which gives no camera motion in metres, got '
                f'{self.depth}')


@dataclass(frozen=True)
class WarpedPairs:
    """
    Samples with one neighbour each.

    :param members: bool (B,), which samples of the batch are included.
    :param images: uint8 (M, h, w, 3), images of these samples.
    :param neighbours: uint8 (M, h, w, 3), images of their neighbours.
    :param offsets: int64 (M,), frames from the sample to the neighbour.
    :param poses: float32 (M, 4, 4), neighbour_T_sample in metres, NaN where unknown.
    :param K: float32 (M, 3, 3), intrinsics of both.
    :param depth: float32 (M, 1, h', w'), true metres, NaN where unknown.
    :param zoom: float32 (M, 1, 1, 1), scale from canonical to metric depth, f / f_canonical.
    :param ids: ids of the samples.
    """

    members: Tensor
    images: Tensor
    neighbours: Tensor
    offsets: Tensor
    poses: Tensor
    K: Tensor
    depth: Tensor
    zoom: Tensor
    ids: list[str]


class TemporalConsistency(Objective):
    """
    TemporalConsistency consistency loss between predictions for neighbouring frames.

    The prediction for the neighbour is the target: it has no gradient, which saves a second
    backward pass, and no colour augmentation. With neighbours on both sides, each frame of a pair
    is the target at times, so that both predictions approach each other. The pose network of
    self-supervision, if there is one, estimates motion in the units of the depth trained with it.
    """

    Config = TemporalConfig
    TASKS = {'temporal_depth': 'depth', 'temporal_labels': 'semantics'}

    def __init__(self, config: TemporalConfig, setup: Setup):
        super().__init__(config, setup)
        self.canonical_focal = setup.model.config.canonical_focal
        self.by_flow = config.motion == FLOW
        depth = config.depth if config.depth is not None else float(not self.by_flow)
        self.weights = {'temporal_labels': config.labels, 'temporal_depth': depth}
        other = setup.others.get('self_supervised')
        self.pose_network: CameraMotion | None = getattr(other, 'motion', None)
        self.poses_known = self.pose_network is None or other.config.known_poses

    def check_offsets(self, offsets: Sequence[int]) -> None:
        """
        Check that the data have neighbours in time.

        :param offsets: offsets of the data's neighbours.
        :raises ValueError: if there are none.
        """
        if not any(offset != STEREO for offset in offsets):
            raise ValueError(
                f'{KEY} needs neighbours: expected `neighbours: [-1]` or '
                f"`[-1, 1]` in the recipe's data, got {list(offsets)} (0 is the stereo partner)")

    def check_mixture(self, mixture: Mixture) -> None:
        """
        Check that some samples have a neighbour with a pose, if poses are used.

        :raises ValueError: if there are none.
        """
        if self.by_flow or self.pose_network is not None or mixture.knows_poses():
            return
        times = [offset for offset in mixture.offsets if offset != STEREO]
        names = ', '.join(name for name, _ in mixture.recordings)
        raise ValueError(
            f'{KEY}: motion `poses` needs poses: expected data with poses, got '
            f'no sample of {names} with one and one at {times}. Use `motion: flow`, or a pose '
            'network: `self_supervised: {pose: {backbone: resnet18}}`')

    def terms(self, step: Step) -> dict[str, Tensor]:
        """
        Return `temporal_labels` and `temporal_depth`, if a sample has a neighbour.

        It must be the last objective of a step: with 16-bit autocast, its pass without gradient
        must use the cached weight copies of the passes with gradient.

        :return: scalars; samples without a neighbour count as 0.
        :raises ValueError: if there is no depth to warp by, or there are no intrinsics.
        """
        pairs = self.pairs(step.batch)
        if pairs is None:
            return {}
        output = step.output
        present = {name: values[pairs.members].float() for name, values in (
            ('depth', output.depth), ('logits', output.logits)) if values is not None}
        target = predict_untracked(step.model, pairs.neighbours)
        with torch.autocast(pairs.images.device.type, enabled=False):
            changes = self.changes(present, target, pairs)
        share = pairs.members.float().mean()
        return {name: share * mean_change(*change) for name, change in changes.items()}

    def pairs(self, batch: dict[str, Any]) -> WarpedPairs | None:
        """
        Draw one usable neighbour in time of each sample; None if there are none.

        :raises ValueError: if a sample with a neighbour has no intrinsics for the warp.
        """
        usable = batch['neighbour_there'] & (batch['neighbour_offset'] != STEREO)
        if not self.by_flow and self.pose_network is None:
            usable = usable & finite_poses(batch['neighbour_pose'])
        members = usable.any(dim=1)
        if not members.any():
            return None
        if not self.by_flow:
            check_intrinsics(batch, members, f'{KEY}: motion `poses`')
        drawn = torch.rand(usable.shape, device=usable.device).masked_fill(~usable, -1)
        rows = members.nonzero()[:, 0]
        chosen = rows, drawn.argmax(dim=1)[rows]
        return WarpedPairs(
            members, batch['image'][rows], batch['neighbours'][chosen],
            batch['neighbour_offset'][chosen], batch['neighbour_pose'][chosen],
            batch['K'][rows], batch['depth'][rows, None],
            batch_scale(batch, self.canonical_focal)[rows],
            [batch['id'][row] for row in rows.tolist()])

    def changes(
            self, present: dict[str, Tensor], target: DenseOutput, pairs: WarpedPairs
            ) -> dict[str, tuple[Tensor, Tensor]]:
        """
        Return change and validity mask by the terms' names.

        :param present: predictions for the samples, float32, by the maps' names.
        :param target: predictions for the neighbours.
        :return: (M, 1, h', w') each.
        """
        size = pairs.depth.shape[-2:]
        uv, valid, moved = self.motion(present.get('depth'), pairs)
        photos = [functional.interpolate(unit_range(images), size=size, mode='area')
                  for images in (pairs.images, pairs.neighbours)]
        warped, inside = sample_bilinear(photos[1], uv)
        valid = valid & inside & (
            photometric_error(warped, photos[0]) < self.config.agreement)
        found = {}
        if moved is not None:
            # inverse depth is linear on planes
            seen = 1 / sample_bilinear(1 / (enlarge(target.depth, size) * pairs.zoom), uv)[0]
            change = depth_change(moved.clamp(min=NEAREST_DEPTH), seen)
            valid = valid & (moved > NEAREST_DEPTH) & (change < self.config.tolerance)
            found['temporal_depth'] = change, valid
        if 'logits' in present:
            probability = enlarge(target.logits, size).softmax(dim=1)
            change = label_change(present['logits'].softmax(dim=1),
                                  sample_bilinear(probability, uv)[0])
            found['temporal_labels'] = change, valid
        return {name: change for name, change in found.items()
                if self.weights[name]}

    def motion(
            self, own_b1hw: Tensor | None, pairs: WarpedPairs
            ) -> tuple[Tensor, Tensor, Tensor | None]:
        """
        Return the correspondence of the samples' pixels to the neighbours.

        :param own_b1hw: float32 (M, 1, h', w'), the network's depth of the canonical camera.
        :return: pixels (u, v) of the neighbours at the size of the targets, (M, h', w', 2); their
            validity, bool (M, 1, h', w'); and, with poses and predicted depth, the depth along z
            of the network's own points in the neighbours' cameras, with a gradient.
        :raises ValueError: if there is no depth for the warp.
        """
        size = pairs.depth.shape[-2:]
        if self.by_flow:
            return *flow_to(pairs.images, pairs.neighbours, size), None
        poses, metric = self.poses(pairs)
        K = scaled_intrinsics(pairs.K, pairs.images.shape[1:3], size)
        true = metric[:, None, None, None] & torch.isfinite(pairs.depth)
        depth, own = torch.where(true, pairs.depth, torch.nan), None
        if own_b1hw is not None:
            own = own_b1hw * pairs.zoom
            depth = torch.where(true, pairs.depth, own.detach())
        elif not true.flatten(1).any(dim=1).all():
            blind = pairs.ids[true.flatten(1).any(dim=1).tolist().index(False)]
            raise ValueError(
                f'{KEY}: no depth to warp {blind} by: expected a network that '
                'gives depth, or true depth, got neither. Use `motion: flow`, or `neighbours: '
                'false` of its source')
        there = torch.isfinite(depth)
        uv, z = locate(torch.where(there, depth, 1), K, poses)
        moved = None if own is None else locate(own, K, poses)[1]
        return uv, there & (z > NEAREST_DEPTH), moved

    def poses(self, pairs: WarpedPairs) -> tuple[Tensor, Tensor]:
        """
        Return neighbour_T_sample, (M, 4, 4), and whether it is in metres, bool (M,).

        A pose network's translations are in the units of the depth trained with it.
        """
        metric = finite_poses(pairs.poses) & self.poses_known
        if self.pose_network is None or metric.all():
            return pairs.poses, metric
        with torch.no_grad():
            estimated = self.pose_network(
                unit_range(pairs.images), unit_range(pairs.neighbours), pairs.offsets).float()
        return torch.where(metric[:, None, None], pairs.poses, estimated), metric


@torch.no_grad()
def predict_untracked(model: nn.Module, images_bhw3: Tensor) -> DenseOutput:
    """
    Run a network in training mode without changing the running statistics of its batch norms.

    Batch norms use batch statistics, as for the compared images: early in training, the difference
    to evaluation mode is larger than that between frames. Synchronised batch norms use their
    running statistics, because they would wait for processes whose batch has no neighbours.

    :param model: model with its `config`.
    :param images_bhw3: uint8 (B, h, w, 3).
    """
    norms = [norm for norm in model.modules()
             if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.training]
    for norm in norms:
        norm.track_running_stats = False
        norm.training = not isinstance(norm, nn.SyncBatchNorm)
    try:
        return model(normalise(images_bhw3, model.config.mean, model.config.std))
    finally:
        for norm in norms:
            norm.track_running_stats = norm.training = True


def scaled_intrinsics(
        K_b33: Tensor, old_size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Return the intrinsics (B, 3, 3) of images after a resize."""
    scaled = [resize_intrinsics(K, tuple(old_size), tuple(new_size)) for K in K_b33.cpu().numpy()]
    return torch.from_numpy(np.stack(scaled)).to(K_b33)


def flow_to(
        images_bhw3: Tensor, neighbours_bhw3: Tensor, size: tuple[int, int]
        ) -> tuple[Tensor, Tensor]:
    """
    Return pixel correspondences by optical flow on the CPU, checked by backward flow.

    :param images_bhw3: uint8 (B, h, w, 3).
    :param neighbours_bhw3: uint8 (B, h, w, 3).
    :param size: height and width (h', w') of the result.
    :return: pixels (u, v) of the neighbours at that size, (B, h', w', 2); and bool (B, 1, h',
        w'), true where forward and backward flow agree for every pixel of a cell.
    """
    motions = [motion_by_flow(image, neighbour) for image, neighbour in zip(
        images_bhw3.cpu().numpy(), neighbours_bhw3.cpu().numpy())]
    there = torch.from_numpy(np.stack([motion.there for motion in motions]))
    valid = torch.from_numpy(np.stack([motion.valid for motion in motions]))[:, None].float()
    uv, valid = (functional.interpolate(values, size=size, mode='area').to(images_bhw3.device)
                 for values in (there.permute(0, 3, 1, 2), valid))
    height, width = images_bhw3.shape[1:3]
    scale = torch.tensor([size[1] / width, size[0] / height], device=uv.device)
    return (uv.permute(0, 2, 3, 1) + 0.5) * scale - 0.5, valid > 1 - 1e-4
