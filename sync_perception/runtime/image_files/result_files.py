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

"""Files of one image's prediction: pictures, raw maps and the cloud."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sync_perception.files.ply import VERTEX, write_vertices
from sync_perception.images.reading import write_image
from sync_perception.labels import LabelSpace
from sync_perception.runtime.clean_depth import clean_depth
from sync_perception.runtime.pictures.visualize import cloud_view, prediction_panel
from sync_perception.runtime.pointcloud import point_cloud
from sync_perception.types import Frame, Prediction

DEPTH_SCALE = 256
"""Scale of KITTI's depth PNG: metres times 256, 0 invalid."""


@dataclass(frozen=True)
class CloudOptions:
    """
    Points that are removed from a cloud.

    :param surface_distance: metres; removes hanging points, see `clean_depth`.
    :param max_uncertainty: share of the depth; removes uncertain points.
    """

    surface_distance: float = 0.0
    max_uncertainty: float = 0.0


def write_prediction(
        frame: Frame, prediction: Prediction, space: LabelSpace, prefix: Path,
        cloud: CloudOptions | None = None, max_depth: float = 80.0) -> list[str]:
    """
    Write all maps and pictures of one frame to files that start with a prefix.

    :param cloud: options of the PLY; None to write none.
    :param max_depth: far end of the colour scale of depth in the pictures, metres.
    :return: names of the files.
    """
    pictures = {'panel': prediction_panel(frame, prediction, space, max_depth)}
    if prediction.depth is not None:
        pictures['depth'] = encode_depth(prediction.depth)
    if prediction.uncertainty is not None:
        pictures['uncertainty'] = encode_depth(prediction.uncertainty)
    if prediction.normals is not None:
        pictures['normals'] = encode_normals(prediction.normals)
    if prediction.labels is not None:
        pictures['labels'] = prediction.labels
        pictures['color'] = space.colorize(prediction.labels)
    if prediction.depth is not None and prediction.labels is not None:
        pictures['cloud'] = cloud_view(frame, prediction, space)
    files = []
    for kind, picture in pictures.items():
        files.append(f'{prefix.name}_{kind}.png')
        bgr = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        write_image(prefix.parent / files[-1], bgr)
    if cloud is not None and prediction.depth is not None:
        files.append(f'{prefix.name}_cloud.ply')
        cleaned = replace(prediction, depth=clean_depth(
            prediction.depth, frame.K, cloud.surface_distance, prediction.uncertainty,
            cloud.max_uncertainty))
        points = point_cloud(frame, cleaned, space, organized=False)
        write_ply(points, prefix.parent / files[-1])
    return files


def encode_depth(depth: np.ndarray) -> np.ndarray:
    """Return float32 (H, W) metres, NaN invalid, as KITTI's uint16: metres x 256, 0 invalid."""
    valid = np.isfinite(depth) & (depth > 0)
    coded = np.rint(np.where(valid, depth, 0) * DEPTH_SCALE).clip(valid, 65535)
    return coded.astype(np.uint16)


def encode_normals(normals: np.ndarray) -> np.ndarray:
    """Return float32 (H, W, 3) unit vectors as a uint8 RGB image; -1 is 0 and 1 is 255."""
    return np.rint((normals + 1) * 127.5).clip(0, 255).astype(np.uint8)


def write_ply(points: np.ndarray, path: Path) -> None:
    """
    Write a cloud as binary PLY with colour, label and confidence.

    :param points: (N,), dtype `pointcloud.POINT`.
    """
    vertices = np.empty(len(points), VERTEX)
    for name in ('x', 'y', 'z', 'label', 'confidence'):
        vertices[name] = points[name]
    for name, shift in (('red', 16), ('green', 8), ('blue', 0)):
        vertices[name] = points['rgb'] >> shift & 0xFF
    write_vertices(path, vertices)


def summarize_prediction(prediction: Prediction, space: LabelSpace) -> dict[str, Any]:
    """Return statistics of a prediction: depth in metres, and the fraction of each class."""
    summary: dict[str, Any] = {}
    if prediction.depth is not None:
        valid = prediction.depth[np.isfinite(prediction.depth)]
        summary['depth'] = {'valid': round(valid.size / prediction.depth.size, 4)}
        if valid.size:
            low, median, high = np.percentile(valid, [1, 50, 99])
            summary['depth'] |= {
                'p1': round(float(low), 3), 'median': round(float(median), 3),
                'p99': round(float(high), 3)}
    if prediction.labels is not None:
        shares = np.bincount(prediction.labels.ravel(), minlength=256) / prediction.labels.size
        summary['classes'] = {
            name: round(float(share), 4)
            for name, share in zip(space.names, shares) if share > 0}
    if prediction.confidence is not None:
        summary['mean_confidence'] = round(float(prediction.confidence.mean()), 4)
    return summary
