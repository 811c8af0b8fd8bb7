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

"""The verbs about maps: map a recording, and view maps and cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sync_perception.cli.options import (
    AllowCode,
    BackendName,
    CameraHeight,
    CameraInfo,
    CameraPitch,
    CameraRoll,
    Fx,
    ModelName,
    Precision,
    PredictorDevice,
)
import typer

app = typer.Typer()


@app.command('map')
def map_source(
        source: Annotated[Path, typer.Argument(
            help='A KITTI drive, a folder of images, a sequence of 7-Scenes, a video, or a '
            'rosbag2 bag.')],
        out: Annotated[Path, typer.Option(
            help='Folder for the results, or that of an interrupted run, which is resumed.')],
        poses: Annotated[str | None, typer.Option(
            help='File or folder of poses (KITTI, TUM, 7-Scenes, Virtual KITTI 2, a KITTI drive '
            "with oxts/), or odometry for the camera's own, or for a bag tf or a topic; by "
            'default those that come with the source.')] = None,
        rate: Annotated[float | None, typer.Option(
            help='Frames per second of images and of poses without times.')] = None,
        voxel: Annotated[float, typer.Option(help='Edge length of a voxel, metres.')] = 0.15,
        max_range: Annotated[float, typer.Option(
            help='Depth beyond which pixels add no surface, metres.')] = 30.0,
        radius: Annotated[float | None, typer.Option(
            help='Distance from the camera within which the map is in memory, metres; by default '
            'a third more than --max-range.')] = None,
        up: Annotated[str, typer.Option(
            help="Vertical axis of the poses' world: auto, z, -y and so on.")] = 'auto',
        stride: Annotated[int, typer.Option(min=1, help='Use every n-th frame.')] = 1,
        frames: Annotated[int | None, typer.Option(
            min=1, help='Number of frames to use from the start; by default all.')] = None,
        sensor_depth: Annotated[bool, typer.Option(
            '--sensor-depth', help="Fuse the depth of the source's sensor.")] = False,
        least_weight: Annotated[float, typer.Option(
            min=0, help='Least weight of the surface that is written: lower values add surfaces '
            'that are less certain, such as distant facades.')] = 0.1,
        rerun: Annotated[bool, typer.Option(
            '--rerun', help='Also write recording.rrd for Rerun.')] = False,
        camera: Annotated[int | None, typer.Option(
            help='Number of the camera in a KITTI drive (by default 2) or in extrinsic.txt of '
            'Virtual KITTI 2 (0).')] = None,
        image: Annotated[str, typer.Option(help='Topic of the images of a bag.')] = '',
        model: ModelName = None,
        allow_code: AllowCode = False,
        device: PredictorDevice = 'auto',
        backend: BackendName = 'auto',
        precision: Precision = 'auto',
        fx: Fx = None,
        camera_info: CameraInfo = None,
        rectify: Annotated[bool, typer.Option(
            '--rectify', help='Undistort the images by --camera-info.')] = False,
        camera_height: CameraHeight = 0.0,
        camera_pitch: CameraPitch = 0.0,
        camera_roll: CameraRoll = 0.0,
        ) -> None:
    """Make a labelled map of a recording with poses: mesh, pictures, navigation grid; no ROS."""
    from sync_perception.files.bags import is_bag
    from sync_perception.mapping.offline.command import map_command, MapOptions
    from sync_perception.mapping.offline.frame_sources import CameraArguments
    from sync_perception.runtime.mount_scale import mount_of
    from sync_perception.runtime.predictor import Predictor
    in_bag = is_bag(source) and poses is not None and (poses == 'tf' or poses.startswith('/')
                                                       and not Path(poses).exists())
    arguments = CameraArguments(
        fx, camera_info, rectify, rate, camera, image, poses if in_bag else '')
    options = MapOptions(
        out=out, poses=None if in_bag else poses, voxel=voxel, max_range=max_range,
        radius=radius, up=up, stride=stride, frames=frames, sensor_depth=sensor_depth,
        recording=rerun, least_weight=least_weight,
        mount=mount_of(camera_height, camera_pitch, camera_roll))
    recorded = _open(source, arguments)
    map_command(source, recorded, arguments, options, lambda: Predictor(
        model, device, backend=backend, precision=precision), typer.echo)


@app.command()
def view(
        source: Annotated[Path | None, typer.Argument(
            help='The folder that `map` has written, or a recording (.rrd) or a source to be '
            'predicted live: a video, a KITTI drive, a folder of images, a bag.')] = None,
        webcam: Annotated[int | None, typer.Option(
            help='Number of a webcam, to be viewed live.')] = None,
        save: Annotated[Path | None, typer.Option(
            help='Write a recording (.rrd) instead of opening the viewer.')] = None,
        frames: Annotated[int | None, typer.Option(min=1, help='End after so many.')] = None,
        model: ModelName = None,
        allow_code: AllowCode = False,
        device: PredictorDevice = 'auto',
        backend: BackendName = 'auto',
        precision: Precision = 'auto',
        fx: Fx = None,
        camera_info: CameraInfo = None,
        ) -> None:
    """Look at a map, a video or a webcam in Rerun: camera, depth, labels, cloud and map."""
    from sync_perception.mapping.offline.frame_sources import CameraArguments
    from sync_perception.mapping.offline.viewing import view_live, view_map, Webcam
    from sync_perception.runtime.predictor import Predictor
    if (source is None) == (webcam is None):
        raise ValueError('expected a source or --webcam, and not both')
    if webcam is None and view_map(source, save):
        return
    arguments = CameraArguments(fx, camera_info)
    live = Webcam(webcam, arguments) if source is None else _open(source, arguments)
    view_live(live, Predictor(model, device, backend=backend, precision=precision), save, frames)


def _open(source: Path, arguments):
    """Open a source; a bag needs the library that reads bags."""
    from sync_perception.files.bags import is_bag
    from sync_perception.mapping.offline.frame_sources import open_source
    if not is_bag(source):
        return open_source(source, arguments)
    from sync_perception.ros.bags.frames import BagFrames
    return BagFrames(source, arguments)
