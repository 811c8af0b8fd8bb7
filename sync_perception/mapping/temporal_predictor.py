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


"""Predictor of video frames, of which each is fused with the frames before."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any, Protocol

from sync_perception.labels import LabelSpace
from sync_perception.mapping.odometry import check_outputs, ODOMETRY, ODOMETRY_MAPS, VisualOdometry
from sync_perception.mapping.pose_files import read_trajectory
from sync_perception.mapping.temporal_fusion import FusionSettings, TemporalFusion
from sync_perception.mapping.temporal_modes import TEMPORAL
from sync_perception.mapping.trajectory import Located, Trajectory
from sync_perception.models.network_input import camera_scale, input_size_of
from sync_perception.runtime.memory import is_out_of_memory
from sync_perception.types import Frame, Prediction

OUT_OF_MEMORY = 'the memory of the device was full'
FORWARDED = frozenset({
    'available', 'config', 'describe', 'focal_problem', 'labels', 'max_depth', 'model_name',
    'relative'})
"""Attributes of the wrapped predictor that are the same for fused frames."""


class Odometry(Protocol):
    """Poses that are determined from the frames."""

    def update(self, frame: Frame, prediction: Prediction) -> Located:
        """Return the pose of a frame that follows the others, or why there is none."""


class TemporalPredictor:
    """
    Predictor whose results are fused over the frames of one moving camera.

    It predicts single frames in order, and describes itself as the predictor that it wraps; it
    has no `predict_batch`, since each frame depends on those before.

    :param predictor: predictor of metric depth and labels.
    :param poses: poses by the frames' stamps; or odometry, which determines them; or None if
        `predict` is given them.
    :param settings: weights and thresholds of the fusion.
    :raises ValueError: if the model lacks depth or labels, or its depth is not metric.
    :ivar frames: number of frames.
    :ivar alone: number of frames that were not fused although there were frames before.
    :ivar reason: why the latest frame was not fused; empty if it was, or is the first one.
    :ivar last_reason: why the last frame of those was not fused.
    """

    def __init__(self, predictor: Any, poses: Trajectory | Odometry | None,
                 settings: FusionSettings | None = None):
        check_model(predictor)
        self.predictor, self.poses = predictor, poses
        self.fusion = TemporalFusion(predictor.labels, settings)
        self.frames = self.alone = 0
        self.reason = self.last_reason = ''
        self._latest: int | None = None
        self._scale = 1.0

    @classmethod
    def of(cls, predictor: Any, poses: str, rate: float | None = None) -> TemporalPredictor:
        """Return a predictor with the poses that a user asks for; see `pose_source`."""
        return cls(predictor, pose_source(poses, predictor.labels, rate))

    def __getattr__(self, name: str) -> Any:
        """Return a description of the model, which is that of the wrapped predictor."""
        if name not in FORWARDED:
            raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')
        return getattr(self.predictor, name)

    def predict(self, frame: Frame, outputs: Set[str] | None = None,
                located: Located | None = None, scale: float = 1.0) -> Prediction:
        """
        Return the requested maps of a frame, fused with the frames before; see `Predictor`.

        A frame whose pose is not known is predicted alone, and the reason is kept.

        :param located: the frame's pose, or why there is none; None to get it from `poses`.
        :param scale: metres of the poses per metre that the model predicts. Odometry has the scale
            of the predicted depth whatever this is.
        """
        self.frames += 1
        try:
            output = self.predictor.backend(self.predictor.prepare(frame))
        except Exception as error:  # each library has its own exception
            if not is_out_of_memory(error):
                raise
            self.fusion.reset()
            self._note(OUT_OF_MEMORY)
            return self.predictor.predict(frame, outputs)
        config = self.predictor.config
        scale = 1.0 if self.determines_poses else scale
        self.fusion.rescale(scale / self._scale)
        self._scale = scale
        scale *= camera_scale(config, frame.K, frame.size, input_size_of(config, frame.size))
        if self._latest is not None and frame.stamp < self._latest:
            self.fusion.reset()  # a recording has started again
        located = self.locate(frame, output) if located is None else located
        self._latest = frame.stamp
        self._note(located.reason)
        fused = self.fusion.fuse(output, frame.K, frame.size, scale, located.world_T_camera)
        return self.predictor.finish(fused, frame, outputs)

    @property
    def determines_poses(self) -> bool:
        """Whether the poses come from the frames themselves."""
        return not (self.poses is None or isinstance(self.poses, Trajectory))

    def locate(self, frame: Frame, output: Any) -> Located:
        """Return the pose of a frame; after a jump of the poses, forget the frames before."""
        if self.determines_poses:
            wanted = ODOMETRY_MAPS | ({'uncertainty'} & self.predictor.available)
            return self.poses.update(frame, self.predictor.finish(output, frame, wanted))
        located = self.poses.at(frame.stamp)
        if self._latest is not None and not located.reason:
            reason = self.poses.motion(self._latest, frame.stamp).reason
            if reason:
                self.fusion.reset()
                return Located(located.world_T_camera, reason)
        return located

    def _note(self, reason: str) -> None:
        """Keep why the present frame is predicted alone; '' if it is not."""
        self.reason = reason
        if reason:
            self.alone += 1
            self.last_reason = reason

    def progress(self) -> str:
        """Return how many frames were predicted alone, and the last reason."""
        if not self.alone:
            return f'{self.frames} frames were fused over time'
        return (f'{self.alone} of {self.frames} frames were not fused with those before, the last '
                f'of them because {self.last_reason}')


def check_model(predictor: Any) -> None:
    """
    Check that the results of a model can be fused.

    :raises ValueError: if the model lacks depth or labels, or its depth is not metric.
    """
    check_outputs('temporal: fuse', predictor)
    if predictor.relative:
        raise ValueError(f'temporal: fuse needs metric depth, but {predictor.relative}')


def pose_source(poses: str, space: LabelSpace, rate: float | None = None
                ) -> Trajectory | VisualOdometry:
    """
    Return the poses that a user asks for.

    :param poses: a file or folder that `read_trajectory` reads, or `odometry`.
    :param space: label space of the model.
    :param rate: frames per second of poses without times.
    :raises ValueError: if the file is malformed.
    :raises FileNotFoundError: if there is no such file.
    """
    return VisualOdometry(space) if poses == ODOMETRY else read_trajectory(Path(poses), rate)


def check_temporal(temporal: str, poses: str, mount: bool = False) -> None:
    """
    Check a user's arguments of temporal fusion, before a model is loaded.

    :param temporal: off or fuse.
    :param poses: see `pose_source`.
    :param mount: whether each image gets a scale of its own by the camera's height.
    :raises ValueError: if they are invalid or contradict each other.
    """
    if temporal not in TEMPORAL:
        raise ValueError(f'temporal: expected {" or ".join(TEMPORAL)}, got {temporal!r}')
    if temporal == 'off' and poses:
        raise ValueError(f'poses: {poses!r} has no effect with temporal off, expected fuse')
    if temporal == 'fuse' and not poses:
        raise ValueError(
            'temporal: fuse needs the poses of the camera, got none: expected a file, or '
            f'{ODOMETRY} to determine them from the images')
    if mount and poses not in ('', ODOMETRY):
        raise ValueError(
            'poses: the camera height gives each image a scale of its own, which is known only '
            'after the image is fused, and poses of a file have another one; expected '
            f'{ODOMETRY}, no camera height, or process-bag, which learns one scale for all images')
