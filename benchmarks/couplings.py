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
ablate` compares. With `--regions`, errors are also counted by their distance from the nearest
border between classes, and by class.

    python benchmarks/couplings.py --data camvid=DATA/camvid kitti_depth=DATA/depth_selection \
        --regions camvid
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sync_perception.datasets import open_dataset
from sync_perception.datasets.sample import Sample
from sync_perception.evaluation.evaluate import Evaluation, evenly_spread
from sync_perception.evaluation.metrics import DepthMetrics
from sync_perception.evaluation.predict_sample import enlarge
from sync_perception.files.pages import replace_part
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.resources import model_source
from sync_perception.runtime.benchmark.reports import machine, write_report
from sync_perception.types import DenseOutput

DIRECTIONS = ('depth_to_semantics', 'semantics_to_depth')
STATES = {
    'both on': (), 'depth to semantics off': DIRECTIONS[:1],
    'semantics to depth off': DIRECTIONS[1:], 'both off': DIRECTIONS}
SCORES = ('miou', 'abs_rel', 'delta1')
BANDS = {'up to 3 px': 3, '4 to 15 px': 15, '16 px or more': np.inf}
"""Distances from the nearest border between classes, and their upper limits in pixels."""
ACCURACY, ABS_REL = 'pixel_accuracy', 'abs_rel'


class Regions:
    """Errors of labels and depth by distance from class borders and by class, over samples."""

    def __init__(self):
        self.sums: dict[str, np.ndarray] = {}

    def add(self, evaluation: Evaluation, sample: Sample, output: DenseOutput) -> None:
        """
        Count the errors of a sample with labels.

        :param evaluation: evaluation of the model, to which the sample was added.
        :param output: the model's output for the sample.
        """
        truth = evaluation.classes.table[sample.labels]
        names = evaluation.classes.names
        known = truth < len(names)
        right = evaluation.shared_labels(output, truth.shape) == truth
        relative, measured = np.zeros(truth.shape), np.zeros(truth.shape, bool)
        if sample.depth is not None:
            metres = enlarge(output.depth, sample.depth.shape) * evaluation.metres(sample)
            measured = (sample.depth > evaluation.depth.min_depth) & (
                sample.depth <= evaluation.depth.max_depth)
            relative[measured] = np.abs(
                metres[0, 0].numpy()[measured] / sample.depth[measured] - 1)
        distance = border_distance(truth)
        least = -np.inf
        for band, most in BANDS.items():
            self.count(band, known & (distance > least) & (distance <= most),
                       right, relative, measured)
            least = most
        for index, name in enumerate(names):
            self.count(name, truth == index, right, relative, measured)

    def count(self, region: str, inside: np.ndarray, right: np.ndarray, relative: np.ndarray,
              measured: np.ndarray) -> None:
        """Add a region's pixels, right labels, pixels with depth and their relative errors."""
        deep = inside & measured
        self.sums[region] = self.sums.get(region, 0) + np.array([
            inside.sum(), right[inside].sum(), deep.sum(), relative[deep].sum()])

    def scores(self) -> dict[str, dict[str, float]]:
        """Return ACCURACY and, where there is depth, ABS_REL by region that occurs."""
        scores = {}
        for region, (pixels, right, deep, errors) in self.sums.items():
            if pixels:
                scores[region] = {ACCURACY: round(right / pixels, 4)}
                if deep:
                    scores[region][ABS_REL] = round(errors / deep, 4)
        return scores


def border_distance(labels: np.ndarray) -> np.ndarray:
    """
    Return each pixel's distance to the nearest pixel of another label.

    :param labels: uint8 (H, W).
    :return: float32 (H, W), pixels; 1 beside a border.
    """
    border = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        steps = np.diff(labels.astype(int), axis=axis) != 0
        pad = [(0, 0), (0, 0)]
        for pad[axis] in ((0, 1), (1, 0)):
            border |= np.pad(steps, pad)
    if not border.any():
        return np.full(labels.shape, np.inf, np.float32)
    return cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) + 1


def measure(
        model: str | None, data: list[tuple[str, str]], split: str, limit: int | None,
        counted: list[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """
    Evaluate a model in each of the STATES.

    :param model: a model folder or hub id; None for the default model.
    :param data: names of data sets, or NAME/SPLIT, and their roots.
    :param split: split of data sets without one in their name.
    :param limit: number of frames of each data set, evenly spread; None for all.
    :param counted: names of the data sets whose errors are counted by region.
    :return: SCORES by state and data set, and `regions` of those that are counted.
    :raises ValueError: if the model has no couplings.
    """
    perception = hub.load(model_source(model), 'cpu')
    network = perception.network
    missing = [name for name in DIRECTIONS if not hasattr(network, name)]
    if missing:
        raise ValueError(f'expected a network with couplings, got one without {missing[0]}')
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for state, off in STATES.items():
        for name in DIRECTIONS:
            getattr(network, name).enabled = name not in off
        results[state] = {}
        for name, root in data:
            dataset, _, own = name.partition('/')
            samples = open_dataset(dataset, root, own or split)
            space = samples.label_space and LabelSpace.load(samples.label_space)
            evaluation = Evaluation(
                perception, space, DepthMetrics(max_depth=samples.max_depth))
            regions = Regions()
            for sample_id in evenly_spread(samples.ids, limit):
                sample = samples.read(sample_id)
                output = evaluation.add(sample, samples.crop(sample_id))
                if name in counted and space is not None and sample.labels is not None:
                    regions.add(evaluation, sample, output)
            scores = evaluation.scores()
            results[state][name] = {
                score: round(float(scores[score]), 4) for score in SCORES if score in scores}
            if regions.sums:
                results[state][name]['regions'] = regions.scores()
    return results


def region_rows(results: dict[str, Any], name: str) -> list[str]:
    """Return a data set's table of regions as lines of Markdown, couplings on and off."""
    on, off = (results[state][name]['regions'] for state in ('both on', 'both off'))
    scores = [score for score in (ACCURACY, ABS_REL) if any(score in row for row in on.values())]
    lines = ['', f'| {name} | ' + ' | '.join(
        f'{score} on | off | change' for score in scores) + ' |',
        '|---' * (3 * len(scores) + 1) + '|']
    for region, row in on.items():
        cells = []
        for score in scores:
            values = (row[score], off[region][score]) if score in row else ()
            cells += [f'{value:.4f}' for value in values]
            cells += [f'{values[1] - values[0]:+.4f}'] if values else [''] * 3
        lines.append(f'| {region.replace("|", ", ")} | ' + ' | '.join(cells) + ' |')
    return lines


def rows(report: dict[str, Any]) -> list[str]:
    """Return the tables as lines of Markdown, with the machine."""
    results = report['results']
    columns = [(name, score) for name, scores in results['both on'].items() for score in scores
               if score != 'regions']
    lines = [
        f'Measured {report["machine"]["time"][:10]} with the {report["model"]} model on '
        f'{report["machine"]["processor"]}, split {report["split"]}.', '',
        '| couplings | ' + ' | '.join(f'{name} {score}' for name, score in columns) + ' |',
        '|---' * (len(columns) + 1) + '|']
    lines += [
        f'| {state} | ' + ' | '.join(f'{data[name][score]:.4f}' for name, score in columns) + ' |'
        for state, data in results.items()]
    for name, scores in results['both on'].items():
        if 'regions' in scores:
            lines += region_rows(results, name)
    return lines


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
    parser.add_argument('--data', type=named, nargs='+', required=True, metavar='NAME=ROOT',
                        help='data set, or NAME/SPLIT=ROOT for another split than --split')
    parser.add_argument('--split', default='val')
    parser.add_argument('--limit', type=int, help='frames of each data set')
    parser.add_argument('--regions', nargs='*', default=[], metavar='NAME',
                        help='data sets whose errors are counted by region')
    parser.add_argument('--json', type=Path)
    parser.add_argument('--page', type=Path, help='page with the part <!-- couplings: begin -->')
    options = parser.parse_args()
    report: dict[str, Any] = {
        'machine': machine(), 'model': options.model or 'default',
        'data': [name for name, _ in options.data], 'split': options.split,
        'results': measure(
            options.model, options.data, options.split, options.limit, options.regions)}
    lines = rows(report)
    print('\n'.join(lines))
    if options.json:
        write_report(report, options.json)
    if options.page:
        replace_part(options.page, 'couplings', lines)


if __name__ == '__main__':
    main()
