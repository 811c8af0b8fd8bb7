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

"""Spoils the configuration of the default model in every place, one at a time."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
import tempfile
from typing import Any

from mutations import mutations
from sync_perception.models import hub
from sync_perception.resources import default_model_folder
from trial import Outcome

LONGEST = 2000  # characters of a message
RECORD = 'record.'  # what a training notes down, which nothing reads
BUILDS = ('all', 'architecture', 'arguments')  # what only building the network can judge


def judge(folder: Path, name: str, config: Any) -> tuple[bool, str]:
    """Load a model; return whether it is refused, and what is wrong with how."""
    (folder / 'config.json').write_text(json.dumps(config))
    read = hub.load if name.partition(':')[0].partition('.')[0] in BUILDS else hub.read_config
    try:
        read(folder)
    except (ValueError, FileNotFoundError) as error:
        line = str(error)
        good = '\n' not in line and str(folder) in line and len(line) < LONGEST
        return True, '' if good else f'{name}: the message is {line[:200]!r}'
    except Exception as error:  # noqa: BLE001 - any other exception is what this looks for
        return True, f'{name}: {type(error).__name__}: {error}'
    return False, ''


def soak(count: int) -> Outcome:
    """Spoil the configuration in so many ways, of all that there are."""
    source = default_model_folder()
    ways = [way for way in mutations(json.loads((source / 'config.json').read_text()))
            if not way[0].startswith(RECORD)]
    Random(0).shuffle(ways)
    wrong, refused = [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'model.safetensors').symlink_to(source / 'model.safetensors')
        for way in ways[:count]:
            is_refused, problem = judge(folder, *way)
            refused += is_refused
            wrong += [problem] if problem else []
    tried = min(count, len(ways))
    return Outcome(
        tried, wrong, f'{refused} refused in one line that names the file, {tried - refused} '
                      'accepted, since the values are '
                      'possible', {'refused': refused, 'ways': len(ways)})


SOAK = {'models': soak}
