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
Tries again and again what must not leak, hang or lose anything, and writes down what held.

Each part runs in processes of its own; one that fails makes the status 1, and the others go on.
Results of a part replace its row of the JSON file, so parts can be repeated alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed, ThreadPoolExecutor
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any

from reliability import default_path, read, table, write
from sync_perception.ros.core.middleware import use_shared_memory
from sync_perception.ros.tools.processes import DOMAINS

TESTS = Path(__file__).resolve().parents[1]
ROOMS = ('soak', 'helpers')  # what the parts import from
PARTS = {
    'fuzz': (100_000, 'conversion of malformed image, compressed image and calibration messages '
                      'to frames'),
    'models': (1000, 'corruptions of the `config.json` of the default model'),
    'cycles': (200, 'configuring, activating, deactivating and cleaning up a running node'),
    'swaps': (100, 'loading the model again and processing a frame'),
    'sizes': (100, 'frames of different sizes'),
    'frames': (10_000, 'images sent to a `perception_node` process that publishes depth, labels '
                       'and a cloud (network input of 30,720 pixels)'),
    'maps': (2000, 'the same with `temporal: fuse` by visual odometry, beside a `mapping_node` '
                   'process that maps every frame'),
    'bags': (20, 'SIGKILL while `process-bag` writes, then the same command again'),
    'training': (20, 'SIGKILL during a training, then `--ckpt_path last` (a tiny network)'),
    'signals': (100, 'SIGINT or SIGTERM to `perception_node` and `replay_node` between their '
                     'first log line and shortly after their first frame'),
}
"""How often each part is tried by default, and what it tries."""
LAST_LINES = 3  # of a part that crashed


def command(name: str, count: int, path: Path) -> list[str]:
    """Return the command line of a part that writes its outcome to a file."""
    return [sys.executable, str(TESTS / 'soak' / 'parts.py'), name, str(count), str(path)]


def environment(number: int, folder: Path) -> dict[str, str]:
    """Return the environment of a part: a ROS domain and a ROS folder of its own."""
    use_shared_memory()
    first = int(os.environ.get('ROS_DOMAIN_ID', os.getpid() % len(DOMAINS)))
    paths = [str(TESTS.parent), *(str(TESTS / room) for room in ROOMS)]
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(
                [*paths, *filter(None, [os.environ.get('PYTHONPATH')])]),
            'ROS_DOMAIN_ID': str(DOMAINS[(first + number) % len(DOMAINS)]),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_HOME': str(folder / 'ros')}


def run_part(name: str, count: int, number: int = 0) -> dict[str, Any]:
    """Run a part in a process of its own; return its row of the results."""
    start, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix='soak_') as name_of_folder:
        folder = Path(name_of_folder)
        path, log = folder / 'outcome.json', folder / 'log'
        with log.open('wb') as output:
            status = subprocess.run(
                command(name, count, path), stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, env=environment(number, folder)).returncode
        if status == 0 and path.exists():
            row = json.loads(path.read_text())
        else:
            said = log.read_text(errors='replace').splitlines()[-LAST_LINES:]
            row = {'count': 0, 'result': '', 'numbers': {},
                   'wrong': [f'it ended with status {status}: {" / ".join(said)}']}
    return {'tried': PARTS[name][1], **row, 'seconds': round(time.monotonic() - start),
            'load_average': round(load, 2),
            'time': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}


def run(counts: Mapping[str, int], jobs: int, path: Path) -> bool:
    """
    Run parts beside each other, and write each row as soon as it is there.

    :param counts: how often to try each part.
    :param path: of the JSON file.
    :return: whether all held.
    """
    held = True
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(run_part, name, count, number): name
                   for number, (name, count) in enumerate(counts.items())}
        for future in as_completed(futures):
            name, row = futures[future], future.result()
            write(path, {name: row}, list(PARTS))
            held &= not row['wrong']
            print(f'{name}: {row["count"]} in {row["seconds"]} s', file=sys.stderr, flush=True)
            for line in row['wrong']:
                print(f'{name}: {line}', file=sys.stderr, flush=True)
    return held


def main(words: Sequence[str] | None = None) -> int:
    """Run all or some parts and print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--only', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument('--count', type=int, help='how often, by default as in the table')
    parser.add_argument('--jobs', type=int, default=2, help='parts that run in parallel')
    parser.add_argument('--json', type=Path, default=default_path(), help='file of the results')
    parser.add_argument('--print', action='store_true', help='print the table, run nothing')
    given = parser.parse_args(words)
    held = True
    if not given.print:
        counts = {name: given.count or PARTS[name][0] for name in given.only}
        held = run(counts, given.jobs, given.json)
    print(table(read(given.json)))
    return 0 if held else 1


if __name__ == '__main__':
    raise SystemExit(main())
