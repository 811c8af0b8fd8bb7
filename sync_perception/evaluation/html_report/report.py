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

"""`sync_perception report`: an HTML page with a model's scores and errors on a data set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
import numpy as np
from sync_perception.datasets import DatasetOptions
from sync_perception.datasets.sample import Sample
from sync_perception.evaluation.calibration import DepthCalibration, LabelCalibration
from sync_perception.evaluation.depth_boundaries import BoundaryMetrics
from sync_perception.evaluation.evaluate import evaluate, EvaluationOptions
from sync_perception.evaluation.html_report.report_pictures import (
    color_of,
    depth_scale,
    draw_frame,
)
from sync_perception.evaluation.metrics import (
    CROPS,
    DepthMetrics,
    METRIC_LABELS,
    NormalMetrics,
    SegmentationMetrics,
)
from sync_perception.evaluation.predict_sample import dense_output, enlarge
from sync_perception.evaluation.sample_evaluation import Evaluation
from sync_perception.files.whole_files import write_json, write_text
from sync_perception.images.colors import NEAR_SHARE
from sync_perception.types import DenseOutput
import yaml

TEMPLATE = 'report.html'
STREET_EDGES = (0, 5, 10, 15, 20, 30, 40, 50, 60, 80)
BINS = 10
TABLES = {
    'Semantics': ('miou', 'pixel_accuracy', *LabelCalibration.NAMES),
    'Depth': (*DepthMetrics.NAMES, *BoundaryMetrics.NAMES, *DepthCalibration.NAMES),
    'Normals': NormalMetrics.NAMES}


@dataclass(frozen=True)
class FrameScore:
    """
    Scores of one frame.

    :param id: id of the sample.
    :param abs_rel: AbsRel of its depth, None without depth.
    :param miou: mIoU over the classes in its truth or prediction, None without labels.
    """

    id: str  # noqa: A003
    abs_rel: float | None
    miou: float | None


class Watch:
    """
    Callback of `evaluate` that collects scores per frame and depth errors by distance.

    :param crop: function from a sample's id to the name of the crop for depth.
    """

    def __init__(self, crop: Any):
        self.crop = crop
        self.frames: list[FrameScore] = []
        self.confusion: np.ndarray | None = None
        self.evaluation: Evaluation | None = None
        self.images = 0

    def __call__(self, evaluation: Evaluation, sample: Sample, output: DenseOutput) -> None:
        """Add a frame that was just evaluated."""
        if self.evaluation is None:
            self.evaluation = evaluation
            limit = evaluation.depth.max_depth
            self.edges = np.array(
                STREET_EDGES if limit == STREET_EDGES[-1] else np.linspace(0, limit, BINS + 1))
            self.sums = np.zeros((len(self.edges) - 1, 3))
        abs_rel = miou = None
        if evaluation.depth.images > self.images:
            self.images = evaluation.depth.images
            abs_rel = evaluation.depth.latest['abs_rel']
            self.add_depth(sample, output)
        if evaluation.labelled:
            now = evaluation.segmentation.confusion
            own = SegmentationMetrics(len(now))
            own.increase('cells', now - (0 if self.confusion is None else self.confusion))
            self.confusion = now.copy()
            miou = own.mean_iou() if own.confusion.any() else None
        self.frames.append(FrameScore(sample.id, abs_rel, miou))

    def add_depth(self, sample: Sample, output: DenseOutput) -> None:
        """Add a frame's depth errors, by true distance."""
        metric = self.evaluation.depth
        depth = enlarge(output.depth, sample.depth.shape)[0, 0].cpu().numpy()
        depth = depth * self.evaluation.metres(sample)
        crop = self.crop(sample.id)
        part = np.s_[:, :] if crop is None else CROPS[crop](sample.depth.shape)
        depth, true = depth[part], sample.depth[part]
        valid = (true > metric.min_depth) & (true < metric.max_depth)
        true = true[valid].astype(np.float64)
        error = (depth[valid].clip(metric.min_depth, metric.max_depth) - true) / true
        bins = np.searchsorted(self.edges, true, side='right') - 1
        for column, weights in enumerate((np.ones_like(error), np.abs(error), error)):
            self.sums[:, column] += np.bincount(bins, weights, minlength=len(self.sums))

    def distances(self) -> list[dict[str, float]]:
        """Return fraction of pixels, mean |error| / truth and mean error / truth by distance."""
        if self.evaluation is None or not self.images:
            return []
        total = self.sums[:, 0].sum()
        return [
            {'near': float(near), 'far': float(far), 'share': float(count / total),
             'abs_rel': float(absolute / count), 'bias': float(signed / count)}
            for near, far, (count, absolute, signed) in zip(
                self.edges, self.edges[1:], self.sums) if count]


def write_html_report(
        model: str | Path | None, data: DatasetOptions, out: str | Path,
        options: EvaluationOptions, worst: int = 4, best: int = 2) -> Path:
    """
    Evaluate a model on a data set and write `index.html` and `report.json`.

    :param model: argument of `hub.load`; None for the default model.
    :param out: folder to write into.
    :param worst: number of worst frames shown for each task.
    :param best: number of best frames shown for each task.
    :return: path of the page, which embeds its pictures and loads nothing external.
    :raises ValueError: if nothing can be evaluated, or an argument is wrong.
    """
    if worst < 0 or best < 0:
        raise ValueError(f'worst and best must be 0 or more, got {worst} and {best}')
    samples = data.open()
    watch = Watch(samples.crop)
    result = evaluate(model, data, options, watch)
    if watch.evaluation is None:
        raise ValueError(f'{data.name}: none of {result["frames"]} frames could be read')
    galleries = [
        gallery for gallery in (
            choose(watch.frames, 'miou', 'mean IoU', worst, best, falling=False),
            choose(watch.frames, 'abs_rel', 'abs rel', worst, best, falling=True)) if gallery]
    shown = {frame.id for gallery in galleries for group in gallery['groups']
             for frame in group['frames']}
    pictures = {}
    for name in sorted(shown):
        sample = samples.read(name)
        pictures[name] = draw_frame(
            watch.evaluation, sample, dense_output(watch.evaluation.model, sample.image),
            watch.evaluation.depth.max_depth)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {**result, 'distances': watch.distances(),
               'per_frame': [vars(frame) for frame in watch.frames]}
    write_json(folder / 'report.json', numbers)
    page = folder / 'index.html'
    write_text(page, render(result, watch, galleries, pictures))
    return page


def choose(
        frames: list[FrameScore], score: str, name: str, worst: int, best: int, falling: bool
        ) -> dict[str, Any] | None:
    """
    Choose the frames to show by a score, without repetition.

    :param falling: whether lower is better.
    :return: name, score and groups of title and frames, the worst and the best first; None if no
        frame has the score.
    """
    scored = [frame for frame in frames if getattr(frame, score) is not None]
    scored.sort(key=lambda frame: getattr(frame, score), reverse=falling)
    if not scored:
        return None
    groups = [('Worst', scored[:worst]), ('Best', scored[worst:][::-1][:best])]
    return {'name': name, 'score': score, 'groups': [
        {'title': title, 'frames': members} for title, members in groups if members]}


def render(
        result: dict[str, Any], watch: Watch, galleries: list[dict[str, Any]],
        pictures: dict[str, Any]) -> str:
    """Return the page's HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=StrictUndefined)
    evaluation = watch.evaluation
    limit = evaluation.depth.max_depth
    return environment.get_template(TEMPLATE).render(
        result=result, tables=tables(result), classes=class_rows(result, evaluation),
        matrix=confusion_rows(evaluation), distances=watch.distances(), galleries=galleries,
        pictures=pictures, model=facts_of_model(evaluation),
        record=yaml.safe_dump(
            evaluation.config.record, sort_keys=False, default_flow_style=None, width=96)
        if evaluation.config.record else '',
        scale=depth_scale(limit) if watch.images else None, max_depth=limit,
        near_depth=limit * NEAR_SHARE, date=datetime.now(timezone.utc).strftime('%Y-%m-%d'))


def tables(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the non-empty metric tables: title and rows of name, value, unit, better."""
    arrows = {True: 'more is better', False: 'less is better', None: ''}
    found = []
    for title, names in TABLES.items():
        rows = [{'name': METRIC_LABELS[name][0], 'value': f'{result[name]:.4f}',
                 'unit': METRIC_LABELS[name][1], 'better': arrows[METRIC_LABELS[name][2]]}
                for name in names if name in result]
        if rows:
            found.append({'title': title, 'rows': rows})
    return found


def class_rows(result: dict[str, Any], evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return name, colour, IoU (None if absent) and fraction of true pixels of each class."""
    if 'iou' not in result:
        return []
    true = evaluation.segmentation.confusion.sum(axis=1)
    return [{'name': name, 'color': color_of(evaluation.label_space, name), 'iou': iou,
             'share': float(count / true.sum())}
            for (name, iou), count in zip(result['iou'].items(), true)]


def confusion_rows(evaluation: Evaluation) -> dict[str, Any] | None:
    """Return the classes that occur, and the confusion matrix's rows of the true ones."""
    if not evaluation.labelled or not evaluation.segmentation.confusion.any():
        return None
    confusion = evaluation.segmentation.confusion[:, :-1].astype(np.float64)
    kept = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    names = [name for name, keep in zip(evaluation.classes.names, kept) if keep]
    confusion = confusion[kept][:, kept]
    rows = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, rows, out=np.full_like(confusion, np.nan), where=rows > 0)
    return {'names': names, 'rows': [
        {'name': name, 'cells': [None if np.isnan(share) else float(share) for share in row]}
        for name, row in zip(names, shares)]}


def facts_of_model(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return the model's properties as names and values."""
    config, model = evaluation.config, evaluation.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    facts = [('architecture', config.architecture)]
    if parameters:
        facts.append(('parameters', f'{parameters / 1e6:.2f} million'))
    seen = 'x'.join(map(str, config.input_size)) if config.input_size else (
        f'about {config.input_pixels} pixels, in the shape of the image')
    camera = 'metric for any camera' if config.canonical_focal is None else (
        f'canonical focal length {config.canonical_focal:g} pixels')
    return [*facts, ('labels', f'{len(model.labels)} classes of {model.labels.name}'),
            ('input', seen), ('depth', camera),
            ('depth range', ' to '.join(f'{value:g}' for value in config.depth_range) + ' m')]
