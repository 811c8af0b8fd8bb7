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

"""The command `bench`: with messages where there are any, and without."""

from __future__ import annotations

import builtins
import json

import numpy as np
import pytest
from sync_perception.models import hub
from sync_perception.ros.tools import bench
from sync_perception.runtime.benchmark.bench_frames import BenchFrames, drawn_street
from sync_perception.runtime.benchmark.stages import runtime_stages, Work
from sync_perception.runtime.predictor import Predictor
from sync_perception.runtime.predictor_options import PredictorOptions
from sync_perception.types import Frame
import zoo

SMALL = BenchFrames(1, (60, 90))


def test_without_messages_the_rest_is_measured(small_model, tmp_path, monkeypatch, capsys):
    real = builtins.__import__

    def without_ros(name, *arguments, **keywords):
        if name.partition('.')[0] in ('sensor_msgs', 'std_msgs'):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, '__import__', without_ros)
    report = bench.bench(
        PredictorOptions(small_model, 'cpu'), SMALL, tmp_path / 'report.json')
    assert json.loads((tmp_path / 'report.json').read_text()) == report
    assert 'network' in report['milliseconds']
    assert 'message -> frame' not in report['milliseconds']
    assert 'sensor_msgs' in report['messages'] and 'sensor_msgs' in capsys.readouterr().out


@pytest.mark.parametrize('name, messages', [
    ('depth_alone', {'depth', 'points'}), ('semantics_alone', {'semantics', 'confidence'})])
def test_a_single_task_has_its_own_messages_alone(name, messages, tmp_path):
    pytest.importorskip('sensor_msgs')
    frame = Frame(drawn_street((60, 90)), np.array([[50.0, 0, 45], [0, 50.0, 30], [0, 0, 1]]))
    hub.save(zoo.build(name), tmp_path)
    predictor = Predictor(tmp_path, 'cpu')
    work = Work(frame=frame)
    for _, run in (*runtime_stages(predictor), *bench.messages_out(frame, predictor)):
        run(work)
    assert set(work.messages) == messages
    report = bench.bench(PredictorOptions(tmp_path, 'cpu'), SMALL)
    assert ('cloud' in report['milliseconds']) == ('points' in messages)


def test_message_stages_carry_the_frame_through(small_model):
    pytest.importorskip('sensor_msgs')
    K = np.array([[50.0, 0, 45], [0, 50.0, 30], [0, 0, 1]])
    frame = Frame(drawn_street((60, 90)), K, frame_id='camera')
    predictor = Predictor(small_model, 'cpu')
    stages = [
        *bench.message_in(frame), *runtime_stages(predictor),
        *bench.messages_out(frame, predictor)]
    work = Work()
    for _ in range(2):
        for _, run in stages:
            run(work)
    np.testing.assert_array_equal(work.frame.image, frame.image)
    np.testing.assert_array_equal(work.frame.K, K)
    depth = np.frombuffer(work.messages['depth'].data, np.float32).reshape(60, 90)
    np.testing.assert_array_equal(depth, work.prediction.depth)
    assert work.messages['points'].width == 90 and work.messages['points'].point_step == 32
    assert len(work.messages['points'].data) == 60 * 90 * 32
