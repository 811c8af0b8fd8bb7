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
Kills process-bag again and again, and compares what it wrote with an uninterrupted run.

Each kill (SIGKILL) comes at a random moment after the model is loaded; the next run goes on from
there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.process import BagJob, process_bag
from sync_perception.ros.bags.rosbag2 import Bag, BagWriter
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message
from sync_perception.ros.parameters.without_node import make_parameters
from sync_perception.runtime.benchmark.bench_frames import drawn_street
from trial import Outcome

SIZE = (375, 1242)
K = np.array([[720.0, 0, 620.5], [0, 720.0, 187.0], [0, 0, 1]])
PERIOD = 10 ** 8
CHUNK_FRAMES = 3  # so that there is something to go on with after seconds
KINDS = {rosbag2.IMAGE_TYPE: Image, rosbag2.CAMERA_INFO_TYPE: CameraInfo,
         'std_msgs/msg/String': String}


def write_source(folder: Path, frames: int) -> None:
    """Write a bag of a drawn street that passes by."""
    street, store = drawn_street(SIZE), rosbag2.typestore()
    with BagWriter(folder) as bag:
        image, info = (bag.add_topic(topic, kind, rosbag2.qos(), store) for topic, kind in (
            ('/cam/image', rosbag2.IMAGE_TYPE), ('/cam/camera_info', rosbag2.CAMERA_INFO_TYPE)))
        for index in range(frames):
            header = Header(frame_id='cam')
            header.stamp.sec, header.stamp.nanosec = divmod((100 + index) * PERIOD, 10 ** 9)
            calibration = pinhole_camera_info(K, SIZE)
            calibration.header = header
            pixels = np.roll(street, 7 * index, axis=1)
            bag.write(info, (100 + index) * PERIOD, serialize_message(calibration))
            bag.write(image, (100 + index) * PERIOD,
                      serialize_message(image_message(pixels, header, 'rgb8')))


def answer(source: Path, out: Path, model: str) -> None:
    """Answer a bag in this process; it says when the model is loaded."""
    from sync_perception.ros.node.model_loading import load_predictor

    def load(parameters: Any) -> Any:
        predictor = load_predictor(parameters)
        print('loaded', flush=True)
        return predictor
    process_bag(
        BagJob(source, out, parameters=make_parameters({'model': model, 'device': 'cpu'})),
        load=load, report=lambda line: None, chunk_frames=CHUNK_FRAMES)


def child(source: Path, out: Path, model: str) -> subprocess.Popen:
    """Answer a bag in a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, str(source), str(out), model],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def finished_files(out: Path) -> dict[str, tuple[int, int, int]]:
    """Describe the files of an interrupted bag that must never change again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size)
            for path in out.glob(f'{out.name}_*.mcap')}


def messages(bag: Path) -> Iterator[tuple[str, int, Any]]:
    """Read a bag; the bytes of equal messages may differ, in the gaps between numbers."""
    with Bag(bag) as opened:
        for record in opened.records():
            kind = KINDS[record.connection.msgtype]
            yield record.topic, record.time, deserialize_message(bytes(record.data), kind)


def finish(source: Path, out: Path, model: str) -> tuple[float, int]:
    """Answer a bag to its end; return the seconds without loading the model, and the status."""
    with child(source, out, model) as process:
        process.stdout.readline()
        begun = time.monotonic()
        process.wait()
    return time.monotonic() - begun, process.returncode


def kill(kills: int, seed: int, model: str, folder: Path) -> tuple[int, int, list[str]]:
    """
    Kill process-bag so many times, then let it finish.

    :return: the frames, how often it was killed before it was done, and what did not hold.
    """
    random, source, out = Random(seed), folder / 'source', folder / 'out'
    frames = 2 * kills * CHUNK_FRAMES  # a machine that becomes faster must not be done too soon
    write_source(source, frames)
    seconds, status = finish(source, folder / 'whole', model)
    if status:
        return frames, 0, [f'the uninterrupted run ended with status {status}']
    # on average a kill comes after one chunk: some cost a part of one, some come between two
    longest = 2 * CHUNK_FRAMES * seconds / frames
    failures, files, number = [], {}, 0
    while number < kills:
        with child(source, out, model) as process:
            try:
                loaded = process.stdout.readline()
                time.sleep(random.uniform(0, longest))
            finally:
                process.kill()
        if not loaded:
            failures.append(f'run {number} ended by itself with status {process.wait()}')
            break
        now = finished_files(out)
        failures += [f'kill {number}: {name} has changed' for name, facts in files.items()
                     if now.get(name) != facts]
        files = now
        if (out / 'metadata.yaml').exists():
            break  # it was done before the kill came
        number += 1
    if not (out / 'metadata.yaml').exists():
        _, status = finish(source, out, model)
    if status:
        failures.append(f'the last run ended with status {status}')
    elif list(messages(out)) != list(messages(folder / 'whole')):
        failures.append('the answers differ from those of an uninterrupted run')
    return frames, number, failures


def soak(kills: int) -> Outcome:
    """Kill process-bag so many times, with the default model."""
    with tempfile.TemporaryDirectory(prefix='soak_bags_') as folder:
        frames, done, wrong = kill(kills, seed=0, model='', folder=Path(folder))
    return Outcome(
        done, wrong, f'the {frames} answers are those of an uninterrupted run; no finished file '
        'was written again', {'frames': frames})


SOAK = {'bags': soak}

if __name__ == '__main__':
    answer(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
