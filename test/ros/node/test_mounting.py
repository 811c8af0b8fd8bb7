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

"""Mounts from static transforms and from parameters; tf2_ros is played by a stand-in."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
from sync_perception.ros.node.mounting import mount_of_camera, StaticTransforms
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.runtime.mount_scale import Mount

ALL = frozenset({'depth', 'labels'})
AHEAD = (-0.5, 0.5, -0.5, 0.5)
"""Quaternion of an optical frame that looks along the ground's x."""


class TransformException(Exception):
    """What tf2 raises."""


class Buffer:
    """Answers as tf2's buffer does, from direct transforms only."""

    def __init__(self):
        self.transforms = {}

    def set_transform_static(self, stamped, authority: str) -> None:
        """Keep a transform."""
        self.transforms[stamped.header.frame_id, stamped.child_frame_id] = stamped

    def lookup_transform(self, target: str, source: str, time):
        """Return target_T_source."""
        if (target, source) not in self.transforms:
            raise TransformException(f'{source} does not exist')
        return self.transforms[target, source]


class Listener:
    """A node that subscribes to static transforms."""

    def __init__(self):
        self.receive, self.destroyed = {}, []

    def create_subscription(self, kind, topic, receive, profile) -> str:
        """Keep the callback."""
        self.receive[topic] = receive
        return topic

    def destroy_subscription(self, subscription: str) -> None:
        """Keep what ends."""
        self.destroyed.append(subscription)


def stamped(parent: str, child: str, height: float, quaternion=AHEAD) -> SimpleNamespace:
    """Make a TransformStamped."""
    x, y, z, w = quaternion
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent), child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(x=1.0, y=0.2, z=height),
            rotation=SimpleNamespace(x=x, y=y, z=z, w=w)))


@pytest.fixture
def tf2(monkeypatch):
    """Install a stand-in for tf2_ros and its messages."""
    for name, content in (('tf2_ros', {'Buffer': Buffer,
                                       'TransformException': TransformException}),
                          ('tf2_msgs', {}), ('tf2_msgs.msg', {'TFMessage': object})):
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


def test_a_mount_is_known_as_soon_as_its_static_transform_comes(tf2):
    node = Listener()
    transforms = StaticTransforms(node)
    with pytest.raises(ValueError, match="'front'.*'base'"):
        transforms.mount('base', 'front')
    node.receive['/tf_static'](SimpleNamespace(transforms=[
        stamped('base', 'front', 1.4), stamped('base', 'body', 1.0, (0, 0, 0, 1))]))
    found = transforms.mount('base', 'front')
    assert (found.height, found.pitch, found.roll) == pytest.approx((1.4, 0, 0))
    with pytest.raises(ValueError, match="'body'.*optical"):
        transforms.mount('base', 'body')
    transforms.close()
    assert node.destroyed == ['/tf_static']


def test_without_tf2_ros_the_message_names_it_and_what_to_set(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    transforms = StaticTransforms(Listener())
    with pytest.raises(ValueError, match='tf2_ros.*camera_height'):
        transforms.mount('base', 'front')
    transforms.close()


def test_transforms_go_before_the_parameters_which_count_until_they_come():
    parameters = PerceptionParameters(camera_height=1.2, camera_pitch=0.1, ground_frame='base')
    known = Mount(1.4)

    def unknown(ground_frame, frame_id):
        raise ValueError('not yet')
    stated = Mount(1.2, 0.1)
    assert mount_of_camera(parameters, 'a', ALL, unknown) == (stated, 'not yet')
    assert mount_of_camera(parameters, 'a', ALL, lambda *frames: known) == (known, '')
    assert mount_of_camera(PerceptionParameters(), 'a', ALL, None) == (None, '')
    assert mount_of_camera(PerceptionParameters(), 'a', frozenset(), None) == (None, '')
    mount, problem = mount_of_camera(parameters, 'a', frozenset({'depth'}), lambda *f: known)
    assert mount is None and 'labels' in problem
