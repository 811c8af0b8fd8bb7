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


"""Child processes of the demo and the benchmarks, with logs in files and an orderly end."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import random
import signal
import socket
import subprocess
import sys

from sync_perception.ros.core.middleware import use_shared_memory

DOMAINS = range(1, 102)  # higher domains use ports from Linux's ephemeral range
NODE_MODULES = {
    'perception': 'sync_perception.ros.node.perception_node',
    'mapping': 'sync_perception.ros.map.mapping_node',
    'replay': 'sync_perception.ros.replay.replay_node'}
"""Modules that `python -m` runs, by the name of the node."""
START_LIMIT = 180.0  # seconds for processes to start, on a slow machine with a cold disk cache
GRACE = 10.0  # seconds from the request to stop until the end


class ChildProcess:
    """
    Python module in a child process, with its output in a file.

    At the end of the `with` block the process receives SIGINT, and is terminated if it does not
    stop.

    :param name: name for messages.
    :param module: module that `python -m` runs.
    :param arguments: command line of the module.
    :param log: file for the output.
    """

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path):
        self.name = name
        self.log = log
        with log.open('wb') as output:
            # in a separate session, so that Ctrl-C in the terminal reaches only this process,
            # which then ends its children in order
            self.process = subprocess.Popen(
                [sys.executable, '-m', module, *arguments], stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                # unbuffered, so that the lines of the two streams keep their order in the file
                env={**os.environ, 'PYTHONUNBUFFERED': '1'})

    def __enter__(self) -> ChildProcess:
        """Return the child process."""
        return self

    def __exit__(self, *exception) -> None:
        """Stop the child process."""
        self.stop()

    @property
    def exit_code(self) -> int | None:
        """Exit status, or None while the process runs."""
        return self.process.poll()

    def stop(self) -> None:
        """Interrupt the process and wait; terminate it if it does not end."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.exit_code is not None:
                return
            self.process.send_signal(number)
            try:
                self.process.wait(GRACE)
            except subprocess.TimeoutExpired:
                continue

    def last_lines(self, count: int = 15) -> str:
        """Return the last lines of the log."""
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-count:])


def use_quiet_domain() -> None:
    """
    Isolate this process and its children from other ROS 2 graphs, and restrict them to this host.

    This sets the environment variables that the user has not set: a free domain, discovery on this
    host only, and the shared-memory profile, which transports megabytes without loss. Call it
    before rclpy starts.
    """
    environment = os.environ
    environment.setdefault('ROS_DOMAIN_ID', str(free_domain()))
    environment.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    use_shared_memory()


def free_domain() -> int:
    """
    Return a ROS domain without participants on this host.

    :raises RuntimeError: if there is none.
    """
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                # discovery port of the first participant of a domain (DDSI-RTPS 2.5, 9.6.2)
                probe.bind(('', 7400 + 250 * domain + 10))
            except OSError:
                continue
            return domain
    raise RuntimeError(f'all ROS domains from {DOMAINS[0]} to {DOMAINS[-1]} are in use')
