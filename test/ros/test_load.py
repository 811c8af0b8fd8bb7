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

"""The node under load and beside misbehaving neighbours: it goes on, and nothing grows."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import time

from node_bench import Bench, K, picture, RELIABLE, SIZE, TOPICS
import numpy as np
import psutil
from sensor_msgs.msg import CameraInfo
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message, stamp_nanoseconds
from sync_perception.ros.node.packet import FramePacket

WORK = 0.03  # seconds that a slow network takes
FRAMES = 4000
LEAST_LEAK = 2500  # bytes a frame that would show; a depth map of the bench has 3072


def stamps(bench: Bench, topic: str = 'depth') -> list[int]:
    """Return the stamps of what has come."""
    return [stamp_nanoseconds(message.header) for message in bench.received[topic]]


def test_a_camera_three_times_too_fast_makes_no_queue(bench):
    bench.start(listen=('depth',))
    read = bench.predictor.read

    def take_time(frame, outputs):
        time.sleep(WORK)
        return read(frame, outputs)
    bench.predictor.read = take_time
    bench.send_info(1)
    bench.wait(lambda: bench.camera.camera_infos.remembered)
    begin, clock = time.monotonic(), itertools.count(1)
    while bench.counters.published < 30:
        bench.send_image(next(clock))
        time.sleep(WORK / 3)
    frame_time = (time.monotonic() - begin) / bench.counters.published
    counters = bench.counters
    # on a busy machine the middleware replaces some before the node sees them
    bench.wait(lambda: counters.published + counters.dropped + counters.warming_up
               == counters.received)
    bench.wait(lambda: len(stamps(bench)) == counters.published)
    assert counters.dropped > counters.published  # two of three
    assert np.percentile(counters.durations, 90) < 2 * frame_time
    assert stamps(bench) == sorted(stamps(bench))


def test_offline_every_frame_is_answered_in_order(bench):
    bench.start(listen=('depth',), offline=True)
    bench.predictor.go.clear()
    for stamp in range(1, 31):
        bench.send_info(stamp)
        bench.send_image(stamp)
    bench.wait(lambda: bench.counters.received == 30)
    bench.predictor.go.set()
    bench.wait(lambda: bench.counters.published == 30)
    assert bench.counters.dropped == 0
    bench.wait(lambda: stamps(bench)[-1:] == [30])
    assert stamps(bench) == sorted(stamps(bench))


def test_a_bag_that_begins_anew_and_a_pause_are_gone_along_with(bench):
    bench.start(listen=('depth',))
    expected = [*range(100, 103), *range(1, 4), 10 ** 12]
    for count, stamp in enumerate(expected, 1):
        bench.send_info(stamp)
        bench.send_image(stamp)
        bench.wait(lambda count=count: len(bench.received['depth']) == count)
    assert stamps(bench) == expected


def test_size_and_encoding_may_change_in_mid_stream(bench):
    bench.start(listen=('depth', 'points'))
    sizes = [SIZE, (12, 16), SIZE, (30, 20)]
    for stamp, size in enumerate(sizes, 1):
        bench.send_info(stamp, size)
        bench.wait(lambda: bench.camera.camera_infos.remembered)
        bench.send_image(stamp, np.full((*size, 3), 40, np.uint8),
                         encoding='rgb8' if stamp % 2 else 'bgr8')
        bench.wait(lambda stamp=stamp: len(bench.received['points']) == stamp)
    for topic in ('depth', 'points'):
        assert [(each.height, each.width) for each in bench.received[topic]] == sizes


def test_contradictory_calibrations_cost_the_frames_that_they_spoil_and_no_other(bench):
    bench.start(listen=('depth',))
    bench.send_info(1, (12, 16))  # of another size, under the image's own stamp
    bench.wait(lambda: bench.camera.camera_infos.remembered)
    bench.send_image(1)
    bench.wait(lambda: bench.counters.refused['camera_info size'] == 1)
    bench.send_info(2)
    bench.send_image(2)
    bench.wait(lambda: stamps(bench) == [2])
    nameless = pinhole_camera_info(np.diag([0.0, 0.0, 1.0]), SIZE)
    nameless.header = bench.header(3)
    bench.info_publisher.publish(nameless)
    bench.wait(lambda: len(bench.camera.camera_infos.remembered) == 3)
    bench.send_image(3)
    bench.wait(lambda: bench.counters.refused['focal length'] == 1)
    bench.send_info(4)
    bench.send_image(4)
    bench.wait(lambda: stamps(bench) == [2, 4])


def test_subscribers_come_and_go(bench):
    bench.start()
    publisher = {output.topic: each for output, each in bench.camera.outputs}['sync/depth']
    clock = itertools.count(1)
    bench.send_info(1)
    for _ in range(5):
        bench.listen('depth')
        bench.wait(publisher.get_subscription_count)
        bench.wait(lambda: bench.send_image(next(clock)) or bench.received['depth'])
        bench.others.destroy_subscription(next(iter(
            each for each in bench.others.subscriptions if each.topic_name == '/sync/depth')))
        bench.wait(lambda: not publisher.get_subscription_count())
        unwanted = bench.counters.unwanted
        bench.send_image(next(clock))
        bench.wait(lambda unwanted=unwanted: bench.counters.unwanted > unwanted)
    assert bench.counters.failed == 0 and not bench.counters.refused


LISTENER = """
import rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('listener')
node.create_subscription(Image, 'sync/depth', lambda m: print('got', flush=True), 1)
rclpy.spin(node)
"""


def test_a_listener_that_is_killed_takes_nobody_along(bench):
    bench.start(listen=('depth',))
    bench.send_info(1)
    process = subprocess.Popen(
        [sys.executable, '-c', LISTENER], stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
    try:
        publisher = {output.topic: each for output, each in bench.camera.outputs}['sync/depth']
        bench.wait(lambda: publisher.get_subscription_count() == 2)
        bench.send_image(1)
        assert process.stdout.readline() == 'got\n'
    finally:
        process.kill()
        process.wait()
    for stamp in range(2, 20):
        bench.send_image(stamp)
        bench.wait(lambda stamp=stamp: stamps(bench)[-1] == stamp)
    assert bench.counters.failed == 0


def test_the_memory_is_flat_over_thousands_of_frames(bench):
    for topic in ('semantics', 'points', 'camera_info'):
        bench.others.create_subscription(
            TOPICS[topic], f'sync/{topic}', lambda message: None, RELIABLE)
    bench.start()
    bench.wait(lambda: len(bench.camera.wanted()) == 3)
    bench.camera.camera_infos.add(calibration(bench, 0))
    packets = (FramePacket(image_message(picture(), bench.header(stamp), 'rgb8'), bench.camera,
                           time.monotonic()) for stamp in itertools.count())

    def run(count: int) -> int:
        for packet in itertools.islice(packets, count):
            bench.node.pipeline.process([packet])
        gc.collect()
        return psutil.Process().memory_info().rss
    before = run(FRAMES // 10)
    after = run(FRAMES)
    assert bench.counters.published == FRAMES + FRAMES // 10
    assert after - before < FRAMES * LEAST_LEAK


def calibration(bench: Bench, stamp: int) -> CameraInfo:
    """Return the calibration of an image of the bench."""
    info = pinhole_camera_info(K, SIZE)
    info.header = bench.header(stamp)
    return info
