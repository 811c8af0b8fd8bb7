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

"""The command `map`: options to a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sync_perception.mapping.odometry import check_outputs, ODOMETRY, VisualOdometry
from sync_perception.mapping.offline.frame_sources import CameraArguments, FrameSource
from sync_perception.mapping.offline.recording import RerunRecording, RunRecorder
from sync_perception.mapping.offline.run import map_recording, MapJob
from sync_perception.mapping.pose_files import read_trajectory
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.mapping.semantic_map.surface import LEAST_WEIGHT
from sync_perception.mapping.trajectory import Located, Trajectory
from sync_perception.mapping.upright import vertical
from sync_perception.runtime.mount_scale import Mount
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame, Prediction

RADIUS = 4 / 3
"""Radius of the map in memory divided by the range."""
RECORDING = 'recording.rrd'


@dataclass(frozen=True)
class MapOptions:
    """
    Options of the command.

    :param out: folder for the results.
    :param poses: file or folder of poses, or `odometry` for visual odometry; None for those of the
        source.
    :param voxel: edge length of a voxel, metres.
    :param max_range: depth beyond which pixels add no surface, metres.
    :param radius: radius of the map in memory, metres; None for a third more than the range.
    :param up: vertical axis of the world, or `auto`.
    :param stride: use every stride-th frame.
    :param frames: number of frames of the source to use; None for all.
    :param sensor_depth: fuse the sensor's depth.
    :param recording: also write a recording for Rerun.
    :param mount: mount of the camera, or None.
    :param least_weight: least weight of the voxels of the surface that is written.
    """

    out: Path
    poses: str | None = None
    voxel: float = 0.15
    max_range: float = 30.0
    radius: float | None = None
    up: str = 'auto'
    stride: int = 1
    frames: int | None = None
    sensor_depth: bool = False
    recording: bool = False
    mount: Mount | None = None
    least_weight: float = LEAST_WEIGHT


def map_command(
        path: Path, source: FrameSource, arguments: CameraArguments, options: MapOptions,
        load: Callable[[], Predictor], report: Callable[[str], None] = print) -> dict[str, Any]:
    """
    Map a source and report what was written; the model is loaded last.

    :raises ValueError: if there are no poses, or an option is invalid.
    """
    trajectory = None if options.poses == ODOMETRY else poses_of(source, arguments, options)
    settings = MapSettings(
        voxel=options.voxel, max_range=options.max_range,
        radius=RADIUS * options.max_range if options.radius is None else options.radius,
        up=vertical(trajectory, options.up))
    job = MapJob(
        path, options.out, settings, options.stride, options.frames, options.sensor_depth,
        options.mount, options.poses or '', options.least_weight, arguments)
    predictor = load()
    poses = trajectory if trajectory is not None else odometry_poses(predictor, options.mount)
    if options.recording:
        recording = RerunRecording(predictor.labels, options.out / RECORDING, settings.up)
        result = map_recording(
            job, source, predictor, poses, report, RunRecorder(recording))
        recording.close()
        result['files'].append(RECORDING)
    else:
        result = map_recording(job, source, predictor, poses, report)
    report(f'{result["fused"]} of {result["frames"]} frames of {source.title} -> '
           + ', '.join(str(options.out / name) for name in result['files']))
    return result


def poses_of(source: FrameSource, arguments: CameraArguments, options: MapOptions) -> Trajectory:
    """
    Return the poses that the user names, or those of the source.

    :raises ValueError: if there are none.
    """
    if options.poses is not None:
        return read_trajectory(
            options.poses, arguments.rate or source.rate, arguments.number)
    trajectory = source.trajectory()
    if trajectory is None:
        raise ValueError(f'poses: {source.title} comes without poses, expected a file of '
                         'poses, or odometry')
    return trajectory


def odometry_poses(
        predictor: Predictor, mount: Mount | None) -> Callable[[Frame, Prediction], Located]:
    """
    Return the function that gives each frame's pose by visual odometry.

    :raises ValueError: if the model lacks a map that odometry needs.
    """
    check_outputs('poses: odometry', predictor)
    return VisualOdometry(predictor.labels, mount=mount).update
