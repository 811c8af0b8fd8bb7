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

"""Parameters of the perception node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import re

from sync_perception.images.headers import MAX_PIXELS
from sync_perception.mapping.temporal_modes import TEMPORAL
from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.poses import PoseParameters
from sync_perception.ros.parameters.server import parameter
from sync_perception.runtime import BACKENDS, PRECISIONS

CAMERA_NAME = re.compile(r'[A-Za-z]\w*(/[A-Za-z]\w*)*', re.ASCII)
DEVICE_NAME = re.compile(r'auto|cpu|cuda(:\d+)?|openvino:[A-Z.0-9]+', re.ASCII)


def expected_cameras(names: Sequence[str]) -> str:
    """Return what was expected if these are not valid camera names; otherwise ''."""
    if list(names) == ['']:
        return ''
    if not names or len(set(names)) != len(names):
        return 'at least one name, all different'
    wrong = [name for name in names if not CAMERA_NAME.fullmatch(name)]
    return (f'names of letters, digits and _ that begin with a letter, unlike {wrong[0]!r}'
            if wrong else '')


def expected_device(name: str) -> str:
    """Return what was expected if this is not a valid device name; otherwise ''."""
    return '' if DEVICE_NAME.fullmatch(name) else 'auto, cpu, cuda, cuda:N or openvino:DEVICE'


@dataclass(frozen=True)
class FrameParameters:
    """Parameters of the perception node but those of the poses' source."""

    autostart: bool = parameter(
        'autostart', True, 'Configure and activate the node at start, without waiting for a '
                           'lifecycle manager.', read_only=True)
    model: str = parameter(
        'model', '', 'Name of a model of the package, driving (empty: the same) or indoor, '
                     'folder of a model (config.json and model.safetensors), hub id, exported '
                     '.onnx file, .pt2 file (with allow_code), or two pretrained models as '
                     'DEPTH+SEGMENTATION. On a '
                     'configured node, setting it replaces the model at once; if the new one '
                     'cannot be loaded, the node keeps the old one.', hooked=True,
        see='#life-cycle')
    allow_code: bool = parameter(
        'allow_code', False, 'Allow .pt2 files, which can run code of their author. It can be set '
                             'only at start, so that no other node can allow them.',
        read_only=True, see='#security')
    load_timeout: float = parameter(
        'load_timeout', 120.0, 'Seconds after which loading a model fails; applies to the next '
                               'model.', low=1.0, high=3600.0, live=True)
    device: str = parameter(
        'device', 'auto', 'Device of the network: auto (a GPU if there is one), cpu, cuda, '
        'cuda:N, openvino:GPU or openvino:NPU.', check=expected_device)
    half: bool = parameter(
        'half', False, 'Run the network in the 16-bit format of the device, where it has one: '
        'float16 on a GPU, bfloat16 on some CPUs.')
    backend: str = parameter(
        'backend', 'auto', 'What runs the network: torch, cuda_graph (torch on an NVIDIA GPU, '
                           'recorded), openvino, onnxruntime (exported .onnx files only), or auto '
                           'for the fastest whose results agree with torch: measured once for '
                           'each model on a CPU, cuda_graph on a GPU.',
        choices=BACKENDS, see='#backends')
    precision: str = parameter(
        'precision', 'auto', 'Number format of the network: float32, half (the 16-bit format of '
                             'the device), int8 (the 8-bit graph of the model folder, in OpenVINO '
                             'on a CPU), or auto for int8 if the model has that graph and the '
                             'processor runs it faster, otherwise float32.',
        choices=PRECISIONS, see='#backends')
    max_depth: float = parameter(
        'max_depth', 0.0, 'Depth in metres beyond which it is invalid (NaN); 0 for the limit of '
                          'the model.', low=0.0, high=1000.0)
    consumer: str = parameter(
        'consumer', 'generic', 'Software that reads the topics; its preset selects the encodings, '
                               "the id of void and the cloud's colour that it expects. Parameters "
                               'that are set explicitly take precedence.',
        choices=tuple(CONSUMERS), see='consumers.md')
    cameras: tuple[str, ...] = parameter(
        'cameras', ('',), 'Names of the cameras; the topics of each camera are below its name: '
                          'NAME/image in, NAME/sync/... out. A single empty name means one '
                          'camera, whose topics have no '
                          'prefix.', check=expected_cameras, see='cameras.md#several-cameras')
    max_rate: float = parameter(
        'max_rate', 0.0, 'Highest number of frames per second of each camera; 0 for no limit. '
                         'Images that arrive sooner are skipped.', low=0.0, high=1000.0, live=True)
    offline: bool = parameter(
        'offline', False, 'Process every image, in order, however long it takes: images wait in '
                          'memory instead of being dropped, and the subscription is reliable. For '
                          'bags, not for robots.')
    image_transport: str = parameter(
        'image_transport', 'raw', 'Transport of the images: raw (topic image) or '
        'compressed (topic image/compressed).', choices=('raw', 'compressed'))
    image_significant_bits: int = parameter(
        'image.significant_bits', 0, 'Significant bits of 16-bit images, 1 to 16; 0 to estimate '
                                     'them from the values, which also stretches the contrast of '
                                     'grey images without dark pixels, such as those of thermal '
                                     'cameras.', low=0, high=16, live=True,
        see='cameras.md#images')
    max_pixels: int = parameter(
        'max_pixels', MAX_PIXELS, 'Largest number of pixels of an image; larger images are '
                                  'refused before they are decoded. The default admits 8K '
                                  'cameras.', low=1, high=2 ** 31 - 1,
        live=True)
    rectify: bool = parameter(
        'rectify', False, 'Rectify the images by their camera_info first. All outputs, including '
                          'sync/camera_info, then belong to the rectified images, which are '
                          'published on sync/image_rect. Not for images that are already '
                          'rectified.', live=True,
        see='cameras.md#distorted-images')
    camera_height: float = parameter(
        'camera_height', 0.0, 'Height in metres of the optical centres of all cameras above flat '
                              'ground, by which the scale of depth is corrected; 0 if it is not '
                              'known.', low=0.0, high=100.0,
        live=True, see='cameras.md#scale-from-the-mount')
    camera_pitch: float = parameter(
        'camera_pitch', 0.0, 'With camera_height: angle in radians by which the cameras look '
                             'down; negative if they look up.', low=-1.5, high=1.5, live=True)
    camera_roll: float = parameter(
        'camera_roll', 0.0, 'With camera_height: angle in radians by which the cameras are '
                            'rotated clockwise about their optical '
                            'axes.', low=-1.5, high=1.5, live=True)
    ground_frame: str = parameter(
        'ground_frame', '', 'Frame whose z is 0 on the ground and points up, such as '
        'base_footprint: static transforms (tf2_ros) from it to the optical frames give each '
        "camera's height, pitch and roll, and take precedence over camera_height, camera_pitch "
        'and camera_roll; empty for none.', see='cameras.md#scale-from-the-mount')
    depth_encoding: str = parameter(
        'depth.encoding', '32FC1', 'Encoding of the depth image: 32FC1 (metres, NaN invalid) or '
        '16UC1 (millimetres, 0 invalid).', choices=('32FC1', '16UC1'), live=True)
    semantics_encoding: str = parameter(
        'semantics.encoding', 'mono8', 'Encoding of the label image: mono8 (255 void) or 16SC1 '
        '(-1 void).', choices=('mono8', '16SC1'))
    semantics_min_confidence: float = parameter(
        'semantics.min_confidence', 0.0, 'Probability below which labels become void in all '
                                         'outputs.', low=0.0, high=1.0, live=True)
    confidence_encoding: str = parameter(
        'confidence.encoding', '32FC1', 'Encoding of the confidence image: 32FC1 (0 to 1) or '
        'mono8 (0 to 255).', choices=('32FC1', 'mono8'), live=True)
    points_stride: int = parameter(
        'points.stride', 1, 'Distance between the points of the cloud, in rows and columns of '
        'the image.', low=1, high=64, live=True)
    points_organized: bool = parameter(
        'points.organized', True, 'Publish an organised cloud: a grid of points like the image, '
                                  'with NaN where depth is invalid. Otherwise only the valid '
                                  'points are published.', live=True)
    points_color: str = parameter(
        'points.color', 'camera', "Colour of the cloud's points: the camera's, or the label's.",
        choices=('camera', 'label'), live=True)
    points_max_depth: float = parameter(
        'points.max_depth', 0.0, 'Depth in metres beyond which the cloud has no points; 0 for no '
                                 'limit.', low=0.0, high=1000.0, live=True)
    points_surface_distance: float = parameter(
        'points.surface_distance', 0.0, 'Remove points of the cloud that hang between two '
        'surfaces: those whose slope is that of a plane that would pass the camera at less than '
        'this distance in metres, such as 0.5; 0 to keep them. Choose less than the height of '
        'the camera above ground.', low=0.0, high=10.0, live=True,
        see='mapping.md#clean-clouds')
    points_max_uncertainty: float = parameter(
        'points.max_uncertainty', 0.0, 'Remove points of the cloud whose uncertainty is larger '
        'than this share of their depth, such as 0.4, if the model predicts uncertainty; 0 for no '
        'limit.', low=0.0, high=10.0, live=True, see='mapping.md#clean-clouds')
    points_semantic_color: bool = parameter(
        'points.semantic_color', False, 'Add the field semantic_color, the colour of the label, '
                                        'to a cloud that is coloured by the camera.', live=True)
    consistency_model: str = parameter(
        'consistency.model', '', 'Folder of a contrastive model that periodically measures '
                                 'whether depth and labels of a frame are consistent; empty for '
                                 'none.',
        see='diagnostics.md#consistency-of-depth-and-labels')
    consistency_period: float = parameter(
        'consistency.period', 5.0, 'Seconds between two measurements with '
                                   'consistency.model.', low=0.1,
        high=3600.0, live=True)
    consistency_minimum: float = parameter(
        'consistency.minimum', 0.0, 'Cosine similarity of depth and labels below which '
        '/diagnostics warns.', low=-1.0, high=1.0, live=True)
    temporal: str = parameter(
        'temporal', 'off', 'off, or fuse: make depth and labels of a moving camera steady by '
                           'fusing each frame with those before, by the poses that poses.source '
                           'gives. A frame without a pose is predicted alone.',
        choices=TEMPORAL, see='mapping.md#temporal-fusion')
    poses_frame: str = parameter(
        'poses.frame', 'odom', 'With temporal fuse and tf: frame in which the camera moves '
                               'without jumps.')


@dataclass(frozen=True)
class PerceptionParameters(PoseParameters, FrameParameters):
    """Parameters of the perception node; those of the poses' source are used by temporal fuse."""

    poses_patience: float = parameter(
        'poses.patience', 0.1, 'Seconds that a frame waits for its pose; then it is predicted '
                               'alone.', low=0.0, high=60.0, live=True)
