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


"""Messages into packets and back: intrinsics, what is refused, bytes of what is published."""

from __future__ import annotations

import array

import cv2
from image_samples import message, SIZE, smooth_image
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, PointField, RegionOfInterest
from std_msgs.msg import Header
from sync_perception.ros.io.conversions import (
    cloud_message,
    decode,
    depth_message,
    image_message,
    labels_message,
    rectified_intrinsics,
    to_frame,
    writable_cloud,
)
from sync_perception.runtime.pointcloud import POINT, SEMANTIC_POINT
from sync_perception.types import MalformedInput


def camera_info(size: tuple[int, int] = SIZE, focal: float = 50.0) -> CameraInfo:
    """Return a calibration whose P differs from K, as that of a rectified lens."""
    height, width = size
    info = CameraInfo(height=height, width=width, distortion_model='plumb_bob')
    info.header.frame_id = 'camera'
    info.k = [focal - 5, 0.0, 20.0, 0.0, focal - 4, 15.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, 24.0, -3.0, 0.0, focal + 1, 16.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
@pytest.mark.parametrize('channels', [1, 3])
def test_compressed_images_are_read_as_rgb(extension, channels):
    rgb = smooth_image() if channels == 3 else np.repeat(smooth_image()[..., 1:2], 3, axis=-1)
    stored = rgb[..., ::-1] if channels == 3 else rgb[..., 0]
    data = cv2.imencode(extension, stored, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    compressed = CompressedImage(format=extension[1:], data=array.array('B', data))
    frame = to_frame(compressed, camera_info())
    assert np.abs(frame.image.astype(int) - rgb).max() <= (0 if extension == '.png' else 6)


def test_a_frame_has_the_stamp_and_the_frame_of_the_image():
    frame = to_frame(message(smooth_image(), 'rgb8'), camera_info())
    assert frame.stamp == 12_000_000_345
    assert frame.frame_id == 'camera'
    np.testing.assert_array_equal(frame.K, [[50, 0, 24], [0, 51, 16], [0, 0, 1]])


def test_intrinsics_are_of_p_and_of_k_where_p_is_not_set():
    info = camera_info()
    np.testing.assert_array_equal(rectified_intrinsics(info, SIZE)[0], [50, 0, 24])
    info.p = [0.0] * 12
    np.testing.assert_array_equal(rectified_intrinsics(info, SIZE)[0], [45, 0, 20])


def test_intrinsics_follow_the_region_and_the_binning():
    info = camera_info((480, 640), focal=500.0)
    info.roi = RegionOfInterest(x_offset=100, y_offset=40, width=320, height=240)
    info.binning_x, info.binning_y = 2, 4
    K = rectified_intrinsics(info, (60, 160))
    point = np.array([0.3, -0.2, 2.0])
    u, v, w = info.p.reshape(3, 4)[:, :3] @ point
    # the pixel (u, v) of the full image is averaged into this one, centres at integers
    expected = (u / w - 100 + 0.5) / 2 - 0.5, (v / w - 40 + 0.5) / 4 - 0.5
    projected = K @ point
    np.testing.assert_allclose(projected[:2] / projected[2], expected)


def spoil(target, **values):
    """Set fields of a message."""
    for name, value in values.items():
        setattr(target, name, value)


def set_element(target, field: str, index: int, value: float):
    """Set one number of a message's matrix."""
    getattr(target, field)[index] = value


MALFORMED_IMAGES = {
    'no pixels at all': (
        lambda m: spoil(m, height=0, width=0, step=0, data=array.array('B')), 'empty', None),
    'no columns': (lambda m: spoil(m, width=0), 'empty image of 0x32', 'image size'),
    'unknown encoding': (lambda m: spoil(m, encoding='rgb9'), "'rgb9'", 'encoding'),
    'depth as an image': (lambda m: spoil(m, encoding='32FC1'), "'32FC1'", 'encoding'),
    'no encoding': (lambda m: spoil(m, encoding=''), "encoding ''", 'encoding'),
    'data too short': (
        lambda m: spoil(m, data=m.data[:-1]), r'got 4607 .* 144 x 32 = 4608', 'data length'),
    'data too long': (
        lambda m: spoil(m, data=m.data + array.array('B', [0])), 'got 4609', 'data length'),
    'no data': (lambda m: spoil(m, data=array.array('B')), 'got 0 bytes', 'data length'),
    'rows too short': (lambda m: spoil(m, step=143), r'143 .* at least 144', 'step'),
    'no step': (lambda m: spoil(m, step=0), r'rows of 0 bytes', 'step'),
    'another width than the data': (lambda m: spoil(m, width=49), 'at least 147', 'step'),
    'odd width of shared chroma': (
        lambda m: spoil(m, encoding='yuv422', width=47), 'multiple of 2', 'image size'),
}
MALFORMED_CAMERA_INFOS = {
    'another size': (
        lambda i: spoil(i, width=64), 'for 64x32 .* expected 48x32', 'camera_info size'),
    'no size': (lambda i: spoil(i, width=0, height=0), 'for 0x0', 'camera_info size'),
    'binning of another image': (
        lambda i: spoil(i, binning_x=2, binning_y=2), 'binning 2x2', 'camera_info size'),
    'region that sticks out': (
        lambda i: spoil(i, roi=RegionOfInterest(width=48, height=32, x_offset=1)),
        r'48x32 pixels at \(1, 0\) .* within its 48x32', 'camera_info size'),
    'region of another image': (
        lambda i: spoil(i, roi=RegionOfInterest(width=10, height=10)), 'region 10x10',
        'camera_info size'),
    'nan focal length': (
        lambda i: set_element(i, 'p', 0, float('nan')), 'nan', 'camera_info values'),
    'nan in K': (lambda i: set_element(i, 'k', 4, float('nan')), 'nan', 'camera_info values'),
    'infinite principal point': (
        lambda i: set_element(i, 'p', 2, float('inf')), 'inf', 'camera_info values'),
    'no projection but numbers': (
        lambda i: set_element(i, 'p', 10, 0.0), r'expected \[\[fx, skew, cx\]',
        'camera_info values'),
    'principal point far away': (
        lambda i: set_element(i, 'p', 2, 1e9), r'1000000000.0', 'camera_info values'),
    'focal length of no lens': (
        lambda i: set_element(i, 'p', 0, 1e-300), '1e-300', 'focal length'),
    'not calibrated': (
        lambda i: spoil(i, p=[0.0] * 12, k=[0.0] * 9), 'is the camera calibrated', 'focal length'),
    'zero vertical focal length': (
        lambda i: set_element(i, 'p', 5, 0.0), '0.0', 'focal length'),
    'negative focal length': (
        lambda i: (set_element(i, 'p', 0, -50.0), set_element(i, 'k', 0, -45.0)), '-45.0',
        'focal length'),
}


@pytest.mark.parametrize('kind', MALFORMED_IMAGES)
def test_malformed_images_are_refused(kind):
    apply, match, reason = MALFORMED_IMAGES[kind]
    image = message(smooth_image(), 'rgb8')
    apply(image)
    with pytest.raises(MalformedInput, match=match) as refusal:
        to_frame(image, camera_info())
    assert reason in (None, refusal.value.reason)
    assert 'expected' in str(refusal.value)


@pytest.mark.parametrize('kind', MALFORMED_CAMERA_INFOS)
def test_malformed_camera_infos_are_refused(kind):
    apply, match, reason = MALFORMED_CAMERA_INFOS[kind]
    info = camera_info()
    apply(info)
    with pytest.raises(MalformedInput, match=match) as refusal:
        to_frame(message(smooth_image(), 'rgb8'), info)
    assert refusal.value.reason == reason
    assert 'expected' in str(refusal.value)


@pytest.mark.parametrize('data', [b'', b'\xff\xd8\xff\xe0 cut off', b'not an image at all'])
def test_malformed_compressed_images_are_refused(data):
    compressed = CompressedImage(format='jpeg', data=array.array('B', data))
    with pytest.raises(MalformedInput, match=f'{len(data)} bytes .* expected JPEG or PNG'):
        to_frame(compressed, camera_info())


def test_metres_are_published_as_they_are():
    depth = np.array([[1.5, np.nan, 80.0]], np.float32)
    sent = depth_message(depth, Header(frame_id='camera'), '32FC1')
    assert (sent.encoding, sent.step, sent.height, sent.width) == ('32FC1', 12, 1, 3)
    assert sent.header.frame_id == 'camera'
    np.testing.assert_array_equal(np.frombuffer(sent.data, '<f4'), depth[0])


def test_millimetres_have_zero_where_depth_is_invalid_or_does_not_fit():
    depth = np.array([[1.2344, np.nan, 65.5354, 65.5356, np.inf, -1.0, 0.0002]], np.float32)
    sent = depth_message(depth, Header(), '16UC1')
    assert (sent.encoding, sent.step) == ('16UC1', 14)
    np.testing.assert_array_equal(
        np.frombuffer(sent.data, '<u2'), [1234, 0, 65535, 0, 0, 0, 0])


def test_labels_have_void_255_or_minus_one():
    labels = np.array([[0, 254], [19, 255]], np.uint8)
    sent = labels_message(labels, Header(), 'mono8')
    assert (sent.encoding, sent.step, bytes(sent.data)) == ('mono8', 2, labels.tobytes())
    sent = labels_message(labels, Header(), '16SC1')
    assert (sent.encoding, sent.step) == ('16SC1', 4)
    np.testing.assert_array_equal(np.frombuffer(sent.data, '<i2'), [0, 254, 19, -1])


def test_an_array_that_is_not_contiguous_is_published_row_by_row():
    rgb = smooth_image()[:, ::-1]
    sent = image_message(rgb, Header(), 'rgb8')
    np.testing.assert_array_equal(decode(sent), rgb)


def example_cloud() -> np.ndarray:
    """Return 2 x 3 points, one of them a hole."""
    cloud = np.zeros((2, 3), POINT)
    cloud['x'], cloud['y'], cloud['z'] = 1.0, -2.0, np.arange(6).reshape(2, 3)
    cloud['z'][1, 2] = np.nan
    cloud['rgb'], cloud['label'], cloud['confidence'] = 0x102030, 7, 0.5
    return cloud


def test_an_organized_cloud_has_the_fields_of_the_contract():
    sent = cloud_message(example_cloud(), Header(frame_id='camera'))
    assert (sent.height, sent.width, sent.point_step, sent.row_step) == (2, 3, 32, 96)
    assert not sent.is_dense and not sent.is_bigendian
    fields = [(field.name, field.offset, field.datatype, field.count) for field in sent.fields]
    single, unsigned = PointField.FLOAT32, PointField.UINT32
    assert fields == [
        ('x', 0, single, 1), ('y', 4, single, 1), ('z', 8, single, 1), ('rgb', 16, single, 1),
        ('label', 20, unsigned, 1), ('confidence', 24, single, 1)]
    assert bytes(sent.data) == example_cloud().tobytes()
    first = bytes(sent.data[:32])
    assert first[16:20] == bytes([0x30, 0x20, 0x10, 0])  # blue, green, red as PCL packs them
    assert np.frombuffer(first[20:24], '<u4') == 7


def test_a_list_of_points_is_dense():
    sent = cloud_message(example_cloud().reshape(-1)[:5], Header())
    assert (sent.height, sent.width, sent.row_step, sent.is_dense) == (1, 5, 160, True)
    assert len(cloud_message(np.zeros(0, POINT), Header()).data) == 0


def test_a_cloud_can_be_written_into_its_message():
    sent, data = writable_cloud((2, 3), Header())
    assert bytes(sent.data) == bytes(192)
    data.view(POINT)[:] = example_cloud().reshape(-1)
    whole = cloud_message(example_cloud(), Header())
    assert sent == whole


def test_the_labels_colour_is_one_more_field():
    cloud = np.zeros((2, 3), SEMANTIC_POINT)
    cloud['semantic_color'] = 0x405060
    sent = cloud_message(cloud, Header())
    plain = cloud_message(example_cloud(), Header())
    assert sent.fields[:-1] == plain.fields and sent.point_step == plain.point_step
    assert sent.fields[-1] == PointField(
        name='semantic_color', offset=28, datatype=PointField.FLOAT32, count=1)
    assert bytes(sent.data[28:32]) == bytes([0x60, 0x50, 0x40, 0])
    written, data = writable_cloud((2, 3), Header(), semantic_color=True)
    data.view(SEMANTIC_POINT)[:] = cloud.reshape(-1)
    assert written == sent
