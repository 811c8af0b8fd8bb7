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


"""`sync_perception data check`: check and summarise a local copy of a data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sync_perception.datasets import dataset_class, DatasetOptions
from sync_perception.datasets.sample import DenseDataset, READ_ERRORS, Sample
from sync_perception.files.whole_files import write_json
from sync_perception.labels import LabelSpace
from sync_perception.studies.data_charts import draw_check, write_png
from torch.utils.data import DataLoader, Dataset

DEPTH_EDGES = np.geomspace(0.1, 1000, 161)
"""Edges of depth bins, metres; 40 bins per decade, each 6 % wide."""
ANNOTATIONS = (
    'K', 'depth', 'labels', 'expert_labels', 'expert_confidence', 'normals', 'pose', 'neighbours')
QUANTILES = {'p5': 0.05, 'median': 0.5, 'p95': 0.95}


@dataclass
class Facts:
    """
    Counts of one sample, or the sum of the counts of several.

    :param bad: errors of unreadable samples, by id.
    :param sizes: number of samples by (height, width).
    :param present: number of samples by annotation, of ANNOTATIONS.
    :param focals: focal lengths fx, pixels.
    :param labels: number of pixels by id, int64 (256,).
    :param expert_labels: number of pixels by id of expert labels, int64 (256,).
    :param images: number of samples with a label, by id, int64 (256,).
    :param depth: pixels below, in and above the bins of DEPTH_EDGES, int64 (162,).
    :param unknown: pixels of depth maps without a depth.
    :param infinite: pixels of depth maps at infinity (sky).
    """

    bad: dict[str, str] = field(default_factory=dict)
    sizes: Counter = field(default_factory=Counter)
    present: Counter = field(default_factory=Counter)
    focals: list[float] = field(default_factory=list)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    expert_labels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    images: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    depth: np.ndarray = field(default_factory=lambda: np.zeros(len(DEPTH_EDGES) + 1, np.int64))
    unknown: int = 0
    infinite: int = 0

    def add(self, other: Facts) -> None:
        """Add the counts of another."""
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            setattr(self, item.name, mine | theirs if item.name == 'bad' else mine + theirs)


def facts_of(dataset: DenseDataset, sample_id: str) -> Facts:
    """Return the counts of one sample, or its error if it is unreadable."""
    try:
        sample = dataset.read(sample_id)
        pose = dataset.pose(sample_id)
    except READ_ERRORS as error:
        return Facts(bad={sample_id: str(error)})
    facts = Facts(sizes=Counter([sample.image.shape[:2]]))
    facts.present.update(name for name in ANNOTATIONS if getattr(sample, name, None) is not None)
    facts.present.update({'pose': pose is not None,
                          'neighbours': dataset.has_neighbours(sample_id)})
    if sample.K is not None:
        facts.focals.append(float(sample.K[0, 0]))
    for name in ('labels', 'expert_labels'):
        if getattr(sample, name) is not None:
            setattr(facts, name, np.bincount(getattr(sample, name).ravel(), minlength=256))
    facts.images = (facts.labels > 0).astype(np.int64)
    count_depth(facts, sample)
    return facts


def count_depth(facts: Facts, sample: Sample) -> None:
    """Add a sample's depth to the bins."""
    if sample.depth is None:
        return
    known = sample.depth[np.isfinite(sample.depth)]
    facts.depth = np.bincount(
        np.searchsorted(DEPTH_EDGES, known, side='right'), minlength=len(DEPTH_EDGES) + 1)
    facts.infinite = int(np.isinf(sample.depth).sum())
    facts.unknown = int(np.isnan(sample.depth).sum())


class Inspected(Dataset):
    """Data set of the counts of each sample, for loader processes."""

    def __init__(self, dataset: DenseDataset):
        self.dataset, self.ids = dataset, list(dataset.ids)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.ids)

    def __getitem__(self, index: int) -> Facts:
        """Read and count a sample."""
        return facts_of(self.dataset, self.ids[index])


def unchanged(facts: Facts) -> Facts:
    """Return the argument, as the loader's collate function: facts are not tensors."""
    return facts


def walk(dataset: DenseDataset, workers: int, title: str) -> Facts:
    """Return the counts of all samples of a data set, with a progress bar on stderr."""
    loader = DataLoader(
        Inspected(dataset), batch_size=None, num_workers=workers, collate_fn=unchanged)
    total = Facts()
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=len(loader))
        for facts in loader:
            total.add(facts)
            bad = f', [red]{len(total.bad)} bad' if total.bad else ''
            progress.update(task, advance=1, description=title + bad)
    return total


def check_dataset(
        data: DatasetOptions, out: str | Path | None = None, workers: int = 0
        ) -> dict[str, Any]:
    """
    Read every sample of a data set and summarise the content.

    :param out: folder for check.json and check.png.
    :param workers: number of loader processes; 0 reads in this one.
    :return: content of check.json: samples, splits, bad, sizes, shares, and if present
        focal_lengths, labels, expert_labels and depth.
    :raises ValueError: if the data set, the split or an argument is unknown.
    :raises FileNotFoundError: if the folder does not contain the data set.
    """
    if workers < 0:
        raise ValueError(f'workers must be 0 or more, got {workers}')
    samples = data.open()
    facts = walk(samples, workers, f'{data.name}, {data.split}')
    result = {
        'dataset': data.name, 'root': str(samples.root), 'split': data.split,
        'arguments': data.arguments or {}, 'samples': len(samples), 'splits': count_splits(data),
        **check_content(facts, samples.label_space, samples.expert_space)}
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / 'check.json', result)
        write_png(folder / 'check.png', draw_check(result))
    return result


def count_splits(data: DatasetOptions) -> dict[str, int | str]:
    """Return each split's number of samples, or the reason why it is missing."""
    counts: dict[str, int | str] = {}
    for name in dataset_class(data.name).splits:
        try:
            counts[name] = len(replace(data, split=name).open())
        except (ValueError, OSError) as error:
            counts[name] = str(error)
    return counts


def check_content(facts: Facts, label_space: str | None, expert_space: str) -> dict[str, Any]:
    """Return the content of check.json."""
    read = facts.sizes.total()
    result: dict[str, Any] = {
        'bad': facts.bad,
        'sizes': {f'{width}x{height}': count
                  for (height, width), count in facts.sizes.most_common()},
        'shares': {name: facts.present[name] / read if read else 0.0 for name in ANNOTATIONS}}
    if facts.focals:
        result['focal_lengths'] = {
            'least': min(facts.focals), 'median': float(np.median(facts.focals)),
            'greatest': max(facts.focals)}
    if label_space is not None and facts.present['labels']:
        result['labels'] = classes(label_space, facts.labels)
        result['labels']['images'] = {
            name: int(count) / facts.present['labels']
            for name, count in zip(result['labels']['shares'], facts.images)}
    if facts.present['expert_labels']:
        result['expert_labels'] = classes(expert_space, facts.expert_labels)
    if facts.present['depth']:
        result['depth'] = depth_summary(facts)
    return result


def classes(space: str, pixels: np.ndarray) -> dict[str, Any]:
    """Return each class's share of the labelled pixels, and the share of void in all pixels."""
    names = LabelSpace.load(space).names
    labelled = max(int(pixels[:len(names)].sum()), 1)
    return {
        'space': space, 'void': int(pixels[255]) / max(int(pixels.sum()), 1),
        'shares': {name: int(count) / labelled for name, count in zip(names, pixels)}}


def depth_summary(facts: Facts) -> dict[str, Any]:
    """Return the histogram, its quantiles, and how many pixels have depth."""
    known = int(facts.depth.sum())
    pixels = known + facts.unknown + facts.infinite
    result: dict[str, Any] = {
        'known': known / pixels, 'sky': facts.infinite / pixels,
        'unknown': facts.unknown / pixels}
    if known:
        below = np.r_[0, facts.depth.cumsum()] / known
        edges = np.log(np.r_[DEPTH_EDGES[0], DEPTH_EDGES, DEPTH_EDGES[-1]])
        result['metres'] = {
            name: float(np.exp(np.interp(share, below, edges)))
            for name, share in QUANTILES.items()}
    result['edges'] = [round(edge, 6) for edge in DEPTH_EDGES.tolist()]
    result['counts'] = facts.depth[1:-1].tolist()
    result['below'], result['above'] = int(facts.depth[0]), int(facts.depth[-1])
    return result


def print_check(result: dict[str, Any]) -> None:
    """Print the result of `check_dataset` as tables, bad files last."""
    console = Console()
    table = Table(title=f'{result["dataset"]}, {result["split"]}: {result["samples"]} samples in '
                        f'{result["root"]}')
    table.add_column('what')
    table.add_column('value', justify='right')
    for name, count in result['splits'].items():
        table.add_row(f'split {name}', str(count) if isinstance(count, int) else 'not there')
    for size, count in result['sizes'].items():
        table.add_row(f'size {size}', str(count))
    for name, share in result['shares'].items():
        table.add_row(f'with {name}', f'{share:.1%}')
    for name, focal in result.get('focal_lengths', {}).items():
        table.add_row(f'focal length, {name}', f'{focal:.1f} pixels')
    if 'depth' in result:
        for name in ('known', 'sky', 'unknown'):
            table.add_row(f'depth {name}, of its pixels', f'{result["depth"][name]:.1%}')
        for name, metres in result['depth'].get('metres', {}).items():
            table.add_row(f'depth {name}', f'{metres:.2f} m')
    console.print(table)
    for kind in ('labels', 'expert_labels'):
        if kind in result:
            console.print(histogram_table(kind, result[kind]))
    console.print(f'{len(result["bad"])} bad of {result["samples"]}')
    for name, error in result['bad'].items():
        console.print(f'{name}: {error}', style='red', highlight=False, markup=False)


def histogram_table(kind: str, histogram: dict[str, Any]) -> Table:
    """Make the table of a label histogram."""
    table = Table(title=f'{kind} in {histogram["space"]}, {histogram["void"]:.1%} void')
    table.add_column('class')
    table.add_column('pixels', justify='right')
    images = histogram.get('images')
    if images:
        table.add_column('images', justify='right')
    for name, share in histogram['shares'].items():
        table.add_row(name, f'{share:.3%}', *([f'{images[name]:.1%}'] if images else []))
    return table
