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


"""Temporal fusion: a network's maps of one frame, fused with those of the frames before."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from sync_perception.geometry import resize_intrinsics
from sync_perception.labels import LabelSpace
from sync_perception.mapping.correspondence import correspond, Correspondence
from sync_perception.types import DenseOutput
import torch
from torch import Tensor

FAR = np.float32(np.log(1e4))
"""ln(metres) of classes without depth, such as sky, for warping: only rotation moves them."""
UNKNOWN_VARIANCE = 0.15 ** 2
"""Variance of ln(depth) of a network that does not predict it."""
LEAST_PROBABILITY = 1e-4
"""Probability of a class that was never seen, so that new evidence can raise it."""


@dataclass(frozen=True)
class FusionSettings:
    """
    Settings of temporal fusion.

    :param depth_memory: factor of the weight of earlier depth, per frame. The errors of
        consecutive frames resemble each other, so that older frames add little.
    :param label_memory: factor of the weight of earlier labels, per frame. It is smaller, because
        each warp blurs the borders of thin things.
    :param gate: standard deviations of the present depth by which the depths may differ.
    :param least_gate: difference of ln(depth) up to which they always agree.
    :param greatest_gate: difference of ln(depth) beyond which they never agree.
    :param correlation: correlation of the depth errors of consecutive frames, 0 to 1. The variance
        of the mean of n frames is 1 + (n - 1) * correlation times that of independent errors.
    """

    depth_memory: float = 0.9
    label_memory: float = 0.4
    gate: float = 1.5
    least_gate: float = 0.08
    greatest_gate: float = 0.25
    correlation: float = 0.4


@dataclass(frozen=True)
class FusedMaps:
    """
    Maps of a frame at the network's sizes, with the weight of the frames that they come from.

    :param log_depth: float32 (h, w), ln(metres).
    :param information: float32 (h, w), inverse variance of `log_depth` if the errors of the frames
        are independent.
    :param depth_frames: float32 (h, w), number of frames that `log_depth` is the mean of.
    :param logs: float32 (h', w', C), log-probabilities of the labels, unnormalised.
    :param probabilities: float32 (h', w', C).
    :param frames: float32 (h', w'), number of frames that `logs` is the mean of.
    """

    log_depth: np.ndarray
    information: np.ndarray
    depth_frames: np.ndarray
    logs: np.ndarray
    probabilities: np.ndarray
    frames: np.ndarray

    @classmethod
    def of(cls, output: DenseOutput, scale: float) -> FusedMaps:
        """
        Return the maps of a network's output with batch size 1.

        :param scale: metres per unit of the output's depth.
        """
        depth = host(output.depth)[..., 0] * np.float32(scale)
        log_depth = cv2.log(np.maximum(depth, np.float32(1e-3)))
        if output.log_variance is None:
            information = np.full_like(log_depth, 1 / UNKNOWN_VARIANCE)
        else:
            information = cv2.exp(-host(output.log_variance)[..., 0])
        logits = host(output.logits)
        logs, probabilities = normalised(logits)
        return cls(log_depth, information, np.ones_like(log_depth), logs, probabilities,
                   np.ones(logits.shape[:2], np.float32))

    def log_variance(self, correlation: float) -> np.ndarray:
        """
        Return the log of the variance of `log_depth`, float32 (h, w).

        :param correlation: see `FusionSettings`.
        """
        effect = 1 + (self.depth_frames - 1) * np.float32(correlation)
        return cv2.log(effect / self.information)


class TemporalFusion:
    """
    Fusion of a network's outputs over the frames of a moving camera.

    The fused maps of the frame before are warped into the present view. Where their depth agrees
    with the present depth, ln(depth) becomes the mean weighted by the inverse variances, and the
    log-probabilities of the labels become the mean over the frames: Bayes' rule with as much
    evidence as one frame gives, since consecutive frames are not independent. Earlier frames are
    forgotten exponentially. The single frame is kept at occlusions, on new surfaces, on classes
    that can move, and wherever the depths disagree.

    :param space: label space of the network.
    :param settings: weights and thresholds.
    :ivar share: share of the latest frame's pixels that were fused.
    """

    def __init__(self, space: LabelSpace, settings: FusionSettings | None = None):
        self.settings = settings or FusionSettings()
        self.dynamic, self.infinite = space.dynamic, space.infinite
        self.share = 0.0
        self._before: tuple[FusedMaps, np.ndarray, np.ndarray] | None = None

    def reset(self) -> None:
        """Forget all frames."""
        self._before, self.share = None, 0.0

    def rescale(self, factor: float) -> None:
        """Multiply the depth of the frames before, because a better scale is known."""
        if self._before is not None and factor != 1:
            maps, K, pose = self._before
            maps = replace(maps, log_depth=maps.log_depth + np.float32(np.log(factor)))
            self._before = maps, K, pose

    def fuse(self, output: DenseOutput, K: np.ndarray, size: tuple[int, int], scale: float,
             world_T_camera: np.ndarray | None) -> DenseOutput:
        """
        Return an output fused with those of the frames before.

        :param output: batch size 1, with depth and logits.
        :param K: float64 (3, 3), pixels of the camera's image.
        :param size: height and width of the camera's image.
        :param scale: metres per unit of the output's depth.
        :param world_T_camera: float64 (4, 4), metres. None if the pose is not known: the output is
            returned unchanged, and all frames are forgotten.
        """
        if world_T_camera is None:
            self.reset()
            return output
        maps = FusedMaps.of(output, scale)
        K = resize_intrinsics(K, size, maps.log_depth.shape)
        before, self.share = self._before, 0.0
        fused = maps
        if before is not None and before[0].logs.shape == maps.logs.shape and (
                before[0].log_depth.shape == maps.log_depth.shape):
            fused = self._fused(
                maps, K, before[0], before[1], np.linalg.inv(before[2]) @ world_T_camera)
        self._before = fused, K, np.array(world_T_camera)
        if fused is maps:
            return output
        variance = output.log_variance
        if variance is not None:
            variance = as_map(fused.log_variance(self.settings.correlation), variance)
        return DenseOutput(
            depth=as_map(cv2.exp(fused.log_depth) / np.float32(scale), output.depth),
            logits=as_map(fused.logs, output.logits), normals=output.normals,
            log_variance=variance)

    def _fused(self, maps: FusedMaps, K: np.ndarray, before: FusedMaps, before_K: np.ndarray,
               before_T_present: np.ndarray) -> FusedMaps:
        """Return the maps of a frame, fused with those of the frame before."""
        settings = self.settings
        best = maps.logs.argmax(axis=2)
        infinite = resize_mask(self.infinite[best], maps.log_depth.shape)
        found = correspond(np.where(infinite, FAR, maps.log_depth), K, before.log_depth, before_K,
                           before_T_present, infinite)
        place = label_pixels(found, maps.logs.shape)
        earlier = interpolate_map(before.probabilities, *place)
        moving = self.dynamic[best] | self.dynamic[earlier.argmax(axis=2)]
        alone = cv2.dilate(moving.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        gate = settings.gate / np.sqrt(maps.information)
        gate = gate.clip(settings.least_gate, settings.greatest_gate)
        agree = found.seen & ~resize_mask(alone, maps.log_depth.shape) & (
            infinite | (cv2.absdiff(found.log_depth, maps.log_depth) < gate))
        self.share = float(agree.mean())
        memory = np.float32(settings.depth_memory) * (agree & ~infinite)
        weight = memory * interpolate_map(before.information, found.u, found.v)
        depth_frames = maps.depth_frames + memory * interpolate_map(
            before.depth_frames, found.u, found.v)
        information = weight + maps.information
        log_depth = maps.log_depth + weight / information * (found.log_depth - maps.log_depth)
        weight = settings.label_memory * interpolate_map(before.frames, *place) * resize_mask(
            agree, maps.logs.shape)
        frames = weight + maps.frames
        earlier_logs = cv2.log(np.maximum(earlier, np.float32(LEAST_PROBABILITY)))
        logs = maps.logs + (weight / frames)[..., None] * (earlier_logs - maps.logs)
        logs, probabilities = normalised(logs)
        return FusedMaps(log_depth, information, depth_frames, logs, probabilities, frames)


def label_pixels(
        found: Correspondence, label_shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and rows of a correspondence at the labels' size, float32 (h', w')."""
    small = label_shape[1::-1]
    return tuple(
        (cv2.resize(plane, small, interpolation=cv2.INTER_NEAREST) + np.float32(0.5))
        * np.float32(side / old) - np.float32(0.5)
        for plane, side, old in zip((found.u, found.v), small, found.u.shape[::-1]))


def interpolate_map(values: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Interpolate a map bilinearly at columns and rows."""
    return cv2.remap(values, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def resize_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask at another size: bool (height, width)."""
    return cv2.resize(
        mask.astype(np.uint8), shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0


def normalised(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log-probabilities and probabilities of unnormalised ones, float32 (h, w, C)."""
    flat = cv2.transpose(logs.reshape(-1, logs.shape[2]))  # maxima and sums of rows are fast
    flat -= flat.max(axis=0)
    probabilities = cv2.exp(flat)
    total = probabilities.sum(axis=0)
    probabilities /= total
    flat -= np.log(total)
    return tuple(cv2.transpose(each).reshape(logs.shape) for each in (flat, probabilities))


def host(map_bchw: Tensor) -> np.ndarray:
    """Return the map of a batch of one as float32 (h, w, C)."""
    return np.ascontiguousarray(map_bchw.detach()[0].permute(1, 2, 0).float().cpu().numpy())


def as_map(values: np.ndarray, like: Tensor) -> Tensor:
    """Return (h, w) or (h, w, C) as a (1, C, h, w) map of the type and device of another one."""
    values = values if values.ndim == 3 else values[..., None]
    return torch.from_numpy(values).permute(2, 0, 1)[None].to(like.device, like.dtype)
