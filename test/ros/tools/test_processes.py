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


"""Child processes: their logs, their ends, their domain."""

from __future__ import annotations

from importlib import import_module
import os
import socket
import sys
import time

import pytest
from sync_perception.ros.core.middleware import PROFILE_VARIABLES
from sync_perception.ros.tools import processes
from sync_perception.ros.tools.processes import ChildProcess, free_domain, use_quiet_domain

LISTENER = (
    'import signal, sys, time\n'
    '{setup}\n'
    'print("ready", flush=True)\n'
    'time.sleep(60)\n')


@pytest.mark.parametrize('module', processes.NODE_MODULES.values())
def test_the_modules_of_the_nodes_can_be_run(module):
    assert callable(import_module(module).main)


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Start a module of a given text; every child is ended after the test."""
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), *sys.path]))
    children = []

    def start(text: str) -> ChildProcess:
        (tmp_path / 'played.py').write_text(text)
        children.append(ChildProcess('The child', 'played', ['a', 'b'], tmp_path / 'child.log'))
        return children[-1]

    yield start
    for each in children:
        each.stop()


def wait_for(child: ChildProcess, line: str) -> None:
    """Wait until the child has printed a line."""
    while line not in child.last_lines():
        time.sleep(0.01)
        assert child.exit_code is None


def test_output_goes_to_the_log(child):
    """Both streams and the arguments are found in the log; the exit status is kept."""
    played = child('import sys\nprint(sys.argv[1:])\nsys.exit("no camera")')
    assert played.process.wait(30) == 1
    assert played.exit_code == 1
    assert played.last_lines() == "['a', 'b']\nno camera"
    assert played.last_lines(1) == 'no camera'


def test_stop_interrupts(child):
    """A child is asked to end the way Ctrl-C asks, and can end cleanly."""
    with child(LISTENER.format(
            setup='signal.signal(signal.SIGINT, lambda *_: sys.exit(7))')) as played:
        wait_for(played, 'ready')
        assert played.exit_code is None
    assert played.exit_code == 7


def test_stop_insists(child, monkeypatch):
    """A child that ignores the interrupt is terminated."""
    monkeypatch.setattr(processes, 'GRACE', 0.3)
    played = child(LISTENER.format(setup='signal.signal(signal.SIGINT, signal.SIG_IGN)'))
    wait_for(played, 'ready')
    played.stop()
    assert played.exit_code == -15


def test_free_domain_avoids_a_taken_one(monkeypatch):
    """With one of two domains taken, as its first participant takes it, the other is found."""
    monkeypatch.setattr(processes, 'DOMAINS', range(97, 99))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(('', 7400 + 250 * 97 + 10))
        assert {free_domain() for _ in range(8)} == {98}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(('', 7400 + 250 * 98 + 10))
            with pytest.raises(RuntimeError, match='97 to 98'):
                free_domain()


def test_what_the_user_set_stays(monkeypatch):
    """A domain and a profile of the user's own are kept; the rest is filled in."""
    for name in ('ROS_AUTOMATIC_DISCOVERY_RANGE', *PROFILE_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('ROS_DOMAIN_ID', '42')
    monkeypatch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', '/mine.xml')
    use_quiet_domain()
    assert os.environ['ROS_DOMAIN_ID'] == '42'
    assert os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'
    assert {os.environ[name] for name in PROFILE_VARIABLES} == {'/mine.xml'}
