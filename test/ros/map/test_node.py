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

"""The mapping node as others meet it: frames and poses in, a map out, and what it refuses."""

from __future__ import annotations

from importlib.util import find_spec
from threading import Event
import time

from conditions import PATIENCE
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from map_bench import FramePublisher, header, LATCHED, MapBench, RELIABLE, STEP, xyz
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rendered_room import around, K, look, Room, SIZE, SPACE
from sensor_msgs.msg import PointCloud2
from sync_perception.labels import LabelSpace
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.io.conversions import depth_message, labels_message
from sync_perception.ros.map.node import MappingNode

pytestmark = pytest.mark.timeout(120)
POSES = around(6)


@pytest.fixture
def bench(ros):
    """Return a bench that is cleared away after the test."""
    made = MapBench()
    yield made
    made.close()


def statuses(bench: MapBench) -> list[DiagnosticStatus]:
    """Return a list that receives the node's reports on frames."""
    found: list[DiagnosticStatus] = []
    bench.others.create_subscription(
        DiagnosticArray, '/diagnostics', lambda array: found.extend(
            status for status in array.status if status.name == 'mapping: frames'), RELIABLE)
    return found


def test_frames_and_poses_become_a_labelled_cloud(bench):
    """The cloud lies on the surfaces of the room and carries their labels; it is latched."""
    bench.start(listen=False)
    bench.fuse(POSES)
    bench.others.create_subscription(PointCloud2, 'sync/map', bench.clouds.append, LATCHED)
    bench.wait(lambda: bench.clouds)
    cloud = bench.clouds[-1]
    assert cloud.header.frame_id == 'map'
    points = bench.points(cloud)
    assert len(points) > 1000
    room = Room()
    assert np.mean(room.distance(xyz(points)) < 0.15) > 0.98
    assert np.mean(points['label'] == room.labels(xyz(points))) > 0.93
    assert (points['confidence'] > 0.3).mean() > 0.9
    colors = points['rgb'][:, None] >> np.array([16, 8, 0]) & 255
    assert np.mean(np.abs(colors - SPACE.palette[points['label']]).max(1) < 40) > 0.8


def test_a_frame_waits_for_its_pose_and_is_left_out_without_one(bench):
    """A late pose is used; a frame without a pose, or across a jump, is said and left out."""
    found = statuses(bench)
    bench.start(poses__patience=1.5)
    bench.send(0, POSES[0], with_pose=False)
    bench.wait(lambda: bench.node.waiting)
    bench.frames.send_pose(STEP, POSES[0])
    bench.wait(lambda: bench.counters.published == 1)
    bench.send(1, POSES[1], with_pose=False)
    bench.wait(lambda: bench.counters.without_pose == 1)
    bench.wait(lambda: any('last pose' in status.message and status.level == DiagnosticStatus.WARN
                           for status in found))
    far = POSES[2].copy()
    far[0, 3] += 1000
    bench.send(2, far)
    bench.wait(lambda: bench.counters.without_pose == 2)
    assert 'jump' in bench.node.mapper.troubles['pose']
    bench.send(3, far)
    bench.wait(lambda: bench.counters.published == 2)
    assert 'pose' not in bench.node.mapper.troubles


def test_malformed_frames_are_refused_and_the_next_one_is_fused(bench):
    """Other sizes, frames, ids and spaces are named, counted and survived."""
    bench.start()
    _, prediction = bench.room.render(POSES[0])
    stamp = [0]

    def refused(reason: str, **spoiled) -> None:
        before = bench.counters.refused[reason]
        bench.send(stamp[0], POSES[0], **spoiled)
        stamp[0] += 1
        bench.wait(lambda: bench.counters.refused[reason] == before + 1)

    def labels(values: np.ndarray, frame_id: str = 'cam'):
        return labels_message(values, header((stamp[0] + 1) * STEP, frame_id), 'mono8')

    refused('map size', labels=labels(prediction.labels[::2, ::2]))
    refused('frame_id', labels=labels(prediction.labels, 'other'))
    refused('label ids', labels=labels(np.full_like(prediction.labels, 77)))
    refused('encoding', depth=labels(prediction.labels))
    cut = depth_message(prediction.depth, header((stamp[0] + 1) * STEP), '32FC1')
    cut.data = cut.data[:-4]
    refused('data length', depth=cut)
    bench.fuse(POSES[:1], stamp[0])
    bench.frames.send_pose((stamp[0] + 2) * STEP, POSES[0], 'odom')
    bench.wait(lambda: bench.counters.refused['pose frame'] == 1)
    space = bench.node.mapper.space
    bench.frames.send_space(LabelSpace.load('kitti6'))
    bench.wait(lambda: bench.node.mapper.space is not space)
    stamp[0] += 2
    refused('label space', labels=labels(np.zeros_like(prediction.labels)))
    assert bench.call('clear').success
    bench.send(stamp[0], POSES[0], labels=labels(np.zeros_like(prediction.labels)))
    bench.wait(lambda: bench.node.mapper.store.map is not None)
    assert bench.node.mapper.store.map.space.name == 'kitti6'


def test_a_calibration_that_was_latched_before_is_received(bench):
    """One camera_info for all frames suffices, even if it was sent before the node started."""
    frames = FramePublisher(bench.others)
    info = pinhole_camera_info(K, SIZE)
    info.header = header(1)
    frames.info.publish(info)
    bench.start(frames=frames)
    bench.frames.info.publish = lambda message: None
    bench.fuse(POSES[:1])


def test_a_frame_that_lacks_a_message_is_said(bench):
    """Labels that are published, but not for each frame, are missed by name."""
    bench.start()
    bench.fuse(POSES[:1])
    bench.send(1, POSES[1], leave_out=('labels',))
    bench.fuse(POSES[2:3], 2)
    assert bench.counters.incomplete == {'/sync/semantics': 1}


def test_frames_wait_for_their_label_space(bench):
    """Without the names of the labels frames wait, and are fused when the names are known."""
    found = statuses(bench)
    frames = FramePublisher(bench.others, space=None)
    bench.start(frames=frames)
    bench.send(0, POSES[0])
    bench.wait(lambda: any('label_space' in status.message for status in found))
    assert bench.counters.received == 1 and not bench.counters.refused
    frames.send_space(SPACE)
    bench.wait(lambda: bench.counters.published == 1)


def test_a_recording_that_starts_again_keeps_the_map(bench):
    """Stamps and poses that go back are said, and the frames are fused to the same map."""
    bench.start()
    bench.fuse(POSES[:2], 20)
    bench.fuse(POSES[:2], 0)
    assert bench.node.mapper.store.map.frames == 4
    assert not bench.counters.refused and not bench.counters.without_pose


def test_a_slow_map_drops_frames_and_never_blocks(bench):
    """While the worker is busy only the newest frame waits, and diagnostics go on."""
    found = statuses(bench)
    bench.start()
    bench.fuse(POSES[:1])
    go = Event()
    bench.node.worker.run(lambda: go.wait(PATIENCE), queue=9)
    for index in range(1, 5):
        bench.send(index, POSES[index])
        bench.wait(lambda index=index: bench.counters.received == index + 1)
    bench.wait(lambda: bench.counters.dropped == 3)
    del found[:]
    bench.wait(lambda: any(value.key == 'frames dropped' and value.value == '3'
                           for status in found for value in status.values))
    go.set()
    bench.wait(lambda: bench.counters.published == 2)


def test_publishing_leaves_most_of_the_time_to_frames(bench):
    """After a slow publication the next one waits three times as long."""
    bench.start()
    bench.fuse(POSES[:1])
    starts = []

    def publish(*arguments) -> None:
        starts.append(time.monotonic())
        Event().wait(0.2)
    bench.node.mapper.publishers.publish = publish
    bench.wait(lambda: len(starts) == 3)
    assert np.diff(starts).min() >= 0.79


def test_the_map_is_saved_loaded_cleared_and_continued(bench, tmp_path):
    """The services change the map; another node finds it as it was saved."""
    bench.start(map__folder=str(tmp_path / 'map'))
    refused = bench.call('save')
    assert not refused.success and 'no map' in refused.message
    bench.fuse(POSES[:2])
    assert bench.call('save').success
    bench.fuse(POSES[2:3], 2)
    assert bench.call('load').success and bench.node.mapper.store.map.frames == 2
    assert bench.call('clear').success and bench.node.mapper.store.map is None
    other = MappingNode(parameter_overrides=bench.node.get_parameters(
        ['map.folder', 'map.voxel', 'map.max_range', 'map.radius']))
    assert other.trigger_configure() != TransitionCallbackReturn.SUCCESS
    assert str(tmp_path / 'map') in other.problem
    assert bench.call('load').success
    bench.fuse(POSES[3:4], 3)
    bench.node.close()  # saves
    assert other.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert other.mapper.store.map.frames == 3
    other.trigger_cleanup()
    other.set_parameters([Parameter('map.voxel', value=0.3)])
    assert other.trigger_configure() != TransitionCallbackReturn.SUCCESS
    assert 'voxel' in other.problem
    other.close()
    other.destroy_node()


def test_only_the_changes_are_published_if_asked(bench):
    """The first cloud is the whole map, the next one has only the tiles that changed."""
    bench.start(publish__changes=True, map__voxel=0.03)  # tiles of 1.92 m
    bench.fuse([look((0.0, 0.0, 1.2), 0.0), look((0.0, 0.0, 1.2), np.pi)])
    bench.wait(lambda: bench.clouds and bench.clouds[-1].header.stamp.sec == 2)
    assert min(xyz(bench.points(cloud))[:, 0].min() for cloud in bench.clouds) < -2.5
    bench.fuse([look((0.5, 0.0, 1.2), 0.0)], 2)
    bench.wait(lambda: bench.clouds[-1].header.stamp.sec == 3)
    ahead = xyz(bench.points(bench.clouds[-1]))[:, 0]
    assert ahead.max() > 2.5 and ahead.min() > -1.95  # the next tile shares a border


def test_mesh_and_grid_are_published(bench):
    """The floor is free and the walls are occupied; the mesh has triangles with colours."""
    marker = pytest.importorskip('visualization_msgs.msg').Marker
    grid_kind = pytest.importorskip('nav_msgs.msg').OccupancyGrid
    meshes, grids = [], []
    bench.others.create_subscription(marker, 'sync/map/mesh', meshes.append, LATCHED)
    bench.others.create_subscription(grid_kind, 'sync/map/grid', grids.append, LATCHED)
    bench.start(mesh__max_triangles=500)
    bench.fuse(around(6, 0.5))
    bench.wait(lambda: meshes and grids and not any(
        unsent for topic, unsent in bench.node.mapper.publishers.unsent.items()
        if topic != 'sync/map'))
    assert len(meshes[-1].points) == len(meshes[-1].colors) == 3 * 500
    grid = grids[-1]
    cells = np.array(grid.data).reshape(grid.info.height, grid.info.width)
    origin = grid.info.origin.position

    def at(x: float, y: float) -> int:
        return int(cells[int((y - origin.y) / grid.info.resolution),
                         int((x - origin.x) / grid.info.resolution)])
    assert at(1.5, 1.0) == 0
    assert (cells == 100).sum() > 20


@pytest.mark.skipif(find_spec('tf2_ros') is not None, reason='tf2_ros is installed')
def test_without_tf2_the_node_says_so_and_lives(bench):
    """Poses of tf need tf2_ros: the transition fails, and another source is accepted."""
    bench.start(poses__source='tf')
    assert 'tf2_ros' in bench.node.problem and bench.node.state == 'inactive'
    bench.node.trigger_cleanup()
    bench.node.set_parameters([Parameter('poses.source', value='pose')])
    assert bench.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert bench.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
