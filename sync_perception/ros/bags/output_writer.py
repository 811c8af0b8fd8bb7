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

"""Writing of a model's outputs for the images of a bag to another bag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String
from sync_perception.calibration.plausibility import contradictions, distortion_warning
from sync_perception.calibration.rectification import Rectifier
from sync_perception.images.bit_depth import BitDepth
from sync_perception.mapping.temporal_predictor import TemporalPredictor
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.camera import PairedImage
from sync_perception.ros.bags.rosbag2 import Bag, BagWriter, describe_error, Record
from sync_perception.ros.core import qos
from sync_perception.ros.core.type_names import type_name
from sync_perception.ros.io.calibration_messages import calibration_of
from sync_perception.ros.io.camera_info import pairing_warning
from sync_perception.ros.io.conversions import to_frame
from sync_perception.ros.node.mounting import maps_to_scale
from sync_perception.ros.node.outputs import (
    available_outputs,
    label_space_json,
    Output,
    required_maps,
    void_uncertain_labels,
)
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.runtime.mount_scale import (
    missing_maps,
    Mount,
    mount_of,
    MountScale,
    wheel_ground,
)
from sync_perception.types import Frame, MalformedInput, Prediction

# the other outputs can be computed from these
DEFAULT_TOPICS = (
    'sync/depth', 'sync/semantics', 'sync/semantics/confidence', 'sync/camera_info')
LABEL_SPACE = 'sync/label_space'


class OutputWriter:
    """
    Writer of the messages of a bag, and of the outputs for its images, to the chunks of another.

    :param namespace: prefix of the outputs' topics.
    :param fixed: calibration of all images, or None if it comes from the bag.
    :param image_topic: topic of the images.
    :param report: receives the first line of each kind of problem.
    :raises ValueError: if the bag already contains a topic of the outputs, or the camera's mount
        is invalid.
    """

    def __init__(self, bag: Bag, predictor: Any, outputs: Sequence[Output],
                 parameters: PerceptionParameters, namespace: str, fixed: CameraInfo | None,
                 image_topic: str, report: Callable[[str], None]):
        self.bag = bag
        self.predictor = predictor
        self.outputs = outputs
        self.fixed = fixed
        self.report = report
        self.noted: set[str] = set()
        self.parameters = parameters
        self.bit_depth = BitDepth(parameters.image_significant_bits, lambda text: report(
            f'{text} (image.significant_bits)'))
        self.image_topic = image_topic
        self.rectifier = Rectifier() if parameters.rectify else None
        self.scale = mount_scale(parameters, predictor)
        self.maps = maps_to_scale(
            required_maps(outputs, predictor.available, parameters), self.scale)
        self.store = rosbag2.typestore(bag)
        self.namespace = f'/{namespace.strip("/")}'.rstrip('/')
        self.topics = [f'{self.namespace}/{output.topic}' for output in outputs]
        taken = sorted({*self.topics, f'{self.namespace}/{LABEL_SPACE}'} & set(bag.topics))
        if taken:
            raise ValueError(f'{bag.path} already has {", ".join(taken)}: set a namespace for the '
                             'outputs')

    @property
    def state(self) -> dict[str, Any]:
        """Return the state learned from the frames so far, as JSON; later outputs depend on it."""
        scale = self.scale and [self.scale.factor, self.scale.frames, self.scale.seen]
        return {'bits': self.bit_depth.bits, 'range': list(self.bit_depth.range), 'scale': scale}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.bit_depth.bits, self.bit_depth.range = state['bits'], tuple(state['range'])
        if self.scale is not None:
            self.scale.factor, self.scale.frames, self.scale.seen = state['scale']

    def begin(self, bag: BagWriter, first: bool) -> None:
        """
        Add the topics to a new chunk.

        :param first: whether it is the first chunk, which contains the label space.
        """
        self.out = bag
        self.copies = {connection.id: bag.copy_topic(connection, self.store)
                       for connection in self.bag.connections}
        self.answers = [
            bag.add_topic(topic, type_name(output.message_type),
                          recorded_qos(output.profile()), self.store)
            for topic, output in zip(self.topics, self.outputs)]
        if 'labels' in self.predictor.available:
            space = bag.add_topic(f'{self.namespace}/{LABEL_SPACE}', type_name(String),
                                  recorded_qos(qos.latched()), self.store)
            if first:
                text = label_space_json(self.predictor.labels, self.parameters)
                bag.write(space, self.bag.start_time, serialize_message(String(data=text)))

    def copy(self, record: Record) -> None:
        """Write a message as recorded."""
        self.out.write(self.copies[record.connection.id], record.time, record.data)

    def answer(self, paired: PairedImage, refused: Counter) -> None:
        """Write the outputs of a frame at the time of its image, or count why there are none."""
        try:
            messages = [serialize_message(message) for message in self.messages(paired)]
        except MemoryError:  # the predictor has tried everything; the next frame fails, too
            raise
        except Exception as error:  # noqa: BLE001 - one bad frame must not affect the others
            reason, trouble = failure_reason(error)
            refused[reason] += 1
            self._note(reason, f'the image at {paired.time} ns is not processed: {trouble}')
            return
        for connection, message in zip(self.answers, messages):
            self.out.write(connection, paired.time, message)

    def messages(self, paired: PairedImage) -> list[Any]:
        """
        Return the messages of the outputs, with the image's header.

        :raises ValueError: if the frame cannot be processed.
        """
        if paired.image is None:
            raise MalformedInput('message', paired.problem)
        camera_info = self.fixed or paired.camera_info
        if camera_info is None:
            raise MalformedInput(
                'no camera_info', 'expected one with the frame '
                                  f'{paired.image.header.frame_id!r:.80}')
        frame = to_frame(
            paired.image, camera_info, self.bit_depth, self.parameters.max_pixels,
            self.rectifier)
        if not self.fixed:
            self._note('frame', pairing_warning(paired.image.header, camera_info))
        calibration = calibration_of(camera_info)
        self._note('distortion', distortion_warning(
            calibration, self.parameters.rectify, self.image_topic))
        self._note('calibration', contradictions(calibration))
        self._note('focal length', self.predictor.focal_problem(frame))
        prediction = self._predict(frame)
        if self.scale is not None and prediction.depth is not None:
            self.scale.correct(prediction, frame.K, self.predictor.max_depth)
        packet = FramePacket(
            paired.image, frame=frame, labels=self.predictor.labels, parameters=self.parameters,
            prediction=void_uncertain_labels(prediction, self.parameters))
        return [output.build(packet) for output in self.outputs]

    def _predict(self, frame: Frame) -> Prediction:
        """Return the maps of a frame, before their scale is corrected."""
        if not self.maps:
            return Prediction()
        if isinstance(self.predictor, TemporalPredictor) and self.scale is not None:
            return self.predictor.predict(frame, self.maps, scale=self.scale.factor)
        return self.predictor.predict(frame, self.maps)

    def _note(self, kind: str, trouble: str) -> None:
        """Report the first problem of each kind."""
        if trouble and kind not in self.noted:
            self.noted.add(kind)
            self.report(trouble)


def stated_mount(parameters: PerceptionParameters) -> Mount | None:
    """
    Return the mount of a bag's camera from the parameters, or None if they have none.

    :raises ValueError: if the mount is to come from transforms, or is incomplete.
    """
    if parameters.ground_frame:
        raise ValueError(f'ground_frame: got {parameters.ground_frame!r}, expected none, since '
                         'transforms are not read from bags: set camera_height, camera_pitch and '
                         'camera_roll instead')
    return mount_of(
        parameters.camera_height, parameters.camera_pitch, parameters.camera_roll)


def mount_scale(parameters: PerceptionParameters, predictor: Any) -> MountScale | None:
    """
    Return the scale correction for the camera's mount, or None without a mount.

    :raises ValueError: if the mount is invalid, or the model lacks a required output.
    """
    mount = stated_mount(parameters)
    if mount is None:
        return None
    missing = missing_maps(predictor.available)
    if missing:
        raise ValueError(missing)
    return MountScale(mount, wheel_ground(predictor.labels))


def failure_reason(error: Exception) -> tuple[str, str]:
    """Return the reason for counting a failed frame, and a line for the user."""
    if isinstance(error, MalformedInput):
        return error.reason, str(error)
    if isinstance(error, ValueError):
        return 'model input', str(error)
    return 'failure', describe_error(error)


def chosen_outputs(names: Sequence[str], available: frozenset[str],
                   parameters: PerceptionParameters) -> list[Output]:
    """
    Return the outputs with the given names.

    :param names: topics of the node, or `all`; empty for `DEFAULT_TOPICS`.
    :param available: maps that the model predicts.
    :raises ValueError: if the model does not provide an output; the message lists the provided
        ones.
    """
    given = {output.topic: output for output in available_outputs(available, parameters)}
    if 'all' in names:
        return list(given.values())
    wanted = [name.strip('/') for name in names] or [
        name for name in DEFAULT_TOPICS if name in given]
    unknown = [name for name in wanted if name not in given]
    if unknown:
        hint = '' if parameters.rectify else ', and with rectify sync/image_rect'
        raise ValueError(f'outputs: the model does not give {", ".join(unknown)}, expected all '
                         f'or some of {", ".join(given)}{hint}')
    return [output for name, output in given.items() if name in wanted]


def recorded_qos(profile: QoSProfile) -> Any:
    """Return a publisher's quality of service in the format of bags."""
    return rosbag2.qos(
        depth=profile.depth, latched=profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        reliable=profile.reliability == ReliabilityPolicy.RELIABLE)
