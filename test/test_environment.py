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

"""What the environment says to torch when it loads, in every program and its children."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from sync_perception.environment import SETTINGS

# Runs a module as a program and stops where torch begins to be imported, by it or by a child.
WATCH = """
import importlib.abc, json, os, runpy, sys

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == 'torch':
            print(json.dumps(dict(os.environ)), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch())
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name='__main__')
"""
PROGRAMS = [
    ('sync_perception.cli', 'predict', 'image.png', '--out', 'out'),
    ('sync_perception.cli', 'models', '--time', 'mobile-unet'),
    ('sync_perception.cli', 'train', '--print_config'),
    ('sync_perception.cli', 'evaluate', '--dataset', 'synthetic'),
    ('sync_perception.ros.node.perception_node',),
    ('sync_perception.ros.tools.bench_nodes', 'conventional'),
    ('sync_perception.runtime.predictor',),
]


@pytest.mark.parametrize('words', PROGRAMS, ids=' '.join)
def test_every_program_sets_it_before_torch_loads(words, tmp_path):
    """And what the user sets stays."""
    if '.ros.' in words[0]:
        pytest.importorskip('rclpy')
    if 'train' in words:
        pytest.importorskip('lightning')
    given = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    given['KMP_BLOCKTIME'] = '77'
    done = subprocess.run(
        [sys.executable, '-c', WATCH, *words], cwd=tmp_path, env=given, capture_output=True,
        text=True, timeout=100)
    [line] = [line for line in done.stdout.splitlines() if line.startswith('{')] or [done.stderr]
    found = json.loads(line)
    assert {**SETTINGS, 'KMP_BLOCKTIME': '77'}.items() <= found.items()
