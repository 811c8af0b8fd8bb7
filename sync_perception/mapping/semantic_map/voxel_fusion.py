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

import numpy as np
from sync_perception.labels import VOID
from sync_perception.mapping.semantic_map.blocks import Blocks, KEPT, unpack, VOXELS
from sync_perception.mapping.semantic_map.observation import LEAST_SLOPE, Observation, weight_of
from sync_perception.mapping.semantic_map.settings import MapSettings, SIDE
from sync_perception.mapping.semantic_map.visibility import NEAREST
import torch
from torch import Tensor

CHUNK = 256
"""Blocks that are updated together: few enough that their values stay in the cache."""
CLEAR = 2.0
"""Standard deviations between a voxel and the surface behind it beyond which it is surely free."""
FREE_SLOPE = 0.3
"""Slope for which free space has the weight of a surface: a common one of streets and floors."""
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
        # one more pixel, for voxels out of view
        depth = np.append(np.nan_to_num(seen.depth, nan=-np.inf, posinf=np.inf), -np.inf)
        self.depth = torch.from_numpy(depth.astype(np.float32)).to(device)
        self.pixels = {
            name: torch.from_numpy(np.ascontiguousarray(getattr(seen, name))).to(device)
            for name in ('slope', 'normals', 'weight', 'sigma', 'labels', 'evidence', 'colors')}
        surface = np.append(seen.surface, False)
        self.pixels['surface'] = torch.from_numpy(surface).to(device)
        steps = (np.indices((SIDE, SIDE, SIDE)).reshape(3, -1).T + 0.5) * settings.voxel
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
        gap = self.depth[pixel] - z
        # most voxels far behind a surface are left out before their slope is known
        [near] = (gap > -self.settings.margin / LEAST_SLOPE).nonzero(as_tuple=True)
        distance = gap[near] * self.pixels['slope'][pixel[near]]
        [band] = (distance > -self.settings.margin).nonzero(as_tuple=True)
        near, distance = near[band], distance[band]
        pixel, gap, z_near = pixel[near], gap[near], z[near]
        voxel = place[near // VOXELS] * VOXELS + near % VOXELS
        weight = self._weights(pixel, distance, gap, z_near)
        before = self._fuse_distance(voxel, distance / self.settings.margin, weight)
        [rows] = (distance < self.settings.margin).nonzero(as_tuple=True)
        near, voxel, share = near[rows], voxel[rows], weight[rows] / (before[rows] + weight[rows])
        foot = self.pixels['normals'][pixel[rows]] * distance[rows, None]
        foot = self._pixels(x[near] + foot[:, 0], y[near] + foot[:, 1], z_near[rows] + foot[:, 2])
        [rows] = self.pixels['surface'][foot].nonzero(as_tuple=True)
        voxel, foot = voxel[rows], foot[rows]
        self._fuse_color(voxel, foot, share[rows])
        self._fuse_label(voxel, foot)
        self.blocks.note_surfaces(slots)

    def _locate(self, keys: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return the place of each voxel in the optical frame: x, y and z, (N * VOXELS,)."""
        corners = unpack(keys) * self.settings.block
        origins = (corners @ self.rotation.T + self.shift).T.astype(np.float32)
        x, y, z = ((torch.from_numpy(origin).to(self.blocks.device)[:, None] + offset).view(-1)
                   for origin, offset in zip(origins, self.offsets))
        return x, y, z

    def _pixels(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return the pixel of each place; the one after the last if it is out of view."""
        (fx, skew, cx), (_, fy, cy), _ = self.K.tolist()
        inverse = 1 / z
        across = x + y * (skew / fx) if skew else x
        u = (across * inverse).mul_(fx).add_(cx + 0.5).floor_()
        v = (y * inverse).mul_(fy).add_(cy + 0.5).floor_()
        height, width = self.size
        inside = (z > NEAREST) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        # as int32, since float32 counts only to 16 million
        pixel = v.to(torch.int32).mul_(width).add_(u.to(torch.int32))
        return torch.where(inside, pixel, height * width).to(torch.int64)

    def _weights(self, pixel: Tensor, distance: Tensor, gap: Tensor, z: Tensor) -> Tensor:
        """
        Return the weights of distances.

        Behind the surface the weight falls to 0 at the truncation distance, since thin things have
        another surface there. In front of it the voxel is free the more certainly the more
        standard deviations of depth lie between.
        """
        margin, voxel = self.settings.margin, self.settings.voxel
        near = self.pixels['weight'][pixel]
        near *= ((distance + margin) / (margin - voxel)).clamp_(max=1)
        sigma = self.pixels['sigma'][pixel] * z
        free = weight_of((sigma * (FREE_SLOPE / voxel)) ** 2)
        free *= (gap / (CLEAR * sigma)).clamp_(max=1)
        return torch.where(distance < margin, near, free)

    def _fuse_distance(self, voxel: Tensor, distance: Tensor, weight: Tensor) -> Tensor:
        """Update the weighted mean of the distance; return the weights before."""
        distances = self.blocks.arrays['distance'].view(-1)
        weights = self.blocks.arrays['weight'].view(-1)
        before = weights[voxel].float()
        after = before + weight
        mean = distances[voxel].float()
        mean += (distance.clamp(max=1) - mean) * (weight / after)
        distances[voxel] = mean.half()
        weights[voxel] = after.clamp_(max=self.settings.max_weight).half()
        return before

    def _fuse_color(self, voxel: Tensor, pixel: Tensor, share: Tensor) -> None:
        """Update the weighted mean of the colour."""
        colors = self.blocks.arrays['color'].view(-1, 3)
        mean = colors[voxel].float()
        share = share.clamp(min=LEAST_SHARE)[:, None]
        mean += (self.pixels['colors'][pixel].float() - mean) * share
        colors[voxel] = mean.round_().to(torch.uint8)

    def _fuse_label(self, voxel: Tensor, pixel: Tensor) -> None:
        """
        Add the log-odds of the observed class.

        A class that is not kept replaces the weakest one if its evidence is greater; otherwise it
        reduces that one's evidence, so that a class that is observed often is eventually kept.
        """
        label, gain = self.pixels['labels'][pixel], self.pixels['evidence'][pixel]
        [rows] = ((label != VOID) & (gain > 0)).nonzero(as_tuple=True)
        voxel, label = voxel[rows], label[rows]
        gain = gain[rows] * self.settings.evidence
        kept = self.blocks.arrays['classes'].view(-1, KEPT)
        stored = self.blocks.arrays['evidence'].view(-1, KEPT)
        classes, evidence = kept[voxel], stored[voxel].float()
        same = (classes == label[:, None]) & (evidence > 0)
        known = same.any(dim=1)
        weakest, slot = evidence.min(dim=1)
        slot = torch.where(known, same.to(torch.uint8).argmax(dim=1), slot)[:, None]
        former = evidence.gather(1, slot)[:, 0]
        replaced = ~known & (gain > weakest)
        value = torch.where(known, former + gain, torch.where(replaced, gain, former - gain))
        evidence.scatter_(1, slot, value[:, None])
        named = torch.where(known | replaced, label, classes.gather(1, slot)[:, 0])
        classes.scatter_(1, slot, named[:, None])
        # a limit on the best class keeps the ratios between the classes
        excess = evidence.amax(dim=1, keepdim=True) - self.settings.max_evidence
        evidence -= excess.clamp_(min=0)
        kept[voxel], stored[voxel] = classes, evidence.clamp_(min=0).half()
