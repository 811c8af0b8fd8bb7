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
Send SIGINT and SIGTERM to a node at many moments from its start to its first frame and beyond.

The start is the node's first line; while Python itself starts, a signal does what the system does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
from threading import Thread
import time

from camera_bags import camera_messages, write_bag
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from sync_perception.ros.core import qos
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import image_message
from sync_perception.ros.tools.processes import NODE_MODULES
from trial import Outcome

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 120.0  # seconds for what must happen some time
OBEYED = 4.0  # seconds in which a node ends; 2 are the goal, the rest is for busy machines
SIZE = (96, 128)
COMPLAINTS = ('Traceback', 'terminate called', 'Fatal Python error', 'Segmentation fault')


@dataclass(frozen=True)
class Try:
    """
    One signal and what came of it.

    :param moment: seconds from the start of the node to the signal.
    :param seconds: from the signal to the end.
    :param log: what the process wrote.
    """

    number: signal.Signals
    moment: float
    seconds: float
    status: int | None
    log: str

    @property
    def good(self) -> bool:
        """Whether the node ended as it should."""
        return (self.status == 0 and self.seconds < OBEYED
                and not any(complaint in self.log for complaint in COMPLAINTS))

    def __str__(self) -> str:
        """Say it in a line, with the end of the log if something was wrong."""
        line = (f'{self.number.name} after {self.moment:.2f} s: status {self.status} after '
                f'{self.seconds:.2f} s')
        return line if self.good else f'{line}: WRONG\n{self.log[-3000:]}'


class Peer:
    """A camera, and a consumer of depth and images."""

    def __init__(self):
        self.node = rclpy.create_node('peer')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.came = 0
        self.info_publisher = self.node.create_publisher(CameraInfo, 'camera_info', qos.output())
        self.image_publisher = self.node.create_publisher(Image, 'image', qos.output())
        for topic in ('sync/depth', 'replayed/image'):
            self.node.create_subscription(Image, topic, self._receive, qos.output())
        self.node.create_subscription(
            CameraInfo, 'replayed/camera_info', lambda message: None, qos.output())
        self.node.create_timer(0.1, self._send)
        self.thread = Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    def _receive(self, message: Image) -> None:
        self.came += 1

    def _send(self) -> None:
        header = Header(frame_id='cam', stamp=self.node.get_clock().now().to_msg())
        info = pinhole_camera_info(np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]]), SIZE)
        info.header = header
        self.info_publisher.publish(info)
        self.image_publisher.publish(
            image_message(np.full((*SIZE, 3), 90, np.uint8), header, 'rgb8'))

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        self.thread.join(PATIENCE)
        self.node.destroy_node()


def command(node: str, folder: Path, parameters: Sequence[str] = ()) -> list[str]:
    """
    Return the command line of a node.

    :param node: perception, or replay for a bag in a loop that also plays the clock.
    :param folder: for the bag.
    """
    module = NODE_MODULES[node]
    words = list(parameters)
    remaps = []
    if node == 'replay':
        bag = folder / 'bag'
        if not bag.exists():
            write_bag(bag, camera_messages(20))
        words += ['source:=bag', f'path:={bag}', 'loop:=true', 'clock:=true', 'speed:=5.0']
        remaps = ['-r', 'image:=replayed/image', '-r', 'camera_info:=replayed/camera_info']
    return [sys.executable, '-m', module, '--ros-args', *remaps,
            *(word for each in words for word in ('-p', each))]


def time_to_first_frame(words: Sequence[str], peer: Peer, log: Path) -> float:
    """Start a node and return the seconds until its first message comes."""
    process = launch(words, log)
    before, start = peer.came, time.monotonic()
    try:
        while peer.came == before:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < start + PATIENCE, log.read_text()
            time.sleep(0.01)
        return time.monotonic() - start
    finally:
        process.terminate()
        process.wait(PATIENCE)


def try_once(words: Sequence[str], number: signal.Signals, moment: float, log: Path) -> Try:
    """Start a node, send it a signal at a moment and wait for its end."""
    process = launch(words, log)
    time.sleep(moment)
    start = time.monotonic()
    process.send_signal(number)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return Try(number, moment, PATIENCE, None, log.read_text())
    return Try(number, moment, time.monotonic() - start, process.returncode, log.read_text())


def launch(words: Sequence[str], log: Path) -> subprocess.Popen:
    """Start a node as a process, its output in a file, and wait until its first line has run."""
    with log.open('wb') as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, env={**os.environ, 'PYTHONUNBUFFERED': '1'})
    end = time.monotonic() + PATIENCE
    while not all(blocks(process.pid, number) for number in SIGNALS):
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.001)
    return process


def blocks(pid: int, number: signal.Signals) -> bool:
    """Tell whether the main thread of a process leaves a signal to another one (proc(5))."""
    status = Path('/proc', str(pid), 'status').read_text()
    return bool(int(status.partition('SigBlk:')[2].split()[0], 16) >> (number - 1) & 1)


def moments(last: float, tries: int) -> list[float]:
    """Spread moments evenly from the start of a node to a little after its first frame."""
    return np.linspace(0, 1.1 * last, tries).tolist()


def soak(tries: int) -> Outcome:
    """Send so many signals to both nodes in turn, with the default model."""
    rclpy.init()
    peer = Peer()
    done: list[Try] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, 'log')
        for node, share in (('perception', tries - tries // 2), ('replay', tries // 2)):
            words = command(node, Path(folder))
            last = time_to_first_frame(words, peer, log) if share else 0
            for index, moment in enumerate(moments(last, share)):
                done.append(try_once(words, SIGNALS[index % 2], moment, log))
    peer.close()
    rclpy.try_shutdown()
    seconds = [each.seconds for each in done]
    return Outcome(
        len(done), [str(each) for each in done if not each.good],
        f'status 0 and no traceback; the slowest end after {max(seconds):.2f} s',
        {'slowest_seconds': round(max(seconds), 2),
         'median_seconds': round(float(np.median(seconds)), 2)})


SOAK = {'signals': soak}
