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

"""Measurement of the subjects of `bench --ros` in turns, by the arrival of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import json
import time

import psutil
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import String
from sync_perception.ros.core import qos
from sync_perception.ros.tools.bench_camera import SENT, TURN
from sync_perception.ros.tools.processes import ChildProcess, START_LIMIT
from sync_perception.ros.tools.topic_watcher import stamp_of

ANSWER_LIMIT = 10.0  # seconds without an answer after which a turn ends
LAST_ANSWERS = 0.5  # the same limit once the last image is answered
GRACE = 0.5  # seconds from a match in this process until the others have discovered it
WARM_UP = 5  # answered frames before the measurement


class BenchFailed(RuntimeError):
    """A process of the benchmark failed; the message names it and contains its log."""


@dataclass(frozen=True)
class Subject:
    """
    Node that is measured, in the namespace of its name.

    :param title: title for the user.
    :param module: module that `python -m` runs.
    :param words: command-line words before the ROS arguments.
    :param topics: output topics.
    """

    title: str
    module: str
    words: tuple[str, ...]
    topics: dict[str, type]


@dataclass
class SubjectResult:
    """
    Measured results of one subject.

    :param sent: number of images sent.
    :param latencies: seconds from the stamp to the arrival of the last output of each frame.
    :param first: seconds from the stamp to the arrival of the first output of each frame.
    :param cpu: seconds of processor time during its turns.
    """

    sent: int = 0
    latencies: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    cpu: float = 0.0


class Receiver:
    """
    Subscriber to all outputs of all subjects, which also gives orders to the camera.

    Messages stay serialized, so that the cost of deserialization in Python is not measured. Taking
    a serialized cloud of 15 MB still takes rclpy about 20 ms.

    :ivar arrivals: nanoseconds at which rclpy had taken each output, by subject and stamp.
    :ivar received: the same for the middleware, which receives a message before rclpy takes it.
    """

    def __init__(self, subjects: dict[str, Subject]):
        self.subjects = subjects
        self.arrivals: dict[tuple[str, int], dict[str, int]] = {}
        self.received: dict[tuple[str, int], dict[str, int]] = {}
        self.sent: dict[int, list[int]] = {}
        self.turns = 0
        self.node = rclpy.create_node('bench')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.orders = self.node.create_publisher(String, TURN, qos.latched())
        self.node.create_subscription(String, SENT, self._receive_sent, qos.latched())
        for name, subject in subjects.items():
            for topic, kind in subject.topics.items():
                self.node.create_subscription(
                    kind, f'{name}/{topic}', self._receiver(name, topic), qos.output(), raw=True)

    def close(self) -> None:
        """Destroy the node."""
        self.executor.shutdown()
        self.node.destroy_node()

    def order(self, subjects: Sequence[str], frames: int) -> int:
        """Order the camera to send images to some subjects; return the number of the turn."""
        self.turns += 1
        self.arrivals.clear()
        self.received.clear()
        self.orders.publish(String(data=json.dumps(
            {'turn': self.turns, 'subjects': [*subjects], 'frames': frames})))
        return self.turns

    def complete(self, subject: str) -> dict[int, dict[str, int]]:
        """Return the arrival times of the outputs of completely answered frames, by stamp."""
        wanted = len(self.subjects[subject].topics)
        return {stamp: times for (name, stamp), times in self.arrivals.items()
                if name == subject and len(times) == wanted}

    def wait_for_all(self, children: Sequence[ChildProcess]) -> None:
        """
        Wait until the camera and all nodes are connected.

        :raises BenchFailed: if a process ends, or START_LIMIT is exceeded.
        """
        def present() -> bool:
            return bool(self.node.count_subscribers(TURN)) and all(
                self.node.count_subscribers(f'{name}/image')
                and all(self.node.count_publishers(f'{name}/{topic}') for topic in subject.topics)
                for name, subject in self.subjects.items())

        self.spin_until(present, children, START_LIMIT, 'starting')
        ready = time.monotonic() + GRACE
        self.spin_until(lambda: time.monotonic() > ready, children, START_LIMIT, 'starting')

    def spin_until(self, condition: Callable[[], bool], children: Sequence[ChildProcess],
                   limit: float, what: str) -> None:
        """
        Receive messages until a condition holds.

        :raises BenchFailed: if a process ends before, or the limit is exceeded.
        """
        end = time.monotonic() + limit
        while not condition():
            self.executor.spin_once(timeout_sec=0.1)
            for child in children:
                if child.exit_code is not None:
                    raise BenchFailed(
                        f'{child.name} ended with status {child.exit_code}:\n{child.last_lines()}')
            if time.monotonic() > end:
                logs = '\n'.join(f'{child.name}: {child.last_lines(3)}' for child in children)
                raise BenchFailed(f'{what} took longer than {limit:.0f} s:\n{logs}')

    def _receive_sent(self, message: String) -> None:
        report = json.loads(message.data)
        self.sent[report['turn']] = report['stamps']

    def _receiver(self, subject: str, topic: str) -> Callable[[bytes, dict[str, int]], None]:
        def receive(message: bytes, info: dict[str, int]) -> None:
            now = time.time_ns()  # same clock as the stamps
            key = subject, stamp_of(message)
            self.arrivals.setdefault(key, {})[topic] = now
            # not every middleware states the time
            self.received.setdefault(key, {})[topic] = info['received_timestamp'] or now
        return receive


def take_turn(receiver: Receiver, subject: str, frames: int, child: ChildProcess,
              children: Sequence[ChildProcess], period: float) -> SubjectResult:
    """
    Send images to one subject, and return its results.

    :param frames: number of images.
    :param period: seconds between two images.
    :raises BenchFailed: if a process ends, or the camera does not send.
    """
    process = psutil.Process(child.process.pid)
    before = processor_time(process)
    stamps = wait_for_answers(receiver, [subject], frames, children, period)
    result = SubjectResult(sent=len(stamps), cpu=processor_time(process) - before)
    for stamp, times in sorted(receiver.complete(subject).items()):
        result.latencies.append((max(times.values()) - stamp) / 1e9)
        result.first.append((min(times.values()) - stamp) / 1e9)
    return result


def wait_for_answers(receiver: Receiver, subjects: Sequence[str], frames: int,
                     children: Sequence[ChildProcess], period: float) -> list[int]:
    """
    Send images to some subjects, wait for the answers, and return the stamps of the images.

    :param frames: number of images.
    :param period: seconds between two images.
    :raises BenchFailed: if a process ends, or the camera does not send.
    """
    turn = receiver.order(subjects, frames)
    receiver.spin_until(lambda: turn in receiver.sent, children,
                        frames * period + START_LIMIT, f'sending {frames} images')
    stamps = receiver.sent[turn]
    over = time.monotonic()

    def quiet() -> bool:
        complete = [receiver.complete(subject) for subject in subjects]
        since = max((max(times.values()) for own in complete for times in own.values()),
                    default=0)
        waited = time.monotonic() - over, (time.time_ns() - since) / 1e9
        return all(own.keys() >= set(stamps) for own in complete) or min(waited) > (
            LAST_ANSWERS if all(stamps[-1] in own for own in complete) else ANSWER_LIMIT)

    receiver.spin_until(quiet, children, 10 * ANSWER_LIMIT, 'the last answer')
    return stamps


def processor_time(process: psutil.Process) -> float:
    """Return the processor time of a process so far in seconds, over all cores."""
    times = process.cpu_times()
    return times.user + times.system


def measure_subjects(receiver: Receiver, nodes: dict[str, ChildProcess],
                     children: Sequence[ChildProcess], frames: int, rounds: int, rate: float
                     ) -> dict[str, SubjectResult]:
    """
    Measure the subjects in turns; each round starts with another subject.

    :param frames: number of images for each subject over all rounds.
    :param rate: images per second.
    :raises BenchFailed: if a process fails, or a subject answers nothing.
    """
    names, results = list(nodes), {name: SubjectResult() for name in nodes}
    for index in range(rounds):
        first = index % len(names)
        share = frames * (index + 1) // rounds - frames * index // rounds
        for name in names[first:] + names[:first]:
            seen = take_turn(receiver, name, share, nodes[name], children, 1 / rate)
            total = results[name]
            total.sent += seen.sent
            total.cpu += seen.cpu
            total.latencies += seen.latencies
            total.first += seen.first
    for name, total in results.items():
        if not total.latencies:
            raise BenchFailed(f'{nodes[name].name} published nothing:\n{nodes[name].last_lines()}')
    return results


def warm_up_subjects(receiver: Receiver, nodes: dict[str, ChildProcess],
                     children: Sequence[ChildProcess], rate: float) -> None:
    """
    Send every subject some frames before the measurement, since the first one takes seconds.

    :raises BenchFailed: if a subject does not answer within START_LIMIT.
    """
    for name, node in nodes.items():
        end, answered = time.monotonic() + START_LIMIT, 0
        while answered < WARM_UP:
            seen = take_turn(receiver, name, WARM_UP, node, children, 1 / rate)
            answered += len(seen.latencies)
            if time.monotonic() > end:
                raise BenchFailed(
                    f'{node.name} answered {answered} images in {START_LIMIT:.0f} s:\n'
                    f'{node.last_lines()}')
