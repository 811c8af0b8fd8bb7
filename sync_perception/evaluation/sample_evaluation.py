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

"""Evaluation of a model on samples, in the data set's classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sync_perception.datasets.sample import Sample
from sync_perception.evaluation.calibration import (
    CALIBRATION_BINS,
    DepthCalibration,
    LabelCalibration,
)
from sync_perception.evaluation.depth_boundaries import BoundaryMetrics
from sync_perception.evaluation.fused_samples import FusedSamples
from sync_perception.evaluation.metrics import (
    CROPS,
    DepthMetrics,
    NormalMetrics,
    SegmentationMetrics,
)
from sync_perception.evaluation.predict_sample import dense_output, enlarge
from sync_perception.evaluation.shared_classes import share_classes, SharedClasses
from sync_perception.evaluation.summed_metric import Counter, SummedMetric
from sync_perception.labels import LabelSpace
from sync_perception.models.network_input import camera_scale
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor

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
        output = dense_output(self.model, sample.image)
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
        return camera_scale(self.config, sample.K, sample.image.shape[:2])

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
                f'expected calibration error over {CALIBRATION_BINS} bins of the confidence, '
                'pooled over all pixels')
            notes['classes_not_scored'] = list(self.classes.not_scored)
            notes['model_classes_without_truth'] = list(self.classes.unmatched)
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
        if self.fused is not None:
            notes['temporal'] = self.fused.describe()
        return notes
