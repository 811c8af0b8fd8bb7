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


"""Child processes of the demo: started apart, logged to files, ended cleanly."""

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

DOMAINS = range(1, 102)  # beyond, the ports run into those that Linux hands out
NODE_MODULES = {
    'perception': 'sync_perception.ros.node.perception_node',
    'replay': 'sync_perception.ros.replay.replay_node'}
"""What `python -m` runs, by the name of the node."""
GRACE = 10.0  # seconds to end after being asked to


class ChildProcess:
    """
    A Python module that runs beside this process, with its output in a file.

    Leaving the `with` block asks it to stop as Ctrl-C would, and insists if it does not.

    :param name: for messages.
    :param module: what `python -m` runs.
    :param arguments: its command line.
    :param log: the file for its output.
    """

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path):
        self.name = name
        self.log = log
        with log.open('wb') as output:
            # a session of its own: Ctrl-C in the terminal reaches this process alone, which then
            # ends its children in order
            self.process = subprocess.Popen(
                [sys.executable, '-m', module, *arguments], stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                # the two streams share a file: unbuffered, their lines keep their order
                env={**os.environ, 'PYTHONUNBUFFERED': '1'})

    def __enter__(self) -> ChildProcess:
        """Return the child."""
        return self

    def __exit__(self, *exception) -> None:
        """End the child."""
        self.stop()

    @property
    def exit_code(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self.process.poll()

    def stop(self) -> None:
        """Interrupt the child and wait; terminate it if that does not help."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.exit_code is not None:
                return
            self.process.send_signal(number)
            try:
                self.process.wait(GRACE)
            except subprocess.TimeoutExpired:
                continue

    def last_lines(self, count: int = 15) -> str:
        """Return the end of its log."""
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-count:])


def use_quiet_domain() -> None:
    """
    Keep this process and its children on this host and out of other people's ROS 2 graphs.

    Sets the environment variables that the user has not set: a free domain, discovery on this
    host, and the shared-memory profile that carries megabytes without loss. Call it before rclpy
    starts.
    """
    environment = os.environ
    environment.setdefault('ROS_DOMAIN_ID', str(free_domain()))
    environment.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    use_shared_memory()


def free_domain() -> int:
    """
    Find a ROS domain whose first participant is not on this host.

    :raises RuntimeError: if there is none.
    """
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                # where the first participant of a domain is discovered (DDSI-RTPS 2.5, 9.6.2)
                probe.bind(('', 7400 + 250 * domain + 10))
            except OSError:
                continue
            return domain
    raise RuntimeError(f'all ROS domains from {DOMAINS[0]} to {DOMAINS[-1]} are in use')
