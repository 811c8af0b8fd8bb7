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

"""Options that several verbs of the command `sync_perception` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from sync_perception.files.trust import allow_code
import typer

ModelName = Annotated[str | None, typer.Option(
    help='Name of a model of the package, driving (the default) or indoor; model folder, hub id, '
    'exported .onnx file, .pt2 file (with --allow-code), or two pretrained models as '
    'DEPTH+SEGMENTATION.')]
AllowCode = Annotated[bool, typer.Option(
    '--allow-code', callback=allow_code,
    help='Allow .pt2 files, which can run code of their author.')]
Device = Annotated[str, typer.Option(help='auto, cpu, cuda or cuda:N.')]
PredictorDevice = Annotated[str, typer.Option(
    '--device', help='auto, cpu, cuda, cuda:N, openvino:GPU or openvino:NPU.')]
BackendName = Annotated[str, typer.Option(
    help='Library that runs the network: auto (the fastest installed one whose results agree with '
         'torch), torch, cuda_graph (NVIDIA GPUs), openvino, or onnxruntime for exported .onnx '
         'files.')]
Precision = Annotated[str, typer.Option(
    help='Number format of the network: float32, half (16 bits, where the device has them), int8 '
         '(the 8-bit graph that `quantise` wrote into the model folder), or auto for int8 if the '
         'model has that graph and the processor runs it faster, otherwise float32.')]
Half = Annotated[bool, typer.Option(help="Run the network in the device's 16-bit format.")]
Fx = Annotated[float | None, typer.Option(
    help='Focal length in pixels, for images without calibration; predict guesses a missing one, '
         'and with it the scale of depth.')]
CameraInfo = Annotated[Path | None, typer.Option(
    help='Calibration YAML, as camera_calibration writes it.')]
CameraHeight = Annotated[float, typer.Option(
    min=0, max=100, help='Height in metres of the camera above flat ground, by which the scale of '
                         'depth is corrected; 0 if it is not known.')]
CameraPitch = Annotated[float, typer.Option(
    min=-1.5, max=1.5, help='With --camera-height: angle in radians by which the camera looks '
                            'down.')]
CameraRoll = Annotated[float, typer.Option(
    min=-1.5, max=1.5, help='With --camera-height: angle in radians by which the camera is '
                            'rotated clockwise about its optical axis.')]
Temporal = Annotated[str, typer.Option(
    help='off, or fuse: fuse depth and labels with those of the frames before, by --poses.')]
Poses = Annotated[str, typer.Option(
    help="Poses of the camera's optical frame for --temporal fuse: a file or folder (TUM, KITTI, "
         '7-Scenes, Virtual KITTI 2, KITTI drive), or odometry to determine them from the '
         'images; for a bag also tf, or a topic of odometry or poses.')]
DataSet = Annotated[str, typer.Option(
    help='camvid, camvid_full, idd_lite, kitti, kitti_depth, kitti_semantics, vkitti2, '
    'cityscapes, cityscapes_sequence, nyuv2, nyuv2_images, nyuv2_labeled, sevenscenes, frames, '
    'labelled_images, synthetic or pseudo_labelled.')]
Root = Annotated[Path | None, typer.Option(
    help="The data set's folder; the synthetic streets need none.")]
Split = Annotated[str, typer.Option(
    help="One of the data set's splits, all, or a file of select: selection.json, "
    'selection.json:25 for its first 25 images.')]
DatasetArguments = Annotated[list[str] | None, typer.Option(
    help='A further argument of the data set as NAME=VALUE, such as length=100 or cameras=[0]; '
    'repeat it for several.')]


def named_values(words: list[str] | None) -> dict[str, Any]:
    """
    Read `name=value` words, the values as YAML.

    :raises ValueError: if a word is no such one.
    """
    import yaml
    values = {}
    for word in words or ():
        name, equals, value = word.partition('=')
        if not name or not equals:
            raise ValueError(f'expected NAME=VALUE, got {word!r}')
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f'expected NAME=VALUE with a value in YAML, got {word!r}') from error
    return values
