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

"""Parameters of the replay node."""

from __future__ import annotations

from dataclasses import dataclass

from sync_perception.ros.parameters.server import parameter


@dataclass(frozen=True)
class ReplayParameters:
    """Parameters of the replay node."""

    source: str = parameter(
        'source', 'synthetic', 'Kind of the recording: kitti (a raw drive), bag (rosbag2: .mcap '
                               'or .db3), images (a folder), video (a file) or synthetic (the '
                               'street world).',
        choices=('kitti', 'bag', 'images', 'video', 'synthetic'), read_only=True)
    path: str = parameter(
        'path', '', 'The drive, the bag, the folder of images or the video file.',
        read_only=True)
    camera_info: str = parameter(
        'camera_info', '', 'YAML file with the calibration of images and video, as '
        'camera_calibration writes it; of a bag, instead of the recorded one.', read_only=True)
    bag_image: str = parameter(
        'bag.image', '', 'Topic of the images in a bag (Image or CompressedImage); empty for the '
                         'only one, or the only raw one with a camera_info topic in the same '
                         'namespace.', read_only=True)
    bag_camera_info: str = parameter(
        'bag.camera_info', '', 'Topic of the calibrations in a bag; empty for the one in the '
                               'namespace of the images, or the only one.', read_only=True)
    camera: int = parameter(
        'camera', 2, 'Camera of a KITTI drive: 0 and 1 grey, 2 and 3 colour.', low=0,
        high=3, read_only=True)
    seed: int = parameter(
        'seed', 0, 'Seed of the synthetic street.', low=0, high=2 ** 31 - 1,
        read_only=True)
    rate: float = parameter(
        'rate', 10.0, 'Frames per second; for a bag only if speed is 0.', low=0.01, high=1000.0,
        read_only=True)
    speed: float = parameter(
        'speed', 1.0, 'Speed of playing a bag relative to its recording, like --rate of ros2 bag '
                      'play; 0 to play it at `rate` frames per second, like all other '
                      'sources.', low=0.0, high=1000.0, read_only=True)
    start: int = parameter(
        'start', 0, 'Number of frames to skip at the '
                    'beginning.', low=0, high=2 ** 31 - 1, read_only=True)
    count: int = parameter(
        'count', 0, 'Number of frames to publish in one pass; 0 for all.', low=0,
        high=2 ** 31 - 1, read_only=True)
    loop: bool = parameter(
        'loop', False, 'Start again after the last frame, with stamps that continue to rise; '
                       'otherwise the node exits.', read_only=True)
    stamps: str = parameter(
        'stamps', 'original', 'Stamps of the messages: original (as recorded) or now.',
        choices=('original', 'now'), read_only=True)
    clock: bool = parameter(
        'clock', False, "Publish the frames' stamps on /clock, for nodes with use_sim_time.",
        read_only=True)
    frame_id: str = parameter(
        'frame_id', 'camera_optical_frame', 'Name of the optical frame of the camera; a bag keeps '
                                            'the recorded one.', read_only=True)
    wait_for_subscriber: bool = parameter(
        'wait_for_subscriber', True, 'Wait for subscribers of the image and of camera_info before '
                                     'publishing the first frame.', read_only=True)
    lockstep: bool = parameter(
        'lockstep', False, 'Publish a frame only after the node has answered the previous one (on '
                           'sync/camera_info), so that none is dropped, however slow the node is.',
        read_only=True)
    lockstep_timeout: float = parameter(
        'lockstep_timeout', 30.0, 'Seconds after which lockstep no longer waits for an answer.',
        low=0.1, high=3600.0, read_only=True)
