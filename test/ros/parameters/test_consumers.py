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

"""What the node publishes with each consumer's preset, read as that consumer reads it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
import re
import sys
from types import ModuleType, SimpleNamespace

import consumer_readers as readers
import numpy as np
import pytest
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    qos_check_compatible,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
)
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from sync_perception.label_exports import export_labels
from sync_perception.labels import LabelSpace
from sync_perception.ros.core import qos
from sync_perception.ros.node.outputs import available_outputs, label_info_message
from sync_perception.ros.node.packet import FramePacket
from sync_perception.ros.parameters.consumers import CONSUMERS
from sync_perception.ros.parameters.perception import PerceptionParameters
from sync_perception.types import Frame, Prediction
import yaml

SIZE = (12, 20)
K = np.array([[25.0, 0, 9.5], [0, 24.0, 5.5], [0, 0, 1]])
SPACE = LabelSpace.load('driving')
FIELDS = {spec.metadata['name']: spec for spec in fields(PerceptionParameters)}
VOID = 255
PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'consumers.md'


def profile(reliability: ReliabilityPolicy, durability=DurabilityPolicy.VOLATILE) -> QoSProfile:
    """Make a profile that leaves nothing to the middleware's defaults, which are these."""
    return QoSProfile(
        depth=1, reliability=reliability, durability=durability,
        liveliness=LivelinessPolicy.AUTOMATIC)


# what the consumers subscribe with; a reader of SYSTEM_DEFAULT is best effort in DDS
BEST_EFFORT = profile(ReliabilityPolicy.BEST_EFFORT)
RELIABLE = profile(ReliabilityPolicy.RELIABLE)
LATCHED = profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope='module')
def scene() -> FramePacket:
    """Make a street: sky without depth, a road, all other classes, and pixels without a label."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, len(SPACE), SIZE).astype(np.uint8)
    labels[:3], labels[3, :5], labels[-2:] = SPACE.index('sky'), VOID, SPACE.index('road')
    labels[5, :len(SPACE)] = np.arange(len(SPACE))
    depth = rng.uniform(1, 60, SIZE).astype(np.float32)
    depth[labels == SPACE.index('sky')] = np.nan
    depth[4, 7] = np.nan
    header = Header(frame_id='camera_optical_frame')
    header.stamp.sec, header.stamp.nanosec = 1700000000, 123456789
    frame = Frame(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), K)
    return FramePacket(
        Image(header=header), frame=frame, labels=SPACE, parameters=PerceptionParameters(),
        prediction=Prediction(
            depth=depth, labels=labels, confidence=rng.random(SIZE, dtype=np.float32)))


def published(scene: FramePacket, consumer: str, **others) -> dict[str, object]:
    """Build all messages of a frame with a consumer's preset, and with other parameters."""
    values = {**CONSUMERS[consumer].parameters, **others}
    parameters = PerceptionParameters(
        consumer=consumer, **{FIELDS[name].name: value for name, value in values.items()})
    packet = replace(scene, parameters=parameters)
    return {output.topic: output.build(packet) for output in outputs(consumer)}


def outputs(consumer: str = 'generic'):
    """Return the outputs of a model with depth, labels and their probability."""
    return available_outputs(
        frozenset({'depth', 'labels', 'confidence'}), PerceptionParameters(consumer=consumer))


def accepts(topic: str, *requests: QoSProfile, consumer: str = 'generic') -> bool:
    """Tell whether subscriptions with these profiles match what a topic offers."""
    profiles = {output.topic: output.profile() for output in outputs(consumer)}
    return all(map(matches(profiles[topic]), requests))


def matches(offer: QoSProfile):
    """Tell by the middleware's own rules which subscriptions an offered profile serves."""
    offer = profile(offer.reliability, offer.durability)
    return lambda request: qos_check_compatible(offer, request)[0] == QoSCompatibility.OK


@pytest.fixture
def label_info(monkeypatch):
    """Make the LabelInfo of the label space, with a stand-in where vision_msgs is missing."""
    message = label_info_message(SPACE, Header())
    if message is None:
        module = ModuleType('vision_msgs.msg')
        module.LabelInfo = module.VisionClass = SimpleNamespace
        monkeypatch.setitem(sys.modules, 'vision_msgs', ModuleType('vision_msgs'))
        monkeypatch.setitem(sys.modules, 'vision_msgs.msg', module)
        message = label_info_message(SPACE, Header())
    return message


def test_the_generic_consumer_presets_nothing():
    assert CONSUMERS['generic'].parameters == {} and CONSUMERS['generic'].remaps == {}


@pytest.mark.parametrize('name', CONSUMERS)
def test_presets_are_values_that_the_node_accepts(name):
    for parameter, value in CONSUMERS[name].parameters.items():
        spec = FIELDS[parameter]
        assert type(value) is type(spec.default)
        assert not spec.metadata['choices'] or value in spec.metadata['choices']
    assert set(CONSUMERS[name].remaps) <= {output.topic for output in outputs(name)}
    assert all(topic.startswith('/') for topic in CONSUMERS[name].remaps.values())


@pytest.mark.parametrize('name', CONSUMERS)
def test_the_page_says_what_a_preset_sets(name):
    """The table in docs/consumers.md is this dictionary."""
    row = re.search(rf'^\| `{name}` \|([^|]*)\|', PAGE.read_text(), re.MULTILINE)
    stated = [part.split(': ') for part in re.findall('`([^`]*)`', row[1])]
    assert {key: yaml.safe_load(value) for key, value in stated} == (
        CONSUMERS[name].parameters)


@pytest.mark.parametrize('name', CONSUMERS)
def test_all_messages_of_a_frame_have_the_cameras_header(scene, name):
    """Exact synchronisation works, and tf finds the frame."""
    for message in published(scene, name).values():
        assert message.header == scene.header


def test_hydra(scene, tmp_path):
    """Sizes, void, masks and geometry, as ClosedSetImageReceiver and the reconstruction do it."""
    sent = published(scene, 'hydra')
    depth, labels = (readers.hydra_depth(sent['sync/depth']),
                     readers.hydra_labels(sent['sync/semantics']))
    assert depth.shape == labels.shape == SIZE
    space, colors = export_labels(SPACE, 'hydra', tmp_path).files
    config = yaml.safe_load(space.read_text())
    masked = np.isin(labels, config['invalid_labels'] + config['dynamic_labels'])
    void = scene.prediction.labels == VOID
    assert (labels[void] == -1).all() and not masked[void].any()
    assert (labels[~void] == scene.prediction.labels[~void]).all()
    assert ((labels >= 0) & (labels < config['total_semantic_labels']) | (labels == -1)).all()
    assert masked[labels == SPACE.index('car')].all()
    assert not masked[labels == SPACE.index('road')].any()
    points = readers.pinhole_points(depth, sent['sync/camera_info'])
    np.testing.assert_allclose(
        points.reshape(-1, 3), readers.pcl_points(sent['sync/points'], ('x', 'y', 'z')),
        rtol=1e-5)
    ids = readers.hydra_csv(colors.read_text())
    assert ids == {(*color, 255): index for index, color in enumerate(SPACE.colors.tolist())}
    painted = readers.cv_bridge_share(sent['sync/semantics/color'])
    read = np.array([ids.get((*color, 255), -1) for color in painted.reshape(-1, 3).tolist()])
    assert (read == labels.reshape(-1)).all()


def test_hydra_reads_void_from_mono8_too(scene, tmp_path):
    """Whoever sets the encoding back loses void's depth, but gets no wrong label."""
    labels = readers.hydra_labels(
        published(scene, 'hydra', **{'semantics.encoding': 'mono8'})['sync/semantics'])
    config = yaml.safe_load(export_labels(SPACE, 'hydra', tmp_path).files[0].read_text())
    masked = np.isin(labels, config['invalid_labels'])
    assert masked[scene.prediction.labels == VOID].all()


def test_hydra_subscribes():
    """Reliable images; a camera_info that is latched or not, as its latch_info_sub says."""
    for topic in ('sync/depth', 'sync/semantics'):
        assert accepts(topic, RELIABLE)
    assert accepts('sync/camera_info', RELIABLE, LATCHED)


def test_kimera(scene, tmp_path):
    """The label of a point is found by its colour in the CSV, without an unknown colour."""
    sent = published(scene, 'kimera')
    points, colors = readers.voxblox_cloud(sent['sync/points'])
    table, dynamic = export_labels(SPACE, 'kimera', tmp_path).files
    ids = readers.kimera_csv(table.read_text())
    read = np.array([ids[(*color, 255)] for color in colors.tolist()])
    valid = ~np.isnan(scene.prediction.depth)
    expected = scene.prediction.labels[valid]
    assert len(points) == valid.sum() == sent['sync/points'].width
    assert (read[expected == VOID] == 0).all() and (expected == VOID).any()
    assert (read[expected != VOID] == expected[expected != VOID] + 1).all()
    assert read.max() < 21  # kTotalNumberOfLabels
    ignored = yaml.safe_load(dynamic.read_text())['dynamic_semantic_labels']
    assert (np.isin(read, ignored) == np.isin(expected, np.flatnonzero(SPACE.dynamic))).all()
    np.testing.assert_array_equal(points[:, 2], scene.prediction.depth[valid])


def test_kimera_subscribes():
    """Through a bridge, whichever reliability it is set to."""
    assert accepts('sync/points', RELIABLE, BEST_EFFORT)


def test_rtabmap(scene):
    """One exact stamp, one size, an encoding that it takes for depth, and a valid model."""
    sent = published(scene, 'rtabmap')
    depth, camera_info = sent['sync/depth'], sent['sync/camera_info']
    assert depth.header.stamp == camera_info.header.stamp == scene.header.stamp
    assert depth.encoding in ('16UC1', '32FC1', 'mono16')
    metres = readers.cv_bridge_share(depth)
    assert scene.frame.size[1] // depth.width == scene.frame.size[0] // depth.height == 1
    np.testing.assert_array_equal(metres, scene.prediction.depth)
    assert (camera_info.width, camera_info.height) == (depth.width, depth.height)
    assert len(camera_info.k) == len(camera_info.r) == 9 and len(camera_info.p) == 12
    assert camera_info.p[0] > 0 and camera_info.p[3] == 0  # else it is taken for stereo


def test_rtabmap_subscribes():
    """Its qos parameters choose: 0 system default, 1 reliable, 2 best effort."""
    for topic in ('sync/depth', 'sync/camera_info'):
        assert accepts(topic, BEST_EFFORT, RELIABLE)


def test_nvblox(scene):
    """Holes that it sees, a mask of what moves, and a calibration for both."""
    sent = published(scene, 'nvblox')
    depth = readers.nvblox_depth(sent['sync/depth'])
    holes = np.isnan(scene.prediction.depth)
    np.testing.assert_array_equal(readers.nvblox_holes(depth), holes)
    np.testing.assert_allclose(depth[~holes], scene.prediction.depth[~holes], atol=5.1e-4)
    masked = readers.nvblox_mask(sent['sync/dynamic_mask'])
    movable = np.isin(scene.prediction.labels, np.flatnonzero(SPACE.dynamic))
    assert movable.any() and (masked == movable).all()
    assert not masked[scene.prediction.labels == VOID].any()
    assert set(np.unique(sent['sync/dynamic_mask'].data)) == {0, 1}
    for topic in ('sync/depth', 'sync/dynamic_mask'):
        message = sent[topic]
        assert (message.height, message.width) == SIZE
        assert message.step * message.height == len(message.data)
    assert np.array_equal(np.reshape(sent['sync/camera_info'].k, (3, 3)), K)
    points = readers.pinhole_points(depth, sent['sync/camera_info'])
    cloud = readers.pcl_points(sent['sync/points'], ('x', 'y', 'z')).reshape(*SIZE, 3)
    np.testing.assert_allclose(points[~holes], cloud[~holes], rtol=1e-3)


def test_nvblox_would_not_see_holes_of_nan(scene):
    """Why its preset is in millimetres."""
    depth = readers.nvblox_depth(
        published(scene, 'nvblox', **{'depth.encoding': '32FC1'})['sync/depth'])
    assert np.isnan(depth).any() and not readers.nvblox_holes(depth).any()


def test_nvblox_subscribes():
    """Its input_qos is one of SYSTEM_DEFAULT, DEFAULT and SENSOR_DATA."""
    for topic in ('sync/depth', 'sync/dynamic_mask', 'sync/camera_info',
                  'sync/dynamic_mask/camera_info'):
        assert accepts(topic, BEST_EFFORT, RELIABLE, consumer='nvblox')


def test_nvblox_finds_a_camera_info_beside_depth_and_beside_the_mask(scene):
    sent, remaps = published(scene, 'nvblox'), CONSUMERS['nvblox'].remaps
    assert set(remaps.values()) == {
        f'/camera_0/{image}/{topic}' for image in ('depth', 'mask')
        for topic in ('image', 'camera_info')}
    assert sent['sync/dynamic_mask/camera_info'] == sent['sync/camera_info']
    assert 'sync/dynamic_mask/camera_info' not in published(scene, 'generic')


@pytest.fixture
def layer(label_info, tmp_path) -> readers.Nav2Layer:
    """Set the Nav2 layer up with the exported file, and let it hear the LabelInfo."""
    file, = export_labels(SPACE, 'nav2', tmp_path).files
    costmap = yaml.safe_load(file.read_text())['local_costmap']['local_costmap']
    layer = readers.Nav2Layer(costmap['ros__parameters']['semantic_segmentation_layer'])
    layer.receive_labels(label_info)
    return layer


def test_nav2(scene, layer):
    """Every pixel with depth and a label counts, with its own point, cost and confidence."""
    sent = published(scene, 'nav2')
    segmentation, confidence = sent['sync/semantics'], sent['sync/semantics/confidence']
    assert segmentation.encoding == confidence.encoding == 'mono8'
    seen = layer.receive_frame(segmentation, confidence, sent['sync/points'])
    assert layer.errors == [] and len(layer.by_id) == len(SPACE)
    labels, depth = scene.prediction.labels.reshape(-1), scene.prediction.depth.reshape(-1)
    counts = ~np.isnan(depth) & (labels != VOID)
    assert [each is not None for each in seen] == counts.tolist()
    for index in np.flatnonzero(counts):
        point, costs, sure = seen[index]
        u, v = index % SIZE[1], index // SIZE[1]
        np.testing.assert_allclose(
            point, depth[index] * np.linalg.solve(K, [u, v, 1]), rtol=1e-5)
        assert sure == round(255 * float(scene.prediction.confidence.reshape(-1)[index]))
        name = SPACE.names[labels[index]]
        assert costs['max_cost'] == (0 if name in ('road', 'sidewalk', 'terrain') else 254)
        assert costs['dominant_priority'] == bool(SPACE.dynamic[labels[index]])


def test_nav2_marks_what_it_is_sure_of(layer):
    """Movable things at once; other obstacles when seen twice with a probability over a half."""
    def cost(name: str, *probabilities: float) -> int:
        costs = layer.costs[name]
        return layer.cost([(None, costs, round(255 * each)) for each in probabilities])
    assert cost('car', 0.01) == 254
    assert cost('building', 0.9) == cost('building', 0.3, 0.6) == 100
    assert cost('building', 0.9, 0.3) == 254
    assert cost('road', 0.1) == cost('road', 1, 1, 1) == 0


def test_nav2_would_read_floats_as_bytes(scene, layer):
    """Why the preset's confidence is mono8, and its cloud organized with a point for a pixel."""
    for parameter, value in (('points.organized', False), ('points.stride', 2)):
        sent = published(scene, 'nav2', **{parameter: value})
        with pytest.raises(AssertionError, match='sizes are different'):
            layer.receive_frame(sent['sync/semantics'], sent['sync/semantics/confidence'],
                                sent['sync/points'])
    sent = published(scene, 'nav2', **{'confidence.encoding': '32FC1'})
    seen = layer.receive_frame(
        sent['sync/semantics'], sent['sync/semantics/confidence'], sent['sync/points'])
    truth = np.rint(255 * scene.prediction.confidence.reshape(-1))
    assert any(each[2] != right for each, right in zip(seen, truth) if each is not None)


def test_nav2_subscribes():
    """Sensor data for frames; the label info latched, so that it comes before the first."""
    for topic in ('sync/semantics', 'sync/semantics/confidence', 'sync/points'):
        assert accepts(topic, BEST_EFFORT)
    assert matches(qos.latched())(LATCHED)


def test_octomap_of_ssmi(scene):
    """Two colours of each point: the camera's and the label's, both packed in floats."""
    cloud = published(scene, 'generic', **{'points.semantic_color': True})['sync/points']
    values = readers.pcl_points(cloud, ('x', 'y', 'z', 'rgb', 'semantic_color'))
    np.testing.assert_array_equal(
        readers.packed_color(values[:, 3]), scene.frame.image.reshape(-1, 3))
    np.testing.assert_array_equal(
        readers.packed_color(values[:, 4]),
        SPACE.colorize(scene.prediction.labels).reshape(-1, 3))
    assert accepts('sync/points', RELIABLE)


def test_the_readers_refuse_what_the_programs_refuse(scene):
    """They are no yes-men."""
    sent = published(scene, 'generic')
    with pytest.raises(ValueError, match='semantic_color'):
        readers.pcl_points(sent['sync/points'], ('x', 'semantic_color'))
    with pytest.raises(ValueError, match="'label'"):
        readers.pcl_points(sent['sync/points'], ('label',))  # no float
    with pytest.raises(ValueError, match='missing headers'):
        readers.hydra_csv('name,r,g,b,a,label\nroad,1,2,3,255,0\n')
    with pytest.raises(ValueError, match='mask'):
        readers.nvblox_mask(sent['sync/depth'])
    sent['sync/depth'].step += 1
    with pytest.raises(ValueError, match='wrongly formed'):
        readers.cv_bridge_share(sent['sync/depth'])
    assert not matches(BEST_EFFORT)(RELIABLE) and not matches(RELIABLE)(LATCHED)
