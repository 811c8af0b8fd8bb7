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

from dataclasses import asdict
from importlib import import_module
import json
from pathlib import Path
import sys

MODULES = {
    'fuzz': 'broken_messages', 'models': 'malformed_models', 'cycles': 'memory_growth',
    'swaps': 'memory_growth', 'sizes': 'memory_growth', 'frames': 'many_frames',
    'maps': 'many_frames',
    'bags': 'kill_process_bag', 'training': 'kill_training', 'signals': 'signal_moments'}
"""Which module has a part, as SOAK[name](count); only that one is imported, for torch is slow."""

if __name__ == '__main__':
    name, count, path = sys.argv[1:]
    outcome = import_module(MODULES[name]).SOAK[name](int(count))
    Path(path).write_text(json.dumps(asdict(outcome)))
