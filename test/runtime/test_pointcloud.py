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

"""The semantic cloud: byte for byte, and geometrically against Open3D."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.runtime.pointcloud import cloud_size, POINT, point_cloud, SEMANTIC_POINT
from sync_perception.types import Frame, Prediction

K = np.array([[50.0, 0, 19.5], [0, 52.0, 9.25], [0, 0, 1]])
SIZE = (21, 40)


@pytest.fixture(scope='module')
def space() -> LabelSpace:
    """Load the default label space."""
    return LabelSpace.load('driving')


@pytest.fixture
def scene() -> tuple[Frame, Prediction]:
    """Make a frame and a prediction with holes."""
    rng = np.random.default_rng(7)
    depth = rng.uniform(0.5, 90, SIZE).astype(np.float32)
    depth[rng.random(SIZE) < 0.2] = np.nan
    frame = Frame(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), K)
    return frame, Prediction(
        depth=depth, labels=rng.integers(0, 20, SIZE, dtype=np.uint8),
        confidence=rng.random(SIZE, dtype=np.float32))


def unpack(data: bytes, index: int) -> tuple:
    """Read one point as a consumer would: x, y, z, pad, rgb, label, confidence, pad."""
    return struct.unpack_from('<fffIIIfI', data, 32 * index)


def test_every_byte_of_a_point(scene, space):
    frame, prediction = scene
    data = point_cloud(frame, prediction, space).tobytes()
    assert len(data) == 32 * SIZE[0] * SIZE[1]
    for v, u in [(0, 0), (3, 17), (20, 39), (11, 2)]:
        x, y, z, pad, rgb, label, confidence, end = unpack(data, v * SIZE[1] + u)
        depth = prediction.depth[v, u]
        np.testing.assert_equal(z, depth)
        np.testing.assert_allclose(x, depth * (u - 19.5) / 50, rtol=1e-6)
        np.testing.assert_allclose(y, depth * (v - 9.25) / 52, rtol=1e-6)
        red, green, blue = (int(channel) for channel in frame.image[v, u])
        assert rgb == red << 16 | green << 8 | blue
        assert label == prediction.labels[v, u]
        assert confidence == prediction.confidence[v, u]
        assert pad == end == 0


def test_holes_keep_their_place_and_their_label(scene, space):
    frame, prediction = scene
    points = point_cloud(frame, prediction, space)
    holes = np.isnan(prediction.depth)
    assert holes.any() and points.shape == SIZE
    for name in 'xyz':
        np.testing.assert_array_equal(np.isnan(points[name]), holes)
    np.testing.assert_array_equal(points['label'], prediction.labels)


def test_unorganized_drops_the_holes_in_row_major_order(scene, space):
    frame, prediction = scene
    points = point_cloud(frame, prediction, space, organized=False)
    valid = ~np.isnan(prediction.depth)
    np.testing.assert_array_equal(points['z'], prediction.depth[valid])
    np.testing.assert_array_equal(points['label'], prediction.labels[valid])
    assert not points.view('<u4').reshape(-1, 8)[:, [3, 7]].any()


@pytest.mark.parametrize('stride', [2, 3, 50])
def test_stride_keeps_points_of_the_full_cloud(scene, space, stride):
    frame, prediction = scene
    full = point_cloud(frame, prediction, space)
    strided = point_cloud(frame, prediction, space, stride=stride)
    assert strided.shape == cloud_size(SIZE, stride)
    words = full.view('<u4').reshape(*SIZE, 8)
    assert strided.tobytes() == words[::stride, ::stride].tobytes()


def test_label_colours(scene, space):
    frame, prediction = scene
    labels = prediction.labels.copy()
    labels[0, 0] = 255
    prediction = Prediction(depth=prediction.depth, labels=labels)
    points = point_cloud(frame, prediction, space, color='label')
    painted = space.colorize(labels).astype(np.uint32)
    np.testing.assert_array_equal(
        points['rgb'], painted[..., 0] * 65536 + painted[..., 1] * 256 + painted[..., 2])
    assert points['rgb'][0, 0] == 0 and points['label'][0, 0] == 255


def test_the_labels_colour_can_stand_beside_the_cameras(scene, space):
    """Nothing else of a point changes; void is black."""
    frame, prediction = scene
    prediction.labels[0, 0] = 255
    plain = point_cloud(frame, prediction, space)
    points = point_cloud(frame, prediction, space, semantic_color=True)
    words = points.view('<u4').reshape(*SIZE, 8)
    np.testing.assert_array_equal(words[..., :7], plain.view('<u4').reshape(*SIZE, 8)[..., :7])
    red, green, blue = np.moveaxis(space.colorize(prediction.labels).astype(np.uint32), -1, 0)
    np.testing.assert_array_equal(words[..., 7], red << 16 | green << 8 | blue)
    assert words[0, 0, 7] == 0
    listed = point_cloud(frame, prediction, space, semantic_color=True, organized=False)
    assert listed.tobytes() == words[~np.isnan(prediction.depth)].tobytes()
    buffer = np.zeros(plain.nbytes, np.uint8)
    point_cloud(frame, prediction, space, semantic_color=True, out=buffer)
    assert buffer.tobytes() == points.tobytes()


def test_depth_alone_is_enough(scene, space):
    frame, prediction = scene
    points = point_cloud(frame, Prediction(depth=prediction.depth), space)
    assert (points['label'] == 255).all() and np.isnan(points['confidence']).all()


def test_writes_into_the_buffer_that_is_given(scene, space):
    frame, prediction = scene
    buffer = np.full(SIZE[0] * SIZE[1] * 32, 123, np.uint8)
    points = point_cloud(frame, prediction, space, out=buffer)
    assert np.shares_memory(points, buffer)
    assert buffer.tobytes() == point_cloud(frame, prediction, space).tobytes()


@pytest.mark.parametrize('size', [(1, 1), (3, 1), (1, 12_001), (211, 97)])
def test_clouds_of_any_size_are_their_pixels(space, size):
    rng = np.random.default_rng(4)
    frame = Frame(rng.integers(0, 256, (*size, 3), np.uint8), np.diag([90.0, 80.0, 1.0]))
    depth = rng.uniform(1, 50, size).astype(np.float32)
    depth[rng.random(size) < 0.1] = np.nan
    labels = rng.integers(0, len(space), size, np.uint8)
    points = point_cloud(frame, Prediction(depth=depth, labels=labels), space)
    row, column = np.indices(size)
    np.testing.assert_allclose(points['x'], depth * column / 90, rtol=1e-6)
    np.testing.assert_allclose(points['y'], depth * row / 80, rtol=1e-6)
    np.testing.assert_array_equal(points['z'], depth)
    np.testing.assert_array_equal(points['label'], labels)
    red, green, blue = np.moveaxis(frame.image.astype(np.uint32), 2, 0)
    np.testing.assert_array_equal(points['rgb'], red << 16 | green << 8 | blue)
    valid = point_cloud(frame, Prediction(depth=depth, labels=labels), space, organized=False)
    as_bytes = points.view(np.uint8).reshape(*size, 32)
    assert valid.tobytes() == as_bytes[~np.isnan(depth)].tobytes()


def test_agrees_with_open3d(scene, space):
    open3d = pytest.importorskip('open3d')
    frame, prediction = scene
    camera = open3d.camera.PinholeCameraIntrinsic(SIZE[1], SIZE[0], K)
    depth = open3d.geometry.Image(np.nan_to_num(prediction.depth, nan=0.0))
    reference = open3d.geometry.PointCloud.create_from_depth_image(
        depth, camera, depth_scale=1.0, depth_trunc=1000.0)
    points = point_cloud(frame, prediction, space, organized=False)
    xyz = np.stack([points[name] for name in 'xyz'], axis=-1)
    np.testing.assert_allclose(xyz, np.asarray(reference.points), rtol=1e-5, atol=1e-5)


def test_layout():
    assert POINT.itemsize == 32
    assert [POINT.fields[name][1] for name in POINT.names] == [0, 4, 8, 16, 20, 24]
    assert SEMANTIC_POINT.itemsize == 32
    assert SEMANTIC_POINT.fields['semantic_color'] == (np.dtype('<u4'), 28)


@pytest.mark.parametrize('arguments, message', [
    ({'color': 'rainbow'}, 'rainbow'),
    ({'stride': 0}, 'stride'),
    ({'out': np.zeros(7, np.uint8)}, 'writable'),
])
def test_refuses_bad_arguments(scene, space, arguments, message):
    with pytest.raises(ValueError, match=message):
        point_cloud(*scene, space, **arguments)


def test_refuses_predictions_it_cannot_use(scene, space):
    frame, prediction = scene
    with pytest.raises(ValueError, match='depth'):
        point_cloud(frame, Prediction(labels=prediction.labels), space)
    with pytest.raises(ValueError, match='labels'):
        point_cloud(frame, Prediction(depth=prediction.depth), space, color='label')
    with pytest.raises(ValueError, match='semantic_color needs'):
        point_cloud(frame, Prediction(depth=prediction.depth), space, semantic_color=True)
    with pytest.raises(ValueError, match=r'\(5, 5\)'):
        point_cloud(frame, Prediction(depth=np.zeros((5, 5), np.float32)), space)
    skewed = Frame(frame.image, K + [[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match='skew'):
        point_cloud(skewed, prediction, space)
