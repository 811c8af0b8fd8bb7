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

"""`sync_perception evaluate`: evaluate a model on a data set, in the data set's classes."""

from __future__ import annotations

from collections.abc import Callable
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sync_perception.datasets import open_dataset
from sync_perception.datasets.sample import READ_ERRORS, Sample
from sync_perception.evaluation.calibration import BINS, DepthCalibration, LabelCalibration
from sync_perception.evaluation.depth_boundaries import BoundaryMetrics
from sync_perception.evaluation.fused_samples import FusedSamples
from sync_perception.evaluation.metrics import (
    CROPS,
    DepthMetrics,
    MIN_DEPTH,
    NormalMetrics,
    SegmentationMetrics,
)
from sync_perception.evaluation.predict_sample import ask, enlarge
from sync_perception.evaluation.shared_classes import share_classes, SharedClasses
from sync_perception.evaluation.summed_metric import Counter, SummedMetric
from sync_perception.evaluation.video import check_video, VideoEvaluation, VideoMetrics
from sync_perception.files.whole_files import write_json
from sync_perception.labels import LabelSpace
from sync_perception.mapping.temporal_modes import TEMPORAL
from sync_perception.models import hub
from sync_perception.resources import model_source
from sync_perception.runtime.backends.devices import torch_device
from sync_perception.runtime.preprocess import metric_scale
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor

LOG = logging.getLogger(__name__)
LABELLED, WITHOUT_INTRINSICS = 'labelled', 'without intrinsics'


class Evaluation:
    """
    Evaluation of a model on samples, with all metrics that their annotations allow.

    :param model: module from a normalised image batch to a DenseOutput, with `config` and
        `labels`, in evaluation mode and on its device.
    :param label_space: the data set's label space, or None without labels.
    :param depth: metrics of depth.
    :param fused: temporal fusion of the outputs; None to evaluate single frames.
    """

    def __init__(
            self, model: nn.Module, label_space: LabelSpace | None,
            depth: DepthMetrics | None = None, fused: FusedSamples | None = None):
        self.model, self.config, self.fused = model, model.config, fused
        self.device = model.device
        self.depth = depth or DepthMetrics()
        self.calibration = DepthCalibration(self.depth.min_depth, self.depth.max_depth)
        self.boundaries = BoundaryMetrics(self.depth.min_depth, self.depth.max_depth)
        self.normals = NormalMetrics()
        self.confidence = LabelCalibration()
        self.label_space = label_space
        self.classes: SharedClasses | None = None
        self.segmentation: SegmentationMetrics | None = None
        self.frames = Counter((LABELLED, WITHOUT_INTRINSICS))
        self.cropped = Counter(('no', *CROPS))

    @property
    def labelled(self) -> int:
        """Return the number of frames whose labels were compared."""
        return self.frames[LABELLED]

    def metrics(self) -> list[SummedMetric]:
        """
        Return all metrics, whose states add up over evaluations of the same model and data set.

        The last one needs the first one's sum: without a labelled frame there is none.
        """
        if self.labelled:
            self.share_classes()
        labels = [self.segmentation] if self.labelled else []
        return [self.frames, self.cropped, self.depth, self.calibration, self.boundaries,
                self.normals, self.confidence, *labels]

    def synchronise(self) -> None:
        """Sum the metrics over all processes, if there are several; each must call this."""
        self.frames.to(self.device).sync()  # with it every process has the same metrics
        for metric in self.metrics()[1:]:
            metric.to(self.device).sync()

    @torch.inference_mode()
    def add(self, sample: Sample, crop: str | None = None) -> DenseOutput:
        """
        Evaluate one sample.

        :param sample: depth is evaluated if the sample has depth and intrinsics, labels if it has
            labels, normals if it has normals; expert labels are not ground truth. Maps that the
            model lacks are not evaluated.
        :param crop: a key of `metrics.CROPS`; depth outside of it is not evaluated.
        :return: the model's output, at the network's resolution.
        :raises ValueError: if the sample's classes and the model's have no correspondence.
        """
        output = ask(self.model, sample.image)
        if self.fused is not None:
            output = self.fused.fuse(sample, output)
        if sample.depth is not None and output.depth is not None:
            if sample.K is None:
                self.frames.update(WITHOUT_INTRINSICS)
            else:
                self.add_depth(output, sample, crop)
        if sample.normals is not None and output.normals is not None:
            self.add_normals(output, sample)
        if sample.labels is not None and output.logits is not None:
            self.add_labels(output, sample)
        return output

    def add_depth(
            self, output: DenseOutput, sample: Sample,
            crop: str | None) -> None:
        """Compare metric depth at the ground truth's size, and errors with the uncertainty."""
        metres = enlarge(output.depth, sample.depth.shape) * self.metres(sample)
        before = self.depth.images
        prediction = metres[0, 0].cpu().numpy()
        part = None if crop is None else CROPS[crop](sample.depth.shape)
        self.depth.update(prediction, sample.depth, part)
        self.boundaries.update(prediction, sample.depth)
        if self.depth.images > before:
            self.cropped.update(crop or 'no')
        if output.log_variance is not None:
            deviation = enlarge(output.log_variance, sample.depth.shape)[0, 0].mul(0.5).exp()
            self.calibration.update(prediction, sample.depth, deviation.cpu().numpy(), part)

    def metres(self, sample: Sample) -> float:
        """Return the scale from canonical to metric depth, f / f_canonical, for a sample."""
        return metric_scale(self.config, sample.K, sample.image.shape[:2])

    def add_normals(self, output: DenseOutput, sample: Sample) -> None:
        """Compare normals, at the ground truth's size."""
        normals = enlarge(output.normals, sample.normals.shape[:2])[0]
        self.normals.update(normals.permute(1, 2, 0).cpu().numpy(), sample.normals)

    def add_labels(self, output: DenseOutput, sample: Sample) -> None:
        """Compare labels; the prediction is the group with the greatest summed probability."""
        if self.label_space is None:
            return
        self.share_classes()
        probabilities, labels = (array.cpu().numpy() for array in self.shared_probabilities(
            output, sample.labels.shape).max(dim=0))
        truth = self.classes.table[sample.labels]
        self.segmentation.update(labels, truth)
        self.confidence.update(labels, probabilities, truth)
        self.frames.update(LABELLED)

    def share_classes(self) -> None:
        """Match the model's classes to those of the data set, unless done before."""
        if self.classes is None:
            self.classes = share_classes(self.model.labels, self.label_space)
            self.segmentation = SegmentationMetrics(len(self.classes.names))

    def shared_labels(self, output: DenseOutput, size: tuple[int, int]) -> np.ndarray:
        """Return the most probable of the shared classes: int64 (height, width)."""
        return self.shared_probabilities(output, size).argmax(dim=0).cpu().numpy()

    def shared_probabilities(self, output: DenseOutput, size: tuple[int, int]) -> Tensor:
        """Return the probabilities of the shared classes: float32 (classes, height, width)."""
        among = self.classes.candidates
        members = self.classes.members[:, among].to(self.device)
        logits = output.logits.float()
        if not among.all():
            logits = logits[:, among.to(self.device)]
        probabilities = torch.einsum('gc,bchw->bghw', members, logits.softmax(dim=1))
        return enlarge(probabilities, size)[0]

    def scores(self) -> dict[str, Any]:
        """Return the available metrics by name; the IoU of a class that never occurs is None."""
        scores: dict[str, Any] = {}
        if self.labelled and self.segmentation.confusion.any():
            scores.update(self.segmentation.compute())
            scores.update(self.confidence.compute())
            scores['iou'] = {
                name: None if math.isnan(iou) else float(iou)
                for name, iou in zip(self.classes.names, self.segmentation.iou())}
        if self.depth.images:
            scores.update(self.depth.compute())
        if self.boundaries.images:
            scores.update(self.boundaries.compute())
        if self.calibration.pixels:
            scores.update(self.calibration.compute())
        if self.normals.images:
            scores.update(self.normals.compute())
        return scores

    def protocol(self) -> dict[str, Any]:
        """Describe the protocol, with the numbers of frames."""
        notes: dict[str, Any] = {
            'labelled_frames': self.labelled, 'depth_frames': self.depth.images}
        if self.labelled:
            notes['semantics'] = (
                'one confusion matrix over all frames, void excluded, the mean excludes classes '
                'in neither truth nor prediction; the probability of a class is the sum over '
                'those classes of the model that it comprises')
            notes['label_calibration_error'] = (
                f'expected calibration error over {BINS} bins of the confidence, pooled over all '
                'pixels')
            notes['classes_not_scored'] = list(self.classes.not_scored)
            notes['model_classes_not_asked'] = list(self.classes.not_asked)
        if self.depth.images:
            scaled = 'each frame scaled by its median' if self.depth.median_scaling else 'metric'
            mean = 'pooled over all pixels' if self.depth.pooled else 'averaged over frames'
            crops = ', '.join(f'{crop} crop on {count} of {self.depth.images} frames'
                              for crop, count in sorted(self.cropped.compute().items()) if count)
            notes['depth'] = (
                f'{self.depth.min_depth} m < truth < {self.depth.max_depth} m, prediction resized '
                f'to the truth and clamped to that range, {scaled}, {mean}, '
                f'{crops}')
        if self.boundaries.images:
            notes['boundary_f1'] = (
                f'F1 of depth discontinuities on {self.boundaries.images} frames with dense true '
                'depth, thresholds of 1.05 to 1.25')
        if self.calibration.pixels:
            notes['depth_within_sigma'] = (
                'fraction of pixels whose error of ln(depth), without scaling, is within one and '
                'two predicted standard deviations; pooled over all pixels; 0.683 and 0.954 for '
                'Gaussian errors')
        if self.normals.images:
            notes['normals'] = (
                f'angles in degrees, pooled over all pixels of {self.normals.images} frames with '
                'normals')
        if self.frames[WITHOUT_INTRINSICS]:
            notes['frames_without_intrinsics'] = self.frames[WITHOUT_INTRINSICS]
        return notes


def evaluate(
        model: str | Path | None, dataset: str, root: str | Path | None, split: str = 'all',
        device: str = 'auto', pooled: bool = False, median_scaling: bool = False,
        max_depth: float | None = None, frames: bool = False, skip_bad: bool = False,
        arguments: dict[str, Any] | None = None, limit: int | None = None,
        watch: Callable[[Evaluation, Sample, DenseOutput], None] | None = None,
        video: bool = False, temporal: str = 'off') -> dict[str, Any]:
    """
    Evaluate a model on a data set.

    :param model: a model folder or hub id; None for the default model.
    :param dataset: a key of DATASETS.
    :param root: the data set's folder; None for a data set without files.
    :param split: one of the data set's splits, or `all`.
    :param device: auto, cpu, cuda or cuda:N.
    :param pooled: whether depth errors are pooled over all pixels instead of averaged over
        frames.
    :param median_scaling: whether each depth map is scaled by its frame's median first.
    :param max_depth: upper limit of the evaluated true depth, metres; None for the data set's.
    :param frames: whether the result lists the frames' ids.
    :param skip_bad: whether unreadable samples are logged, skipped and listed with their errors as
        `skipped`; otherwise the first error is raised.
    :param arguments: further arguments of the data set's class.
    :param limit: number of frames, spread evenly over the split; None for all.
    :param watch: callback after each frame, with the evaluation, the frame and the model's output.
    :param video: whether to measure temporal consistency, too.
    :param temporal: off, or fuse to evaluate outputs that are fused over consecutive frames by the
        poses of the data set.
    :return: model, dataset, split, frames (their number), device, protocol; miou, pixel_accuracy,
        label_calibration_error and iou by class name, if there are labels; abs_rel, sq_rel, rmse,
        rmse_log, silog, delta1, delta2 and delta3, if there are depth and intrinsics, with
        depth_within_1_sigma and depth_within_2_sigma if the model predicts its uncertainty, and
        boundary_f1 if depth is dense; normals_mean, normals_median (degrees),
        normals_within_11.25, _22.5 and _30, if data set and model have normals; for a video
        temporal_miou and temporal_abs_rel of `VideoMetrics`.
    :raises ValueError: if the data set, the split or the device is unknown.
    :raises FileNotFoundError: if the model or the recording does not exist.
    """
    if max_depth is not None and max_depth <= MIN_DEPTH:
        raise ValueError(f'max_depth must be above {MIN_DEPTH} m, got {max_depth}')
    samples = open_dataset(dataset, root, split, arguments)
    ids = spread(samples.ids, limit)
    folder = model_source(model)
    network = hub.load(folder, torch_device(device))
    if not (network.config.metric or median_scaling):
        LOG.warning('%s gives relative depth, which is evaluated as metric depth: see '
                    '--median-scaling', folder)
    space = None if samples.label_space is None else LabelSpace.load(samples.label_space)
    depth = DepthMetrics(pooled, median_scaling, max_depth=max_depth or samples.max_depth)
    if temporal not in TEMPORAL:
        raise ValueError(f'temporal: expected {" or ".join(TEMPORAL)}, got {temporal!r}')
    fused = FusedSamples(network, samples) if temporal == 'fuse' else None
    evaluation = Evaluation(network, space, depth, fused)
    moving = None
    if video:
        check_video(samples, ids)
        moving = VideoEvaluation(network, samples, depth.max_depth, skip_bad)
    skipped: dict[str, str] = {}
    for name in track(ids, f'{dataset}, {split}', console=Console(stderr=True)):
        try:
            sample = samples.read(name)
        except READ_ERRORS as error:
            if not skip_bad:
                raise
            LOG.warning('skipped %s:%s: %s', dataset, name, error)
            skipped[name] = str(error)
        else:
            output = evaluation.add(sample, samples.crop(name))
            if moving is not None:
                moving.add(sample, output)
            if watch is not None:
                watch(evaluation, sample, output)
    return {
        'model': str(folder), 'dataset': dataset, 'split': split, 'frames': len(ids),
        'device': str(evaluation.device), 'label_space': samples.label_space,
        **evaluation.scores(), **(moving.metrics.compute() if moving else {}),
        'protocol': {
            **evaluation.protocol(), **({'video': moving.protocol()} if moving else {}),
            **({'temporal': fused.describe()} if fused else {})},
        **({'skipped': skipped} if skipped else {}),
        **({'ids': ids} if frames else {})}


def spread(ids: list[str], limit: int | None) -> list[str]:
    """
    Return `limit` evenly spread ids; all for None.

    :raises ValueError: if the limit is less than one.
    """
    if limit is None or limit >= len(ids):
        return list(ids)
    if limit < 1:
        raise ValueError(f'limit must be at least 1, got {limit}')
    return [ids[index] for index in np.linspace(0, len(ids), limit, endpoint=False).astype(int)]


def report(result: dict[str, Any], json_file: str | Path | None = None) -> None:
    """
    Print the result of `evaluate` as a table, and optionally write it as JSON.

    :param json_file: path of the JSON file; missing folders are created.
    """
    table = Table(title=f'{result["model"]} on {result["dataset"]}, {result["split"]} '
                        f'({result["frames"]} frames)')
    table.add_column('metric')
    table.add_column('value', justify='right')
    for name in ('miou', 'pixel_accuracy', *LabelCalibration.NAMES, *DepthMetrics.NAMES,
                 *DepthCalibration.NAMES, *NormalMetrics.NAMES, *VideoMetrics.NAMES):
        if name in result:
            table.add_row(name, f'{result[name]:.4f}')
    for name, iou in result.get('iou', {}).items():
        table.add_row(f'IoU {name}', 'absent' if iou is None else f'{iou:.4f}')
    if 'skipped' in result:
        table.add_row('skipped frames', str(len(result['skipped'])))
    console = Console()
    console.print(table)
    for name, note in result['protocol'].items():
        console.print(f'{name}: {note}', highlight=False)
    if json_file is not None:
        Path(json_file).parent.mkdir(parents=True, exist_ok=True)
        write_json(json_file, result)
