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


"""
Presets of the node for the software that reads its topics.

They follow the source code of those programs; docs/consumers.md names the versions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Consumer:
    """
    Preset of the node for one program.

    :param parameters: values by parameter name; the user's own settings take precedence.
    :param remaps: default topics of the program, by the node's topics. They are limited to the
        topics of a single unnamed camera, and empty for a program that gets its topics from
        parameters.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    remaps: dict[str, str] = field(default_factory=dict)


CONSUMERS = {
    'generic': Consumer(),
    # Hydra silently skips only the id -1. Any other unknown id is logged as an error, or has to be
    # declared invalid, which also discards the pixel's depth.
    'hydra': Consumer(
        {'semantics.encoding': '16SC1', 'depth.encoding': '32FC1'},
        {'sync/depth': '/hydra/input/camera/depth_registered/image_rect',
         'sync/semantics': '/hydra/input/camera/semantic/image_raw',
         'sync/camera_info': '/hydra/input/camera/rgb/camera_info'}),
    # Kimera identifies labels by the colours of points, and drops invalid points one by one.
    'kimera': Consumer(
        {'points.color': 'label', 'points.organized': False},
        {'sync/points': '/semantic_pointcloud'}),
    # RTAB-Map's launch file reads image and camera_info directly from the camera.
    'rtabmap': Consumer(
        {'depth.encoding': '32FC1'},
        {'sync/depth': '/camera/depth_registered/image_raw'}),
    # nvblox marks invalid depth by values <= 0, not by NaN. It reads camera_info from two topics.
    'nvblox': Consumer(
        {'depth.encoding': '16UC1'},
        {'sync/depth': '/camera_0/depth/image',
         'sync/camera_info': '/camera_0/depth/camera_info',
         'sync/dynamic_mask': '/camera_0/mask/image',
         'sync/dynamic_mask/camera_info': '/camera_0/mask/camera_info'}),
    # Nav2's layer reads labels and confidence as bytes, and assigns point n to pixel n.
    'nav2': Consumer(
        {'semantics.encoding': 'mono8', 'confidence.encoding': 'mono8', 'points.organized': True,
         'points.stride': 1}),
}
