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

"""A contrastive model that watches the node's frames."""

from __future__ import annotations

from types import SimpleNamespace

from node_bench import K, picture
import pytest
from rclpy.parameter import Parameter
from sync_perception.labels import LabelSpace
from sync_perception.models.contrastive.dense_clip import ContrastiveConfig, ContrastiveModel
from sync_perception.models.storage.folder import save_folder
from sync_perception.ros.health.consistency_monitor import ConsistencyMonitor
from sync_perception.runtime.consistency import ConsistencyScorer
from sync_perception.types import Frame
import torch

pytest.importorskip('transformers')

TOWER = {
    'image_size': 32, 'patch_size': 8, 'hidden_size': 32, 'intermediate_size': 64,
    'num_hidden_layers': 1, 'num_attention_heads': 2, 'projection_dim': 16}


@pytest.fixture
def folder(tmp_path):
    """Save a contrastive model with random weights."""
    torch.manual_seed(0)
    space = LabelSpace.load('driving')
    save_folder(ContrastiveModel(ContrastiveConfig(space.to_dict(), TOWER)),
                tmp_path)
    return tmp_path


def test_a_score_below_the_minimum_is_a_contradiction():
    monitor = ConsistencyMonitor(SimpleNamespace(score=lambda *maps: 0.5))
    assert monitor.judge('', None, None, None, minimum=0.4) == '' and monitor.scores == {'': 0.5}
    assert '0.50, expected at least 0.6' in monitor.judge('', None, None, None, minimum=0.6)


@pytest.mark.parametrize('rates', [{'a': 10}, {'a': 10, 'b': 10, 'c': 10}, {'a': 30, 'b': 3}])
@pytest.mark.parametrize('together', [True, False])
def test_all_cameras_take_turns_however_fast_one_of_them_is(monkeypatch, rates, together):
    now = 100.0
    monkeypatch.setattr(
        'sync_perception.ros.health.consistency_monitor.time.monotonic', lambda: now)
    monitor = ConsistencyMonitor(SimpleNamespace(score=lambda *maps: 0.5))
    judged = []
    for tick in range(60 * 30):
        now = 100.0 + tick / 30
        waiting = [name for name, rate in rates.items() if tick % (30 // rate) == 0]
        for names in [waiting] if together and waiting else [[name] for name in waiting]:
            index = monitor.choose(names, period=5.0)
            if index is not None:
                monitor.judge(names[index], None, None, None, minimum=0.0)
                judged.append(names[index])
    assert 10 <= len(judged) <= 12  # one in a period
    assert max(map(judged.count, rates)) - min(map(judged.count, rates)) <= 1


def test_the_node_scores_its_own_frames(bench, folder):
    bench.start(listen=('depth', 'semantics'), **{'consistency.model': str(folder)})
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: bench.node.pipeline.monitor.scores)
    frame = Frame(picture(), K)
    maps = bench.predictor.predict_batch([frame], [frozenset({'depth', 'labels'})])[0]
    expected = ConsistencyScorer(folder).score(maps, frame, LabelSpace.load('driving'))
    assert bench.node.pipeline.monitor.scores[''] == pytest.approx(expected)
    bench.node.set_parameters([Parameter('consistency.minimum', value=1.0),
                               Parameter('consistency.period', value=0.1)])
    bench.wait(lambda: bench.send_image(2) or bench.camera.troubles)
    assert 'contradict each other' in bench.camera.troubles['consistency']


def test_a_folder_that_holds_no_such_model_fails_the_configuration(bench, tmp_path):
    bench.start(**{'consistency.model': str(tmp_path / 'nowhere')})
    assert 'nowhere' in bench.node.problem and bench.node.pipeline is None
