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

"""Processing of frames in the node, from image messages to published outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Event, Thread
from typing import Any

from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo, Image
from sync_perception.calibration.camera_calibration import CalibrationError
from sync_perception.calibration.plausibility import (
    contradictions,
    coverage_warning,
    distortion_warning,
)
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.health.consistency_monitor import ConsistencyMonitor
from sync_perception.ros.io.calibration_messages import calibration_of
from sync_perception.ros.io.camera_info import pairing_warning
from sync_perception.ros.io.conversions import check_frame_id, to_frame
from sync_perception.ros.node.camera import Camera
from sync_perception.ros.node.mounting import maps_to_scale, mount_of_camera
from sync_perception.ros.node.outputs import required_maps, void_uncertain_labels
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.node.warm_up import warm_up_predictor
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.runtime.content import missing_content
from sync_perception.runtime.mount_scale import Mount, MountScale
from sync_perception.types import Prediction

MOST_FRAMES = 6
"""Most frame_ids listed in a message."""


class Pipeline:
    """
    Processing of images to published messages; everything runs on the worker's thread.

    :param predictor: predictor of the model.
    :param parameters: function that returns the node's current parameters.
    :param clock: clock of the node, for the age of published frames.
    :param log: log of rejected and failed frames.
    :param monitor: monitor of the consistency of depth and labels, or None.
    :param transforms: function from a ground frame and a camera frame to the mount, or None.
    :ivar halted: why processing has stopped for good, or empty.
    :ivar warming: images for which the network is being prepared, or empty.
    :ivar cancelled: cancellation event of the current frames.
    :ivar straggler: thread that was abandoned with a frame, or None.
    """

    def __init__(self, predictor: Any, parameters: Callable[[], PerceptionParameters],
                 clock: Clock, log: SeldomLog, monitor: ConsistencyMonitor | None = None,
                 transforms: Callable[[str, str], Mount] | None = None):
        self.predictor = predictor
        self.parameters = parameters
        self.clock = clock
        self.log = log
        self.monitor = monitor
        self.transforms = transforms
        self.halted = self.warming = ''
        self.cancelled = Event()
        self.straggler: Thread | None = None

    def cancel(self, straggler: Thread) -> None:
        """
        Abandon the current frames; they are neither published nor counted any more.

        :param straggler: the thread that computes them; it uses the predictor until it ends.
        """
        self.cancelled.set()
        self.cancelled, self.straggler = Event(), straggler

    def warm_up(self, size: tuple[int, int], done: Callable[[], None]) -> None:
        """
        Prepare the network for images of a size.

        :param size: height and width of the images.
        :param done: called afterwards.
        """
        self.warming = f'warming up for images of {size[1]}x{size[0]} pixels'
        warm_up_predictor(self.predictor, size, self.log)
        self.warming = ''
        done()

    def process(self, packets: Iterable[FramePacket[Camera]]) -> list[FramePacket[Camera]]:
        """
        Process images; those of several cameras share one call of the network.

        :return: packets that wait for their camera_info.
        """
        ready: list[FramePacket[Camera]] = []
        left: list[FramePacket[Camera]] = []
        cancelled = self.cancelled
        for packet in packets:
            packet.cancelled = cancelled
            try:
                packet.wanted = packet.camera.wanted()
                if not packet.wanted:
                    packet.camera.counters.unwanted += 1
                elif self._decode(packet):
                    ready.append(packet)
                else:
                    left.append(packet)
            except Exception as error:  # noqa: BLE001 - one bad frame must not end the node
                self._refuse(packet, error)
        if ready:
            self._answer(ready)
        return left

    def _decode(self, packet: FramePacket[Camera]) -> bool:
        """Decode the message to a frame; return False if its camera_info has not arrived."""
        camera, image, parameters = packet.camera, packet.image, self.parameters()
        check_frame_id(image.header)
        size = (image.height, image.width) if isinstance(image, Image) else None
        camera_info = camera.camera_infos.find(image.header, size)
        if camera_info is None:
            camera.note('camera_info', missing_camera_info(camera, image.header.frame_id))
            return False
        camera.note('camera_info', pairing_warning(image.header, camera_info))
        self.examine(camera, camera_info)
        maps = required_maps(
            (output for output, _ in packet.wanted), self.predictor.available, parameters)
        camera.bit_depth.significant_bits = parameters.image_significant_bits
        packet.frame = to_frame(
            image, camera_info, camera.bit_depth, parameters.max_pixels,
            camera.rectifier if parameters.rectify else None)
        camera.note('rectification', coverage_warning(
            packet.frame.void, packet.frame.size[0] * packet.frame.size[1]))
        packet.scale = self._scale(camera, packet.frame.frame_id) if maps else None
        packet.maps = maps_to_scale(maps, packet.scale)
        return True

    def _scale(self, camera: Camera, frame_id: str) -> MountScale | None:
        """Return the scale correction of a camera, or None if its mount is unknown."""
        mount, problem = mount_of_camera(
            self.parameters(), frame_id, self.predictor.available, self.transforms)
        camera.note('mount', problem)
        return camera.mounting.prepare(mount, self.predictor.labels)

    def examine(self, camera: Camera, camera_info: CameraInfo) -> None:
        """Store warnings about a calibration; an invalid one is ignored here."""
        try:
            calibration = calibration_of(camera_info)
        except CalibrationError:
            return
        camera.note('distortion', distortion_warning(
            calibration, self.parameters().rectify, camera.image_topic))
        camera.note('calibration', contradictions(calibration))

    def _answer(self, packets: list[FramePacket[Camera]]) -> None:
        if packets[0].cancelled.is_set():
            return
        if self.halted:
            for packet in packets:
                packet.camera.counters.failed += 1
            return
        self._choose_judged(packets)
        try:
            self._predict(packets)
        except MemoryError as error:  # the predictor has tried everything
            self._halt(packets, error)
        except Exception as error:  # noqa: BLE001 - one bad frame must not end the node
            if len(packets) == 1:
                self._refuse(packets[0], error)
            else:
                for packet in packets:  # only one of the frames may be at fault
                    self._answer([packet])
        else:
            for packet in packets:
                self._finish(packet)

    def _predict(self, packets: list[FramePacket[Camera]]) -> None:
        """Run the network in one call on the frames that need any map."""
        maps = [packet.maps | self.monitor.MAPS if packet.judged else packet.maps
                for packet in packets]
        if self.parameters().temporal == 'fuse':
            for packet, wanted in zip(packets, maps):
                packet.prediction = self._fuse(packet, wanted)
            return
        requested = [index for index, wanted in enumerate(maps) if wanted]
        answers = iter(self.predictor.predict_batch(
            [packets[index].frame for index in requested],
            [maps[index] for index in requested]) if requested else ())
        for packet, wanted in zip(packets, maps):
            packet.prediction = next(answers) if wanted else Prediction()

    def _fuse(self, packet: FramePacket[Camera], wanted: frozenset[str]) -> Prediction:
        """Predict a frame that is fused with those before."""
        if not wanted:
            return Prediction()
        temporal = packet.camera.temporal
        prediction = temporal.predict(packet, wanted, self.predictor, self.parameters())
        packet.camera.note('pose', temporal.problem)
        return prediction

    def _finish(self, packet: FramePacket[Camera]) -> None:
        camera = packet.camera
        if packet.cancelled.is_set():
            return
        try:
            self._correct(packet)
            if packet.judged:
                self._judge(packet)
            self._publish(packet)
        except Exception as error:  # noqa: BLE001 - one bad frame must not end the node
            self._refuse(packet, error)
            return
        camera.count_published(packet, self.clock.now().nanoseconds)
        camera.note('focal length', self.predictor.focal_problem(packet.frame))
        camera.note('no content', missing_content(packet.prediction))

    def _correct(self, packet: FramePacket[Camera]) -> None:
        """Correct the depth scale by the camera's mount, before the depth is used."""
        scale, prediction = packet.scale, packet.prediction
        if scale is None:
            return
        if prediction.depth is not None and prediction.labels is not None:
            scale.correct(prediction, packet.frame.K, self.predictor.max_depth)
        packet.camera.note('mount scale', scale.problem)

    def _publish(self, packet: FramePacket[Camera]) -> None:
        """Build and publish the requested outputs of a frame."""
        packet.parameters, packet.labels = self.parameters(), self.predictor.labels
        packet.prediction = void_uncertain_labels(packet.prediction, packet.parameters)
        for output, publisher in packet.wanted:
            publisher.publish(output.build(packet))

    def _choose_judged(self, packets: list[FramePacket[Camera]]) -> None:
        """Mark the frame that the monitor checks, if a check is due."""
        chosen = None if self.monitor is None else self.monitor.choose(
            [packet.camera.name for packet in packets], self.parameters().consistency_period)
        for index, packet in enumerate(packets):
            packet.judged = index == chosen

    def _judge(self, packet: FramePacket[Camera]) -> None:
        try:
            problem = self.monitor.judge(
                packet.camera.name, packet.prediction, packet.frame, self.predictor.labels,
                self.parameters().consistency_minimum)
        except Exception as error:  # noqa: BLE001 - a failing monitor must not lose the frame
            problem = f'depth and labels cannot be compared: {type(error).__name__}: {error}'
        packet.camera.note('consistency', problem)

    def _refuse(self, packet: FramePacket[Camera], error: Exception) -> None:
        if packet.cancelled.is_set() or not packet.camera.node.context.ok():
            return  # ROS is shut down, so nothing can be published
        if isinstance(error, ValueError):
            packet.camera.count_refused(error, 'an image')
        else:
            packet.camera.count_failed(error)

    def _halt(self, packets: list[FramePacket[Camera]], error: MemoryError) -> None:
        self.halted = f'out of memory: {error}'
        self.log.logger.error(
            f'{self.halted}; no frame is answered until the node is activated again or gets '
            'another model')
        for packet in packets:
            packet.camera.counters.failed += 1


def missing_camera_info(camera: Camera, frame_id: str) -> str:
    """Return which calibration an image waits for, and which ones have arrived instead."""
    topic = camera.node.resolve_topic_name(camera.topic('camera_info'))
    problem = f'got an image of frame {frame_id!r:.80}, waiting for its camera_info on {topic}'
    frames = camera.camera_infos.frames()
    if not frames:
        return problem
    return (f'{problem}, which carries those of the frames '
            f'{", ".join(f"{frame!r:.80}" for frame in frames[:MOST_FRAMES])} as well: remap '
            'camera_info to a topic of this camera alone, or configure its driver to use one '
            'frame_id')
