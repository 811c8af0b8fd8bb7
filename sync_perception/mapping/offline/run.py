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

"""Map of a recording: every frame is predicted and fused at its pose; resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sync_perception.files.locks import output_lock
from sync_perception.files.progress import progress_bar
from sync_perception.files.resume import check_same_settings
from sync_perception.mapping.offline.frame_sources import CameraArguments, FrameSource
from sync_perception.mapping.offline.results import write_map_results
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.mapping.semantic_map.storage import DESCRIPTION
from sync_perception.mapping.semantic_map.surface import LEAST_WEIGHT
from sync_perception.mapping.trajectory import Located, Trajectory
from sync_perception.runtime.mount_scale import correct_scale, missing_maps, Mount
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame, Prediction

CHECKPOINT = 50
"""Frames between two checkpoints: most frames that an interruption loses."""
MAP_FOLDER = 'map'
SENSOR_SIGMA = 0.01
"""Deviation of a depth sensor's depth, relative to it."""
Observer = Callable[[Frame, Prediction, np.ndarray, SemanticMap], None]


@dataclass(frozen=True)
class MapJob:
    """
    What to map, and how.

    :param source: path of the recording, to recognise an interrupted run.
    :param out: folder for the results.
    :param settings: settings of the map.
    :param stride: use every stride-th frame.
    :param frames: number of frames of the recording to use; None for all.
    :param sensor_depth: fuse the depth of the recording's sensor instead of the predicted one.
    :param mount: mount of the camera, which corrects the scale of each frame's depth; or None.
    :param poses: name of the poses, to recognise an interrupted run.
    :param least_weight: least weight of the voxels of the surface that is written.
    :param camera: camera arguments of the command line.
    """

    source: Path
    out: Path
    settings: MapSettings = field(default_factory=MapSettings)
    stride: int = 1
    frames: int | None = None
    sensor_depth: bool = False
    mount: Mount | None = None
    poses: str = ''
    least_weight: float = LEAST_WEIGHT
    camera: CameraArguments = field(default_factory=CameraArguments)

    def identity(self, model: str) -> dict[str, Any]:
        """Return the settings that a run must share with the one that it continues."""
        calibration = self.camera.camera_info and str(self.camera.camera_info.resolve())
        return {'source': str(self.source.resolve()), 'stride': self.stride, 'frames': self.frames,
                'sensor_depth': self.sensor_depth, 'mount': self.mount and asdict(self.mount),
                'poses': self.poses, 'model': model,
                'camera': {**asdict(self.camera), 'camera_info': calibration},
                **{**asdict(self.settings), 'up': list(self.settings.up)}}


def map_recording(
        job: MapJob, source: FrameSource, predictor: Predictor,
        poses: Trajectory | Callable[[Frame, Prediction], Located],
        report: Callable[[str], None] = print, observer: Observer | None = None,
        checkpoint: int = CHECKPOINT) -> dict[str, Any]:
    """
    Map a recording, and write the map, its surface, pictures, grid and trajectory.

    A frame that is broken or has no pose is left out and counted. After an interruption, the same
    call continues from the last checkpoint, and gives the map of an uninterrupted run.

    :param poses: poses by time; or a function of frame and prediction, such as
        `VisualOdometry.update`, which must see every frame: when a run is continued, it is given
        the frames of the interrupted run again.
    :param report: receives lines for the user.
    :param observer: receives each fused frame, its prediction, its pose and the map.
    :param checkpoint: number of frames between checkpoints.
    :return: `frames`, `fused`, `left_out` (by reason), `resumed` (frames of earlier runs) and
        `files`.
    :raises ValueError: if the folder holds another map, or nothing could be fused.
    :raises OSError: if the disk is full; the run can be continued.
    """
    missing = job.mount and missing_maps(predictor.available)
    if missing:
        raise ValueError(missing)
    with output_lock(job.out):
        run = _Run(job, source, predictor, poses, observer, report)
        run.fuse(checkpoint)
        return run.finish()


class _Run:
    """One run: the map, and the counts so far."""

    def __init__(self, job: MapJob, source: FrameSource, predictor: Predictor, poses: Any,
                 observer: Observer | None, report: Callable[[str], None]):
        self.job, self.source, self.predictor = job, source, predictor
        self.observer, self.report = observer, report
        self.trajectory = poses if isinstance(poses, Trajectory) else None
        self.odometry = None if isinstance(poses, Trajectory) else poses
        self.next, self.left_out, self.noted = 0, Counter(), set()
        self.used: list[tuple[int, np.ndarray]] = []
        folder, identity = job.out / MAP_FOLDER, job.identity(predictor.model_name)
        if (folder / DESCRIPTION).is_file():
            self.map, state = SemanticMap.load(folder)
            check_same_settings(job.out, state.get('job', {}), identity,
                                'write elsewhere, or remove it to begin anew')
            self.next, self.left_out = state['next'], Counter(state['left_out'])
            self.used = [(stamp, np.array(pose)) for stamp, pose in state['used']]
            report(f'{job.out}: resuming after {self.next} frames')
        else:
            self.map = SemanticMap(predictor.labels, job.settings, folder)
        self.identity, self.resumed = identity, self.next

    def fuse(self, checkpoint: int) -> None:
        """Fuse the remaining frames, and store the map every `checkpoint` frames."""
        total = self.source.count
        if total is not None:
            total = len(range(0, min(total, self.job.frames or total), self.job.stride))
        with progress_bar('map', total) as advance:
            first = 0 if self.odometry else self.next
            advance(first // self.job.stride)
            since = 0
            for index, frame in self._frames(first):
                self._answer(index, frame)
                advance(1)
                if index >= self.next:
                    self.next, since = index + self.job.stride, since + 1
                    if since >= checkpoint:
                        self._store()
                        since = 0
        self._store()

    def finish(self) -> dict[str, Any]:
        """Write the results, and return what was done."""
        fused = len(self.used)
        for reason, count in self.left_out.items():
            self.report(f'{count} frames were left out: {reason}')
        if not fused:
            raise ValueError(f'no frame of {self.source.title} could be fused: '
                             f'{"; ".join(self.left_out) or "it has no frame"}')
        files = write_map_results(
            self.job.out, self.map, Trajectory(*zip(*self.used)),
            self.job.least_weight)
        return {'frames': fused + self.left_out.total(), 'fused': fused,
                'left_out': dict(self.left_out), 'resumed': self.resumed, 'files': files}

    def _frames(self, first: int) -> Iterator[tuple[int, Frame | ValueError]]:
        for index, frame in self.source.frames(first, self.job.stride):
            if self.job.frames is not None and index >= self.job.frames:
                return
            yield index, frame

    def _answer(self, index: int, frame: Frame | ValueError) -> None:
        """Fuse a frame, or count why it is left out."""
        replayed = index < self.next
        if isinstance(frame, ValueError):
            if not replayed:
                self._leave_out('it is broken', f'frame {index} is left out: {frame}')
            return
        located = self.trajectory.at(frame.stamp) if self.trajectory is not None else None
        if located is not None and located.world_T_camera is None:
            self._leave_out('there is no pose', f'frame {index} is left out: {located.reason}')
            return
        prediction = self._predict(index, frame)
        if located is None:
            located = self.odometry(frame, prediction)
        if replayed:
            return
        if located.world_T_camera is None:
            self._leave_out('there is no pose', f'frame {index} is left out: {located.reason}')
            return
        pose = located.world_T_camera
        self.map.integrate(frame, prediction, pose)
        self.used.append((frame.stamp, pose))
        if self.observer is not None:
            self.observer(frame, prediction, pose, self.map)

    def _predict(self, index: int, frame: Frame) -> Prediction:
        prediction = self.predictor.predict(frame, self.predictor.available - {'normals'})
        if not self.job.sensor_depth:
            correct_scale(prediction, frame, self.job.mount, self.predictor)
            return prediction
        depth = self.source.sensor_depth(index)
        if depth is None or depth.shape != frame.size:
            raise ValueError(f'{self.source.title} has no sensor depth of frame {index}')
        sigma = SENSOR_SIGMA * depth
        return replace(prediction, depth=depth, uncertainty=sigma)

    def _leave_out(self, reason: str, line: str) -> None:
        """Count a frame, and report the first one of each reason."""
        self.left_out[reason] += 1
        if reason not in self.noted:
            self.noted.add(reason)
            self.report(line)

    def _store(self) -> None:
        self.map.commit({
            'job': self.identity, 'next': self.next, 'left_out': dict(self.left_out),
            'used': [[stamp, pose.tolist()] for stamp, pose in self.used]})
