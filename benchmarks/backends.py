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
Compare models and backends, each in processes of its own, in turns.

Each subject is a label and the options of `sync_perception bench`. Options that begin with @FOLDER
run the source tree in that folder, such as a checkout of an earlier commit. Ratios are to the
first subject in the same turn.

    python benchmarks/backends.py --json FILE --subject 'before: @EARLIER' --subject 'now:'
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import shlex
import subprocess
import sys
import tempfile
from typing import Any

from sync_perception.files.pages import replace_part
from sync_perception.files.whole_files import read_json
from sync_perception.runtime.benchmark.reports import write_report

PART = 'bench backends'
NETWORK, AROUND, COPY = (
    'network', 'around the network', 'beside: plain copy of the same bytes')


def subject(text: str) -> tuple[str, list[str]]:
    """
    Split 'LABEL: OPTIONS' into the label and the options.

    :raises argparse.ArgumentTypeError: without a colon.
    """
    label, colon, options = text.partition(':')
    if not colon:
        raise argparse.ArgumentTypeError(f"expected 'LABEL: OPTIONS', got {text!r}")
    return label.strip(), shlex.split(options)


def run(options: list[str], frames: int) -> dict[str, Any]:
    """
    Run `sync_perception bench` once in a process of its own, and return its report.

    :param options: its options, after @FOLDER for another source tree.
    :param frames: number of timed frames.
    :raises subprocess.CalledProcessError: if it fails.
    """
    environment, folder = dict(os.environ), None
    if options and options[0].startswith('@'):
        folder, options = options[0][1:], options[1:]
        environment['PYTHONPATH'] = folder
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / 'report.json'
        subprocess.run(
            [sys.executable, '-m', 'sync_perception.cli', 'bench', '--frames', str(frames),
             '--json', str(out), *options], cwd=folder, env=environment, check=True,
            stdout=subprocess.DEVNULL)
        return read_json(out)


def table(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the lines of a table with one row for each subject and the turns side by side."""
    first = next(iter(results.values()))
    machines = [report['machine'] for reports in results.values() for report in reports]
    loads = [machine['load_average'][0] for machine in machines]
    names = {machine['processor'] for machine in machines}
    size = 'x'.join(str(side) for side in reversed(first[0]['image_size']))

    def cell(values: list[float], digits: int) -> str:
        return ' / '.join(f'{value:.{digits}f}' for value in values)

    lines = [
        f'Measured {first[0]["machine"]["time"][:10]}: {", ".join(sorted(names))}, '
        f'{first[0]["machine"]["torch_threads"]} threads, load {min(loads)} to {max(loads)}; '
        f'{len(results)} subjects in {len(first)} turns, {first[0]["frames"]} frames of {size} '
        'each; medians.', '',
        '| subject | network at | ratio | frames/s | network ms | around it ms | plain copy ms '
        '| commit |', '|---|---|---|---|---|---|---|---|']
    for label, reports in results.items():
        rates = [report['frames_per_second'] for report in reports]
        ratios = [rate / report['frames_per_second'] for rate, report in zip(rates, first)]
        times = [[report['milliseconds'][stage]['p50'] for report in reports]
                 for stage in (NETWORK, AROUND, COPY)]
        seen = 'x'.join(str(side) for side in reversed(reports[0]['network_size']))
        lines.append(
            f'| {label} | {seen} | {cell(ratios, 2)} | {cell(rates, 1)} | {cell(times[0], 0)} '
            f'| {cell(times[1], 0)} | {cell(times[2], 1)} | {reports[0]["machine"]["commit"]} |')
    return lines


def main() -> None:
    """Run the subjects in turns, print the table, and write JSON and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--subject', type=subject, action='append', metavar="'LABEL: OPTIONS'")
    parser.add_argument('--turns', type=int, default=2)
    parser.add_argument('--frames', type=int, default=30)
    parser.add_argument('--json', type=Path, required=True,
                        help='written; without subjects, read to print the table again')
    parser.add_argument('--page', type=Path, help=f'page with the part <!-- {PART}: begin -->')
    options = parser.parse_args()
    if options.subject:
        results = {label: [] for label, _ in options.subject}
        for _ in range(options.turns):
            for label, arguments in options.subject:
                results[label].append(run(arguments, options.frames))
        write_report(results, options.json)
    else:
        results = read_json(options.json)
    lines = table(results)
    print('\n'.join(lines))
    if options.page:
        replace_part(options.page, PART, lines)


if __name__ == '__main__':
    main()
