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

"""The way of a frame through the node: images in, messages published."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event, Thread
import time
from typing import Any

import numpy as np
from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sync_perception.calibration.camera_calibration import CalibrationError
from sync_perception.calibration.plausibility import contradictions, distortion_doubt
from sync_perception.images.bit_depth import BitDepth
from sync_perception.labels import VOID
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.health.consistency_monitor import ConsistencyMonitor
from sync_perception.ros.io.calibration_messages import calibration_of
from sync_perception.ros.io.camera_info import pairing_doubt
from sync_perception.ros.io.conversions import check_frame_id, stamp_nanoseconds, to_frame
from sync_perception.ros.node.camera import Camera
from sync_perception.ros.node.mounting import maps_to_scale, mount_of_camera
from sync_perception.ros.node.outputs import maps_of, Output, Result, sure_labels
from sync_perception.ros.node.warm_up import warm_up
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.runtime.mount_scale import Mount, MountScale
from sync_perception.types import Frame, MalformedInput, Prediction

SPARSE = 16
"""Every how many rows and columns a pixel is looked at first."""
MOST_FRAMES = 6
"""Frames that a message lists."""


@dataclass(frozen=True, eq=False)
class Arrival:
    """
    An image and when it came.

    :param time: seconds of the monotonic clock.
    """

    camera: Camera
    image: Image | CompressedImage
    time: float


@dataclass(frozen=True, eq=False)
class Job:
    """
    A frame that is to be answered.

    :param wanted: the outputs that somebody subscribes to, with their publishers.
    :param maps: what the model is asked for.
    :param cancelled: whether nobody waits for the answer any more.
    :param scale: corrects the scale of depth by the camera's mount, where that is known.
    """

    arrival: Arrival
    frame: Frame
    wanted: list[tuple[Output, Any]]
    maps: frozenset[str]
    cancelled: Event
    scale: MountScale | None = None


class Pipeline:
    """
    Turns images into messages; everything runs on the worker's thread.

    :param predictor: the model.
    :param parameters: gives the node's parameters as they are now.
    :param clock: the node's, for the age of what is published.
    :param log: for frames that are refused or fail.
    :param monitor: judges now and then whether depth and labels fit together, if there is one.
    :param transforms: gives the mount of a camera's frame above a ground frame, if it is asked.
    :ivar halted: why no frame is answered any more, or empty.
    :ivar warming: for which images the network is being prepared; empty most of the time.
    :ivar cancelled: belongs to the frames in hand.
    :ivar straggler: the thread that was left with a frame in hand, if there was one.
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
        Give up the frames in hand: nothing of them is published or counted any more.

        :param straggler: the thread that computes them; the predictor is its own until it ends.
        """
        self.cancelled.set()
        self.cancelled, self.straggler = Event(), straggler

    def warm_up(self, size: tuple[int, int], done: Callable[[], None]) -> None:
        """
        Prepare the network for images that are about to come.

        :param size: their height and width.
        :param done: called afterwards.
        """
        self.warming = f'warming up for images of {size[1]}x{size[0]} pixels'
        warm_up(self.predictor, size, self.log)
        self.warming = ''
        done()

    def process(self, arrivals: Iterable[Arrival]) -> list[Arrival]:
        """
        Answer images, those of several cameras in one call of the network.

        :return: those that wait for their camera_info.
        """
        jobs: list[Job] = []
        left: list[Arrival] = []
        cancelled = self.cancelled
        for arrival in arrivals:
            try:
                job = self._begin(arrival, left, cancelled)
            except Exception as error:  # noqa: BLE001 - one bad frame must not end the node
                self._refuse(arrival.camera, error, cancelled)
            else:
                jobs += [] if job is None else [job]
        if jobs:
            self._answer(jobs)
        return left

    def _begin(self, arrival: Arrival, left: list[Arrival], cancelled: Event) -> Job | None:
        camera, image = arrival.camera, arrival.image
        wanted = camera.wanted()
        if not wanted:
            camera.counters.unwanted += 1
            return None
        check_frame_id(image.header)
        size = (image.height, image.width) if isinstance(image, Image) else None
        camera_info = camera.camera_infos.find(image.header, size)
        if camera_info is None:
            self._note(camera, 'camera_info', missing_camera_info(camera, image.header.frame_id))
            left.append(arrival)
            return None
        self._note(camera, 'camera_info', pairing_doubt(image.header, camera_info))
        self.examine(camera, camera_info)
        rectifier = camera.rectifier if self.parameters().rectify else None
        maps = maps_of(
            (output for output, _ in wanted), self.predictor.available, self.parameters())
        frame = to_frame(image, camera_info, self._bit_depth(camera),
                         self.parameters().max_pixels, rectifier)
        scale = self._scale(camera, frame.frame_id) if maps else None
        return Job(arrival, frame, wanted, maps_to_scale(maps, scale), cancelled, scale)

    def _scale(self, camera: Camera, frame_id: str) -> MountScale | None:
        """Return what corrects the scale of a camera's depth, if its mount is known."""
        mount, problem = mount_of_camera(
            self.parameters(), frame_id, self.predictor.available, self.transforms)
        self._note(camera, 'mount', problem)
        return camera.mounting.prepare(mount, self.predictor.labels)

    def _bit_depth(self, camera: Camera) -> BitDepth:
        camera.bit_depth.significant_bits = self.parameters().image_significant_bits
        return camera.bit_depth

    def examine(self, camera: Camera, camera_info: CameraInfo) -> None:
        """Note what is doubtful about a calibration; one that must be refused has no say here."""
        try:
            calibration = calibration_of(camera_info)
        except CalibrationError:
            return
        self._note(camera, 'distortion', distortion_doubt(
            calibration, self.parameters().rectify, camera.image_topic))
        self._note(camera, 'calibration', contradictions(calibration))

    def _answer(self, jobs: list[Job]) -> None:
        if jobs[0].cancelled.is_set():
            return
        if self.halted:
            for job in jobs:
                job.arrival.camera.counters.failed += 1
            return
        judged = self._choose_judged(jobs)
        try:
            predictions = self._predict(
                [job.frame for job in jobs],
                [job.maps | self.monitor.MAPS if job is judged else job.maps for job in jobs])
        except MemoryError as error:  # the predictor has tried all that it can
            self._halt(jobs, error)
        except Exception as error:  # noqa: BLE001 - one bad frame must not end the node
            if len(jobs) == 1:
                self._refuse(jobs[0].arrival.camera, error, jobs[0].cancelled)
            else:
                for job in jobs:  # it may be one frame of them only
                    self._answer([job])
        else:
            for job, prediction in zip(jobs, predictions):
                self._finish(job, prediction, job is judged)

    def _predict(self, frames: list[Frame], maps: list[frozenset[str]]) -> list[Prediction]:
        """Ask the network, in one call, about those frames of which any map is wanted."""
        asked = [index for index, wanted in enumerate(maps) if wanted]
        answers = iter(self.predictor.predict_batch(
            [frames[index] for index in asked], [maps[index] for index in asked]) if asked else ())
        return [next(answers) if wanted else Prediction() for wanted in maps]

    def _finish(self, job: Job, prediction: Prediction, judged: bool) -> None:
        camera = job.arrival.camera
        if job.cancelled.is_set():
            return
        try:
            self._correct(job, prediction)
            if judged:
                self._judge(job, prediction)
            published = self._publish(job, prediction)
        except Exception as error:  # noqa: BLE001 - one bad frame must not end the node
            self._refuse(camera, error, job.cancelled)
            return
        age = self.clock.now().nanoseconds - stamp_nanoseconds(job.arrival.image.header)
        camera.counters.published += 1
        camera.counters.durations.append(time.monotonic() - job.arrival.time)
        camera.counters.ages.append(age * 1e-9)
        self._note(camera, 'focal length', self.predictor.focal_problem(job.frame))
        self._note(camera, 'no content', missing_content(published))

    def _correct(self, job: Job, prediction: Prediction) -> None:
        """Correct the scale of depth by the camera's mount, before anything is made of it."""
        if job.scale is None:
            return
        if prediction.depth is not None and prediction.labels is not None:
            job.scale.correct(prediction, job.frame.K, self.predictor.max_depth)
        self._note(job.arrival.camera, 'mount scale', job.scale.problem)

    def _publish(self, job: Job, prediction: Prediction) -> Prediction:
        """Publish what is wanted of a frame; return the maps that it was made of."""
        parameters = self.parameters()
        result = Result(
            header=job.arrival.image.header, frame=job.frame,
            prediction=sure_labels(prediction, parameters), labels=self.predictor.labels,
            parameters=parameters)
        for output, publisher in job.wanted:
            publisher.publish(output.build(result))
        return result.prediction

    def _choose_judged(self, jobs: list[Job]) -> Job | None:
        """Return the frame that the monitor is to judge, if it is time for one."""
        if self.monitor is None:
            return None
        index = self.monitor.choose(
            [job.arrival.camera.name for job in jobs], self.parameters().consistency_period)
        return None if index is None else jobs[index]

    def _judge(self, job: Job, prediction: Prediction) -> None:
        try:
            problem = self.monitor.judge(
                job.arrival.camera.name, prediction, job.frame, self.predictor.labels,
                self.parameters().consistency_minimum)
        except Exception as error:  # noqa: BLE001 - a judge that fails must not cost a frame
            problem = f'depth and labels cannot be compared: {type(error).__name__}: {error}'
        self._note(job.arrival.camera, 'consistency', problem)

    def _note(self, camera: Camera, kind: str, problem: str) -> None:
        """Remember what is doubtful about a camera's latest frame, and warn when it begins."""
        if not problem:
            camera.troubles.pop(kind, None)
            return
        if kind not in camera.troubles:  # else it is in /diagnostics, and was logged
            self.log.warn(f'{kind} {camera.name}', f'{camera.title}: {problem}')
        camera.troubles[kind] = problem

    def _refuse(self, camera: Camera, error: Exception, cancelled: Event) -> None:
        if cancelled.is_set() or not camera.node.context.ok():
            return  # it is being stopped: nothing can be published any more
        if isinstance(error, ValueError):
            reason = error.reason if isinstance(error, MalformedInput) else 'model input'
            camera.counters.refused[reason] += 1
            self.log.warn(f'{reason} {camera.name}', f'refused an image: {error}')
        else:
            camera.counters.failed += 1
            self.log.warn(
                f'failure {camera.name}', f'a frame failed: {type(error).__name__}: {error}')

    def _halt(self, jobs: list[Job], error: MemoryError) -> None:
        self.halted = f'out of memory: {error}'
        self.log.logger.error(
            f'{self.halted}; no frame is answered until the node is activated again or gets '
            'another model')
        for job in jobs:
            job.arrival.camera.counters.failed += 1


def missing_camera_info(camera: Camera, frame_id: str) -> str:
    """Describe which calibration an image waits for, and which ones have come instead."""
    topic = camera.node.resolve_topic_name(camera.topic('camera_info'))
    problem = f'got an image of frame {frame_id!r:.80}, waiting for its camera_info on {topic}'
    frames = camera.camera_infos.frames()
    if not frames:
        return problem
    return (f'{problem}, where those of the frames '
            f'{", ".join(f"{frame!r:.80}" for frame in frames[:MOST_FRAMES])} come: remap '
            'camera_info to a topic of this camera alone, or have its driver use one frame_id')


def missing_content(prediction: Prediction) -> str:
    """Say so if a frame has no depth or no label at all; else an empty string."""
    problems = []
    if prediction.depth is not None and is_all(np.isnan, prediction.depth):
        problems.append('depth is NaN everywhere: all is sky, out of range, or nothing that the '
                        'model knows')
    if prediction.labels is not None and is_all(lambda ids: ids == VOID, prediction.labels):
        problems.append('every label is void: nothing that the model knows, or '
                        'semantics.min_confidence is too high')
    return '; '.join(problems)


def is_all(test: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> bool:
    """Tell whether a test holds for all pixels; where it does not, a few of them say so."""
    return bool(test(pixels[::SPARSE, ::SPARSE]).all() and test(pixels).all())
