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
The perception node with the default model, whose network takes a minute for each image.

`python long_frames.py QUICK [ROS arguments]`: the first QUICK calls of the network take as long as
they do; of each later one it says `in hand` on stdout.
"""

from __future__ import annotations

from functools import partial
import sys
import time
from typing import Any

from sync_perception.ros.core.stopping import leave, StopRequest

SECONDS = 60.0


class LongBackend:
    """
    A network that is run again and again for each image.

    :param backend: runs it once.
    :param quick: for how many calls once is enough.
    """

    def __init__(self, backend: Any, quick: int):
        self.backend, self.quick = backend, quick

    def __getattr__(self, name: str) -> Any:
        """Be like the backend in all else."""
        return getattr(self.backend, name)

    def __call__(self, image: Any) -> Any:
        """Run the network until the time is over."""
        end = time.monotonic() + SECONDS
        self.quick -= 1
        if self.quick < 0:
            print('in hand', flush=True)
            while time.monotonic() < end:
                self.backend(image)
        return self.backend(image)


def load(quick: int, parameters: Any) -> Any:
    """Load the model that the parameters name, and slow it down."""
    from sync_perception.ros.node.model_loading import load_predictor
    predictor = load_predictor(parameters)
    predictor.backend = LongBackend(predictor.backend, quick)
    return predictor


if __name__ == '__main__':
    stop = StopRequest()
    from sync_perception.ros.core import executor
    from sync_perception.ros.node.node import PerceptionNode
    node = partial(PerceptionNode, load_predictor=partial(load, int(sys.argv[1])))
    leave(executor.run_node(node, [sys.argv[0], *sys.argv[2:]], stop))
