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

"""
Measures what stays in memory of models that are swapped, images of many sizes, and node cycles.

`python test/soak/memory_growth.py ACTION COUNT` does one of them in a process of its own, with
the package's default model, and prints one line of JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
import gc
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
from trial import growth, Outcome, Usage, usage

# so many are done before the first measurement: buffers and caches fill, those of torch's
# convolutions with 1024 entries, some 140 for each size of the default model's input
WARM_UP = {'swaps': 8, 'sizes': 60, 'cycles': 8}

Settle = Callable[[], None]


@dataclass(frozen=True)
class Growth:
    """
    What a process holds before and after an action was repeated.

    :param action: what was repeated.
    :param count: how often.
    :param before: when it had been done some times.
    :param after: at the end.
    :param seconds: that the repetitions took.
    """

    action: str
    count: int
    before: Usage
    after: Usage
    seconds: float

    @property
    def mib(self) -> float:
        """Return the MiB that came on top."""
        return self.after.mib - self.before.mib

    @property
    def share(self) -> float:
        """Return what came on top, as a share of what there was before."""
        return self.mib / self.before.mib


def repeat(name: str, steps: Iterator[Settle | None], count: int, warm_up: int) -> Growth:
    """
    Repeat an action, and measure what the process holds before and after.

    The largest of three measurements counts, in the warm-up and in the same number of repetitions
    at the end.

    :param steps: performs the action once each time it is advanced, and may yield a function that
        brings the process into the same state before each measurement.
    :param warm_up: repetitions before the first measurement ends.
    """
    before, start = largest_usage(steps, warm_up), time.monotonic()
    last = min(warm_up, count)
    for _ in range(count - last):
        next(steps)
    after = largest_usage(steps, last)
    return Growth(name, count, before, after, round(time.monotonic() - start, 1))


def largest_usage(steps: Iterator[Settle | None], count: int) -> Usage:
    """Repeat an action `count` times, and return the largest of three measurements."""
    measured = []
    for done in range(count):
        settle = next(steps)
        if count - done - 1 in (0, count // 3, 2 * count // 3):
            if settle is not None:
                settle()
            gc.collect()
            measured.append(usage())
    return max(measured, key=lambda found: found.mib)


def street(size: tuple[int, int] = (375, 1242)) -> Any:
    """Return a frame of a size, height and width."""
    from sync_perception.types import Frame
    height, width = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Frame(image, np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]]))


def swaps(backend: str, half: bool) -> Iterator[None]:
    """Load the default model and answer a frame, forgetting the model before."""
    from sync_perception.runtime.predictor import Predictor
    frame = street()
    while True:
        Predictor(device='cpu', backend=backend, half=half).predict(frame)
        yield


def sizes(backend: str, half: bool) -> Iterator[Settle]:
    """Answer a frame of another size each time; few of them share the network's input size."""
    from sync_perception.runtime.predictor import Predictor
    predictor = Predictor(device='cpu', backend=backend, half=half)
    predictor.predict(street((480, 1400)))  # the largest first: smaller ones fit its memory
    rng = np.random.default_rng(0)

    def settle() -> None:
        """Answer the same sizes, so that a backend keeps the same graphs."""
        for size in ((480, 1400), (400, 1000), (300, 900), (200, 400)):
            predictor.predict(street(size))

    while True:
        predictor.predict(street((int(rng.integers(160, 480)), int(rng.integers(200, 1400)))))
        yield settle


def cycles(backend: str, half: bool) -> Iterator[None]:
    """Configure, activate, deactivate and clean up a live node."""
    import rclpy
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter
    from sync_perception.ros.node.node import PerceptionNode
    rclpy.init(args=['--ros-args', '--log-level', 'error'])
    node = PerceptionNode(parameter_overrides=[
        Parameter('device', value='cpu'), Parameter('backend', value=backend),
        Parameter('half', value=half)])
    steps = (node.trigger_configure, node.trigger_activate, node.trigger_deactivate,
             node.trigger_cleanup)
    while True:
        for step in steps:
            assert step() == TransitionCallbackReturn.SUCCESS, node.problem
            rclpy.spin_once(node, timeout_sec=0)
        yield


ACTIONS: dict[str, Callable[[str, bool], Iterator[Settle | None]]] = {
    'swaps': swaps, 'sizes': sizes, 'cycles': cycles}


def measure(
        action: str, count: int, backend: str = 'torch', half: bool = False,
        warm_up: int | None = None) -> Growth:
    """
    Repeat an action in a process of its own.

    :param action: a key of ACTIONS.
    :param warm_up: how often it is done before the first measurement; by default as WARM_UP says.
    :raises subprocess.CalledProcessError: if the process fails.
    """
    warm_up = WARM_UP[action] if warm_up is None else warm_up
    command = [sys.executable, __file__, action, str(count), '--backend', backend,
               '--warm-up', str(warm_up)]
    done = subprocess.run(command + ['--half'] * half, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return Growth(**{**found, **{name: Usage(**found[name]) for name in ('before', 'after')}})


def soak(action: str, count: int) -> Outcome:
    """Repeat an action with the backend that users get, and judge what stays."""
    found = measure(action, count, 'auto')
    wrong, words = growth(found.before, found.after)
    return Outcome(count, wrong, words, asdict(found))


SOAK = {action: partial(soak, action) for action in ACTIONS}


def main() -> None:
    """Repeat the action that the command line names and print what it left in memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('action', choices=ACTIONS)
    parser.add_argument('count', type=int)
    parser.add_argument('--backend', default='torch')
    parser.add_argument('--half', action='store_true')
    parser.add_argument('--warm-up', type=int)
    words = parser.parse_args()
    warm_up = WARM_UP[words.action] if words.warm_up is None else words.warm_up
    steps = ACTIONS[words.action](words.backend, words.half)
    print(json.dumps(asdict(repeat(words.action, steps, words.count, warm_up))), flush=True)


if __name__ == '__main__':
    main()
