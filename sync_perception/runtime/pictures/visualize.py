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

"""Visualisation of predictions: label overlays, panels with a legend, views of the cloud."""

from __future__ import annotations

import math

import cv2
import numpy as np
from sync_perception.geometry import backproject, pixel_rays
from sync_perception.images.colors import colorize_depth, NEAR_SHARE
from sync_perception.labels import LabelSpace
from sync_perception.runtime.pictures.render import render_cloud, Viewpoint
from sync_perception.types import Frame, Prediction

__all__ = [
    'Viewpoint', 'caption', 'cloud_view', 'colorize_depth', 'legend', 'overlay',
    'prediction_panel', 'render_cloud', 'shaded_labels']

FONT = cv2.FONT_HERSHEY_DUPLEX
TEXT = (235, 235, 235)
PAPER = (24, 26, 30)
VOID_GREY = 96
LEGEND_SHARE = 2e-3
"""Least fraction of the image that a class of the legend covers."""


def overlay(image: np.ndarray, labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """
    Return the mean of an image and its coloured labels; void pixels stay unchanged.

    :param image: uint8 (H, W, 3), RGB.
    :param labels: uint8 (H, W).
    :return: uint8 (H, W, 3), RGB.
    :raises ValueError: if the sizes differ.
    """
    if labels.shape != image.shape[:2]:
        raise ValueError(f'expected labels of the size {image.shape[:2]}, got {labels.shape}')
    blend = cv2.addWeighted(image, 0.5, space.colorize(labels), 0.5, 0)
    return cv2.copyTo(image, (labels >= len(space)).astype(np.uint8), blend)


def prediction_panel(
        frame: Frame, prediction: Prediction, space: LabelSpace,
        max_depth: float = 80.0) -> np.ndarray:
    """
    Return a picture of camera | depth over labels | overlay, with depth scale and legend.

    :param frame: the camera's image.
    :param prediction: maps that are None stay dark.
    :param max_depth: far end of the depth's colour scale, metres.
    :return: uint8 (H', W', 3), RGB, about twice the frame's size.
    """
    dark = np.full_like(frame.image, PAPER)
    depth, labels = prediction.depth, prediction.labels
    tiles = [
        caption(frame.image, 'camera'),
        caption(
            dark if depth is None else colorize_depth(depth, max_depth),
            'depth' if depth is None else f'depth (median {_median(depth)})'),
        caption(dark if labels is None else space.colorize(labels), 'labels'),
        caption(dark if labels is None else overlay(frame.image, labels, space), 'overlay')]
    if depth is not None:
        _draw_depth_scale(tiles[1], max_depth)
    height, width = frame.size
    gap = max(2, width // 300)
    grid = np.full((2 * height + gap, 2 * width + gap, 3), PAPER, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // 2 * (height + gap), index % 2 * (width + gap)
        grid[top:top + height, left:left + width] = tile
    if labels is None:
        return grid
    return np.concatenate([grid, legend(labels, space, grid.shape[1])])


def legend(labels: np.ndarray, space: LabelSpace, width: int) -> np.ndarray:
    """
    Return a legend with the colours and names of the classes in a label map.

    :param labels: uint8 (H, W).
    :param width: width of the legend, pixels.
    :return: uint8 (h, width, 3), RGB.
    """
    counts = np.bincount(labels.ravel(), minlength=256)[:len(space)]
    present = np.flatnonzero(counts >= LEGEND_SHARE * labels.size)
    scale = _text_scale(width / 2)
    row_height, box = round(40 * scale), round(20 * scale)
    x, rows, places = box, 0, []
    for index in present:
        text_width = cv2.getTextSize(space.names[index], FONT, scale, 1)[0][0]
        if x + text_width + 3 * box > width and x > box:
            x, rows = box, rows + 1
        places.append((index, x, rows))
        x += text_width + 3 * box
    picture = np.full(((rows + 1) * row_height, width, 3), PAPER, np.uint8)
    for index, x, row in places:
        top = row * row_height + (row_height - box) // 2
        color = tuple(int(channel) for channel in space.colors[index])
        cv2.rectangle(picture, (x, top), (x + box, top + box), color, cv2.FILLED)
        cv2.rectangle(picture, (x, top), (x + box, top + box), TEXT, 1, cv2.LINE_AA)
        _write(picture, space.names[index], (x + box * 3 // 2, top + box), scale)
    return picture


def cloud_view(
        frame: Frame, prediction: Prediction, space: LabelSpace,
        size: tuple[int, int] = (720, 1280)) -> np.ndarray:
    """
    Render the semantic cloud of one frame from behind and above the camera, up to 60 m.

    :param prediction: with depth and labels.
    :param size: height and width of the picture.
    :return: uint8 (height, width, 3), RGB.
    """
    points = backproject(prediction.depth, pixel_rays(frame.K, frame.size))
    colors = shaded_labels(frame.image, prediction.labels, space)
    return render_cloud(points, colors, size)


def shaded_labels(image: np.ndarray, labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """
    Return the label colours shaded by the brightness of the image; void is grey.

    :param image: uint8 (H, W, 3), RGB.
    :param labels: uint8 (H, W).
    :return: uint8 (H, W, 3), RGB.
    """
    light = 0.55 + 0.75 * image.mean(axis=2, keepdims=True, dtype=np.float32) / 255
    painted = space.colorize(labels)
    painted[labels >= len(space)] = VOID_GREY
    return (painted * light + 12).clip(0, 255).astype(np.uint8)


def caption(image: np.ndarray, text: str) -> np.ndarray:
    """Return a copy of an RGB image with a small caption in its upper left corner."""
    picture = image.copy()
    scale = _text_scale(picture.shape[1])
    (width, height), baseline = cv2.getTextSize(text, FONT, scale, 1)
    margin = max(2, height // 2)
    box = picture[:height + baseline + margin, :width + 2 * margin]
    box[:] = (box * 0.35).astype(np.uint8)
    _write(picture, text, (margin, height + margin), scale)
    return picture


def _draw_depth_scale(picture: np.ndarray, max_depth: float) -> None:
    """Draw a colour bar in metres in the lower right corner, in place."""
    height, width = picture.shape[:2]
    scale = _text_scale(width) * 0.8
    bar_width, bar_height = width // 4, max(4, height // 40)
    near = max_depth * NEAR_SHARE
    metres = np.geomspace(near, max_depth, bar_width, dtype=np.float32)
    left, top = width - bar_width - bar_height * 3, height - 3 * bar_height
    bar = colorize_depth(np.repeat(metres[None], bar_height, axis=0), max_depth)
    room = picture[top - bar_height * 4:, left - bar_height * 2:]
    room[:] = (room * 0.35).astype(np.uint8)
    picture[top:top + bar_height, left:left + bar_width] = bar
    free = width
    for share in (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 40):
        text = f'{max_depth * share:.3g}' + (' m' if share == 1 else '')
        x = left + (1 + math.log(share) / math.log(1 / NEAR_SHARE)) * bar_width
        text_width = cv2.getTextSize(text, FONT, scale, 1)[0][0]
        start = min(round(x - text_width / 2), width - text_width - bar_height)
        if start + text_width + bar_height <= free:  # numbers do not touch each other
            _write(picture, text, (start, top - bar_height), scale)
            free = start


def _write(picture: np.ndarray, text: str, origin: tuple[int, int], scale: float) -> None:
    cv2.putText(picture, text, origin, FONT, scale, TEXT, 1, cv2.LINE_AA)


def _text_scale(width: float) -> float:
    """Return the font scale for a picture of the given width."""
    return min(1.0, max(0.35, width / 1600))


def _median(depth: np.ndarray) -> str:
    valid = depth[np.isfinite(depth)]
    return f'{np.median(valid):.1f} m' if valid.size else 'none valid'
