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

"""The layouts for RViz and Foxglove: they read, and show what the node publishes."""

from __future__ import annotations

from collections.abc import Iterator
import json
from typing import Any

from sensor_msgs.msg import Image, PointCloud2
from sync_perception.resources import config_folder
from sync_perception.ros.map import map_publishers
from sync_perception.ros.node.outputs import EXTRA_OUTPUTS, OUTPUTS
from sync_perception.ros.parameters.replay import ReplayParameters
import yaml

# what RViz's plugins for images and clouds are called, and what they take
RVIZ = {'rviz_default_plugins/Image': Image, 'rviz_default_plugins/PointCloud2': PointCloud2}
TYPES = {output.topic: output.message_type for output in (*OUTPUTS, *EXTRA_OUTPUTS)}
# three floats a pixel, which neither viewer draws; ids, which both would draw almost black
NOT_FOR_PEOPLE = {'sync/normals', 'sync/semantics'}


def images() -> set[str]:
    """Return the topics of images that people can look at."""
    return {topic for topic, kind in TYPES.items() if kind is Image} - NOT_FOR_PEOPLE


def rviz() -> dict[str, Any]:
    """Read RViz's layout."""
    text = (config_folder() / 'rviz' / 'sync.rviz').read_text()
    return yaml.safe_load(text)['Visualization Manager']


def foxglove() -> dict[str, Any]:
    """Read Foxglove's layout."""
    return json.loads((config_folder() / 'foxglove' / 'sync.json').read_text())


def test_rviz_shows_every_output_by_the_right_plugin():
    displays = [display for display in rviz()['Displays'] if 'Topic' in display]
    for display in displays:
        assert TYPES[display['Topic']['Value']] is RVIZ[display['Class']]
        assert display['Topic']['Reliability Policy'] == 'Reliable'
        assert display['Enabled'] is display['Value']
    shown = {display['Topic']['Value'] for display in displays}
    assert shown == images() | {'sync/points'}


def test_rviz_stands_in_the_frame_of_the_replay():
    assert rviz()['Global Options']['Fixed Frame'] == ReplayParameters().frame_id


def test_rviz_shows_the_map_with_latched_topics():
    text = (config_folder() / 'rviz' / 'mapping.rviz').read_text()
    displays = {display['Topic']['Value']: display['Topic'] for display in yaml.safe_load(text)[
        'Visualization Manager']['Displays']}
    assert displays.keys() == {*map_publishers.TOPICS, 'sync/odometry', 'sync/overlay'}
    assert {displays[topic]['Durability Policy'] for topic in map_publishers.TOPICS} == {
        'Transient Local'}


def test_foxglove_shows_every_output():
    panels = foxglove()['configById']
    topics = {panel['imageMode']['imageTopic'] for name, panel in panels.items()
              if name.startswith('Image!')}
    assert topics == {f'/{topic}' for topic in images()}
    cloud = panels['3D!cloud']
    assert list(cloud['topics']) == ['/sync/points']
    assert cloud['followTf'] == ReplayParameters().frame_id
    assert panels['DiagnosticSummary!node']['topicToRender'] == '/diagnostics'


def test_every_panel_of_foxglove_has_its_place():
    layout = foxglove()

    def places(node: str | dict) -> Iterator[str]:
        if isinstance(node, dict):
            assert node['direction'] in ('row', 'column') and 0 < node['splitPercentage'] < 100
            yield from places(node['first'])
            yield from places(node['second'])
            return
        yield node
        for tab in layout['configById'][node].get('tabs', ()):
            yield from places(tab['layout'])

    assert sorted(places(layout['layout'])) == sorted(layout['configById'])
