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

"""`sync_perception pseudo-label`: annotate a data set's images with a teacher network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
import hashlib
import logging
import os
from pathlib import Path
import shutil
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from sync_perception.datasets import open_dataset
from sync_perception.datasets.derived.pseudo_labelled import (
    CONFIDENCE,
    DEPTH,
    DEVIATION,
    encode_maps,
    is_labelled,
    LABELS,
    MANIFEST,
    Manifest,
    map_file,
    MAPS,
    png_bytes,
    SOFT,
    SPACE_FILE,
    space_name,
)
from sync_perception.datasets.sample import MAX_CLASSES, READ_ERRORS, Sample
from sync_perception.evaluation.geometric_agreement import check_agreement, Limits
from sync_perception.evaluation.predict_sample import (
    ask,
    average_probabilities,
    enlarge,
)
from sync_perception.files.resume import check_same_settings
from sync_perception.files.whole_files import write_bytes, write_text
from sync_perception.models import hub
from sync_perception.models.storage.folder import WEIGHTS_NAME
from sync_perception.resources import model_source
from sync_perception.runtime.backends.devices import torch_device
from sync_perception.runtime.preprocess import metric_scale
from sync_perception.studies.shards import parse_shard
from sync_perception.types import DenseOutput
import torch
from torch import nn
import yaml

LOG = logging.getLogger(__name__)
GIVEN = {'logits': (LABELS, CONFIDENCE), 'depth': (DEPTH,), 'log_variance': (DEVIATION,)}
"""Stored maps by the network's output."""


class Teacher:
    """
    Teacher that annotates samples with a model.

    :param model: module from a normalised image batch to a DenseOutput, with `config`, `labels`,
        `device`.
    :param min_confidence: labels of a lower probability become void.
    :param agreement: whether to remove labels and depth that contradict each other.
    :param near_sky: depth below which sky is a contradiction, metres; None if the depth of sky is
        undefined.
    :param soft: number of most probable classes stored with their probabilities; 0 for labels
        only.
    :param scales: image scales, relative to the usual size, whose probabilities are averaged.
    :param flip: whether to average with the mirrored image, too.
    :ivar counts: number of pixels and of labelled pixels, and of images without depth for lack of
        intrinsics.
    """

    def __init__(
            self, model: nn.Module, min_confidence: float = 0.0, agreement: bool = False,
            near_sky: float | None = None, soft: int = 0, scales: Sequence[float] = (1.0,),
            flip: bool = False):
        self.soft, self.scales, self.flip = soft, tuple(scales), flip
        self.averaged = flip or self.scales != (1.0,)
        self.model, self.min_confidence, self.agreement = model, min_confidence, agreement
        self.limits = Limits(sky=near_sky)
        self.infinite = np.flatnonzero(model.labels.infinite)
        self.counts: Counter[str] = Counter()

    def annotate(self, sample: Sample) -> dict[str, np.ndarray]:
        """
        Return the maps to store, by kind, at the size of the image.

        Depth is metric in the sample's camera; without its intrinsics, a model with a canonical
        camera gives no depth. Sky has no depth.
        """
        output = ask(self.model, sample.image)
        size = sample.image.shape[:2]
        labels = confidence = depth = deviation = classes = probabilities = None
        if output.logits is not None:
            classes, probabilities = self.ranked(
                average_probabilities(self.model, sample.image, self.scales, self.flip)[0]
                if self.averaged else enlarge(output.logits.float().softmax(dim=1), size)[0])
            labels, confidence = classes[0], probabilities[0]
        if output.depth is not None:
            depth, deviation = self.depth_of(output, sample)
        if depth is not None and labels is not None:
            self.compare(labels, depth, sample)
        if labels is not None:
            labels[confidence < self.min_confidence] = self.model.labels.void
            self.counts.update(
                pixels=labels.size, labelled=int((labels != self.model.labels.void).sum()))
        soft = (classes[1:], probabilities[1:]) if self.soft else ()
        return encode_maps(labels, confidence, depth, deviation, *soft)

    def ranked(self, probability_chw: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the most probable classes, uint8 (K, H, W), and their probabilities; K >= 1."""
        # the maximum alone takes a fifth of the time
        best, index = (
            probability_chw.topk(self.soft, dim=0) if self.soft
            else probability_chw.max(dim=0, keepdim=True))
        return index.to(torch.uint8).cpu().numpy(), best.clamp(0, 1).cpu().numpy()

    def depth_of(
            self, output: DenseOutput, sample: Sample
            ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return depth in metres, NaN out of range, and its standard deviation; or None."""
        config, size = self.model.config, sample.image.shape[:2]
        if config.canonical_focal is not None and sample.K is None:
            if not self.counts['without_intrinsics']:
                LOG.warning(
                    '%s has no intrinsics: depth is skipped, since its metric scale is '
                    'unknown', sample.id)
            self.counts['without_intrinsics'] += 1
            return None, None
        canonical = enlarge(output.depth, size)[0, 0].cpu().numpy()
        depth = canonical * np.float32(metric_scale(config, sample.K, size))
        depth[~(canonical < config.depth_range[1])] = np.nan
        if output.log_variance is None:
            return depth, None
        return depth, enlarge(output.log_variance, size)[0, 0].mul(0.5).exp().cpu().numpy()

    def compare(self, labels: np.ndarray, depth: np.ndarray, sample: Sample) -> None:
        """Remove contradictions, if requested, and the depth of the sky, in place."""
        sky = np.isin(labels, self.infinite)
        if self.agreement and sample.K is not None:
            found = check_agreement(labels, depth, sample.K, self.model.labels, self.limits)
            self.counts['contradictions'] += int((~found.agrees).sum())
            self.counts['checked'] += 1
            self.counts['without_ground'] += found.plane is None
            labels[~found.agrees] = self.model.labels.void
            depth[~found.agrees] = np.nan
        depth[sky] = np.nan


def pseudo_label(
        teacher: str | Path | None, dataset: str, root: str | Path | None, out: str | Path,
        split: str = 'all', min_confidence: float = 0.0, agreement: bool = False,
        near_sky: float | None = None, overwrite: bool = False, shard: str | None = None,
        device: str = 'auto', arguments: dict[str, Any] | None = None, soft: int = 0,
        scales: Sequence[float] = (1.0,), flip: bool = False) -> dict[str, Any]:
    """
    Write a teacher's maps of a data set's images for `PseudoLabelled`.

    Complete files are kept, so that an interrupted run can be resumed.

    :param teacher: argument of `hub.load`; None for the default model.
    :param dataset: a key of DATASETS.
    :param root: the data set's folder.
    :param out: folder of the maps.
    :param split: one of the data set's splits, or `all`.
    :param min_confidence: labels of a lower probability become void.
    :param agreement: whether to remove labels and depth that contradict each other.
    :param near_sky: with agreement, depth below which sky is a contradiction, metres.
    :param overwrite: whether to replace existing maps.
    :param shard: `i/n`, the i-th of n processes that share the work; by default that of
        torchrun's environment, or the only one.
    :param device: auto, cpu, cuda or cuda:N.
    :param arguments: further arguments of the data set's class.
    :param soft: number of most probable classes stored with their probabilities, from 2 to
        MAX_CLASSES; 0 for labels only.
    :param scales: image scales, relative to the usual size, whose class probabilities are
        averaged.
    :param flip: whether to average with the mirrored image, too.
    :return: written, kept, bad (errors by id), images, shard, and Teacher's counts.
    :raises ValueError: if the folder contains another teacher's maps, or an argument is wrong.
    """
    if not 0 <= min_confidence < 1:
        raise ValueError(f'min_confidence must be from 0 to below 1, got {min_confidence}')
    if soft and not 2 <= soft <= MAX_CLASSES:
        raise ValueError(f'soft must be 0, or from 2 to {MAX_CLASSES} classes, got {soft}')
    if not scales or not all(0.1 <= scale <= 4 for scale in scales):
        raise ValueError(f'scales must be from 0.1 to 4, got {list(scales)}')
    part, parts = parse_shard(shard)
    samples = open_dataset(dataset, root, split, arguments)
    name = str(model_source(teacher))
    model = hub.load(name, torch_device(own_device(device)))
    expert = Teacher(model, min_confidence, agreement, near_sky, soft, scales, flip)
    folder = Path(out)
    manifest = Manifest(
        name, fingerprint(name), dataset, lasting(root), split, arguments or {},
        model.labels.to_dict(), maps_of(model, soft),
        {'min_confidence': min_confidence, 'agreement': agreement, 'near_sky': near_sky,
         'soft': soft, 'scales': list(scales), 'flip': flip})
    claim(folder, manifest, model, overwrite and parts == 1)
    ids = samples.ids[part - 1::parts]
    done = {'written': 0, 'kept': 0}
    bad: dict[str, str] = {}
    for sample_id in track(
            ids, f'{dataset}, {split}, {part}/{parts}', console=Console(stderr=True)):
        if not overwrite and is_labelled(folder, manifest, sample_id):
            done['kept'] += 1
            continue
        try:
            sample = samples.read(sample_id)
        except READ_ERRORS as error:
            LOG.warning('skipped %s:%s: %s', dataset, sample_id, error)
            bad[sample_id] = str(error)
            continue
        store(folder, sample_id, expert.annotate(sample))
        done['written'] += 1
    return {'out': str(folder), 'images': len(ids), 'shard': f'{part}/{parts}', **done,
            'bad': bad, **expert.counts}


def own_device(device: str) -> str:
    """Return the device of this process: under torchrun, a separate GPU if there are any."""
    rank = os.environ.get('LOCAL_RANK')
    if device == 'auto' and rank is not None and torch.cuda.is_available():
        return f'cuda:{int(rank) % torch.cuda.device_count()}'
    return device


def fingerprint(model: str) -> str:
    """Return the SHA-256 of a model's weights; '' if there is no local file."""
    path = Path(model)
    path = path / WEIGHTS_NAME if path.is_dir() else path
    if not path.is_file():
        return ''
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def lasting(root: str | Path | None) -> str:
    """Return a folder's name that is valid elsewhere: absolute, or with its variables."""
    if not root or '$' in str(root):
        return str(root or '')
    return str(Path(root).absolute())


def maps_of(model: nn.Module, soft: int = 0) -> list[str]:
    """
    Return the kinds of maps of a model, by running it on a grey image.

    :raises ValueError: if it outputs neither labels nor depth, or has fewer classes than
        requested.
    """
    given = ask(model, np.full((64, 96, 3), 127, np.uint8)).maps()
    kinds = {kind for name in given for kind in GIVEN.get(name, ())}
    kinds -= set() if DEPTH in kinds else {DEVIATION}
    if not kinds:
        raise ValueError(f'the teacher gives {sorted(given)}, expected labels or depth')
    if soft and (LABELS not in kinds or soft > len(model.labels)):
        classes = len(model.labels) if LABELS in kinds else 0
        raise ValueError(f'soft: the teacher gives {classes} classes, expected at least {soft}')
    kinds |= set(SOFT) if soft else set()
    return [kind for kind in MAPS if kind in kinds]


def claim(folder: Path, manifest: Manifest, model: nn.Module, replace: bool) -> None:
    """
    Write the folder's manifest, unless an equal one exists.

    :param replace: whether to remove all maps of another manifest, so that maps of two teachers
        are never mixed; not for several processes, which could remove each other's.
    :raises ValueError: if another manifest exists and must not be replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).is_file():
        there = vars(Manifest.read(folder)) | {'root': manifest.root}
        if there == vars(manifest):
            return
        if not replace:
            check_same_settings(folder, there, vars(manifest), 'choose another folder, or '
                                'overwrite its labels in a single process')
        for kind in MAPS:
            shutil.rmtree(folder / kind, ignore_errors=True)
    if space_name(model.labels, folder) != model.labels.name:
        write_text(folder / SPACE_FILE, yaml.safe_dump(
            model.labels.to_dict(), sort_keys=False), shared=True)
    write_text(folder / MANIFEST, manifest.to_json(), shared=True)


def store(folder: Path, sample_id: str, maps: dict[str, np.ndarray]) -> None:
    """Write a sample's maps, labels last; remove obsolete ones."""
    for kind in reversed(MAPS):
        path = map_file(folder, kind, sample_id)
        if kind not in maps:
            path.unlink(missing_ok=True)
            continue
        write_bytes(path, png_bytes(maps[kind]), shared=True)


def summary(result: dict[str, Any]) -> str:
    """Return a one-line summary of `pseudo_label`."""
    words = [f'{result["written"]} written, {result["kept"]} existed already, '
             f'{len(result["bad"])} could not be read, of {result["images"]} images (part '
             f'{result["shard"]}) in {result["out"]}']
    if result.get('pixels'):
        words.append(f'{result["labelled"] / result["pixels"]:.1%} of the pixels labelled')
    if result.get('checked'):
        words.append(
            f'{result.get("contradictions", 0)} contradicting pixels dropped, no ground plane in '
            f'{result.get("without_ground", 0)} images')
    if result.get('without_intrinsics'):
        words.append(f'{result["without_intrinsics"]} without depth, since they have no '
                     'intrinsics')
    return '; '.join(words)
