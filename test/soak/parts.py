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
Runs one part of the soak in this process: `parts.py NAME COUNT FILE`.

soak.py starts it, each part in a process of its own, and reads the outcome from the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
import json
from pathlib import Path
import sys

import broken_messages
import kill_process_bag
import kill_training
import malformed_models
import many_frames
import memory_growth
import signal_moments
from trial import Outcome

RUN: dict[str, Callable[[int], Outcome]] = {
    'fuzz': broken_messages.fuzz,
    'models': malformed_models.soak,
    'cycles': partial(memory_growth.soak, 'cycles'),
    'swaps': partial(memory_growth.soak, 'swaps'),
    'sizes': partial(memory_growth.soak, 'sizes'),
    'frames': many_frames.soak,
    'bags': kill_process_bag.soak,
    'training': kill_training.soak,
    'signals': signal_moments.soak,
}

if __name__ == '__main__':
    name, count, path = sys.argv[1:]
    Path(path).write_text(json.dumps(asdict(RUN[name](int(count)))))
