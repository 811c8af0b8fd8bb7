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
from pathlib import Path

import pytest
import rclpy
from signal_moments import command, moments, Peer, SIGNALS, time_to_first_frame, try_once

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope='module')
def peer(ros_environment) -> Iterator[Peer]:
    """Return a camera and a consumer for the module."""
    rclpy.init()
    made = Peer()
    yield made
    made.close()
    rclpy.try_shutdown()


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


@pytest.mark.exhaustive
@pytest.mark.parametrize('node', ['perception', 'replay'])
def test_signals_end_the_nodes_at_many_moments(peer, node, tmp_path):
    try_moments(node, 20, peer, tmp_path)
