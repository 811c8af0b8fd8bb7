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


"""The replay node, which publishes a recording like a camera."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
import copy
from dataclasses import replace
from itertools import islice
from statistics import median
import time
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.task import Future
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from sync_perception.images.frame_times import SECOND
from sync_perception.ros.core import qos
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.core.services import guard_services
from sync_perception.ros.io.conversions import image_message, stamp_nanoseconds
from sync_perception.ros.parameters.replay import ReplayParameters
from sync_perception.ros.parameters.server import ParameterServer
from sync_perception.ros.replay.schedule import LONGEST_PAUSE, Schedule
from sync_perception.ros.replay.shot import Shot, ShotSource
from sync_perception.ros.replay.shot_sources import SOURCES

# Seconds from a match until the first frame: DDS reports when this side has discovered the other,
# but not the reverse, and messages sent before that are lost
GRACE = 0.3
# In lockstep, a frame counts as lost if its answer takes SLOWER times as long as the slowest
# recent answer (FIRST_DELAY seconds before the first one), and at least LEAST_PATIENCE seconds
SLOWER, LEAST_PATIENCE, FIRST_DELAY = 5.0, 1.0, 2.0
LATEST = 2 ** 31 * SECOND  # the seconds of a stamp are int32
POLL = 0.005  # seconds between two checks for an answer, if frames have their own schedule


class ReplayNode(Node):
    """
    Node that publishes `image` and `camera_info` of a recording, at a fixed or the recorded rate.

    :param sources: constructor of each kind of source.
    :param node_arguments: arguments of the Node.
    :ivar done: future that completes when everything was published, or with the exception that
        ended the replay.
    :raises ValueError: if the parameters do not name a recording.
    """

    def __init__(self, *, sources: dict[str, Callable[[ReplayParameters], ShotSource]] = SOURCES,
                 **node_arguments: Any):
        super().__init__('replay', **node_arguments)
        self.log = SeldomLog(self.get_logger())
        guard_services(self, self.log)
        server = ParameterServer(self, ReplayParameters)
        for name in server.unknown:
            self.get_logger().warning(f'there is no parameter {name}: it has no effect')
        if server.problems:
            raise ValueError('; '.join(server.problems.values()))
        self.parameters = server.values
        self.done = Future()
        self.published = 0
        self.awaited: int | None = None
        self.awaited_since = self.sent_at = 0.0
        self.messages: list[tuple[Publisher, Any]] = []
        self.delays: deque[float] = deque(maxlen=10)  # seconds, of the latest answers
        self.timer = None
        self.schedule: Schedule | None = None
        self.source = sources[self.parameters.source](self.parameters)
        self.shots = iterate(self.source, self.parameters)
        self.upcoming: Shot | None = next(self.shots)
        self._create_topics()
        self.get_logger().info(f'{self.source.title}: {frames_of(self.source)}, {self._pace()}')
        self._begin_if_ready()

    def close(self) -> None:
        """Stop publishing."""
        if self.timer is not None:
            self.timer.cancel()
        self.shots.close()

    def _create_topics(self) -> None:
        matched = PublisherEventCallbacks(matched=lambda _: self._begin_if_ready())
        self.image_publisher = self._publisher(Image, 'image', matched)
        self.camera_info_publisher = self._publisher(CameraInfo, 'camera_info', matched)
        self.clock_publisher = None
        if self.parameters.clock:
            self.clock_publisher = self.create_publisher(ClockMessage, '/clock', qos.output())
        self.answers_known = not self.parameters.lockstep
        if self.parameters.lockstep:
            self.create_subscription(
                CameraInfo, 'sync/camera_info', self._receive_answer, qos.output(),
                event_callbacks=SubscriptionEventCallbacks(matched=self._on_answers_matched))

    def _publisher(self, kind: type, topic: str, events: PublisherEventCallbacks) -> Publisher:
        return self.create_publisher(
            kind, topic, qos.output(), event_callbacks=events,
            qos_overriding_options=qos.overridable())

    def _on_answers_matched(self, status) -> None:
        self.answers_known = status.current_count > 0
        self._begin_if_ready()

    def _begin_if_ready(self) -> None:
        publishers = (self.image_publisher, self.camera_info_publisher)
        listened = all(publisher.get_subscription_count() for publisher in publishers)
        ready = (listened and self.answers_known) or not self.parameters.wait_for_subscriber
        if ready and self.timer is None:
            self.timer = self._timer(GRACE, self._start)

    def _pace(self) -> str:
        if is_timed(self.upcoming, self.parameters):
            return f'{self.parameters.speed:g} times as fast as recorded'
        return f'{self.parameters.rate:g} Hz'

    def _start(self) -> None:
        self.timer.cancel()
        self.started = time.monotonic()
        if is_timed(self.upcoming, self.parameters):
            self.schedule = Schedule(
                self.parameters.speed, round(SECOND / self.parameters.rate), self.log.warn)
            self.due = self.schedule.seconds(self.upcoming)
            self.timer = self._timer(0.0, self._tick_when_due)
            self._tick_when_due()
        else:
            self.timer = self._timer(1 / self.parameters.rate, self._tick)
            self._tick()

    def _tick_when_due(self) -> None:
        """Publish the frame that is due, and sleep until the next one."""
        if self.upcoming is None or self._until_due() <= 0:
            self._tick()
        waits = self.awaited is not None or self.upcoming is None
        self.timer.timer_period_ns = round(
            SECOND * (POLL if waits else max(self._until_due(), 0.0)))
        if not self.done.done():
            self.timer.reset()

    def _until_due(self) -> float:
        """Return the seconds until the next frame is due."""
        return self.started + self.due - time.monotonic()

    def _timer(self, period: float, callback: Callable[[], None]):
        # steady clock, since this node may itself be the source of simulated time
        return self.create_timer(period, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _tick(self) -> None:
        if self.awaited is not None and self._is_waiting():
            return
        if self.upcoming is None:
            self._finish()
            return
        try:
            self._publish(self.upcoming)
            self.upcoming = next(self.shots, None)  # read ahead, so that it is ready in time
            if self.schedule is not None and self.upcoming is not None:
                self.due = self.schedule.seconds(self.upcoming)
        except Exception as error:  # noqa: BLE001 - it ends the process, with its message
            self.close()
            self.done.set_exception(error)

    def _is_waiting(self) -> bool:
        """Return whether an answer is pending; resend a frame that may be lost."""
        now = time.monotonic()
        if now - self.awaited_since >= self.parameters.lockstep_timeout:
            self.get_logger().warning(
                f'no answer on sync/camera_info to the frame of {self.awaited} ns within '
                f'{self.parameters.lockstep_timeout:g} s: continuing without it')
            self.awaited = None
            return False
        patience = max(LEAST_PATIENCE, SLOWER * max(self.delays, default=FIRST_DELAY))
        if now - self.sent_at >= patience:
            self.log.warn('lost', (
                f'no answer on sync/camera_info to the frame of {self.awaited} ns within '
                f'{patience:.1f} s: it may have been lost in transport and is sent again'))
            self._send()
        return True

    def _send(self) -> None:
        """Publish the messages of the frame."""
        self.sent_at = time.monotonic()
        for publisher, message in self.messages:
            publisher.publish(message)

    def _publish(self, shot: Shot) -> None:
        stamp = shot.stamp
        if self.parameters.stamps == 'now':
            stamp = self.get_clock().now().nanoseconds
        if not abs(stamp) < LATEST:
            raise ValueError(
                f'the stamp of frame {self.published} of {self.source.title} is '
                f'{stamp / SECOND:g} s, which is more than messages can hold: expected at '
                f'most {LATEST // SECOND} s; set the parameter stamps to now')
        frame_id = self.parameters.frame_id if shot.frame_id is None else shot.frame_id
        header = Header(frame_id=frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, SECOND)
        self.messages = []
        if self.clock_publisher is not None:
            self.messages.append((self.clock_publisher, ClockMessage(clock=header.stamp)))
        camera_info = self._calibration(shot)
        if camera_info is not None:
            camera_info.header = header
            self.messages.append((self.camera_info_publisher, camera_info))
        self.messages.append((self.image_publisher, as_message(shot, header)))
        self._send()
        self.published += 1
        if self.parameters.lockstep:
            self.awaited, self.awaited_since = stamp, time.monotonic()

    def _calibration(self, shot: Shot) -> CameraInfo | None:
        """Return a frame's calibration: the recorded one, or that of the source."""
        if shot.camera_info is not None or self.source.camera_info is None:
            return copy.copy(shot.camera_info)
        camera_info = self.source.camera_info
        if shot.size != (camera_info.height, camera_info.width):
            raise ValueError(
                f'frame {self.published} of {self.source.title} is {shot.size[1]}x'
                f'{shot.size[0]}, expected {camera_info.width}x{camera_info.height} as in its '
                'calibration')
        return camera_info

    def _receive_answer(self, answer: CameraInfo) -> None:
        if stamp_nanoseconds(answer.header) == self.awaited:
            self.delays.append(time.monotonic() - self.sent_at)
            self.awaited = None
            if self.upcoming is None:
                self._finish()

    def _finish(self) -> None:
        if not self.done.done():
            self.close()
            self.get_logger().info(f'published {self.published} frames')
            self.done.set_result(self.published)


def is_timed(shot: Shot, parameters: ReplayParameters) -> bool:
    """Return whether a recording is played at its recorded times."""
    return shot.recorded is not None and parameters.speed > 0


def as_message(shot: Shot, header: Header) -> Image:
    """Return the message of a frame; a recorded message only gets a new header."""
    if isinstance(shot.image, Image):
        message = copy.copy(shot.image)
        message.header = header
        return message
    return image_message(shot.image, header, 'rgb8')


def frames_of(source: ShotSource) -> str:
    """Return a text with the number of frames of a source."""
    return 'frames of unknown number' if source.count is None else f'{source.count} frames'


def iterate(source: ShotSource, parameters: ReplayParameters) -> Iterator[Shot]:
    """
    Yield the frames selected by the parameters, in every loop.

    In later loops, the stamps continue after those of the previous loop.

    :raises ValueError: if there is no frame at the start index.
    """
    period = round(SECOND / parameters.rate)
    offset = played = 0  # offset of the stamps, and of the recording times
    while True:
        first = last = None
        gaps = []
        for shot in islice(source.shots(parameters.start), parameters.count or None):
            if last is not None and shot.recorded is not None:
                gaps.append(shot.recorded - last.recorded)
            first, last = first or shot, shot
            recorded = None if shot.recorded is None else shot.recorded + played
            yield replace(shot, stamp=shot.stamp + offset, recorded=recorded)
        if first is None:
            raise ValueError(
                f'start is {parameters.start}, but {source.title} has {frames_of(source)}')
        if not parameters.loop:
            return
        pause = period
        if is_timed(first, parameters):
            # the pause after the last frame is a usual interval between frames
            regular = [gap for gap in gaps if 0 < gap <= LONGEST_PAUSE * SECOND]
            pause = round(median(regular)) if regular else period
            played += last.recorded - first.recorded + pause
        offset += last.stamp - first.stamp + pause
