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

"""Temporal consistency of depth and labels in videos, between consecutive frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
import logging

import cv2
import numpy as np
from sync_perception.datasets.sample import DenseDataset, READ_ERRORS, Sample
from sync_perception.evaluation.metrics import MAX_DEPTH, MIN_DEPTH, SegmentationMetrics
from sync_perception.evaluation.predict_sample import dense_output, enlarge
from sync_perception.geometry import backproject, pixel_rays, project, transform
from sync_perception.labels import VOID
from sync_perception.models.network_input import camera_scale
from sync_perception.types import DenseOutput
from torch import nn

LOG = logging.getLogger(__name__)
TRUE_DEPTH, PREDICTED_DEPTH, FLOW = (
    'true depth and pose', 'predicted depth and known pose', 'optical flow')
FAR = 1e5
"""Depth of the sky for warping, metres: only rotation moves it."""
TOLERANCE = 0.05
"""Relative difference of depth that counts as an occlusion."""
FAR_TOLERANCE = 1e-4
"""
Absolute difference of inverse depth that counts as an occlusion, 1 / metres; the sky is at FAR or
beyond.
"""
LabelsAndDepth = tuple[np.ndarray | None, np.ndarray | None]
"""Labels uint8 (H, W) and depth float32 (H, W) in metres; None if the model lacks them."""


@dataclass(frozen=True)
class Motion:
    """
    Correspondence of a frame's pixels to the previous frame.

    :param there: float32 (H, W, 2), pixels (u, v) of the previous frame.
    :param valid: bool (H, W), true where the pixel's surface is visible in the previous frame.
    :param current_T_previous: float64 (4, 4), metres; None if the camera's motion is not known.
    """

    there: np.ndarray
    valid: np.ndarray
    current_T_previous: np.ndarray | None = None


def motion_by_depth(
        depth: np.ndarray, K: np.ndarray, previous_T_current: np.ndarray,
        previous_depth: np.ndarray | None = None) -> Motion:
    """
    Compute the motion of a static scene from depth and camera motion.

    A point is occluded in the previous frame if that frame's known depth differs there; without
    previous depth, if a nearer point of the frame itself falls on the same pixel.

    :param depth: float (H, W), metres along z, NaN where unknown, inf in the sky.
    :param K: float64 (3, 3), intrinsics of both frames.
    :param previous_T_current: float64 (4, 4), metres.
    :param previous_depth: float (H, W), true depth of the previous frame, NaN where unknown (no
        occlusion there), inf in the sky; None if not available.
    """
    size = depth.shape
    metres = np.where(np.isposinf(depth), FAR, depth)
    with np.errstate(invalid='ignore', divide='ignore'):
        points = transform(
            backproject(metres, pixel_rays(K, size).astype(np.float64)), previous_T_current)
        z = points[..., 2]
        there = project(points, K)
        valid = (z > 0) & inside(there, size)
        there = np.where(valid[..., None], there, 0).astype(np.float32)
        if previous_depth is None:
            valid &= ~hidden_by_others(there, z, valid)
        else:
            seen = sample_inverse(previous_depth, there)
            valid &= ~(np.abs(1 / z - seen) > TOLERANCE / z + FAR_TOLERANCE)
    return Motion(there, valid, np.linalg.inv(previous_T_current))


def motion_by_flow(image: np.ndarray, previous: np.ndarray) -> Motion:
    """
    Compute motion by dense inverse search optical flow (Kroeger et al., 2016).

    A pixel is valid if forward and backward flow are consistent within the bound of Sundaram et
    al. (2010): |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5.

    :param image: uint8 (H, W, 3), RGB.
    :param previous: uint8 (H, W, 3), RGB.
    """
    size = image.shape[:2]
    now, before = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (image, previous))
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forth = flow.calc(now, before, None)
    back = flow.calc(before, now, None)
    v, u = np.mgrid[:size[0], :size[1]]
    there = (np.stack([u, v], axis=-1) + forth).astype(np.float32)
    returned = cv2.remap(back, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    error = np.square(forth + returned).sum(axis=-1)
    bound = 0.01 * (np.square(forth).sum(axis=-1) + np.square(returned).sum(axis=-1)) + 0.5
    return Motion(there, inside(there, size) & (error < bound))


def inside(there: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which pixels (u, v), (H, W, 2), lie within an image: bool (H, W)."""
    u, v = there[..., 0], there[..., 1]
    return (u >= -0.5) & (u <= size[1] - 0.5) & (v >= -0.5) & (v <= size[0] - 0.5)


def nearest_pixels(there: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns, integers (H, W), of the pixels nearest to (u, v)."""
    rounded = np.rint(there).astype(np.int64)
    return rounded[..., 1].clip(0, size[0] - 1), rounded[..., 0].clip(0, size[1] - 1)


def hidden_by_others(there: np.ndarray, z: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return which points share a pixel with a nearer point: bool (H, W)."""
    rows, columns = nearest_pixels(there, z.shape)
    nearest = np.full(z.shape, np.inf)
    np.minimum.at(nearest, (rows[valid], columns[valid]), z[valid])
    return z > nearest[rows, columns] * (1 + 2 * TOLERANCE)


def sample_inverse(depth: np.ndarray, there: np.ndarray) -> np.ndarray:
    """
    Interpolate inverse depth, which is linear on planes: float64 (H, W), 1 / metres.

    :param depth: float (H, W), NaN where unknown, inf for 0.
    :param there: float32 (H, W, 2), pixels (u, v).
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        inverse = (1 / depth).astype(np.float32)
    return cv2.remap(
        inverse, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(float)


def warp_labels(previous: np.ndarray, motion: Motion) -> np.ndarray:
    """Warp the labels of the previous frame, uint8 (H, W), to this one; 255 where not valid."""
    rows, columns = nearest_pixels(motion.there, previous.shape)
    return np.where(motion.valid, previous[rows, columns], np.uint8(VOID))


def warp_depth(previous: np.ndarray, motion: Motion, K: np.ndarray | None = None) -> np.ndarray:
    """
    Warp the depth of the previous frame to this one.

    :param previous: float (H, W), metres along z of the previous camera.
    :param K: float64 (3, 3), intrinsics; needed if the camera's motion is known.
    :return: float64 (H, W), metres along z of this camera, NaN where not valid. If the camera's
        motion is not known, depth along z of the previous camera.
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        depth = 1 / sample_inverse(previous, motion.there)
    if motion.current_T_previous is not None:
        ones = np.ones((*depth.shape, 1))
        rays = np.concatenate([motion.there, ones], axis=-1) @ np.linalg.inv(K).T
        with np.errstate(invalid='ignore'):
            depth = transform(backproject(depth, rays), motion.current_T_previous)[..., 2]
    return np.where(motion.valid & np.isfinite(depth), depth, np.nan)


class VideoMetrics:
    """
    Temporal consistency of labels and temporal alignment error of depth.

    Temporal consistency is the mIoU between a frame's labels and the previous frame's warped
    labels, from one confusion matrix of all pairs. The alignment error is the mean of |warped -
    depth| / depth over the pixels of a pair, averaged over the pairs.

    :param num_classes: number of classes.
    :param max_depth: upper limit of the reference depth for comparisons, metres.
    """

    NAMES = ('temporal_miou', 'temporal_abs_rel')

    def __init__(self, num_classes: int, max_depth: float = MAX_DEPTH):
        self.labels = SegmentationMetrics(num_classes)
        self.max_depth = max_depth
        self.errors: list[float] = []

    def update_labels(
            self, current: np.ndarray, previous: np.ndarray, motion: Motion) -> None:
        """
        Add a pair of label maps.

        :param current: uint8 (H, W), 255 void.
        :param previous: uint8 (H, W), 255 void, of the previous frame.
        """
        warped = warp_labels(previous, motion)
        self.labels.update(warped, np.where(warped == VOID, np.uint8(VOID), current))

    def update_depth(
            self, current: np.ndarray, previous: np.ndarray, motion: Motion,
            reference: np.ndarray, K: np.ndarray | None) -> None:
        """
        Add a pair of depth maps; a pair without comparable pixels is not counted.

        :param current: float (H, W), metres.
        :param previous: float (H, W), metres, of the previous frame.
        :param reference: float (H, W), metres, to which `max_depth` applies.
        :param K: float64 (3, 3), intrinsics of both frames, if the camera's motion is known.
        """
        warped = warp_depth(previous, motion, K)
        with np.errstate(invalid='ignore'):
            compared = (warped > 0) & (current > 0) & (reference < self.max_depth)
        if compared.any():
            now = current[compared].astype(np.float64)
            self.errors.append(float((np.abs(warped[compared] - now) / now).mean()))

    def compute(self) -> dict[str, float]:
        """Return the available metrics by name."""
        scores = {}
        if self.labels.confusion.any():
            scores['temporal_miou'] = self.labels.mean_iou()
        if self.errors:
            scores['temporal_abs_rel'] = float(np.mean(self.errors))
        return scores


def check_video(data: DenseDataset, ids: Sequence[str]) -> None:
    """
    Check that at least one frame has a previous frame.

    :raises ValueError: if there is none.
    """
    if not any(data.has_neighbours(sample_id, (-1,)) for sample_id in ids):
        raise ValueError(
            f'expected frames of a video, got {len(ids)} of which none has a frame before it')


class VideoEvaluation:
    """
    Comparison of a model's predictions for consecutive frames.

    :param model: module from a normalised image batch to a DenseOutput, with `config`, `labels`,
        `device`.
    :param data: the recordings.
    :param max_depth: upper limit of compared depth, metres.
    :param skip_bad: whether an unreadable previous frame is logged and counts as missing;
        otherwise its error is raised.
    """

    def __init__(
            self, model: nn.Module, data: DenseDataset, max_depth: float = MAX_DEPTH,
            skip_bad: bool = False):
        self.model, self.data, self.skip_bad = model, data, skip_bad
        self.metrics = VideoMetrics(len(model.labels), max_depth)
        self.pairs: Counter[str] = Counter()
        self.alone = self.pixels = self.valid = self.scaled = 0
        self.latest: tuple[Sample, LabelsAndDepth] | None = None

    def add(self, sample: Sample, output: DenseOutput) -> None:
        """
        Compare a sample with its previous frame, if there is one.

        :param output: the model's output for the sample.
        """
        current = self.maps(sample, output)
        before = self.before(sample)
        if before is None:
            self.alone += 1
        else:
            self.compare(sample, current, *before)
        self.latest = sample, current

    def before(self, sample: Sample) -> tuple[Sample, LabelsAndDepth] | None:
        """Return the previous frame of a sample and its predicted maps."""
        name = self.data.neighbour_id(sample.id, -1)
        if self.latest is not None and name == self.latest[0].id:
            return self.latest
        try:
            if name is not None:
                previous = self.data.read(name)
            else:
                image = self.data.neighbours(sample.id, (-1,))[0]
                previous = None if image is None else Sample('', image, sample.K)
        except READ_ERRORS as error:
            if not self.skip_bad:
                raise
            LOG.warning('skipped the frame before %s: %s', sample.id, error)
            previous = None
        if previous is None:
            return None
        return previous, self.maps(previous, dense_output(self.model, previous.image))

    def compare(
            self, sample: Sample, current: LabelsAndDepth, previous: Sample,
            earlier: LabelsAndDepth) -> None:
        """
        Compare the maps of a sample with those of the previous frame.

        Relative depth is scaled to metres by the same factor in both frames, so that a varying
        scale counts as an error. Without true depth, poses cannot be used for it.
        """
        scale = self.scale(sample, current[1])
        if scale is not None:
            current, earlier = ((labels, depth * scale) for labels, depth in (current, earlier))
            self.scaled += 1
        how, motion, reference = self.motion(sample, current[1], previous)
        self.pairs[how] += 1
        self.pixels += motion.valid.size
        self.valid += int(motion.valid.sum())
        if current[0] is not None:
            self.metrics.update_labels(current[0], earlier[0], motion)
        if current[1] is not None:
            self.metrics.update_depth(current[1], earlier[1], motion, reference, sample.K)

    def scale(self, sample: Sample, depth: np.ndarray | None) -> np.float32 | None:
        """Return the scale of relative depth by true median, if true depth is known."""
        if self.model.config.metric or depth is None or sample.depth is None:
            return None
        with np.errstate(invalid='ignore'):
            scored = (sample.depth > MIN_DEPTH) & (sample.depth < self.metrics.max_depth)
        if not scored.any():
            return None
        return np.float32(np.median(sample.depth[scored]) / np.median(depth[scored]))

    def maps(self, sample: Sample, output: DenseOutput) -> LabelsAndDepth:
        """Return labels uint8 (H, W) and depth float32 (H, W), metres, at the image's size."""
        size, labels, depth = sample.image.shape[:2], None, None
        if output.logits is not None:
            labels = enlarge(output.logits, size)[0].argmax(dim=0).cpu().numpy().astype(np.uint8)
        if output.depth is not None:
            scale = camera_scale(self.model.config, sample.K, size)
            depth = enlarge(output.depth, size)[0, 0].cpu().numpy() * np.float32(scale)
        return labels, depth

    def motion(
            self, sample: Sample, depth: np.ndarray | None, previous: Sample
            ) -> tuple[str, Motion, np.ndarray | None]:
        """
        Compute the motion from the previous frame, by the best available data.

        :param depth: the model's depth, metres.
        :param previous: the previous frame.
        :return: name of the method, the motion, and the reference depth for `max_depth`.
        """
        poses = [self.data.pose(sample.id, offset) for offset in (0, -1)]
        known = sample.K is not None and all(pose is not None for pose in poses)
        if known and sample.depth is not None:
            motion = motion_by_depth(
                sample.depth, sample.K, np.linalg.inv(poses[1]) @ poses[0], previous.depth)
            return TRUE_DEPTH, motion, sample.depth
        if known and depth is not None and self.model.config.metric:
            motion = motion_by_depth(depth, sample.K, np.linalg.inv(poses[1]) @ poses[0])
            return PREDICTED_DEPTH, motion, depth
        return FLOW, motion_by_flow(sample.image, previous.image), depth

    def protocol(self) -> str:
        """Describe the protocol, with the numbers of frames."""
        ways = ', '.join(f'{count} pairs by {how}' for how, count in sorted(self.pairs.items()))
        share = self.valid / self.pixels if self.pixels else 0
        note = (
            f'each frame is compared with the previous frame, warped to it: {ways}; {self.alone} '
            f'frames have no previous frame; {share:.1%} of the pixels are visible in both frames '
            f'and compared, with depth below {self.metrics.max_depth} m')
        if self.scaled:
            note += (f'; depth is not metric: in {self.scaled} pairs the depth of both frames is '
                     'scaled by the true median depth of the later frame')
        if self.pairs[FLOW]:
            note += ('; with optical flow, motion of the camera along z counts as an error of '
                     'depth')
        return note
