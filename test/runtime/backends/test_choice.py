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

"""Which backend runs a model: the named one or none, the fastest that agrees for auto."""

from __future__ import annotations

import logging
import sys

import pytest
from sync_perception.models import hub
from sync_perception.runtime.backends import choice, choose_backend, EagerBackend, remembered
from sync_perception.runtime.backends.openvino import OpenVinoBackend
from sync_perception.runtime.predictor import Predictor
import torch


@pytest.fixture(autouse=True)
def cache(own_cache, monkeypatch):
    """Choose in earnest, with a memory of this test's own."""
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    return own_cache


@pytest.fixture
def model(small_model):
    """Load the small model."""
    return hub.load(small_model)


class Stub(EagerBackend):
    """Stands for OpenVINO, without a conversion."""

    name = 'openvino'

    def __init__(self, model, half=False, target=choice.CPU):
        super().__init__(model)


@pytest.fixture
def measured(monkeypatch):
    """Replace OpenVINO and the measurement; return the list of what was measured, and times."""
    pytest.importorskip('openvino')
    times = {'torch': 2.0, 'openvino': 1.0}
    asked = []

    def compare(backends, model):
        asked.append([backend.name for backend in backends])
        return times

    monkeypatch.setattr(choice, 'OpenVinoBackend', Stub)
    monkeypatch.setattr(choice, 'time_backends', compare)
    monkeypatch.setattr(choice, 'find_spec', lambda name: True)
    return asked, times


@pytest.mark.parametrize('fastest', ['torch', 'openvino'])
def test_auto_measures_once_and_remembers(model, measured, fastest):
    asked, times = measured
    times[fastest] = 0.1
    assert [choose_backend(model).name for _ in range(3)] == [fastest] * 3
    assert asked == [['torch', 'openvino']]


def test_another_precision_thread_count_or_model_is_measured_anew(model, measured, monkeypatch):
    asked, _ = measured
    choose_backend(model)
    choose_backend(model, 'half')
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 97)
    choose_backend(model)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    choose_backend(model)
    choose_backend(model)
    assert len(asked) == 4


@pytest.mark.parametrize('content', ['', '{"cut', '[]', '{"a": 3}'])
def test_a_broken_memory_is_written_anew(model, measured, content):
    remembered.choices_file().write_text(content)
    assert [choose_backend(model).name for _ in range(2)] == ['openvino'] * 2
    assert len(measured[0]) == 1


def test_auto_falls_back_with_a_warning(model, measured, monkeypatch, caplog):
    """And does not try again; by name it is an error."""
    tried = []

    class Failing(Stub):

        def __init__(self, *arguments):
            tried.append(arguments)
            raise RuntimeError('no such operator\nin detail')

    monkeypatch.setattr(choice, 'OpenVinoBackend', Failing)
    with caplog.at_level(logging.WARNING):
        assert [choose_backend(model).name for _ in range(2)] == ['torch'] * 2
    assert 'no such operator' in caplog.text and len(tried) == 1
    with pytest.raises(ValueError, match='openvino.*no such operator'):
        choose_backend(model, name='openvino')


def test_without_openvino_auto_is_torch_and_its_name_an_error(model, monkeypatch):
    monkeypatch.setattr(choice, 'find_spec', lambda name: None)
    assert type(choose_backend(model)) is EagerBackend
    with pytest.raises(ValueError, match=r'not installed.*sync_perception\[openvino\]'):
        choose_backend(model, name='openvino')
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(ValueError, match=r'sync_perception\[openvino\]'):
        choose_backend(model, target='GPU')


def test_the_environment_says_what_auto_means(model, monkeypatch):
    monkeypatch.setenv(choice.VARIABLE, 'torch')
    assert type(choose_backend(model)) is EagerBackend
    monkeypatch.setenv(choice.VARIABLE, 'tensorflow')
    with pytest.raises(ValueError, match='tensorflow'):
        choose_backend(model)


def test_wrong_combinations_are_refused(model, small_model):
    for arguments, words in [
            ({'name': 'frozen'}, 'auto, torch, .*onnxruntime.*frozen'),
            ({'name': 'onnxruntime'}, 'export'), ({'name': 'torch', 'target': 'GPU'}, 'GPU')]:
        with pytest.raises(ValueError, match=words):
            choose_backend(model, **arguments)
    with pytest.raises(ValueError, match='frozen'):
        Predictor('/nowhere', backend='frozen')  # before anything is looked for


@pytest.mark.timeout(300)
def test_the_fastest_is_chosen_in_earnest(small_model, shared_cache):
    """Without stand-ins: one of the two, the same one again."""
    pytest.importorskip('openvino')
    first, second = (choose_backend(hub.load(small_model)) for _ in range(2))
    assert type(first) in (EagerBackend, OpenVinoBackend)
    assert type(first) is type(second)
    assert remembered.choices_file().is_file()
