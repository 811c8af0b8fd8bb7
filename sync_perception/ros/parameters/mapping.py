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

"""Parameters of the mapping node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sync_perception.images.headers import MAX_PIXELS
from sync_perception.mapping.upright import AXES
from sync_perception.ros.parameters.perception import DEVICE_NAME
from sync_perception.ros.parameters.poses import PoseParameters
from sync_perception.ros.parameters.server import parameter

OPTIONAL_INPUTS = ('image', 'semantics', 'confidence', 'uncertainty')


def expected_inputs(names: Sequence[str]) -> str:
    """Return what was expected if these are not optional inputs; otherwise ''."""
    valid = list(names) == [''] or set(names) <= set(OPTIONAL_INPUTS)
    return '' if valid else f'some of {", ".join(OPTIONAL_INPUTS)}'


def expected_torch_device(name: str) -> str:
    """Return what was expected if this is not a torch device; otherwise ''."""
    valid = DEVICE_NAME.fullmatch(name) and not name.startswith('openvino')
    return '' if valid else 'auto, cpu, cuda or cuda:N'


@dataclass(frozen=True)
class MapParameters:
    """Parameters of the mapping node but those of the poses' source."""

    autostart: bool = parameter(
        'autostart', True, 'Configure and activate the node at start, without waiting for a '
                           'lifecycle manager.', read_only=True)
    inputs: tuple[str, ...] = parameter(
        'inputs', OPTIONAL_INPUTS, 'Optional inputs that are used if a node publishes them; '
                                   'depth and camera_info are always used. A single empty name '
                                   'means none.', check=expected_inputs, see='#inputs')
    image_transport: str = parameter(
        'image_transport', 'raw', 'Transport of the images: raw (topic image) or compressed '
                                  '(topic image/compressed).', choices=('raw', 'compressed'))
    max_pixels: int = parameter(
        'max_pixels', MAX_PIXELS, 'Largest number of pixels of an image; larger images are '
                                  'refused before they are decoded.', low=1, high=2 ** 31 - 1,
        live=True)
    offline: bool = parameter(
        'offline', False, 'Fuse every frame, in order, however long it takes: frames wait in '
                          'memory instead of being dropped, and the subscriptions are reliable. '
                          'For bags, not for robots.')
    label_space: str = parameter(
        'label_space', '', 'Name or YAML file of the label space; empty for the one on '
                           'sync/label_space.')
    map_frame: str = parameter(
        'map_frame', '', 'Frame of the map; poses in another frame are refused. Empty for the '
                         'frame of the first pose, and without one for map (odom for visual '
                         'odometry).')
    poses_publish_tf: bool = parameter(
        'poses.publish_tf', True, 'With visual: publish the pose of the optical frame on /tf as '
                                  'well, if tf2_msgs is installed. Not for cameras whose frame '
                                  'already has a parent in tf.')
    camera_height: float = parameter(
        'camera_height', 0.0, 'With visual: height in metres of the optical centre above flat '
                              'ground, which gives the scale of the motion; 0 if it is not '
                              'known.', low=0.0, high=100.0)
    camera_pitch: float = parameter(
        'camera_pitch', 0.0, 'With visual: angle in radians by which the camera looks down; '
                             'negative if it looks up. The map is level if it is right.',
        low=-1.5, high=1.5)
    map_folder: str = parameter(
        'map.folder', '', 'Folder of the map, where distant parts and the saved map are stored. '
                          'A map that is there is continued. Empty for a map in memory only, '
                          'which forgets parts beyond map.radius.', see='#storage')
    map_save_period: float = parameter(
        'map.save_period', 60.0, 'With map.folder: seconds between two automatic saves; 0 to save '
                                 'only on request.', low=0.0, high=86400.0, live=True)
    map_rate: float = parameter(
        'map.rate', 5.0, 'Frames per second of their stamps that are fused; others are left out '
                         '(visual odometry uses them). 0 for all.', low=0.0, high=1000.0,
        live=True)
    map_voxel: float = parameter(
        'map.voxel', 0.15, 'Edge length of a voxel in metres.', low=0.005, high=10.0)
    map_max_range: float = parameter(
        'map.max_range', 30.0, 'Depth in metres beyond which pixels add no surface.', low=0.1,
        high=1000.0)
    map_radius: float = parameter(
        'map.radius', 40.0, 'Distance in metres from the camera up to which the map is kept in '
                            'memory; at least map.max_range.', low=0.1, high=1e5)
    map_up: str = parameter(
        'map.up', 'auto', "Vertical axis of the map's frame: auto, or one of x, y, z, -x, -y, "
                          '-z. auto is z, and for poses from a file the axis nearest to the '
                          "camera's own.", choices=('auto', *AXES))
    map_device: str = parameter(
        'map.device', 'cpu', 'Device of the voxels: auto (a GPU if there is one), cpu, cuda or '
                             'cuda:N.', check=expected_torch_device)
    publish_period: float = parameter(
        'publish.period', 2.0, 'Seconds between two publications of the map; nothing is computed '
                               'for topics without subscribers, or if nothing has changed.',
        low=0.1, high=3600.0)
    publish_changes: bool = parameter(
        'publish.changes', False, 'Publish on sync/map only the tiles that have changed since the '
                                  'last message, each as a whole.', live=True, see='#outputs')
    publish_radius: float = parameter(
        'publish.radius', 100.0, 'Distance in metres from the camera up to which the map is '
                                 'published; 0 for the whole map.', low=0.0, high=1e6, live=True)
    publish_color: str = parameter(
        'publish.color', 'camera', "Colour of cloud and mesh: the camera's, or the label's.",
        choices=('camera', 'label'), live=True)
    mesh_max_triangles: int = parameter(
        'mesh.max_triangles', 50000, 'Largest number of triangles of sync/map/mesh; those nearest '
                                     'to the camera are published.', low=1, high=10 ** 7,
        live=True)
    grid_resolution: float = parameter(
        'grid.resolution', 0.2, 'Edge length in metres of a cell of sync/map/grid.', low=0.01,
        high=10.0, live=True)
    grid_step: float = parameter(
        'grid.step', 0.3, 'Height in metres above the ground up to which things are no '
                          'obstacle.', low=0.0, high=10.0, live=True)
    grid_height: float = parameter(
        'grid.height', 2.0, 'Height in metres above the ground beyond which things are no '
                            'obstacle; at least grid.step.', low=0.0, high=100.0, live=True)


@dataclass(frozen=True)
class MappingParameters(PoseParameters, MapParameters):
    """Parameters of the mapping node, in the order of the page: the poses' source is the last."""
