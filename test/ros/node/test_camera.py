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

"""One camera's topics, and several cameras of one node."""

from __future__ import annotations

from node_bench import Bench, K, picture, RELIABLE, SIZE
import numpy as np
import pytest
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message, stamp_nanoseconds
from sync_perception.ros.node.camera import Camera

CAMERAS = ['front', 'left', 'right']


class Rig:
    """Cameras that publish beside one another, and somebody who watches their depth."""

    def __init__(self, bench: Bench, **overrides):
        self.bench = bench
        others = bench.others
        self.images = {
            name: others.create_publisher(Image, f'{name}/image', RELIABLE) for name in CAMERAS}
        self.infos = {name: others.create_publisher(CameraInfo, f'{name}/camera_info', RELIABLE)
                      for name in CAMERAS}
        self.depths = {name: [] for name in CAMERAS}
        for name in CAMERAS:
            others.create_subscription(
                Image, f'{name}/sync/depth', self.depths[name].append, RELIABLE)
        bench.start(cameras=CAMERAS, **overrides)
        for publisher in (*self.images.values(), *self.infos.values()):
            bench.wait(publisher.get_subscription_count)
        for camera in bench.node.cameras:
            bench.wait(camera.wanted)

    def send(self, name: str, stamp: int, focal: float = 1.0) -> None:
        """Publish a camera's image and its calibration, the focal length so many times K's."""
        info = pinhole_camera_info(K * [[focal, 1, 1], [1, focal, 1], [1, 1, 1]], SIZE)
        info.header = self.bench.header(stamp, f'{name}_optical_frame')
        self.infos[name].publish(info)
        self.images[name].publish(image_message(picture(), info.header, 'rgb8'))


def test_every_camera_has_its_topics_below_its_name(bench):
    rig = Rig(bench)
    for stamp, name in enumerate(CAMERAS, 1):
        rig.send(name, stamp)
        bench.wait(lambda name=name: rig.depths[name])
        header = rig.depths[name][0].header
        assert (stamp_nanoseconds(header), header.frame_id) == (stamp, f'{name}_optical_frame')
    names = dict(bench.others.get_topic_names_and_types())
    assert {'/front/sync/points', '/left/sync/camera_info', '/sync/label_space'} <= names.keys()
    assert '/sync/depth' not in names and '/front/sync/label_space' not in names


def test_images_that_wait_together_go_through_the_network_together(bench):
    rig = Rig(bench)
    bench.predictor.go.clear()
    rig.send('front', 1)
    assert bench.predictor.busy.wait(20)
    for name in CAMERAS:
        rig.send(name, 2)
    bench.wait(lambda: [camera.counters.received for camera in bench.node.cameras] == [2, 1, 1])
    bench.wait(lambda: all(camera.camera_infos.remembered for camera in bench.node.cameras))
    bench.predictor.go.set()
    bench.wait(lambda: [len(depths) for depths in rig.depths.values()] == [2, 1, 1])
    assert bench.predictor.batches == [1, 3]


def test_one_by_one_an_image_is_answered_before_the_next_one_begins(bench):
    """Where batches gain nothing, as on a CPU, no camera waits for the network of the others."""
    bench.predictor.takes_batches = False
    rig = Rig(bench)
    bench.predictor.go.clear()
    for name in CAMERAS:
        rig.send(name, 1)
    bench.wait(lambda: [camera.counters.received for camera in bench.node.cameras] == [1, 1, 1])
    bench.wait(lambda: all(camera.camera_infos.remembered for camera in bench.node.cameras))
    bench.predictor.go.set()
    bench.wait(lambda: [len(depths) for depths in rig.depths.values()] == [1, 1, 1])
    assert bench.predictor.batches == [1, 1, 1]


def test_a_fast_camera_does_not_starve_the_others(bench):
    rig = Rig(bench)
    stamps = dict.fromkeys(CAMERAS, 0)

    def answered() -> bool:
        stamps['front'] += 1
        rig.send('front', stamps['front'])  # again and again, as fast as can be
        return all(len(rig.depths[name]) >= stamps[name] for name in CAMERAS[1:])
    for _ in range(5):
        for name in CAMERAS[1:]:
            stamps[name] += 1
            rig.send(name, stamps[name])
        bench.wait(answered)
    counts = {camera.name: camera.counters for camera in bench.node.cameras}
    assert counts['left'].dropped == counts['right'].dropped == 0


def test_one_camera_without_calibration_does_not_hold_up_the_others(bench):
    rig = Rig(bench)
    header = bench.header(1, 'front_optical_frame')
    rig.images['front'].publish(image_message(picture(), header, 'rgb8'))
    rig.send('left', 1)
    bench.wait(lambda: rig.depths['left'])
    front, left, _ = bench.node.cameras
    bench.wait(lambda: 'camera_info' in front.troubles)
    assert '/front/camera_info' in front.troubles['camera_info'] and not left.troubles
    rig.send('front', 2)
    bench.wait(lambda: rig.depths['front'])
    bench.wait(lambda: not front.troubles)


def test_a_focal_length_that_the_model_does_not_know_is_noted_of_its_camera(bench):
    rig = Rig(bench)
    rig.send('left', 1, focal=0.5)
    bench.wait(lambda: bench.node.cameras[1].troubles)
    assert bench.node.cameras[1].troubles == {'focal length': 'a focal length of 15 pixels'}
    rig.send('left', 2)
    bench.wait(lambda: not bench.node.cameras[1].troubles)


@pytest.mark.parametrize('names, message', [
    (['front', 'front'], 'all different'),
    (['front', ''], "unlike ''"),
    (['2nd'], "unlike '2nd'"),
    (['a b'], "unlike 'a b'"),
])
def test_names_that_cannot_be_topics_fail_the_configuration(bench, names, message):
    bench.start(cameras=names)
    assert message in bench.node.problem and bench.node.cameras == []
    assert bench.node.set_parameters([Parameter('cameras', value=['front'])])[0].successful
    bench.node.trigger_configure()
    assert [camera.name for camera in bench.node.cameras] == ['front']


def test_cameras_that_publish_with_best_effort_are_heard(bench):
    bench.start()
    unreliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    for kind, topic in ((Image, 'image'), (CameraInfo, 'camera_info')):
        bench.wait(bench.others.create_publisher(kind, topic, unreliable).get_subscription_count)
    assert not bench.camera.watched.mismatches


def test_a_peer_with_incompatible_quality_of_service_is_reported(bench):
    bench.start(**{'qos_overrides./sync/depth.publisher.reliability': 'best_effort',
                   'qos_overrides./image.subscription.reliability': 'reliable'})
    unreliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    reader = bench.others.create_subscription(Image, 'sync/depth', print, RELIABLE)
    writer = bench.others.create_publisher(Image, 'image', unreliable)
    bench.wait(lambda: len(bench.camera.watched.mismatches) == 2)
    asked, offered = map(bench.camera.watched.mismatches.get, ('/sync/depth', '/image'))
    assert 'a subscriber requests' in asked and 'reliability' in asked
    assert 'a publisher offers' in offered and 'reliability' in offered
    bench.others.destroy_publisher(writer)
    bench.wait(lambda: set(bench.camera.watched.mismatches) == {'/sync/depth'})
    bench.others.destroy_subscription(reader)
    bench.wait(lambda: not bench.camera.watched.mismatches)


@pytest.mark.parametrize('camera_rate, max_rate, expected', [
    (30, 10, 10), (12, 10, 10), (10, 10, 10), (5, 10, 5), (30, 0, 30), (100, 33, 33)])
def test_images_above_the_rate_limit_are_skipped(ros, camera_rate, max_rate, expected):
    camera = Camera(None, '', None)
    random = np.random.default_rng(5)
    count = 10 * camera_rate
    arrivals = 100 + np.arange(count) / camera_rate + random.uniform(0, 0.005, count)
    taken = sum(camera.within_rate(now, max_rate) for now in arrivals)
    assert taken == pytest.approx(10 * expected, rel=0.03)


def test_the_rate_limit_is_a_live_parameter(bench):
    bench.start(listen=('depth',), max_rate=0.01)
    bench.send_info(1)
    for stamp in (1, 2, 3):
        bench.send_image(stamp)
        bench.wait(lambda stamp=stamp: bench.counters.published + bench.counters.skipped == stamp)
    assert (bench.counters.published, bench.counters.skipped) == (2, 1)
    bench.node.set_parameters([Parameter('max_rate', value=0.0)])
    bench.send_image(4)
    bench.wait(lambda: bench.counters.published == 3)
