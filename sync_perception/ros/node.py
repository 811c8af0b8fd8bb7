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


"""The perception node: camera images in; depth, labels and a semantic point cloud out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import os
import time
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from sync_perception.resources import default_model_folder
from sync_perception.ros import executor, qos
from sync_perception.ros.camera_info import CameraInfoCache
from sync_perception.ros.conversions import MalformedInput, to_frame
from sync_perception.ros.counters import Counters
from sync_perception.ros.outputs import (
    EXTRA_OUTPUTS,
    label_space_json,
    Output,
    OUTPUTS,
    Result,
)
from sync_perception.ros.parameter_server import ParameterServer
from sync_perception.ros.parameters import PerceptionParameters
from sync_perception.ros.worker import NewestWorker
from sync_perception.types import Prediction

LOG_PERIOD = 5.0  # seconds between two log lines about the same trouble


@dataclass(frozen=True)
class Arrival:
    """
    An image and when it came.

    :param time: seconds of the monotonic clock.
    """

    image: Image | CompressedImage
    time: float


def load_predictor(parameters: PerceptionParameters):
    """
    Load the model that the parameters name.

    :raises ValueError: if the folder, the device or a value is not as expected.
    """
    # torch takes seconds to import: only when there is a model to load
    from sync_perception.runtime.predictor import Predictor
    return Predictor(
        parameters.model or default_model_folder(), device=parameters.device,
        half=parameters.half, max_depth=parameters.max_depth or None)


class PerceptionNode(LifecycleNode):
    """
    Turns every camera frame it has time for into those topics of `outputs` that the model gives.

    The executor's thread only receives messages; one worker thread does everything else, always
    with the newest image. Configuring loads the model, activating starts listening to the camera.

    :param load_predictor: makes the predictor of the node's parameters.
    :param node_arguments: go to the LifecycleNode.
    """

    def __init__(self, *, load_predictor: Callable[[PerceptionParameters], Any] = load_predictor,
                 **node_arguments: Any):
        super().__init__('perception', **node_arguments)
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._change_state_or_refuse
        self.load_predictor = load_predictor
        self.parameters = ParameterServer(self, PerceptionParameters)
        for name in self.parameters.unknown:
            self.get_logger().warning(f'there is no parameter {name}: it has no effect')
        self.counters = Counters()
        self.camera_infos = CameraInfoCache()
        self.predictor = None
        self.outputs: list[tuple[Output, Any]] = []
        self.label_space_publisher = None
        self.inputs: list[Any] = []
        self.worker: NewestWorker[Arrival] | None = None
        self.last_logged: dict[str, float] = {}

    def autostart(self) -> None:
        """Configure and activate, unless the parameter `autostart` says no."""
        if self.parameters.values.autostart:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and create the publishers; on failure say why and stay as before."""
        try:
            if self.parameters.problems:
                raise ValueError('; '.join(self.parameters.problems.values()))
            self.predictor = self.load_predictor(self.parameters.values)
            self._create_publishers()
        except Exception as error:  # noqa: BLE001 - whatever it is, the node must live
            if self.context.ok():  # otherwise the node is just being stopped
                self.get_logger().error(f'cannot configure: {type(error).__name__}: {error}')
            self._release()
            return TransitionCallbackReturn.FAILURE
        self.parameters.locked = True
        facts = ', '.join(f'{key} {value}' for key, value in self.predictor.describe().items())
        self.get_logger().info(f'configured: {facts}')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the camera."""
        self.counters = Counters()
        self.worker = NewestWorker(self._process, self._count_dropped)
        try:
            self._create_subscriptions()
        except Exception as error:  # noqa: BLE001 - such as a QoS override that does not exist
            self.get_logger().error(f'cannot activate: {type(error).__name__}: {error}')
            self._stop_listening()
            return TransitionCallbackReturn.FAILURE
        topics = ' and '.join(subscription.topic_name for subscription in self.inputs)
        self.get_logger().info(f'active: listening to {topics}')
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the frame in hand and stop listening."""
        self._stop_listening()
        self.get_logger().info(f'inactive: {self.counters.summary()}')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back the model and the publishers."""
        result = super().on_cleanup(state)
        self._release()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back everything, from whatever state."""
        self.close()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin anew after a transition that raised."""
        self.close()
        return super().on_error(state)

    def close(self) -> None:
        """Stop the worker and give back the model and all topics."""
        self._stop_listening()
        self._release()

    def _change_state_or_refuse(
            self, request: ChangeState.Request, response: ChangeState.Response
            ) -> ChangeState.Response:
        """Refuse a transition that the present state lacks: in rclpy it ends the executor."""
        try:
            return self._change_state(request, response)
        except RuntimeError as error:  # rclpy's RCLError
            transition = request.transition
            self.get_logger().error(
                f'refused the transition {transition.label or transition.id}: {error}')
            response.success = False
            return response

    def _create_publishers(self) -> None:
        available = self.predictor.available
        absent = [output.topic for output in OUTPUTS if not output.needs <= available]
        if absent:
            self.get_logger().info(
                f'the model gives {", ".join(sorted(available))} only: no {", ".join(absent)}')
        for output in (*EXTRA_OUTPUTS, *OUTPUTS):
            if output.needs <= available:
                publisher = self.create_lifecycle_publisher(
                    output.message_type, output.topic, output.profile(),
                    qos_overriding_options=qos.overridable())
                self.outputs.append((output, publisher))
        if 'labels' in available:
            self.label_space_publisher = self.create_publisher(
                String, 'sync/label_space', qos.latched())
            self.label_space_publisher.publish(
                String(data=label_space_json(self.predictor.labels, self.parameters.values)))

    def _create_subscriptions(self) -> None:
        image_type, topic = Image, 'image'
        if self.parameters.values.image_transport == 'compressed':
            # the convention of image_transport: beside the raw topic, wherever it was remapped to
            image_type, topic = CompressedImage, f'{self.resolve_topic_name("image")}/compressed'
        self.inputs = [
            self.create_subscription(
                CameraInfo, 'camera_info', self._receive_camera_info, qos.camera_info_input(),
                qos_overriding_options=qos.overridable()),
            self.create_subscription(
                image_type, topic, self._receive_image, qos.image_input(),
                qos_overriding_options=qos.overridable())]

    def _stop_listening(self) -> None:
        if self.worker is not None:
            self.worker.stop()
            self.worker = None
        for subscription in self.inputs:
            self.destroy_subscription(subscription)
        self.inputs = []
        self.camera_infos = CameraInfoCache()

    def _release(self) -> None:
        for _, publisher in self.outputs:
            self.destroy_lifecycle_publisher(publisher)
        self.outputs = []
        if self.label_space_publisher is not None:
            self.destroy_publisher(self.label_space_publisher)
            self.label_space_publisher = None
        self.predictor = None
        self.parameters.unlock()

    def _receive_camera_info(self, camera_info: CameraInfo) -> None:
        if any(camera_info.d):
            self._log_seldom('distortion', 'camera_info states distortion: images are taken to '
                             'be rectified, and P to be their intrinsics', period=float('inf'))
        self.camera_infos.add(camera_info)
        self.worker.retry()

    def _receive_image(self, image: Image | CompressedImage) -> None:
        self.counters.received += 1
        self.worker.offer(Arrival(image, time.monotonic()))

    def _count_dropped(self, _: Arrival) -> None:
        self.counters.dropped += 1

    def _process(self, arrival: Arrival) -> bool:
        """Handle one image on the worker's thread; False to wait for its camera_info."""
        try:
            return self._answer(arrival)
        except ValueError as error:
            reason = error.reason if isinstance(error, MalformedInput) else 'model input'
            self.counters.refused[reason] += 1
            self._log_seldom(reason, f'refused an image: {error}')
        except Exception as error:  # noqa: BLE001 - one bad frame must not end the node
            self.counters.failed += 1
            self._log_seldom('failure', f'a frame failed: {type(error).__name__}: {error}')
        return True

    def _answer(self, arrival: Arrival) -> bool:
        image = arrival.image
        wanted = [(output, publisher) for output, publisher in self.outputs
                  if publisher.get_subscription_count()]
        if not wanted:
            self.counters.unwanted += 1
            return True
        size = (image.height, image.width) if isinstance(image, Image) else None
        camera_info = self.camera_infos.find(image.header, size)
        if camera_info is None:
            self._log_seldom(
                'no camera_info', f'got an image of frame {image.header.frame_id!r}, waiting for '
                f'its camera_info on {self.inputs[0].topic_name}')
            return False
        self._publish(image, camera_info, wanted)
        self.counters.published += 1
        self.counters.durations.append(time.monotonic() - arrival.time)
        return True

    def _publish(self, image: Image | CompressedImage, camera_info: CameraInfo,
                 wanted: list[tuple[Output, Any]]) -> None:
        frame = to_frame(image, camera_info)
        needs = frozenset().union(*(output.needs | output.uses for output, _ in wanted))
        needs &= self.predictor.available
        prediction = self.predictor.predict(frame, needs) if needs else Prediction()
        result = Result(
            header=image.header, camera_info=camera_info, frame=frame, prediction=prediction,
            labels=self.predictor.labels, parameters=self.parameters.values)
        for output, publisher in wanted:
            publisher.publish(output.build(result))

    def _log_seldom(self, trouble: str, message: str, period: float = LOG_PERIOD) -> None:
        """Warn at most once in a period about each kind of trouble."""
        now = time.monotonic()
        if now - self.last_logged.get(trouble, -float('inf')) > period:
            self.last_logged[trouble] = now
            self.get_logger().warning(message)


def make_node() -> PerceptionNode:
    """Create the node and start it."""
    node = PerceptionNode()
    node.autostart()
    return node


def main(arguments: list[str] | None = None) -> int:
    """Run the perception node as a process, and return its exit status."""
    # By default OpenMP's threads spin while they wait for one another. On cores that others use
    # as well a frame then takes seconds; torch, not yet imported, reads this when it loads.
    os.environ.setdefault('GOMP_SPINCOUNT', '1000')
    return executor.run(make_node, arguments)


if __name__ == '__main__':
    raise SystemExit(main())
