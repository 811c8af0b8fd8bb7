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
Measure how much a trained network leans on its couplings: both on, each direction off, both off.

Switched off, a coupling adds nothing to the other branch's decoder, which was trained with it. The
losses say what flows through it, not what learning with it has brought, which `sync_perception
ablate` compares.

    python benchmarks/couplings.py --data camvid=DATA/camvid kitti_depth=DATA/depth_selection
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sync_perception.datasets import open_dataset
from sync_perception.evaluation.evaluate import Evaluation, spread
from sync_perception.evaluation.metrics import DepthMetrics
from sync_perception.files.pages import replace_part
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.resources import model_source
from sync_perception.runtime.benchmark.reports import machine, write_report

DIRECTIONS = ('depth_to_semantics', 'semantics_to_depth')
STATES = {
    'both on': (), 'depth to semantics off': DIRECTIONS[:1],
    'semantics to depth off': DIRECTIONS[1:], 'both off': DIRECTIONS}
SCORES = ('miou', 'abs_rel', 'delta1')


def measure(model: str | None, data: list[tuple[str, str]], split: str, limit: int | None
            ) -> dict[str, dict[str, dict[str, float]]]:
    """
    Evaluate a model in each of the STATES.

    :param model: a model folder or hub id; None for the default model.
    :param data: names and roots of data sets.
    :param split: split of each data set.
    :param limit: number of frames of each data set, evenly spread; None for all.
    :return: SCORES by state and data set.
    :raises ValueError: if the model has no couplings.
    """
    perception = hub.load(model_source(model), 'cpu')
    network = perception.network
    missing = [name for name in DIRECTIONS if not hasattr(network, name)]
    if missing:
        raise ValueError(f'expected a network with couplings, got one without {missing[0]}')
    results: dict[str, dict[str, dict[str, float]]] = {}
    for state, off in STATES.items():
        for name in DIRECTIONS:
            getattr(network, name).enabled = name not in off
        results[state] = {}
        for name, root in data:
            samples = open_dataset(name, root, split)
            space = samples.label_space and LabelSpace.load(samples.label_space)
            evaluation = Evaluation(
                perception, space, DepthMetrics(max_depth=samples.max_depth))
            for sample_id in spread(samples.ids, limit):
                evaluation.add(samples.read(sample_id), samples.crop(sample_id))
            scores = evaluation.scores()
            results[state][name] = {
                score: round(float(scores[score]), 4) for score in SCORES if score in scores}
    return results


def rows(report: dict[str, Any]) -> list[str]:
    """Return the table as lines of Markdown, with the machine."""
    results = report['results']
    columns = [(name, score) for name, scores in results['both on'].items() for score in scores]
    lines = [
        f'Measured {report["machine"]["time"][:10]} with the {report["model"]} model on '
        f'{report["machine"]["processor"]}, split {report["split"]}.', '',
        '| couplings | ' + ' | '.join(f'{name} {score}' for name, score in columns) + ' |',
        '|---' * (len(columns) + 1) + '|']
    return lines + [
        f'| {state} | ' + ' | '.join(f'{data[name][score]:.4f}' for name, score in columns) + ' |'
        for state, data in results.items()]


def named(text: str) -> tuple[str, str]:
    """Split NAME=ROOT."""
    name, separator, root = text.partition('=')
    if not separator:
        raise argparse.ArgumentTypeError(f'expected NAME=ROOT, got {text!r}')
    return name, root


def main() -> None:
    """Measure, print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', help='model folder; by default the default model')
    parser.add_argument('--data', type=named, nargs='+', required=True, metavar='NAME=ROOT')
    parser.add_argument('--split', default='val')
    parser.add_argument('--limit', type=int, help='frames of each data set')
    parser.add_argument('--json', type=Path)
    parser.add_argument('--page', type=Path, help='page with the part <!-- couplings: begin -->')
    options = parser.parse_args()
    report: dict[str, Any] = {
        'machine': machine(), 'model': options.model or 'default',
        'data': [name for name, _ in options.data], 'split': options.split,
        'results': measure(options.model, options.data, options.split, options.limit)}
    lines = rows(report)
    print('\n'.join(lines))
    if options.json:
        write_report(report, options.json)
    if options.page:
        replace_part(options.page, 'couplings', lines)


if __name__ == '__main__':
    main()
