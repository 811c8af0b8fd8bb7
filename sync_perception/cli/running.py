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

"""The verbs of the command `sync_perception` that run a model."""

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
    Half,
    ModelName,
    Poses,
    Precision,
    PredictorDevice,
    Temporal,
)
import typer

app = typer.Typer()


@app.command()
def predict(
        images: Annotated[list[Path], typer.Argument(help='Image files, or folders of them.')],
        out: Annotated[Path, typer.Option(help='Folder for the results.')],
        model: ModelName = None,
        allow_code: AllowCode = False,
        device: PredictorDevice = 'auto',
        backend: BackendName = 'auto',
        precision: Precision = 'auto',
        half: Half = False,
        fx: Fx = None,
        camera_info: CameraInfo = None,
        rectify: Annotated[bool, typer.Option(
            '--rectify', help='Rectify the images by --camera-info; the results belong to the '
                              'rectified images.')] = False,
        max_depth: Annotated[float | None, typer.Option(
            help='Depth in metres beyond which it is invalid; by default the limit of the '
                 'model.')] = None,
        cloud: Annotated[bool, typer.Option(help='Also write the cloud as PLY.')] = False,
        significant_bits: Annotated[int, typer.Option(
            min=0, max=16, help='Significant bits of 16-bit images; 0 to estimate them from the '
                                'values.')] = 0,
        max_pixels: Annotated[int | None, typer.Option(
            min=1, help='Largest number of pixels of an image; larger images are skipped. The '
                        'default admits 8K cameras.')] = None,
        camera_height: CameraHeight = 0.0,
        camera_pitch: CameraPitch = 0.0,
        camera_roll: CameraRoll = 0.0,
        surface_distance: Annotated[float, typer.Option(
            min=0, max=10, help='With --cloud: remove points that hang between two surfaces, as '
                                'the parameter points.surface_distance; such as 0.5.')] = 0.0,
        max_uncertainty: Annotated[float, typer.Option(
            min=0, max=10, help='With --cloud: remove points whose uncertainty is larger than '
                                'this share of their depth; such as 0.4.')] = 0.0,
        temporal: Temporal = 'off',
        poses: Poses = '',
        rate: Annotated[float | None, typer.Option(
            min=0.01, help='Frames per second, for stamps of the images and of poses without '
                           'times; by default 10.')] = None,
        ) -> None:
    """Predict depth and labels of images, and draw them; needs no ROS."""
    from sync_perception.mapping.temporal_predictor import check_temporal, TemporalPredictor
    from sync_perception.runtime.image_files.image_reader import CameraOptions
    from sync_perception.runtime.image_files.predict_files import (
        predict_files,
        PredictFilesOptions,
    )
    from sync_perception.runtime.image_files.result_files import CloudOptions
    from sync_perception.runtime.mount_scale import mount_of
    from sync_perception.runtime.predictor_options import PredictorOptions
    check_temporal(temporal, poses, camera_height > 0)

    def fused(predictor):
        return TemporalPredictor.of(predictor, poses, rate)

    options = PredictFilesOptions(
        PredictorOptions(model, device, backend, precision, half, max_depth),
        CameraOptions(fx, camera_info, rectify, rate),
        CloudOptions(surface_distance, max_uncertainty) if cloud else None,
        significant_bits, max_pixels, mount_of(camera_height, camera_pitch, camera_roll))
    summary = predict_files(
        images, out, options, typer.echo, fused if temporal == 'fuse' else None)
    if summary['failed']:
        raise typer.Exit(1)


@app.command()
def bench(
        json: Annotated[Path | None, typer.Option(help='JSON file for the results.')] = None,
        model: ModelName = None,
        allow_code: AllowCode = False,
        device: PredictorDevice = 'auto',
        backend: BackendName = 'auto',
        precision: Precision = 'auto',
        half: Half = False,
        frames: Annotated[int, typer.Option(min=1, help='Number of frames to time.')] = 100,
        width: Annotated[int, typer.Option(
            min=1, help='Width of the frames in pixels.')] = 1242,
        height: Annotated[int, typer.Option(
            min=1, help='Height of the frames in pixels.')] = 375,
        image: Annotated[Path | None, typer.Option(
            help='Photograph to use, resized; by default a drawn street.')] = None,
        ros: Annotated[bool, typer.Option(
            '--ros', help='Measure latency and processor time between processes over DDS instead, '
                          'next to a node that only copies the image and a conventional node with '
                          'the same outputs.')] = False,
        rate: Annotated[float, typer.Option(
            min=0.1, help='With --ros: images per second.')] = 5.0,
        case: Annotated[list[str] | None, typer.Option(
            help='Measure only the node over DDS, under this load: drive (10 Hz, all topics), '
            'labels, fast (60 Hz), six (cameras), 4k or 4k_cloud; repeat it for several. --image '
            'may be a KITTI drive.')] = None,
        peers: Annotated[bool, typer.Option(
            '--peers', help="Compare with other projects' networks instead, in turns; needs the "
            'extra `transformers` for two of them.')] = False,
        page: Annotated[Path | None, typer.Option(
            help='With --peers or --case: documentation page to write the table into, between its '
            'markers.')] = None,
        ) -> None:
    """Time every stage from message to messages on this machine."""
    from sync_perception.runtime.benchmark.bench_frames import BenchFrames
    from sync_perception.runtime.predictor_options import PredictorOptions
    options = PredictorOptions(model, device, backend, precision, half)
    images = BenchFrames(frames, (height, width), image)
    if peers:
        from sync_perception.runtime.benchmark.peers import bench_peers
        bench_peers(options, images, json, page)
    elif ros or case:
        _bench_over_dds(options, images, rate, case, json, page)
    else:
        from sync_perception.ros.tools.bench import bench as time_stages
        time_stages(options, images, json)


def _bench_over_dds(options, images, rate: float, case: list[str] | None, json: Path | None,
                    page: Path | None) -> None:
    """Measure the node over DDS, and end with status 1 if a process fails."""
    from sync_perception.ros.tools.bench_cases import bench_cases
    from sync_perception.ros.tools.bench_dds import bench_dds
    from sync_perception.ros.tools.bench_subjects import BenchFailed
    try:
        if case:
            bench_cases(case, options, images.image, json, page)
        else:
            bench_dds(options, images, rate, json=json)
    except BenchFailed as error:
        typer.echo(f'sync_perception: {error}', err=True)
        raise typer.Exit(1) from error
