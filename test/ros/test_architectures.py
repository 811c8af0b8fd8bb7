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


"""The node runs every architecture that its parameter `model` names, and refuses what is none."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
from lifecycle_msgs.msg import State, Transition
from node_bench import Bench, K
import numpy as np
import pytest
import rclpy
from rclpy.parameter import Parameter
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.models.exchange.export import export_model
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.node.model_loading import load_predictor
from sync_perception.types import Frame
from zoo import build, kinds_first, MODEL_ZOO

SIZE = (50, 71)  # of the camera; no network's multiple
NETWORK_SIZE = (64, 96)
ENCODINGS = {'depth': '32FC1', 'semantics': 'mono8'}
# what a node has to do with: both maps and more, one map, and a model of the library transformers;
# that every architecture is saved and loaded to the bit, for any size, is a test of the models
KINDS_OF_OUTPUTS = (
    'mobile_unet', 'depth_alone', 'semantics_alone', 'depth_anything_segformer', 'padnet')
TYPES = {'depth': np.float32, 'semantics': np.uint8}


class Turntable:
    """One node for all models: each is configured, sees an image, and is cleaned up again."""

    def __init__(self):
        self.bench = Bench().start(
            listen=tuple(ENCODINGS), load=load_predictor, autostart=False, device='cpu',
            allow_code=True)
        self.stamp = 0

    def configure(self, model: str | Path) -> bool:
        """Set the parameter and configure; return whether it succeeded."""
        assert self.bench.node.set_parameters([Parameter('model', value=str(model))])[0].successful
        return self.bench.transition(Transition.TRANSITION_CONFIGURE)

    def run(self, model: str | Path) -> None:
        """Let the node answer one image by this model, and compare with the model's own answer."""
        bench = self.bench
        assert self.configure(model)
        assert bench.transition(Transition.TRANSITION_ACTIVATE)
        try:
            predictor = bench.node.pipeline.predictor
            assert predictor.describe()['model'] == str(model)
            topics = [topic for topic, output in (('depth', 'depth'), ('semantics', 'labels'))
                      if output in predictor.available]
            messages = self.ask(topics)
            expected = predictor.predict(Frame(picture(), K), frozenset({
                'depth', 'labels'} & predictor.available))
            maps = {'depth': expected.depth, 'semantics': expected.labels}
            for topic, message in messages.items():
                assert (message.height, message.width) == SIZE
                assert message.encoding == ENCODINGS[topic]
                found = np.frombuffer(message.data, TYPES[topic]).reshape(SIZE)
                np.testing.assert_array_equal(found, maps[topic])
        finally:
            assert bench.transition(Transition.TRANSITION_DEACTIVATE)
            assert bench.transition(Transition.TRANSITION_CLEANUP)

    def ask(self, topics: list[str]) -> dict:
        """Send an image and its calibration; return what comes back on the topics."""
        bench = self.bench
        self.stamp += 1
        for messages in bench.received.values():
            messages.clear()
        bench.wait(bench.image_publisher.get_subscription_count)
        bench.wait(bench.info_publisher.get_subscription_count)
        for output, publisher in bench.camera.outputs:
            if output.topic.removeprefix('sync/') in topics:
                bench.wait(publisher.get_subscription_count)
        bench.send_info(self.stamp, SIZE)
        bench.send_image(self.stamp, picture())
        bench.wait(lambda: all(bench.received[topic] for topic in topics))
        answers = {topic: bench.received[topic][-1] for topic in topics}
        assert {stamp_nanoseconds(message.header) for message in answers.values()} == {self.stamp}
        return answers


def picture() -> np.ndarray:
    """Return an image of a little of everything."""
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def turntable(ros_environment):
    """Start one node for all tests."""
    rclpy.init()
    made = Turntable()
    yield made
    made.bench.close()
    rclpy.try_shutdown()


@pytest.mark.parametrize('name', kinds_first(MODEL_ZOO, KINDS_OF_OUTPUTS))
def test_the_node_runs_every_architecture(turntable, name, tmp_path):
    """Its folder is all that the node needs; what it gives has the camera's size."""
    hub.save(build(name, input_pixels=NETWORK_SIZE[0] * NETWORK_SIZE[1]), tmp_path)
    turntable.run(tmp_path)


@pytest.mark.parametrize('ending', ['onnx', 'pt2'])
def test_the_node_runs_exported_files(turntable, ending, tmp_path):
    """The file is the parameter."""
    path = tmp_path / f'model.{ending}'
    export_model(build('depth_alone'), path, NETWORK_SIZE)
    turntable.run(path)


def test_the_node_runs_a_pair_of_pretrained_models(turntable, tmp_path):
    """Two folders joined by a plus, as two hub ids would be."""
    from tiny import save_depth, save_segformer
    save_depth(tmp_path / 'depth', 'depth_anything')
    save_segformer(tmp_path / 'labels', LabelSpace.load('cityscapes19').names)
    turntable.run(f'{tmp_path}/depth+{tmp_path}/labels')


@pytest.mark.parametrize('model, complaint', [
    ('/no/such/folder', '/no/such/folder'),
    ('nobody/no-such-model', 'nobody/no-such-model'),
    ('depth-anything-v9+segformer-b0', 'depth-anything-v9'),
    ('/no/such/file.onnx', '/no/such/file.onnx'),
])
def test_an_unknown_model_is_one_clear_error(turntable, model, complaint, capfd, monkeypatch):
    """The node stays unconfigured, alive and ready for another model."""
    if '+' in model:
        pytest.importorskip('transformers')
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    assert not turntable.configure(model)
    assert turntable.bench.state() == State.PRIMARY_STATE_UNCONFIGURED
    errors = [line for line in capfd.readouterr().err.splitlines() if '[ERROR]' in line]
    assert len(errors) == 1, errors
    assert 'cannot configure' in errors[0]
    assert complaint in errors[0]


def test_an_architecture_that_is_unknown_is_named(turntable, tmp_path, capfd):
    """As are those that there are; afterwards the node takes a model that is one."""
    hub.save(build('depth_alone'), tmp_path)
    config = tmp_path / 'config.json'
    good = config.read_text()
    config.write_text(good.replace('"architecture": "sync"', '"architecture": "synk"'))
    assert not turntable.configure(tmp_path)
    message = capfd.readouterr().err
    assert "'synk'" in message
    assert 'refinenet' in message
    config.write_text(good)
    turntable.run(tmp_path)
