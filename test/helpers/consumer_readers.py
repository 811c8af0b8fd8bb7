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
Reads messages and label files as other programs' code does, with nothing of this package.

Each function does what the function of that program does that its docstring names, down to what
it ignores (such as `step`), so that a message is understood here exactly if it is there.
"""

from __future__ import annotations

import re
import struct

import numpy as np

DEPTHS = {'8U': np.uint8, '8S': np.int8, '16U': np.uint16, '16S': np.int16, '32S': np.int32,
          '32F': np.float32, '64F': np.float64}
NAMED = {'mono8': '8UC1', 'mono16': '16UC1', 'rgb8': '8UC3', 'bgr8': '8UC3', 'rgba8': '8UC4',
         'bgra8': '8UC4'}
# sensor_msgs/PointField
FLOAT32 = 7


def cv_bridge_share(message) -> np.ndarray:
    """
    Wrap an image's data, as cv_bridge::toCvShare without a target encoding.

    :raises ValueError: where matFromImage throws.
    """
    match = re.fullmatch(
        r'(8U|8S|16U|16S|32S|32F|64F)C(\d+)', NAMED.get(message.encoding, message.encoding))
    if match is None:
        raise ValueError(f'unrecognized image encoding {message.encoding}')
    dtype, channels = np.dtype(DEPTHS[match[1]]), int(match[2])
    if message.step < message.width * channels * dtype.itemsize:
        raise ValueError(f'image is wrongly formed: step {message.step}')
    if len(message.data) != message.step * message.height:
        raise ValueError(f'image is wrongly formed: {len(message.data)} bytes')
    assert not message.is_bigendian
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    pixels = rows[:, :message.width * channels * dtype.itemsize].copy().view(dtype)
    return pixels if channels == 1 else pixels.reshape(message.height, message.width, channels)


def hydra_labels(message) -> np.ndarray:
    """Give int32 ids, as hydra::conversions::convertLabels."""
    labels = cv_bridge_share(message)
    assert labels.ndim == 2, 'three channels would be read as colours'
    assert labels.dtype.kind in 'iu'
    return labels.astype(np.int32)


def hydra_depth(message) -> np.ndarray:
    """Give metres, as hydra::conversions::convertDepth."""
    depth = cv_bridge_share(message)
    if depth.dtype == np.float32 and depth.ndim == 2:
        return depth
    assert depth.dtype == np.uint16 and depth.ndim == 2
    return depth.astype(np.float32) * np.float32(1e-3)


def pinhole_points(depth: np.ndarray, camera_info) -> np.ndarray:
    """
    Give (H, W, 3) points, as hydra::Camera::computeVertexMap and nvblox: K alone is read.

    :raises ValueError: if the calibration is of another size.
    """
    if depth.shape != (camera_info.height, camera_info.width):
        raise ValueError(f'depth is {depth.shape}')
    fx, fy, cx, cy = (camera_info.k[index] for index in (0, 4, 2, 5))
    v, u = np.mgrid[:depth.shape[0], :depth.shape[1]]
    return np.stack([depth * (u - cx) / fx, depth * (v - cy) / fy, depth], axis=-1)


def hydra_csv(text: str) -> dict[tuple[int, ...], int]:
    """
    Give ids by colour (r, g, b, a), as hydra::SemanticColorMap::fromCsv.

    :raises ValueError: if a required header is missing.
    """
    rows = [line.removesuffix('\r').split(',') for line in text.split('\n') if line]
    headers = {name: index for index, name in enumerate(rows[0])}
    if not {'red', 'green', 'blue', 'id'} <= headers.keys():
        raise ValueError(f'missing headers: {rows[0]}')
    return {
        tuple(int(row[headers[name]]) for name in ('red', 'green', 'blue', 'alpha')):
        int(row[headers['id']]) for row in rows[1:]}


def kimera_csv(text: str) -> dict[tuple[int, ...], int]:
    """
    Give ids by colour (r, g, b, a), as kimera::SemanticLabel2Color.

    The header is a row like others: letters count as 0. White is put over what the file says.
    """
    colors = {}
    for line in text.removesuffix('\n').split('\n'):
        cells = line.split(',')
        assert len(cells) == 6, f'row {line!r} is invalid'
        red, green, blue, alpha, label = (_atoi(cell) for cell in cells[1:])
        colors[red, green, blue, alpha] = label
    colors[255, 255, 255, 255] = 0
    return colors


def _atoi(text: str) -> int:
    match = re.match(r'\s*[+-]?\d+', text)
    return (int(match[0]) if match else 0) & 255


def pcl_points(message, fields: tuple[str, ...]) -> np.ndarray:
    """
    Give (N, fields) float32 values, as pcl::fromROSMsg does for float fields.

    :raises ValueError: for a field that PCL fails to match, by name, type and count.
    """
    found = {field.name: field for field in message.fields}
    offsets = []
    for name in fields:
        field = found.get(name)
        if field is None or field.datatype != FLOAT32 or field.count not in (0, 1):
            raise ValueError(f'failed to find match for field {name!r}')
        offsets.append(field.offset)
    assert message.row_step == message.point_step * message.width
    assert len(message.data) == message.row_step * message.height
    data, points = bytes(message.data), message.height * message.width
    return np.array(
        [[struct.unpack_from('<f', data, point * message.point_step + offset)[0]
          for offset in offsets] for point in range(points)], np.float32).reshape(-1, len(fields))


def packed_color(values: np.ndarray) -> np.ndarray:
    """Give (N, 3) red, green, blue of floats that are packed colours."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=-1)


def voxblox_cloud(message) -> tuple[np.ndarray, np.ndarray]:
    """
    Give points (N, 3) and their colours (N, 3), as voxblox::TsdfServer does with a cloud.

    A field named rgb makes the cloud coloured; points that are not finite are dropped.
    """
    assert 'rgb' in {field.name for field in message.fields}
    values = pcl_points(message, ('x', 'y', 'z', 'rgb'))
    finite = np.isfinite(values[:, :3]).all(axis=1)
    return values[finite, :3], packed_color(values[finite, 3])


def nvblox_depth(message) -> np.ndarray:
    """Give metres, as nvblox::conversions; rows follow each other without padding."""
    shape = (message.height, message.width)
    if message.encoding == '32FC1':
        return np.frombuffer(message.data, '<f4', shape[0] * shape[1]).reshape(shape)
    if message.encoding == '16UC1':
        thousandths = np.frombuffer(message.data, '<i2', shape[0] * shape[1]).reshape(shape)
        return thousandths.astype(np.uint16).astype(np.float32) * np.float32(1 / 1000)
    raise ValueError(f'Invalid depth image encoding: {message.encoding}')


def nvblox_holes(depth: np.ndarray) -> np.ndarray:
    """Tell which pixels nvblox passes over: depth <= 0, which NaN is not."""
    return depth <= 0


def nvblox_mask(message) -> np.ndarray:
    """Give what is masked (bool), as nvblox's image masker: whatever is not 0."""
    if message.encoding != 'mono8':
        raise ValueError(f'Invalid mask image encoding: {message.encoding}')
    size = message.height * message.width
    return np.frombuffer(message.data, np.uint8, size).reshape(
        message.height, message.width).astype(bool)


class Nav2Layer:
    """
    The Nav2 costmap layer semantic_segmentation_layer, without the costmap.

    :param parameters: the layer's parameters, as the YAML file holds them.
    """

    def __init__(self, parameters: dict):
        self.camera = parameters[parameters['observation_sources'].split()[0]]
        self.costs = {}
        for kind in self.camera['class_types']:
            assert self.camera[kind]['classes'], f'no classes defined on type {kind}'
            for name in self.camera[kind]['classes']:
                self.costs.setdefault(name, self.camera[kind])
        self.by_id: dict[int, dict] = {}
        self.errors: list[str] = []

    def receive_labels(self, message) -> None:
        """Learn the ids, as createSegmentationCostMultimap."""
        for entry in message.class_map:
            if entry.class_name not in self.costs:
                self.errors.append(entry.class_name)
            else:
                self.by_id[entry.class_id & 255] = self.costs[entry.class_name]

    def receive_frame(self, segmentation, confidence, cloud) -> list[tuple | None]:
        """
        Give for each pixel None, or its point, its class's costs and its confidence.

        As syncSegmConfPointcloudCb and bufferSegmentation: bytes are read whatever the encoding
        says, and the n-th point belongs to the n-th pixel.
        """
        pixels = segmentation.width * segmentation.height
        assert pixels == cloud.width * cloud.height, 'sizes are different'
        assert len(segmentation.data) >= pixels
        assert self.by_id, 'class map is empty'
        points = pcl_points(cloud, ('x', 'y', 'z'))
        seen: list[tuple | None] = []
        for index in range(pixels):
            label = segmentation.data[index]
            known = np.isfinite(points[index, 2]) and label in self.by_id
            seen.append((points[index], self.by_id[label], confidence.data[index])
                        if known else None)
        return seen

    @staticmethod
    def cost(observations: list[tuple]) -> int:
        """Give the cost of a tile whose observations are all of one class, as updateBounds."""
        costs, total = observations[0][1], sum(seen[2] for seen in observations)
        enough = len(observations) >= costs['samples_to_max_cost']
        sure = total / len(observations) > costs['mark_confidence']
        return costs['max_cost'] if enough and sure else costs['base_cost']
