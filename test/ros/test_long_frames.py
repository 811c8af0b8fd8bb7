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
"""A network that computes for a minute holds up neither a transition nor the end of a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import signal
import subprocess
import sys
from threading import Event
import time

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
import pytest
from signal_moments import COMPLAINTS, OBEYED, PATIENCE, Peer

# test_lifecycle.py and test_signals.py have short siblings of these
pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(300)]


@contextmanager
def busy_node(quick: int, log: Path) -> Iterator[subprocess.Popen]:
    """Yield a process of the node that has just begun with a long computation."""
    with log.open('wb') as output:
        process = subprocess.Popen(
            [sys.executable, Path(__file__).parents[1] / 'helpers' / 'long_frames.py', str(quick)],
            stdout=subprocess.PIPE, stderr=output)
    try:
        assert b'in hand' in process.stdout.readline(), log.read_text()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def call(peer: Peer, kind: type, service: str, request):
    """Call a service of the node, and return its answer."""
    client = peer.node.create_client(kind, f'/perception/{service}')
    assert client.wait_for_service(PATIENCE)
    done = Event()
    answer = client.call_async(request)
    answer.add_done_callback(lambda future: done.set())
    assert done.wait(PATIENCE)
    peer.node.destroy_client(client)
    return answer.result()


def test_a_transition_and_a_signal_interrupt_a_long_frame(peer, tmp_path):
    log = tmp_path / 'log'
    with busy_node(1, log) as process:  # quick while it warms up
        assert call(peer, GetState, 'get_state', GetState.Request()).current_state.id == (
            State.PRIMARY_STATE_ACTIVE)
        began = time.monotonic()
        transition = Transition(id=Transition.TRANSITION_DEACTIVATE)
        assert call(peer, ChangeState, 'change_state',
                    ChangeState.Request(transition=transition)).success
        deactivated = time.monotonic() - began
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        ended = time.monotonic() - began
    print(f'deactivated after {deactivated:.2f} s, ended after {ended:.2f} s')
    assert deactivated < OBEYED and ended < OBEYED
    assert not [complaint for complaint in COMPLAINTS if complaint in log.read_text()]


@pytest.mark.parametrize('quick', [0, 1], ids=['warming up', 'a frame'])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_whatever_is_computed(peer, tmp_path, quick, number):
    log = tmp_path / 'log'
    with busy_node(quick, log) as process:
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        ended = time.monotonic() - began
    print(f'ended after {ended:.2f} s')
    assert ended < OBEYED
    assert not [complaint for complaint in COMPLAINTS if complaint in log.read_text()]
