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

"""Sends a real node image after image, and compares what its process holds early and late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import tempfile
import time

from nav_msgs.msg import Odometry
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from signal_moments import command, launch, PATIENCE
from std_msgs.msg import Header
from sync_perception.resources import default_model_folder
from sync_perception.ros.core import qos
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message
from sync_perception.runtime.benchmark.bench_frames import drawn_street
from trial import growth, Outcome, Usage, usage

SIZE = (96, 320)
INPUT_PIXELS = 96 * 320  # instead of the 466,000 of the default model: ten thousand take minutes
WARM_UP = 500  # frames before the first measurement, or a tenth of all
RESEND = 2.0  # seconds without an answer, after which an image counts as lost
FUSED = ('temporal:=fuse', 'poses.source:=visual')
MAP = ('map.voxel:=0.3', 'map.max_range:=15.0', 'map.radius:=20.0', 'map.rate:=0.0')
TOPICS = {'depth': Image, 'semantics': Image, 'points': PointCloud2}


def smaller_model(folder: Path) -> Path:
    """Copy the default model, with a smaller network input."""
    shutil.copytree(default_model_folder(), folder)
    path = folder / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'input_pixels': INPUT_PIXELS}))
    return folder


class Camera:
    """
    A camera that sends the next image when all answers to the one before are there.

    :param mapped: whether a pose of the mapping node is one of the answers.
    """

    def __init__(self, mapped: bool = False):
        self.node = rclpy.create_node('camera')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.info_publisher = self.node.create_publisher(CameraInfo, 'camera_info', qos.output())
        self.image_publisher = self.node.create_publisher(Image, 'image', qos.output())
        self.answers: Counter[int] = Counter()
        self.topics = {**TOPICS, 'odometry': Odometry} if mapped else TOPICS
        for topic, kind in self.topics.items():
            self.node.create_subscription(kind, f'sync/{topic}', self._receive, qos.output())
        self.street, self.number, self.resent = drawn_street(SIZE), 0, 0

    def _receive(self, message: Image | PointCloud2 | Odometry) -> None:
        self.answers[message.header.stamp.sec] += 1

    def next_frame(self, process: subprocess.Popen) -> None:
        """Send an image, again if need be, until depth, labels and cloud have come."""
        self.number += 1
        end, sent = time.monotonic() + PATIENCE, 0.0
        header = Header(frame_id='cam')
        header.stamp.sec = self.number
        info = pinhole_camera_info(np.array([[200.0, 0, 160], [0, 200, 48], [0, 0, 1]]), SIZE)
        info.header = header
        image = image_message(np.roll(self.street, 3 * self.number, axis=1), header, 'rgb8')
        while self.answers[self.number] < len(self.topics):
            now = time.monotonic()
            assert process.poll() is None and now < end, f'image {self.number} has no answer'
            if now > sent + RESEND:
                self.resent += sent > 0
                self.info_publisher.publish(info)
                self.image_publisher.publish(image)
                sent = now
            self.executor.spin_once(0.1)
        del self.answers[self.number]


def run(count: int, processes: Sequence[subprocess.Popen]
        ) -> tuple[list[Usage], list[Usage], float, int]:
    """Return what the nodes hold early and late, the frames in a second, and the lost images."""
    camera, early = Camera(len(processes) > 1), min(WARM_UP, max(count // 10, 1))
    for _ in range(early):
        camera.next_frame(processes[0])
    before = [usage(process.pid) for process in processes]
    start, lost = time.monotonic(), camera.resent
    for _ in range(count - early):
        camera.next_frame(processes[0])
    rate = (count - early) / (time.monotonic() - start)
    after = [usage(process.pid) for process in processes]
    camera.node.destroy_node()
    return before, after, rate, camera.resent - lost


def soak(count: int, parameters: Sequence[str] = (), mapped: bool = False) -> Outcome:
    """
    Send so many images to the node in a process of its own, one after the other.

    :param mapped: whether a mapping node, in another process, makes a map of the answers.
    """
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        model, log = smaller_model(Path(folder, 'model')), Path(folder, 'log')
        words = [command('perception', Path(folder), [f'model:={model}', *parameters])]
        if mapped:
            words.append(command('mapping', Path(folder), MAP))
        processes = [launch(each, log.with_suffix(f'.{number}'))
                     for number, each in enumerate(words)]
        try:
            before, after, rate, lost = run(count, processes)
        finally:
            statuses = [end(process) for process in processes]
    rclpy.try_shutdown()
    wrong = [f'a node ended with status {status}' for status in statuses if status]
    found = []
    for name, *pair in zip(('perception', 'mapping'), before, after):
        grown, sentence = growth(*pair)
        wrong += grown
        found.append(f'{name}: {sentence}' if mapped else sentence)
    return Outcome(
        count, wrong, f'every image answered, {lost} sent twice; {"; ".join(found)}',
        {'before': asdict(before[0]), 'after': asdict(after[0]),
         'frames_per_second': round(rate, 1), 'sent_twice': lost})


def end(process: subprocess.Popen) -> int:
    """End a node, by force if need be, and return its status."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        return process.wait()


SOAK = {'frames': soak, 'maps': partial(soak, parameters=FUSED, mapped=True)}
