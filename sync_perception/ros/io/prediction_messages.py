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

"""Conversion of a perception node's messages of one frame to a frame and its prediction."""

from __future__ import annotations

from collections.abc import Mapping
import json

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sync_perception.images.headers import check_size, MAX_PIXELS
from sync_perception.labels import FLAGS, LabelSpace, VOID
from sync_perception.ros.io.conversions import (
    check_frame_id,
    rectified_intrinsics,
    stamp_nanoseconds,
    to_frame,
)
from sync_perception.ros.io.image_messages import PixelLayout, pixels_of
from sync_perception.types import Frame, MalformedInput, Prediction

FLOAT = PixelLayout(np.float32, 1, None)
WORD = PixelLayout(np.uint16, 1, None)
BYTE = PixelLayout(np.uint8, 1, None)
ENCODINGS = {
    'depth': {'32FC1': FLOAT, '16UC1': WORD, 'mono16': WORD},
    'labels': {'mono8': BYTE, '8UC1': BYTE, '16SC1': PixelLayout(np.int16, 1, None), '16UC1': WORD,
               'mono16': WORD, '32SC1': PixelLayout(np.int32, 1, None)},
    'confidence': {'32FC1': FLOAT, 'mono8': BYTE, '8UC1': BYTE},
    'uncertainty': {'32FC1': FLOAT},
}
"""Encodings of each map of a prediction."""
GREY = 128
"""Colour of a frame without image and labels."""


def frame_and_prediction(
        messages: Mapping[str, Image | CompressedImage], camera_info: CameraInfo,
        space: LabelSpace, max_pixels: int = MAX_PIXELS) -> tuple[Frame, Prediction]:
    """
    Convert the messages of one frame.

    :param messages: `depth`, and if there are any, `image`, `labels`, `confidence` and
        `uncertainty`.
    :param camera_info: calibration of the depth image.
    :param space: label space of the labels; it gives the colours of a frame without image.
    :raises MalformedInput: if a message is malformed, or the messages do not match.
    """
    depth = messages['depth']
    for name, message in messages.items():
        check_frame_id(message.header)
        if message.header.frame_id != depth.header.frame_id:
            raise MalformedInput(
                'frame_id', f'the frame of {name} is {message.header.frame_id!r:.80}, expected '
                f'that of depth, {depth.header.frame_id!r:.80}')
    maps = {name: map_of(message, name, max_pixels) for name, message in messages.items()
            if name != 'image'}
    size = maps['depth'].shape
    for name, values in maps.items():
        if values.shape != size:
            raise MalformedInput(
                'map size', f'{name} has {values.shape[1]}x{values.shape[0]} pixels, expected '
                f'{size[1]}x{size[0]} as depth has')
    if 'labels' in maps:
        check_labels(maps['labels'], space)
    if 'image' in messages:
        frame = to_frame(messages['image'], camera_info, max_pixels=max_pixels)
        if frame.size != size:
            raise MalformedInput(
                'map size', f'the image has {frame.size[1]}x{frame.size[0]} pixels, expected '
                f'{size[1]}x{size[0]} as depth has')
    else:
        frame = Frame(
            space.colorize(maps['labels']) if 'labels' in maps else np.full(
                (*size, 3), GREY, np.uint8),
            rectified_intrinsics(camera_info, size), stamp_nanoseconds(depth.header),
            depth.header.frame_id)
    return frame, Prediction(**maps)


def map_of(message: Image, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """
    Return a map of a prediction as in `Prediction`.

    :param name: depth, labels, confidence or uncertainty.
    :raises MalformedInput: if the encoding is not one of the map's, or the sizes are inconsistent.
    """
    layout = ENCODINGS[name].get(message.encoding)
    if layout is None:
        raise MalformedInput(
            'encoding', f'got {name} in the encoding {message.encoding!r:.60}, expected '
            f'{" or ".join(ENCODINGS[name])}')
    check_size((message.height, message.width), max_pixels)
    pixels = pixels_of(message, layout)
    if name == 'labels':
        return pixels if layout is BYTE else labels_of(pixels)
    if name == 'depth':
        meters = pixels * np.float32(0.001) if layout is WORD else pixels
        with np.errstate(invalid='ignore'):
            return np.where(meters > 0, meters, np.float32('nan'))
    return pixels * np.float32(1 / 255) if layout is BYTE else pixels


def labels_of(ids: np.ndarray) -> np.ndarray:
    """
    Return wider label ids as uint8; negative ids and 65535 are void.

    :raises MalformedInput: if an id is too large.
    """
    void = (ids < 0) | (ids == 65535)
    if ids.size and ids.max(initial=0, where=~void) > VOID:
        raise MalformedInput(
            'label ids', f'got the label id {ids.max(where=~void, initial=0)}, expected at most '
            f'{VOID}')
    return np.where(void, VOID, ids).astype(np.uint8)


def check_labels(labels: np.ndarray, space: LabelSpace) -> None:
    """
    Check that the ids are those of a label space.

    :raises MalformedInput: if one is not.
    """
    unknown = (labels >= len(space)) & (labels != VOID)
    if unknown.any():
        raise MalformedInput(
            'label ids', f'got the label id {labels[unknown][0]}, expected 0 to {len(space) - 1} '
            f'of the label space {space.name!r:.60}, or {VOID} for void')


def label_space_of(text: str) -> LabelSpace:
    """
    Return the label space that `sync/label_space` carries as JSON.

    :raises MalformedInput: if it does not describe one.
    """
    try:
        content = json.loads(text)
        classes = content['classes']
        ids = [entry['id'] for entry in classes]
        if ids != list(range(len(ids))):
            raise ValueError(f'expected the ids 0 to {len(ids) - 1} in order, got {ids!r:.80}')
        return LabelSpace.from_dict({'name': content['name'], 'classes': [
            {name: entry[name] for name in ('name', 'color', *FLAGS) if name in entry}
            for entry in classes]})
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedInput(
            'label space', f'cannot read the label space {text!r:.80}: '
            f'{type(error).__name__}: {error}') from error
