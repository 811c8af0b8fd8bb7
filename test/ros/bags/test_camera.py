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


"""Which topics a bag's camera has, and which calibration each of its images gets."""

from __future__ import annotations

from camera_bags import (
    camera_messages,
    compressed,
    image,
    info,
    PERIOD,
    SECOND,
    START,
    write_bag,
)
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sync_perception.ros.bags.camera import BagCamera, info_beside, PairedImage, Pairing
from sync_perception.ros.bags.rosbag2 import Bag


def find(folder, **options) -> BagCamera:
    """Find the camera of a bag."""
    with Bag(folder) as bag:
        return BagCamera.find(bag, **options)


def paired(folder, **options) -> list[PairedImage]:
    """Pair all images of a bag."""
    with Bag(folder) as bag:
        pairing = Pairing(bag, BagCamera.find(bag, **options))
        return [step for step in pairing.follow(bag.records()) if isinstance(step, PairedImage)]


def focals(pairs: list[PairedImage]) -> list[float | None]:
    """Return the focal lengths of the calibrations that images got."""
    return [None if pair.camera_info is None else pair.camera_info.k[0] for pair in pairs]


def test_the_only_camera_is_found(tmp_path):
    camera = find(write_bag(tmp_path / 'bag', camera_messages(2)))
    assert camera == BagCamera('/cam/image', '/cam/camera_info', Image)
    assert camera.topics == ('/cam/image', '/cam/camera_info')


def test_the_raw_one_with_a_calibration_beside_it_is_meant(tmp_path):
    folder = write_bag(tmp_path / 'bag', [
        *camera_messages(2), ('/cam/image/compressed', START, compressed(0)),
        ('/other/depth', START, image(0)), ('/other/camera_infos', START, info(0))])
    assert find(folder) == BagCamera('/cam/image', '/cam/camera_info', Image)
    assert find(folder, image='/cam/image/compressed') == BagCamera(
        '/cam/image/compressed', '/cam/camera_info', CompressedImage)
    assert find(folder, image='/other/depth', camera_info='/other/camera_infos') == BagCamera(
        '/other/depth', '/other/camera_infos', Image)
    assert find(folder, image='/other/depth', needs_calibration=False).topics == (
        '/other/depth',)


@pytest.mark.parametrize(('topic', 'beside'), [
    ('/a/b/image_rect', '/a/b/camera_info'), ('/image', '/camera_info'),
    ('/a/image/compressed', '/a/camera_info')])
def test_image_transports_convention_holds(topic, beside):
    assert info_beside(topic) == beside


def test_what_cannot_be_chosen_is_listed(tmp_path):
    two = write_bag(tmp_path / 'two', [
        ('/left/image', START, image(0)), ('/right/image', START, image(0)),
        ('/left/camera_info', START, info(0)), ('/right/camera_info', START, info(0))])
    with pytest.raises(ValueError, match=r'/left/image \(.*/Image, 1\), /right/image'):
        find(two)
    assert find(two, image='/right/image').camera_info == '/right/camera_info'
    with pytest.raises(ValueError, match='/none.*/left/image'):
        find(two, image='/none')
    with pytest.raises(ValueError, match='/left/camera_info.*sensor_msgs/msg/Camera'):
        find(two, image='/left/camera_info')
    with pytest.raises(ValueError, match='camera_info: /left/image.*/left/camera_in'):
        find(two, image='/left/image', camera_info='/left/image')


def test_a_bag_without_images_or_calibration_says_what_it_has(tmp_path):
    words = [message for message in camera_messages(2) if message[0] == '/word']
    with pytest.raises(ValueError, match='Image.*/word'):
        find(write_bag(tmp_path / 'words', words))
    folder = write_bag(tmp_path / 'blind', [('/cam/image', START, image(0))])
    with pytest.raises(ValueError, match='sensor_msgs/msg/CameraInfo'):
        find(folder)


def test_every_image_gets_the_calibration_of_its_stamp(tmp_path):
    messages = [each for index in range(4) for each in (
        ('/cam/camera_info', START + index * PERIOD, info(index, focal=30 + index)),
        ('/cam/image', START + index * PERIOD + 1, image(index)))]
    pairs = paired(write_bag(tmp_path / 'bag', messages))
    assert [pair.time for pair in pairs] == [START + index * PERIOD + 1 for index in range(4)]
    assert focals(pairs) == [30, 31, 32, 33]


def test_an_image_waits_for_a_calibration_that_comes_after_it(tmp_path):
    messages = [each for index in range(4) for each in (
        ('/cam/image', START + index * PERIOD, image(index)),
        ('/cam/camera_info', START + index * PERIOD + PERIOD // 2, info(index, focal=30 + index))
    )]
    assert focals(paired(write_bag(tmp_path / 'bag', messages))) == [30, 31, 32, 33]


@pytest.mark.parametrize('when', [-1, 5, 1000])
def test_a_calibration_that_comes_once_serves_all(tmp_path, when):
    messages = sorted([
        ('/cam/camera_info', START + when * PERIOD, info(when)),
        *(('/cam/image', START + index * PERIOD, image(index)) for index in range(4))],
        key=lambda message: message[1])
    assert focals(paired(write_bag(tmp_path / 'bag', messages))) == [30] * 4


@pytest.mark.parametrize('frames, expected', [(['another'], 30), (['another', 'third'], None)])
def test_another_frames_calibration_is_taken_only_where_there_is_no_other(
        tmp_path, frames, expected):
    infos = [info(50 + index) for index in range(len(frames))]
    for each, frame in zip(infos, frames):
        each.header.frame_id = frame
    pairs = paired(write_bag(tmp_path / 'bag', [
        *(('/cam/camera_info', START + index, each) for index, each in enumerate(infos)),
        ('/cam/image', START + 5, image(0))]))
    assert focals(pairs) == [expected]


def test_waiting_ends_after_a_second_of_the_recording(tmp_path):
    messages = [('/cam/camera_info', START - 1, info(9)), ('/cam/image', START, image(0)),
                *((topic, time + 2 * SECOND, message)
                  for topic, time, message in camera_messages(3) if topic == '/word')]
    with Bag(write_bag(tmp_path / 'bag', messages)) as bag:
        pairing = Pairing(bag, BagCamera.find(bag))
        steps = [type(step).__name__ for step in pairing.follow(bag.records())]
    assert steps == ['Record', 'Record', 'PairedImage', 'Record', 'Record', 'Record']


def test_messages_that_are_none_are_said(tmp_path):
    messages = camera_messages(3)
    messages.insert(3, ('/cam/image', START + 5, b'\x00\x01\x00\x00rubbish'))
    messages.insert(4, ('/cam/camera_info', START + 6, b'\x00\x01\x00\x00rubbish'))
    with Bag(write_bag(tmp_path / 'bag', messages)) as bag:
        pairing = Pairing(bag, BagCamera.find(bag))
        pairs = [step for step in pairing.follow(bag.records()) if isinstance(step, PairedImage)]
    assert [pair.image is None for pair in pairs] == [False, True, False, False]
    assert 'are no Image' in pairs[1].problem and '/cam/image' in pairs[1].problem
    assert pairing.unreadable == 1


def test_pairing_loses_nothing_and_keeps_the_order(tmp_path):
    random = np.random.default_rng(0)
    messages = sorted(camera_messages(30), key=lambda _: random.random())
    messages = [(topic, START + index, message)
                for index, (topic, _, message) in enumerate(messages)]
    with Bag(write_bag(tmp_path / 'bag', messages)) as bag:
        steps = list(Pairing(bag, BagCamera.find(bag)).follow(bag.records()))
    records = [step for step in steps if not isinstance(step, PairedImage)]
    pairs = [step for step in steps if isinstance(step, PairedImage)]
    assert [record.time for record in records] == list(range(START, START + 90))
    assert [pair.time for pair in pairs] == [
        time for topic, time, _ in messages if topic == '/cam/image']
    assert all(isinstance(pair.camera_info, CameraInfo) for pair in pairs)
