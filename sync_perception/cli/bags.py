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


"""The verbs about bags of the command `sync_perception`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sync_perception.cli.options import (
    AllowCode,
    BackendName,
    CameraHeight,
    CameraPitch,
    CameraRoll,
    Half,
    Poses,
    Precision,
    PredictorDevice,
    Temporal,
)
import typer

app = typer.Typer()

Storage = Annotated[str | None, typer.Option(help='How the bag is stored: mcap or sqlite3.')]


@app.command()
def kitti_to_bag(
        drive: Annotated[Path, typer.Argument(
            help='A KITTI raw drive, {date}_drive_{nnnn}_sync, or a folder that holds one.')],
        out: Annotated[Path, typer.Option(help='The bag to write: a new folder.')],
        storage: Storage = 'mcap',
        camera: Annotated[list[int] | None, typer.Option(
            help='0 and 1 grey, 2 and 3 colour; repeat it for several. By default all cameras of '
                 'the drive.')] = None,
        compressed: Annotated[bool, typer.Option(
            help='Keep the image files as they are, as CompressedImage.')] = False,
        ) -> None:
    """Turn a KITTI drive into a rosbag2 bag: images, scans, poses, calibration; needs no ROS."""
    from sync_perception.ros.bags.kitti import kitti_to_bag as convert
    result = convert(drive, out, storage or 'mcap', camera or (), compressed, typer.echo)
    for topic, count in result['topics'].items():
        typer.echo(f'{count:6} {topic}')
    if result['broken']:
        typer.echo(f'{len(result["broken"])} damaged files were skipped')
        raise typer.Exit(1)


@app.command()
def process_bag(
        source: Annotated[Path, typer.Argument(
            metavar='IN', help='A rosbag2 bag: its folder, or an .mcap or .db3 file.')],
        out: Annotated[Path, typer.Argument(
            metavar='OUT', help='The bag to write; an interrupted one is resumed.')],
        model: Annotated[str | None, typer.Option(
            help='Model, as for predict; by default the model of the package.')] = None,
        allow_code: AllowCode = False,
        device: PredictorDevice = 'auto',
        backend: BackendName = 'auto',
        precision: Precision = 'auto',
        half: Half = False,
        image: Annotated[str, typer.Option(
            help='Topic of the images; by default the only one of the bag.')] = '',
        camera_info: Annotated[str, typer.Option(
            help='Topic of the calibrations, or a YAML file as camera_calibration writes it; by '
                 'default the camera_info topic of the images.')] = '',
        rectify: Annotated[bool, typer.Option(
            '--rectify', help='Rectify the images by their calibration; the outputs belong to the '
                              'rectified images.')] = False,
        camera_height: CameraHeight = 0.0,
        camera_pitch: CameraPitch = 0.0,
        camera_roll: CameraRoll = 0.0,
        temporal: Temporal = 'off',
        poses: Poses = '',
        outputs: Annotated[list[str] | None, typer.Option(
            help='Topic to write, such as sync/points, or all; repeat it for several. By default '
                 'sync/depth, sync/semantics, sync/semantics/confidence and '
                 'sync/camera_info.')] = None,
        param: Annotated[list[str] | None, typer.Option(
            help="One of the node's parameters as NAME=VALUE, such as points.stride=2; repeat it "
            'for several.')] = None,
        namespace: Annotated[str, typer.Option(
            help='Namespace of the output topics, such as front.')] = '',
        storage: Storage = None,
        ) -> None:
    """
    Predict every frame of a bag, and write the outputs beside the original messages.

    The status is 1 if a frame has no outputs, or a part of the bag cannot be read.
    """
    from sync_perception.cli.options import named_values
    from sync_perception.ros.bags import process as processing
    from sync_perception.ros.parameters.without_node import make_parameters
    parameters = make_parameters({
        'model': model or '', 'allow_code': allow_code, 'device': device, 'backend': backend,
        'precision': precision, 'half': half, 'rectify': rectify, 'camera_height': camera_height,
        'camera_pitch': camera_pitch, 'camera_roll': camera_roll, **named_values(param)})
    result = processing.process_bag(processing.BagJob(
        source, out, image=image, camera_info=camera_info, outputs=tuple(outputs or ()),
        namespace=namespace, storage=storage or '', parameters=parameters,
        temporal=temporal, poses=poses), report=typer.echo)
    for line in processing.report_lines(out, result):
        typer.echo(line)
    if result['answered'] < result['frames'] or result['damage'] or not result['answered']:
        raise typer.Exit(1)
