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

"""SIGINT and SIGTERM end the real processes in order, whatever they are doing."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import signal
import socket
import subprocess
import time

from endless_onnx import write_endless_onnx
import pytest
from signal_moments import (
    command,
    launch,
    moments,
    OBEYED,
    PATIENCE,
    Peer,
    SIGNALS,
    time_to_first_frame,
    try_once,
)

pytestmark = pytest.mark.timeout(600)


def try_moments(node: str, tries: int, peer: Peer, folder: Path, *parameters: str) -> None:
    """Send signals at moments up to the first frame and a little beyond."""
    words, log = command(node, folder, parameters), folder / 'log'
    last = time_to_first_frame(words, peer, log)
    for index, moment in enumerate(moments(last, tries)):
        outcome = try_once(words, SIGNALS[index % 2], moment, log)
        assert outcome.good, str(outcome)


def test_signals_end_the_nodes(peer, small_model, tmp_path):
    try_moments('perception', 3, peer, tmp_path, f'model:={small_model}')
    try_moments('replay', 2, peer, tmp_path)


def wait_for(process: subprocess.Popen, log: Path, words: str) -> None:
    """Wait until a node has logged something."""
    end = time.monotonic() + PATIENCE
    while words not in log.read_text():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def obeys(process: subprocess.Popen, log: Path) -> None:
    """Terminate a node, which must end in order and soon."""
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0, log.read_text()
    assert time.monotonic() - start < OBEYED and 'Traceback' not in log.read_text()


@pytest.fixture
def silent_hub(monkeypatch) -> Iterator[None]:
    """Let the hub be a machine that takes connections and never answers."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        monkeypatch.setenv('HF_ENDPOINT', f'http://127.0.0.1:{server.getsockname()[1]}')
        monkeypatch.delenv('HF_HUB_OFFLINE', raising=False)
        yield


def test_a_node_whose_model_hangs_says_so_and_obeys(ros_environment, tmp_path):
    words = command('perception', tmp_path, [
        f'model:={write_endless_onnx(tmp_path / "endless.onnx")}', 'load_timeout:=4.0'])
    log = tmp_path / 'log'
    process = launch(words, log)
    wait_for(process, log, 'cannot configure')
    assert 'load_timeout' in log.read_text()
    obeys(process, log)


def test_a_name_on_no_hub_costs_a_few_seconds(ros_environment, silent_hub, tmp_path):
    log = tmp_path / 'log'
    process = launch(command('perception', tmp_path, ['model:=owner/name']), log)
    wait_for(process, log, 'cannot configure')
    assert 'owner/name' in log.read_text()
    obeys(process, log)


def test_a_name_that_is_a_path_is_refused(ros_environment, silent_hub, tmp_path):
    os.mkfifo(tmp_path / 'config.json')
    for model in ('/models/rooms', str(tmp_path)):
        log = tmp_path / 'log'
        process = launch(command('perception', tmp_path, [f'model:={model}']), log)
        wait_for(process, log, 'cannot configure')
        assert f'FileNotFoundError: {model}' in log.read_text()
        obeys(process, log)


@pytest.mark.exhaustive
@pytest.mark.parametrize('node', ['perception', 'replay'])
def test_signals_end_the_nodes_at_many_moments(peer, node, tmp_path):
    try_moments(node, 20, peer, tmp_path)
