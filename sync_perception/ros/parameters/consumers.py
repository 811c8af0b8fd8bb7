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
What the software that reads the node's topics expects of them.

Everything here was read off those programs' own sources; docs/consumers.md names the versions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Consumer:
    """
    How the node has to be set up for one program.

    :param parameters: values by parameter name, which hold unless the user set that parameter.
    :param remaps: the topic that the program reads by itself, by ours. Only those are named that
        a single camera without a name can publish there; a program that is told its topics by
        parameters has none.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    remaps: dict[str, str] = field(default_factory=dict)


CONSUMERS = {
    'generic': Consumer(),
    # Only -1 is passed over without a word: any other id that is no class is an error in its log,
    # or has to be declared invalid, and then the pixel's depth is lost as well.
    'hydra': Consumer(
        {'semantics.encoding': '16SC1', 'depth.encoding': '32FC1'},
        {'sync/depth': '/hydra/input/camera/depth_registered/image_rect',
         'sync/semantics': '/hydra/input/camera/semantic/image_raw',
         'sync/camera_info': '/hydra/input/camera/rgb/camera_info'}),
    # It knows labels by the colours of points; holes it would drop point by point.
    'kimera': Consumer(
        {'points.color': 'label', 'points.organized': False},
        {'sync/points': '/semantic_pointcloud'}),
    # The camera publishes image and camera_info where its launch file looks for them.
    'rtabmap': Consumer(
        {'depth.encoding': '32FC1'},
        {'sync/depth': '/camera/depth_registered/image_raw'}),
    # It tells holes by depth <= 0, which NaN is not. It reads one camera_info under two names.
    'nvblox': Consumer(
        {'depth.encoding': '16UC1'},
        {'sync/depth': '/camera_0/depth/image',
         'sync/camera_info': '/camera_0/depth/camera_info',
         'sync/dynamic_mask': '/camera_0/mask/image',
         'sync/dynamic_mask/camera_info': '/camera_0/mask/camera_info'}),
    # Labels and confidence are read as bytes, and the n-th point belongs to the n-th pixel.
    'nav2': Consumer(
        {'semantics.encoding': 'mono8', 'confidence.encoding': 'mono8', 'points.organized': True,
         'points.stride': 1}),
}
