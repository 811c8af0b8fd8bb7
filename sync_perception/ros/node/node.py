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


"""The perception node, from camera images to depth, labels and a semantic point cloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.timer import Timer
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool
from sync_perception.mapping.trajectory import Located
from sync_perception.ros.core.managed_node import ManagedNode
from sync_perception.ros.core.services import run_after
from sync_perception.ros.core.worker import Worker
from sync_perception.ros.health.consistency_monitor import ConsistencyMonitor
from sync_perception.ros.health.diagnostics import Reporter
from sync_perception.ros.health.report import Report
from sync_perception.ros.node.camera import Camera
from sync_perception.ros.node.label_topics import LabelTopics
from sync_perception.ros.node.model_loading import load_monitor, load_predictor, ModelLoader
from sync_perception.ros.node.mounting import StaticTransforms
from sync_perception.ros.node.outputs import available_outputs, OUTPUTS
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.node.pipeline import Pipeline
from sync_perception.ros.node.temporal import check_fusible, waiting_frames
from sync_perception.ros.node.warm_up import KnownSizes
from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.ros.parameters.poses import VISUAL
from sync_perception.ros.parameters.server import is_plain
from sync_perception.ros.poses.waiting_frames import POSE_POLL
from sync_perception.types import MalformedInput


class PerceptionNode(ManagedNode):
    """
    Life-cycle node that predicts and publishes depth, labels and point clouds of camera images.

    The executor's thread only receives messages. One worker thread processes the newest images,
    or in the offline mode every image. Configuring loads the model, and activating subscribes to
    the cameras. The topics are defined in `outputs`.

    :param load_predictor: function that loads the predictor for the node's parameters.
    :param node_arguments: arguments of the LifecycleNode.
    """

    def __init__(self, *, load_predictor: Callable[[PerceptionParameters], Any] = load_predictor,
                 **node_arguments: Any):
        super().__init__('perception', PerceptionParameters, **node_arguments)
        self.load_predictor = load_predictor
        self.loader = ModelLoader(self)
        self.parameters.hooks['model'] = self._swap_model
        self.parameters.hooks['rectify'] = self._advertise_rectified
        self.cameras: list[Camera] = []
        self.pipeline: Pipeline | None = None
        self.transforms: StaticTransforms | None = None
        self.worker: Worker[FramePacket[Camera]] | None = None
        self.label_topics = LabelTopics(self)
        self.sizes = KnownSizes(self.get_fully_qualified_name(), self.log)
        self.enabled = True
        self.create_service(SetBool, '~/enable', self._enable)
        self.poll: Timer | None = None
        self.reporter = Reporter(self.get_fully_qualified_name())
        for service in self.services:
            if service.srv_type is ChangeState:
                run_after(service, self._prepare_transition)
            elif service.srv_type in (SetParameters, SetParametersAtomically):
                run_after(service, self._prepare_parameters)
        self.guard()

    async def autostart(self) -> None:
        """Configure and activate the node, if the parameter `autostart` is true."""
        if self.parameters.values.autostart:
            await self._preload()
        if self.state == 'unconfigured':  # otherwise another client has already configured it
            await super().autostart()

    def set_up(self) -> None:
        """Load the model and create the publishers."""
        values = self._checked_values()
        predictor, monitor = self.loader.take(self._load_models, values)
        check_fusible(values, predictor)
        self.transforms = StaticTransforms(self) if values.ground_frame else None
        self.pipeline = Pipeline(
            predictor, lambda: self.parameters.values, self.get_clock(), self.log, monitor,
            self.transforms and self.transforms.mount)
        self.cameras = [Camera(self, name, self.log, queue)
                        for queue, name in enumerate(values.cameras)]
        self._advertise()
        self._log_model('configured')

    def start(self) -> None:
        """Subscribe to the cameras and start the worker."""
        self.pipeline.halted = ''
        values = self.parameters.values
        if values.temporal == 'fuse' and values.poses_source != VISUAL:
            self.poll = self.steady_timer(POSE_POLL, self._advance)
        self._start_worker()
        if self.enabled:
            self._listen()
        else:
            self.get_logger().info('active, but disabled: images are ignored')

    def halt(self) -> None:
        """Finish the current frames and unsubscribe from the cameras."""
        self._stop_worker()
        for camera in self.cameras:
            camera.unsubscribe()
        self.worker = None
        if self.poll is not None:
            self.destroy_timer(self.poll)
            self.poll = None

    def release(self) -> None:
        """Release the model and the publishers."""
        for camera in self.cameras:
            camera.advertise(())
        self.label_topics.withdraw()
        if self.transforms is not None:
            self.transforms.close()
        self.cameras, self.pipeline, self.transforms = [], None, None

    def reports(self) -> list[Report]:
        """Return the reports on the model and on every camera."""
        for camera in self.cameras:
            camera.subscribe_to_latched()
            camera.drop_resolved_mismatches()
        return self.reporter.reports(
            self.state, self.pipeline, self.cameras, self.problem, self.enabled,
            f'loading {self.loader.loading}' if self.loader.loading else '')

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working, and log what was done."""
        result = super().on_deactivate(state)
        for camera in self.cameras:
            self.get_logger().info(f'inactive: {camera.title}: {camera.counters.summary()}')
        return result

    async def _prepare_transition(self, request: ChangeState.Request) -> None:
        """Load the model before rclpy configures the node, since that would block the executor."""
        wanted = request.transition
        configures = wanted.label == 'configure' if wanted.label else (
            wanted.id == Transition.TRANSITION_CONFIGURE)
        if configures and self.state == 'unconfigured':
            await self._preload()

    async def _prepare_parameters(
            self, request: SetParameters.Request | SetParametersAtomically.Request) -> None:
        """Load another model before it replaces the present one."""
        for parameter in request.parameters:
            values = self.parameters.values
            is_model = (parameter.name == 'model'
                        and parameter.value.type == ParameterType.PARAMETER_STRING)
            if is_model and self.pipeline is not None and (
                    parameter.value.string_value != values.model
                    and is_plain(parameter.value.string_value)):
                await self.loader.prepare(
                    self._load_warm, replace(values, model=parameter.value.string_value))

    async def _preload(self) -> None:
        """Load the models in the parameters, so that configuring has them or their error."""
        values = None
        while values is None or self.loader.is_stale(self.parameters.values):
            try:
                values = self._checked_values()
            except ValueError:
                return  # configuring will report it
            await self.loader.prepare(self._load_models, values)

    def _load_models(
            self, values: PerceptionParameters) -> tuple[Any, ConsistencyMonitor | None]:
        return self._load_warm(values), load_monitor(values)

    def _load_warm(self, values: PerceptionParameters) -> Any:
        """Load a predictor and prepare it for the known image sizes of the cameras."""
        predictor = self.load_predictor(values)
        self.sizes.warm_up(predictor, values.cameras)
        return predictor

    def _checked_values(self) -> PerceptionParameters:
        """
        Return the parameters with the consumer's preset applied.

        :raises ValueError: if a parameter is invalid.
        """
        if self.parameters.problems:
            raise ValueError('; '.join(self.parameters.problems.values()))
        self.parameters.preset(CONSUMERS[self.parameters.values.consumer].parameters)
        return self.parameters.values

    def _log_model(self, event: str) -> None:
        """Log the model and its device, and whether its depth is only relative."""
        predictor = self.pipeline.predictor
        facts = ', '.join(f'{key} {value}' for key, value in predictor.describe().items())
        self.get_logger().info(f'{event}: {facts}')
        if predictor.relative:
            self.get_logger().warning(predictor.relative)

    def _advertise(self) -> None:
        """Create the publishers of the model's outputs, and publish its label space."""
        predictor = self.pipeline.predictor
        outputs = available_outputs(predictor.available, self.parameters.values)
        absent = [output.topic for output in OUTPUTS if output not in outputs]
        if absent:
            self.get_logger().info(f'the model gives {", ".join(sorted(predictor.available))} '
                                   f'only: no {", ".join(absent)}')
        for camera in self.cameras:
            camera.advertise(outputs, active=self.worker is not None)
        self.label_topics.withdraw()
        if 'labels' in predictor.available:
            self.label_topics.publish(predictor.labels, self.parameters.values)

    def _start_worker(self) -> None:
        self.worker = Worker(
            self.pipeline.process, self._count_dropped, queues=len(self.cameras),
            keep_all=self.parameters.values.offline, after=self.pipeline.straggler,
            together=(self.pipeline.predictor.takes_batches
                      and self.parameters.values.temporal == 'off'))

    def _listen(self) -> None:
        values = self.parameters.values
        for camera in self.cameras:
            camera.subscribe(self._receive_image, self._receive_camera_info,
                             compressed=values.image_transport == 'compressed',
                             keep_all=values.offline)
            camera.waiting = waiting_frames(
                self, lambda: self.parameters.values, self._offer, self._count_dropped,
                partial(camera.count_refused, message='a pose'))
            topics = ' and '.join(subscription.topic_name for subscription in camera.inputs)
            self.get_logger().info(f'listening to {topics}')

    def _stop_worker(self) -> None:
        """Stop the worker; a frame that takes too long is abandoned."""
        if self.worker is not None and not self.worker.stop():
            self.pipeline.cancel(self.worker.thread)
            self.get_logger().warning(
                'the current frame takes too long: it is abandoned, and its computation ends in '
                'the background')

    def _swap_model(self, model: str) -> None:
        """
        Replace the model of the configured node; the old one is used until the new one is loaded.

        :raises ValueError: if loading fails; the node is unchanged.
        """
        if self.pipeline is None:
            return
        try:
            values = replace(self.parameters.values, model=model)
            predictor = self.loader.take(self._load_warm, values)
            check_fusible(values, predictor)
        except Exception as error:  # on any error, the old model stays in use
            raise ValueError(
                f'cannot load {model!r}, keeping the current model: {type(error).__name__}: '
                f'{error}'
                ) from error
        active = self.worker is not None
        self._stop_worker()
        self.pipeline.predictor, self.pipeline.halted = predictor, ''
        self.pipeline.straggler = None  # it uses the old predictor
        self._advertise()
        if active:
            self._start_worker()
        self._log_model('swapped the model')

    def _advertise_rectified(self, rectify: bool) -> None:
        """Create or remove the publisher of the rectified images."""
        if self.pipeline is None:
            return
        active = self.worker is not None
        self._stop_worker()  # it may be using a publisher that is removed
        outputs = available_outputs(
            self.pipeline.predictor.available, replace(self.parameters.values, rectify=rectify))
        for camera in self.cameras:
            camera.advertise(outputs, active=active)
        if active:
            self._start_worker()

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Enable or disable listening to the cameras, without a state transition."""
        changed, self.enabled = self.enabled != request.data, request.data
        if self.worker is not None and changed:
            self.get_logger().info('enabled' if self.enabled else 'disabled: images are ignored')
            if self.enabled:
                self._listen()
            else:
                for camera in self.cameras:
                    camera.unsubscribe()
        response.success = True
        response.message = 'frames are answered' if self.enabled else 'images are ignored'
        if self.worker is None:
            response.message += ' as soon as the node is active'
        return response

    def _receive_camera_info(self, camera: Camera, camera_info: CameraInfo) -> None:
        try:
            camera.camera_infos.add(camera_info)
        except MalformedInput as error:
            camera.count_refused(error, 'a camera_info')
            return
        self.pipeline.examine(camera, camera_info)
        size = None if camera.counters.published else self.sizes.note(
            camera.name, camera_info, self.parameters.values.max_pixels)
        if size is not None:
            warm_up = partial(self.pipeline.warm_up, size, self.sizes.remember)
            self.worker.run(warm_up, camera.queue)
        self.worker.retry(camera.queue)

    def _receive_image(self, camera: Camera, image: Image | CompressedImage) -> None:
        packet = camera.receive(image, self.parameters.values.max_rate)
        if packet is None:
            return
        if camera.waiting is None:
            self.worker.offer(packet, camera.queue)
        else:
            camera.waiting.add(packet)

    def _offer(self, packet: FramePacket[Camera], located: Located) -> None:
        """Hand a frame to the worker, with its pose or the reason why it has none."""
        packet.located = located
        self.worker.offer(packet, packet.camera.queue)

    def _advance(self) -> None:
        """Hand the frames to the worker that have waited long enough for their poses."""
        for camera in self.cameras:
            if camera.waiting is not None:
                camera.waiting.advance()

    def _count_dropped(self, packet: FramePacket[Camera]) -> None:
        if self.pipeline.warming:
            packet.camera.counters.warming_up += 1
        else:
            packet.camera.counters.dropped += 1
