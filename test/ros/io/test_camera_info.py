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


"""Which camera_info an image is paired with."""

from __future__ import annotations

import pytest
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from sync_perception.ros.io.camera_info import CameraInfoCache, pairing_warning


def header(nanoseconds: int, frame_id: str = 'left') -> Header:
    """Return a header of this stamp."""
    stamped = Header(frame_id=frame_id)
    stamped.stamp.sec, stamped.stamp.nanosec = divmod(nanoseconds, 10 ** 9)
    return stamped


def info(nanoseconds: int, frame_id: str = 'left', width: int = 64) -> CameraInfo:
    """Return a calibration for images of this width."""
    return CameraInfo(header=header(nanoseconds, frame_id), width=width, height=32)


def cache_of(*infos: CameraInfo, capacity: int = 60) -> CameraInfoCache:
    """Return a cache that got these one after the other."""
    cache = CameraInfoCache(capacity)
    for each in infos:
        cache.add(each)
    return cache


def test_nothing_is_found_in_an_empty_cache():
    assert CameraInfoCache().find(header(5), (32, 64)) is None


def test_the_same_stamp_wins_over_what_came_later():
    own, later = info(1_000_000_001), info(1_000_000_002)
    assert cache_of(own, later).find(header(1_000_000_001), (32, 64)) is own


def test_the_latest_of_the_same_frame_and_size_stands_in():
    fits = info(2)
    cache = cache_of(info(1), fits, info(3, 'right'), info(4, width=128))
    assert cache.find(header(9), (32, 64)) is fits


def test_without_a_size_the_latest_of_the_same_frame_stands_in():
    latest = info(4, width=128)
    assert cache_of(info(1), latest, info(5, 'right')).find(header(9)) is latest


def test_one_that_does_not_fit_is_found_so_that_its_mismatch_can_be_stated():
    wide = info(4, width=128)
    assert cache_of(wide).find(header(9), (32, 64)) is wide


def test_one_whose_stamp_is_a_little_off_is_preferred_to_the_latest():
    own, later = info(40_000), info(100_000_000)
    assert cache_of(own, later).find(header(0), (32, 64)) is own
    assert cache_of(own, later).find(header(200_000_000), (32, 64)) is later


@pytest.mark.parametrize('stamp', [9, 40_004])
def test_the_only_frame_on_the_topic_stands_in_whatever_it_is_called(stamp):
    latest = info(4, 'optical')
    cache = cache_of(info(3, 'optical'), latest)
    assert cache.find(header(stamp), (32, 64)) is latest and cache.frames() == ['optical']
    warning = pairing_warning(header(stamp), latest)
    assert "'left'" in warning and "'optical'" in warning


def test_of_several_frames_none_stands_in_for_another():
    cache = cache_of(info(4, 'right'), info(4, 'rear'))
    assert cache.find(header(9), (32, 64)) is None
    assert cache.frames() == ['rear', 'right']


def test_another_frames_calibration_of_the_same_stamp_does_not_replace_the_own_one():
    """Two cameras share a topic; the own calibration is 40 microseconds off."""
    own, other = info(4_000_000, 'left'), info(4_040_000, 'right', width=32)
    assert cache_of(own, other).find(header(4_040_000, 'left')) is own


def test_a_calibration_of_the_same_frame_gives_no_warning():
    assert pairing_warning(header(9), info(4)) == ''


def test_a_calibration_of_another_frame_is_warned_of_whatever_its_stamp():
    assert "'right'" in pairing_warning(header(4), info(4, 'right'))


def test_of_two_cameras_that_share_a_stamp_each_gets_its_own():
    left, right = info(4, 'left'), info(4, 'right')
    cache = cache_of(left, right)
    assert cache.find(header(4, 'left')) is left and cache.find(header(4, 'right')) is right


def test_the_same_stamp_is_trusted_where_a_driver_names_the_frames_unalike():
    only = info(4, 'camera_optical')
    assert cache_of(only).find(header(4, 'camera')) is only


def test_the_first_to_come_is_forgotten_when_there_is_no_room():
    cache = cache_of(*(info(stamp, width=stamp) for stamp in range(1, 6)), capacity=3)
    assert [each.width for each in cache.remembered.values()] == [3, 4, 5]


def test_a_stamp_that_comes_again_is_the_latest():
    cache = cache_of(info(1), info(2), info(1, width=99), capacity=3)
    assert [each.width for each in cache.remembered.values()] == [64, 99]
