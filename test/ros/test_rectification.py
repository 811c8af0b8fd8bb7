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

"""Distorted images: what the node says about them, and what it publishes with `rectify`."""

from __future__ import annotations

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_bench import K, picture, RELIABLE, SIZE
import numpy as np
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from sync_perception.ros.io.camera_info import pinhole_camera_info

D = [-0.4, 0.1, 0.0, 0.0, 0.0]
P = K * np.array([[0.9], [0.9], [1.0]])


class Lens:
    """A bench with a camera whose calibration states distortion, and a reader of diagnostics."""

    def __init__(self, bench, **overrides):
        self.bench, self.stamp = bench, 0
        self.arrays: list[DiagnosticArray] = []
        bench.others.create_subscription(
            DiagnosticArray, '/diagnostics', self.arrays.append, RELIABLE)
        bench.start(listen=('depth', 'camera_info', 'points'), **overrides)

    def info(self, **fields) -> CameraInfo:
        """Return the calibration with other fields."""
        info = pinhole_camera_info(K, SIZE)
        info.p = [*P[0], 0.0, *P[1], 0.0, *P[2], 0.0]
        info.d = D
        info.header = self.bench.header(self.stamp)
        for name, value in fields.items():
            setattr(info, name, value)
        return info

    def answer(self, image: np.ndarray | None = None, **fields) -> np.ndarray:
        """Send a frame and return the depth of its answer."""
        self.stamp += 1
        self.bench.info_publisher.publish(self.info(**fields))
        self.bench.send_image(self.stamp, image)
        received = self.bench.received
        self.bench.wait(lambda: len(received['camera_info']) == self.stamp)
        depth = received['depth'][-1]
        return np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width)

    def expect(self, level: bytes, part: str = '') -> None:
        """Wait until the camera's status has a level and a message with this part."""
        def found():
            statuses = self.arrays[-1].status if self.arrays else []
            return len(statuses) > 1 and statuses[1].level == level and part in statuses[1].message
        self.bench.wait(found)


def smooth() -> np.ndarray:
    """Return an image whose red is four times a depth that varies slowly."""
    rows, columns = np.indices(SIZE)
    image = np.zeros((*SIZE, 3), np.uint8)
    image[..., 0] = 4 * (columns + rows) + 8
    return image


def test_distortion_is_warned_of_until_images_are_rectified(bench, capfd):
    lens = Lens(bench)
    for _ in range(3):
        lens.answer()
    lens.expect(DiagnosticStatus.WARN, 'distortion')
    lines = [line for line in capfd.readouterr().err.splitlines() if 'distortion' in line]
    assert len(lines) == 1 and '[WARN]' in lines[0] and 'plumb_bob' in lines[0]
    assert bench.node.set_parameters([Parameter('rectify', value=True)])[0].successful
    lens.answer()
    lens.expect(DiagnosticStatus.OK)


def test_distortion_is_warned_of_although_nobody_subscribes(bench):
    lens = Lens(bench)
    bench.info_publisher.publish(lens.info())
    lens.expect(DiagnosticStatus.WARN, 'distortion')


def test_rectified_frames_are_those_of_opencv_and_of_the_projection(bench):
    lens = Lens(bench, rectify=True)
    depth = lens.answer(smooth())
    expected = cv2.undistort(smooth(), K, np.array(D), None, P)[..., 0] / 4
    np.testing.assert_allclose(depth, expected, atol=0.3)
    assert np.abs(depth - smooth()[..., 0] / 4)[2:-2, 2:-2].max() > 0.5
    info = bench.received['camera_info'][-1]
    assert info.header == bench.header(1) and (info.height, info.width) == SIZE
    np.testing.assert_allclose(info.k.reshape(3, 3), P)
    np.testing.assert_allclose(info.p.reshape(3, 4)[:, :3], P)
    np.testing.assert_allclose(info.r.reshape(3, 3), np.eye(3))
    assert not any(info.d) and info.roi.width == 0 and info.binning_x in (0, 1)


def test_the_rectified_image_is_published_with_what_is_made_of_it(bench):
    bench.start(listen=('image_rect', 'camera_info'), rectify=True)
    info = pinhole_camera_info(K, SIZE)
    info.d, info.header = D, bench.header(7)
    info.p = [*P[0], 0.0, *P[1], 0.0, *P[2], 0.0]
    bench.info_publisher.publish(info)
    bench.send_image(7, smooth())
    bench.wait(lambda: all(bench.received.values()))
    [picture], [camera_info] = bench.received['image_rect'], bench.received['camera_info']
    assert picture.header == camera_info.header == bench.header(7)
    assert picture.encoding == 'rgb8'
    found = np.frombuffer(picture.data, np.uint8).reshape(*SIZE, 3)
    expected = cv2.undistort(smooth(), K, np.array(D), None, P)
    np.testing.assert_allclose(found.astype(int), expected, atol=2)
    assert not bench.predictor.asked  # the network has no part in it


def test_the_topic_of_the_rectified_image_is_there_while_images_are_rectified(bench):
    lens = Lens(bench)
    topics = [name for name, _ in bench.others.get_topic_names_and_types()]
    assert '/sync/depth' in topics and '/sync/image_rect' not in topics
    lens.answer()
    assert bench.node.set_parameters([Parameter('rectify', value=True)])[0].successful
    bench.listen('image_rect')
    bench.wait(lambda: len(bench.camera.wanted()) == 4)
    lens.answer()
    bench.wait(lambda: bench.received['image_rect'])
    assert bench.received['image_rect'][0].header == bench.header(2)
    assert bench.node.set_parameters([Parameter('rectify', value=False)])[0].successful
    assert len(bench.camera.wanted()) == 3
    lens.answer()
    assert len(bench.received['depth']) == 3 and bench.counters.failed == 0


def test_region_and_binning_are_gone_from_what_is_published(bench):
    lens = Lens(bench, rectify=True)
    full = 2 * K + [[0, 0, 0.5 + 6], [0, 0, 0.5 + 4], [0, 0, -1]]
    lens.answer(smooth(), height=2 * SIZE[0] + 8, width=2 * SIZE[1] + 12,
                k=full.ravel(), p=np.column_stack([full, np.zeros(3)]).ravel(), binning_x=2,
                binning_y=2, roi=RegionOfInterest(
                    x_offset=6, y_offset=4, width=2 * SIZE[1], height=2 * SIZE[0]))
    info = bench.received['camera_info'][-1]
    np.testing.assert_allclose(info.k.reshape(3, 3), K)
    assert (info.roi.width, info.roi.x_offset, info.binning_x) == (0, 0, 0)


def test_a_lens_that_is_unknown_is_refused_by_its_name_only_where_it_counts(bench, capfd):
    lens = Lens(bench)
    lens.answer(distortion_model='thin_prism')
    lens.expect(DiagnosticStatus.WARN, 'thin_prism')
    bench.node.set_parameters([Parameter('rectify', value=True)])
    bench.info_publisher.publish(lens.info(distortion_model='thin_prism'))
    bench.send_image(1)
    bench.wait(lambda: bench.counters.refused['distortion'] == 1)
    lens.expect(DiagnosticStatus.WARN, 'images are refused')
    assert 'thin_prism' in capfd.readouterr().err


@pytest.mark.parametrize('fields, match', [
    ({'k': [30.0, 0, 40, 0, 30, 11.5, 0, 0, 1], 'p': [0.0] * 12}, 'principal point (40, 11.5)'),
    ({'k': [30.0, 0, 15.5, 0, 60, 11.5, 0, 0, 1], 'p': [0.0] * 12}, 'fx = 30 and fy = 60'),
])
def test_numbers_that_do_not_fit_together_are_warned_of(bench, capfd, fields, match):
    lens = Lens(bench)
    lens.answer(d=[], **fields)
    lens.expect(DiagnosticStatus.WARN, match)
    assert match in capfd.readouterr().err
    lens.answer(d=[], p=[0.0] * 12)
    lens.expect(DiagnosticStatus.OK)


def test_intrinsics_of_the_binned_image_are_refused(bench, capfd):
    lens = Lens(bench)
    info = pinhole_camera_info(K, (2 * SIZE[0], 2 * SIZE[1]))
    info.binning_x = info.binning_y = 2
    info.header = bench.header(1)
    lens.expect(DiagnosticStatus.WARN, 'waiting')
    bench.info_publisher.publish(info)
    bench.send_image(1, picture())
    bench.wait(lambda: bench.counters.refused['camera_info values'] == 1)
    lens.expect(DiagnosticStatus.WARN, 'images are refused')
    assert '(15.5, 11.5) and binning 2x2' in capfd.readouterr().err
