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

"""Pictures of a frame's prediction, truth and error for reports."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np
from sync_perception.datasets.sample import Sample
from sync_perception.evaluation.predict_sample import enlarge
from sync_perception.evaluation.sample_evaluation import Evaluation
from sync_perception.images.colors import colorize_depth, NEAR_SHARE
from sync_perception.labels import LabelSpace
from sync_perception.models.network_input import resize_image
from sync_perception.types import DenseOutput

WIDTH = 640
JPEG_QUALITY = 82
ERROR_LIMIT = 0.5
"""Relative depth error drawn in full colour."""
FAR, NEAR, RIGHT = (178, 24, 43), (33, 102, 172), (247, 247, 247)
WRONG = (220, 50, 40)
DOT = 5
"""Size in pixels of a drawn point of sparse depth."""


@dataclass(frozen=True)
class Picture:
    """
    A picture of a page.

    :param title: title of the picture.
    :param source: a data URI.
    :param width: pixels.
    :param height: pixels.
    """

    title: str
    source: str
    width: int
    height: int


def picture(title: str, image: np.ndarray, exact: bool = False) -> Picture:
    """
    Encode a uint8 (H, W, 3) RGB image.

    :param exact: as PNG; otherwise as JPEG.
    """
    options = [] if exact else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, coded = cv2.imencode(
        '.png' if exact else '.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    assert done, image.dtype
    kind = 'png' if exact else 'jpeg'
    text = base64.b64encode(coded.tobytes()).decode()
    return Picture(title, f'data:image/{kind};base64,{text}', image.shape[1], image.shape[0])


def draw_frame(
        evaluation: Evaluation, sample: Sample, output: DenseOutput, max_depth: float
        ) -> list[Picture]:
    """
    Draw the image, and prediction, truth and error of each evaluated map.

    :param max_depth: far end of the colour scale, metres.
    """
    height, width = sample.image.shape[:2]
    size = (max(round(height * WIDTH / width), 1), WIDTH) if width > WIDTH else (height, width)
    photograph = resize_image(sample.image, size)
    pictures = [picture('photograph', photograph)]
    if output.logits is not None and sample.labels is not None and evaluation.classes is not None:
        pictures += draw_labels(evaluation, sample, output, photograph)
    if output.depth is not None and sample.depth is not None and sample.K is not None:
        pictures += draw_depth(evaluation, sample, output, photograph, max_depth)
    if output.normals is not None and sample.normals is not None:
        said = enlarge(output.normals, size)[0].permute(1, 2, 0).cpu().numpy()
        true = cv2.resize(sample.normals, size[::-1], interpolation=cv2.INTER_NEAREST)
        pictures += [picture('normals, predicted', paint_normals(said)),
                     picture('normals, true', paint_normals(true))]
    return pictures


def draw_labels(
        evaluation: Evaluation, sample: Sample, output: DenseOutput, photograph: np.ndarray
        ) -> list[Picture]:
    """Draw predicted and true labels in the data set's colours, and where they differ."""
    size, space, classes = photograph.shape[:2], evaluation.label_space, evaluation.classes
    first = np.array([space.index(name.split('|')[0]) for name in classes.names], np.uint8)
    labels = cv2.resize(sample.labels, size[::-1], interpolation=cv2.INTER_NEAREST)
    said = evaluation.shared_labels(output, size)
    true = classes.table[labels]
    counts = true != space.void
    return [
        picture('labels, predicted', space.colorize(first[said]), exact=True),
        picture('labels, true', space.colorize(labels), exact=True),
        picture('labels, wrong', paint_wrong(photograph, counts & (said != true), counts))]


def draw_depth(
        evaluation: Evaluation, sample: Sample, output: DenseOutput, photograph: np.ndarray,
        max_depth: float) -> list[Picture]:
    """Draw predicted and true depth, and the relative error."""
    size = photograph.shape[:2]
    depth = enlarge(output.depth, size)[0, 0].cpu().numpy() * evaluation.metres(sample)
    limits = evaluation.depth
    true = shrink_depth(sample.depth, size)
    with np.errstate(invalid='ignore', divide='ignore'):
        error = (depth - true) / true
        error[~((true > limits.min_depth) & (true < limits.max_depth))] = np.nan
    return [picture('depth, predicted', colorize_depth(depth, max_depth)),
            picture('depth, true', colorize_depth(thicken(true), max_depth)),
            picture('depth, error', paint_error(thicken(error), photograph))]


def shrink_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """
    Downsample depth by point: a pixel takes its nearest point, so that sparse depth is kept.

    :param depth: float (H, W), metres, NaN or inf where unknown.
    :return: float32 (h, w), NaN where no point falls.
    """
    rows, columns = np.nonzero(np.isfinite(depth))
    small = np.full(size, np.inf, np.float32)
    np.minimum.at(
        small, (rows * size[0] // depth.shape[0], columns * size[1] // depth.shape[1]),
        depth[rows, columns])
    small[np.isinf(small)] = np.nan
    return small


def thicken(values: np.ndarray) -> np.ndarray:
    """Dilate known values, float (H, W), if most are unknown."""
    known = np.isfinite(values)
    if known.mean() > 0.5:
        return values
    # the index of the nearest known pixel
    distance, nearest = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    lookup = np.full(nearest.max() + 1, np.nan, values.dtype)
    lookup[nearest[known]] = values[known]
    return np.where(distance <= DOT / 2, lookup[nearest], np.nan)


def paint_error(error: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """
    Draw relative errors over a dimmed image: too near blue, too far red, correct white.

    :param error: float (H, W), (predicted - true) / true, NaN where there is none.
    :param photograph: uint8 (H, W, 3), RGB.
    """
    known = np.isfinite(error)
    share = np.clip(np.where(known, error, 0) / ERROR_LIMIT, -1, 1)[..., None]
    side = np.where(share > 0, np.array(FAR), np.array(NEAR))
    painted = np.array(RIGHT) + np.abs(share) * (side - np.array(RIGHT))
    return np.where(known[..., None], painted, dimmed(photograph) * 0.6).astype(np.uint8)


def paint_wrong(photograph: np.ndarray, wrong: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Draw wrong pixels red over a dimmed image, and ignored pixels darker."""
    base = dimmed(photograph)
    base[~counts] *= 0.35
    base[wrong] = 0.25 * base[wrong] + 0.75 * np.array(WRONG)
    return base.astype(np.uint8)


def paint_normals(normals: np.ndarray) -> np.ndarray:
    """Draw float (H, W, 3) normals as colours, (n + 1) / 2; black where unknown."""
    return (np.nan_to_num((normals + 1) / 2, nan=0).clip(0, 1) * 255).astype(np.uint8)


def dimmed(photograph: np.ndarray) -> np.ndarray:
    """Return an image in dimmed grey: float64 (H, W, 3)."""
    gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)
    return np.repeat(gray[..., None], 3, axis=2).astype(np.float64)


def depth_scale(max_depth: float) -> Picture:
    """Draw the colour scale of depth, logarithmic from the nearest to the farthest."""
    steps = np.geomspace(max_depth * NEAR_SHARE, max_depth, 256)[None].repeat(12, axis=0)
    return picture('colours of depth', colorize_depth(steps, max_depth), True)


def color_of(space: LabelSpace, group: str) -> str:
    """Return the CSS colour of the first class of a group, whose name joins classes by `|`."""
    return f'#{space.colors[space.index(group.split("|")[0])].tobytes().hex()}'
