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
Camera height loss: metric scale from the known height of the camera above the road.

Motion determines depth up to a factor that is the same for the whole image. A known length fixes
it: for a camera on a vehicle, its height above the road (Xue et al., "Toward Hierarchical
Self-Supervised Monocular Absolute Depth Estimation for Autonomous Driving Applications", IROS
2020; Wagstaff and Kelly, "Self-Supervised Scale Recovery for Monocular Depth and Egomotion
Estimation", IROS 2021).
"""

from __future__ import annotations

from functools import lru_cache
import math
from typing import Any, NamedTuple

from sync_perception.evaluation.geometric_agreement import ground_ids
from sync_perception.geometry import backproject, normals_from_points
from sync_perception.labels import LabelSpace, VOID
import torch
from torch import Tensor
from torch.nn.functional import normalize

ROAD = frozenset({'road', 'floor', 'floor mat'})
"""Classes on which the camera's vehicle stands; pavements are higher."""
DESCENT = 0.1
"""Least tangent of the angle below the optical axis for ground: 10 camera heights ahead."""
ABREAST = 1.2
"""Half width of the assumed road in unlabelled images, in camera heights."""
UPRIGHT = math.cos(math.radians(15))
LEAST, FLAT = 0.005, 1 / 3
"""Least shares: of ground candidates in the map, and of level points among the candidates."""


class Ground(NamedTuple):
    """
    Candidate pixels of the road.

    :ivar candidates_bhw: bool (B, h, w).
    :ivar known_b: bool (B,), whether the candidates come from labels.
    """

    candidates_bhw: Tensor
    known_b: Tensor


def camera_height_loss(
        depth_b1hw: Tensor, rays_bhw3: Tensor, ground: Ground, height: float) -> Tensor | None:
    """
    Mean over the samples of |log(h / height)|, h the median height above the ground's points.

    The ground points p are the level candidates: their normals, computed from depth, are within 15
    degrees of the camera's upward direction. The mean of these normals is the road's normal n, so
    that h = -n . p also holds for a slightly tilted camera. If less than a third of the candidates
    are level, a sample with labelled road is treated as if its camera were level, since depth
    early in training has no useful normals; other samples have no ground.

    The value is that of the median, but the gradient is spread evenly over the logarithm of all
    ground depths, with fixed normals, because the common factor is wrong, not the median pixel.

    :param depth_b1hw: float32 (B, 1, h, w), metres along z.
    :param rays_bhw3: float32 (B, h, w, 3), rays of the map's pixels, z = 1.
    :param ground: candidate pixels.
    :param height: measured height of the camera above the ground, metres.
    :return: scalar; samples without ground count as 0. None if no sample has any.
    :raises ValueError: if the height is not positive.
    """
    if not height > 0:
        raise ValueError(f'camera_height: expected metres above the road, got {height}')
    points = backproject(depth_b1hw[:, 0], rays_bhw3)
    normals = normals_from_points(points.detach())
    level = ground.candidates_bhw & (normals[..., 1] < -UPRIGHT)
    share, of_all = (mask.flatten(1).float().mean(dim=1)
                     for mask in (level, ground.candidates_bhw))
    flat = share >= FLAT * of_all
    enough = (of_all >= LEAST) & (flat | ground.known_b)
    losses = []
    for place in enough.nonzero()[:, 0].tolist():
        here, up = ground.candidates_bhw[place], points.new_tensor([0.0, -1, 0])
        if flat[place]:
            here = level[place]
            up = normalize(normals[place][here].mean(dim=0), dim=0)
        off = (-(points[place][here] @ up) / height).clamp(min=1e-3).log()
        middle = off.detach().median()
        losses.append(middle.abs() + middle.sign() * (off.mean() - off.detach().mean()))
    return torch.stack(losses).sum() / len(enough) if losses else None


def find_ground(batch: dict[str, Any], rays_bhw3: Tensor) -> Ground:
    """
    Return the candidate pixels of the road.

    Candidates are road or floor by a sample's true labels, else by its expert labels. Without
    labels, or if their label space has no such class, they are a strip in front of the camera, 2.4
    camera heights wide. Points farther than about 10 camera heights are excluded, as depth is too
    inexact there.

    :param batch: labels and expert_labels uint8 (B, h, w); space and expert_space, B names.
    :param rays_bhw3: float32 (B, h, w, 3), rays of the labels' pixels, z = 1.
    """
    x, y, _ = rays_bhw3.unbind(dim=-1)
    below = y > DESCENT
    candidates = below & (x.abs() < ABREAST * y)
    known = torch.zeros(len(candidates), dtype=torch.bool, device=candidates.device)
    for place in range(len(candidates)):
        for labels, space in (('labels', 'space'), ('expert_labels', 'expert_space')):
            ids = road_ids(batch[space][place])
            if ids and (batch[labels][place] != VOID).any():
                road = torch.isin(batch[labels][place], batch[labels].new_tensor(ids))
                candidates[place], known[place] = below[place] & road, True
                break
    return Ground(candidates, known)


@lru_cache(maxsize=64)
def road_ids(space: str) -> tuple[int, ...]:
    """Return the ids of a label space's classes that are road or floor; () without space."""
    return tuple(ground_ids(LabelSpace.load(space), ROAD).tolist()) if space else ()
