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
Fusion of one frame into voxel blocks: signed distance, colour and evidence of classes.

Sources: Curless and Levoy, "A volumetric method for building complex models from range images",
SIGGRAPH 1996, for the weighted mean of truncated signed distances; Misra and Gries, "Finding
repeated elements", 1982, for keeping the most frequent of many classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import cv2
import numpy as np
from sync_perception.labels import VOID
from sync_perception.mapping.semantic_map.blocks import Blocks, KEPT_CLASSES, unpack, VOXELS
from sync_perception.mapping.semantic_map.observation import LEAST_SLOPE, Observation, weight_of
from sync_perception.mapping.semantic_map.settings import BLOCK_SIDE, MapSettings
from sync_perception.mapping.semantic_map.visibility import NEAREST_POINT
import torch
from torch import Tensor

CHUNK = 512
"""Blocks that are updated together: few enough that their values stay in the cache."""
CLEAR = 2.0
"""Standard deviations between a voxel and the surface behind it beyond which it is surely free."""
FREE_SLOPE = 0.3
"""Slope for which free space has the weight of a surface: a common one of streets and floors."""
VOXEL_BITS = VOXELS.bit_length() - 1
LEAST_SHARE = 1 / 32
"""Least share of a new colour in the mean: smaller steps would vanish in 8 bits."""


class Fusion:
    """
    Fusion of one frame.

    The distance of a voxel comes from the pixel that it projects to. Its colour and label are
    those of its foot on the surface, which lies elsewhere in the image: at a grazing angle, the
    surface on a voxel's line of sight is far from the voxel.

    :param blocks: the voxels, changed in place.
    :param seen: measurements of the frame.
    :param camera_T_world: float64 (4, 4), the inverse of the camera's pose.
    """

    def __init__(self, blocks: Blocks, seen: Observation, camera_T_world: np.ndarray,
                 settings: MapSettings):
        self.blocks, self.settings = blocks, settings
        self.K, self.size = seen.K, seen.size
        self.rotation, self.shift = camera_T_world[:3, :3], camera_T_world[:3, 3]
        device = blocks.device
        depth = np.where(np.isnan(seen.depth), np.float32(-np.inf), seen.depth)
        self.depth = torch.from_numpy(framed(depth, seen.size, -np.inf)).to(device)
        self.pixels = {
            name: torch.from_numpy(framed(getattr(seen, name), seen.size, 0)).to(device)
            for name in ('slope', 'normals', 'weight', 'sigma', 'labels', 'evidence', 'colors')}
        surface = framed(seen.surface.view(np.uint8), seen.size, 0)
        self.pixels['surface'] = torch.from_numpy(surface).to(device).bool()
        indices = np.indices((BLOCK_SIDE, BLOCK_SIDE, BLOCK_SIDE)).reshape(3, -1).T
        steps = (indices + 0.5) * settings.voxel
        self.offsets = torch.from_numpy((steps @ self.rotation.T).T.astype(np.float32)).to(device)

    def update(self, keys: np.ndarray) -> None:
        """Fuse the frame into these blocks."""
        for start in range(0, len(keys), CHUNK):
            self._update_chunk(keys[start:start + CHUNK])

    def _update_chunk(self, keys: np.ndarray) -> None:
        slots = self.blocks.find(keys)
        place = torch.from_numpy(slots).to(self.blocks.device)
        x, y, z = self._locate(keys)
        pixel = self._pixels(x, y, z)
        gap = self.depth.index_select(0, pixel).sub_(z)
        # most voxels far behind a surface are left out before their slope is known
        near = places(gap > -self.settings.margin / LEAST_SLOPE)
        pixel = pixel.index_select(0, near)
        gap = gap.index_select(0, near)
        distance = self.pixels['slope'].index_select(0, pixel).mul_(gap)
        band = places(distance > -self.settings.margin)
        near, distance, pixel = (
            values.index_select(0, band) for values in (near, distance, pixel))
        voxel = place.index_select(0, near >> VOXEL_BITS).mul_(VOXELS).add_(near & (VOXELS - 1))
        free = places(distance >= self.settings.margin)
        self._fuse_free(
            voxel.index_select(0, free), pixel.index_select(0, free),
            gap.index_select(0, band.index_select(0, free)),
            z.index_select(0, near.index_select(0, free)))
        rows = places(distance < self.settings.margin)
        near, voxel, distance, pixel = (
            values.index_select(0, rows) for values in (near, voxel, distance, pixel))
        foot = self._feet(x, y, z, near, pixel, distance)
        weight = self._weights(pixel, distance)
        share = self._fuse_distance(voxel, distance.div_(self.settings.margin), weight)
        rows = places(self.pixels['surface'].index_select(0, foot))
        voxel, foot = voxel.index_select(0, rows), foot.index_select(0, rows)
        self._fuse_color(voxel, foot, share.index_select(0, rows))
        self._fuse_label(voxel, foot)
        self.blocks.note_surfaces(slots)

    def _fuse_free(self, voxel: Tensor, pixel: Tensor, gap: Tensor, z: Tensor) -> None:
        """
        Fuse voxels in front of the surface, beyond the truncation distance.

        A voxel is free the more certainly the more standard deviations of depth lie between.
        """
        sigma = self.pixels['sigma'].index_select(0, pixel).mul_(z)
        weight = weight_of((sigma * (FREE_SLOPE / self.settings.voxel)).square_())
        weight *= gap.div_(sigma.mul_(CLEAR)).clamp_(max=1)
        self._fuse_distance(voxel, torch.ones_like(weight), weight)

    def _feet(self, x: Tensor, y: Tensor, z: Tensor, near: Tensor, pixel: Tensor,
              distance: Tensor) -> Tensor:
        """Return the pixels of the nearest places of voxels on the surface."""
        normals = self.pixels['normals'].index_select(0, pixel)
        return self._pixels(*(
            normals[:, axis].mul_(distance).add_(values.index_select(0, near))
            for axis, values in enumerate((x, y, z))))

    def _locate(self, keys: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return the place of each voxel in the optical frame: x, y and z, (N * VOXELS,)."""
        corners = unpack(keys) * self.settings.block
        origins = (corners @ self.rotation.T + self.shift).T.astype(np.float32)
        x, y, z = ((torch.from_numpy(origin).to(self.blocks.device)[:, None] + offset).view(-1)
                   for origin, offset in zip(origins, self.offsets))
        return x, y, z

    def _pixels(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return the pixel of each place in the framed maps; in the frame if it is out of view."""
        (fx, skew, cx), (_, fy, cy), _ = self.K.tolist()
        inverse = z.reciprocal()
        across = x + y * (skew / fx) if skew else x
        u = (across * inverse).mul_(fx).add_(cx + 0.5).floor_()
        v = (y * inverse).mul_(fy).add_(cy + 0.5).floor_()
        height, width = self.size
        if len(z) and float(z.min()) <= NEAREST_POINT:
            u.masked_fill_(z <= NEAREST_POINT, -1)
            v.nan_to_num_(-1)
        u, v = u.clamp_(-1, width).to(torch.int32), v.clamp_(-1, height).to(torch.int32)
        return v.mul_(width + 2).add_(u).add_(width + 3)

    def _weights(self, pixel: Tensor, distance: Tensor) -> Tensor:
        """
        Return the weights of distances from the surface.

        Behind the surface the weight falls to 0 at the truncation distance, since thin things have
        another surface there.
        """
        margin, voxel = self.settings.margin, self.settings.voxel
        weight = self.pixels['weight'].index_select(0, pixel)
        return weight.mul_(((distance + margin) / (margin - voxel)).clamp_(max=1))

    def _fuse_distance(self, voxel: Tensor, distance: Tensor, weight: Tensor) -> Tensor:
        """Update the weighted mean of the distance; return the share of the new one."""
        distances = self.blocks.arrays['distance'].view(-1)
        weights = self.blocks.arrays['weight'].view(-1)
        after = weights.index_select(0, voxel).float().add_(weight)
        share = weight / after
        mean = distances.index_select(0, voxel).float()
        mean += distance.sub_(mean).mul_(share)
        distances.index_copy_(0, voxel, mean.half())
        weights.index_copy_(0, voxel, after.clamp_(max=self.settings.max_weight).half())
        return share

    def _fuse_color(self, voxel: Tensor, pixel: Tensor, share: Tensor) -> None:
        """Update the weighted mean of the colour."""
        colors = self.blocks.arrays['color'].view(-1, 3)
        mean = colors.index_select(0, voxel).float()
        share = share.clamp(min=LEAST_SHARE)[:, None]
        mean += self.pixels['colors'].index_select(0, pixel).float().sub_(mean).mul_(share)
        colors.index_copy_(0, voxel, mean.round_().to(torch.uint8))

    def _fuse_label(self, voxel: Tensor, pixel: Tensor) -> None:
        """
        Add the log-odds of the observed class.

        A class that is not kept replaces the weakest one if its evidence is greater; otherwise it
        reduces that one's evidence, so that a class that is observed often is eventually kept.
        """
        label = self.pixels['labels'].index_select(0, pixel)
        gain = self.pixels['evidence'].index_select(0, pixel)
        rows = places((label != VOID) & (gain > 0))
        voxel, label = voxel.index_select(0, rows), label.index_select(0, rows)
        gain = gain.index_select(0, rows).mul_(self.settings.evidence)
        kept = self.blocks.arrays['classes'].view(-1, KEPT_CLASSES).unbind(1)
        stored = self.blocks.arrays['evidence'].view(-1, KEPT_CLASSES).unbind(1)
        classes = [column.index_select(0, voxel) for column in kept]
        evidence = [column.index_select(0, voxel).float() for column in stored]
        same = [(own == label).logical_and_(held > 0) for own, held in zip(classes, evidence)]
        for held, mine in zip(evidence, same):
            held.addcmul_(gain, mine.float())
        others = places(~reduce(torch.logical_or, same))
        if len(others):
            replace_weakest(classes, evidence, others, label, gain)
        # a limit on the best class keeps the ratios between the classes
        excess = reduce(torch.maximum, evidence).sub_(self.settings.max_evidence).clamp_(min=0)
        for own, held, column, store in zip(classes, evidence, kept, stored):
            column.index_copy_(0, voxel, own)
            store.index_copy_(0, voxel, held.sub_(excess).clamp_(min=0).half())


def replace_weakest(classes: Sequence[Tensor], evidence: Sequence[Tensor], others: Tensor,
                    label: Tensor, gain: Tensor) -> None:
    """
    Add the evidence of classes that are not kept.

    :param classes: uint8 (N,), the classes that are kept, changed in place.
    :param evidence: float32 (N,), their evidence, changed in place.
    :param others: the voxels whose observed class is not kept.
    :param label: uint8 (N,), the observed classes.
    :param gain: float32 (N,), their evidence.
    """
    label, gain = label.index_select(0, others), gain.index_select(0, others)
    held = [each.index_select(0, others) for each in evidence]
    weakest = reduce(torch.minimum, held)
    replaced = gain > weakest
    value = torch.where(replaced, gain, weakest - gain)
    done = torch.zeros_like(replaced)
    for own, column, kept in zip(held, evidence, classes):
        here = (own == weakest).logical_and_(~done)
        done |= here
        column.index_copy_(0, others, torch.where(here, value, own))
        named = kept.index_select(0, others)
        kept.index_copy_(0, others, torch.where(here & replaced, label, named))


def framed(values: np.ndarray, size: tuple[int, int], border: float) -> np.ndarray:
    """Return a flat map of pixels (H * W, ...) with a border of one pixel, flat as well."""
    channels = values.shape[1:]
    result = cv2.copyMakeBorder(
        values.reshape(*size, *channels), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=[border] * 4)
    return result.reshape(-1, *channels)


def places(mask: Tensor) -> Tensor:
    """Return the indices of true values, int64 (N,)."""
    if mask.device.type == 'cpu':  # several times as fast
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero()[:, 0]
