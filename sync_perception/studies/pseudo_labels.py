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

from dataclasses import asdict
import hashlib
import logging
import os
from pathlib import Path
import shutil
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from sync_perception.datasets import DatasetOptions
from sync_perception.datasets.derived.pseudo_labelled import (
    CONFIDENCE,
    DEPTH,
    DEVIATION,
    is_labelled,
    LABELS,
    Manifest,
    map_file,
    png_bytes,
    PSEUDO_LABEL_MANIFEST,
    PSEUDO_LABEL_MAPS,
    SOFT,
    SPACE_FILE,
    space_name,
)
from sync_perception.datasets.sample import READ_ERRORS
from sync_perception.evaluation.predict_sample import dense_output
from sync_perception.files.resume import check_same_settings
from sync_perception.files.whole_files import write_bytes, write_text
from sync_perception.models import hub
from sync_perception.models.storage.folder import WEIGHTS_NAME
from sync_perception.resources import model_source
from sync_perception.runtime.backends.devices import torch_device
from sync_perception.studies.shards import parse_shard
from sync_perception.studies.teacher import Teacher, TeacherOptions
import torch
from torch import nn
import yaml

LOG = logging.getLogger(__name__)
GIVEN = {'logits': (LABELS, CONFIDENCE), 'depth': (DEPTH,), 'log_variance': (DEVIATION,)}
"""Stored maps by the network's output."""


def pseudo_label(
        teacher: str | Path | None, data: DatasetOptions, out: str | Path,
        options: TeacherOptions = TeacherOptions(), overwrite: bool = False,
        shard: str | None = None, device: str = 'auto') -> dict[str, Any]:
    """
    Write a teacher's maps of a data set's images for `PseudoLabelled`.

    Complete files are kept, so that an interrupted run can be resumed.

    :param teacher: argument of `hub.load`; None for the default model.
    :param out: folder of the maps.
    :param options: what to annotate, and how.
    :param overwrite: whether to replace existing maps.
    :param shard: `i/n`, the i-th of n processes that share the work; by default that of
        torchrun's environment, or the only one.
    :param device: auto, cpu, cuda or cuda:N.
    :return: written, kept, bad (errors by id), images, shard, and Teacher's counts.
    :raises ValueError: if the folder contains another teacher's maps, or an argument is wrong.
    """
    part, parts = parse_shard(shard)
    samples = data.open()
    name = str(model_source(teacher))
    model = hub.load(name, torch_device(own_device(device)))
    expert, folder = Teacher(model, options), Path(out)
    manifest = manifest_of(name, model, data, options)
    write_manifest(folder, manifest, model, overwrite and parts == 1)
    ids = samples.ids[part - 1::parts]
    done = {'written': 0, 'kept': 0}
    bad: dict[str, str] = {}
    for sample_id in track(
            ids, f'{data.name}, {data.split}, {part}/{parts}', console=Console(stderr=True)):
        if not overwrite and is_labelled(folder, manifest, sample_id):
            done['kept'] += 1
            continue
        try:
            sample = samples.read(sample_id)
        except READ_ERRORS as error:
            LOG.warning('skipped %s:%s: %s', data.name, sample_id, error)
            bad[sample_id] = str(error)
            continue
        write_maps(folder, sample_id, expert.annotate(sample))
        done['written'] += 1
    return {'out': str(folder), 'images': len(ids), 'shard': f'{part}/{parts}', **done,
            'bad': bad, **expert.counts}


def manifest_of(
        name: str, model: nn.Module, data: DatasetOptions, options: TeacherOptions) -> Manifest:
    """Return the manifest of a teacher's maps of a data set."""
    return Manifest(
        name, weights_fingerprint(name), data.name, portable_name(data.root), data.split,
        data.arguments or {}, model.labels.to_dict(), available_maps(model, options.soft),
        {**asdict(options), 'scales': list(options.scales)})


def own_device(device: str) -> str:
    """Return the device of this process: under torchrun, a separate GPU if there are any."""
    rank = os.environ.get('LOCAL_RANK')
    if device == 'auto' and rank is not None and torch.cuda.is_available():
        return f'cuda:{int(rank) % torch.cuda.device_count()}'
    return device


def weights_fingerprint(model: str) -> str:
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


def portable_name(root: str | Path | None) -> str:
    """Return a folder's name that is valid elsewhere: absolute, or with its variables."""
    if not root or '$' in str(root):
        return str(root or '')
    return str(Path(root).absolute())


def available_maps(model: nn.Module, soft: int = 0) -> list[str]:
    """
    Return the kinds of maps of a model, by running it on a grey image.

    :raises ValueError: if it outputs neither labels nor depth, or has fewer classes than
        requested.
    """
    given = dense_output(model, np.full((64, 96, 3), 127, np.uint8)).maps()
    kinds = {kind for name in given for kind in GIVEN.get(name, ())}
    kinds -= set() if DEPTH in kinds else {DEVIATION}
    if not kinds:
        raise ValueError(f'the teacher gives {sorted(given)}, expected labels or depth')
    if soft and (LABELS not in kinds or soft > len(model.labels)):
        classes = len(model.labels) if LABELS in kinds else 0
        raise ValueError(f'soft: the teacher gives {classes} classes, expected at least {soft}')
    kinds |= set(SOFT) if soft else set()
    return [kind for kind in PSEUDO_LABEL_MAPS if kind in kinds]


def write_manifest(folder: Path, manifest: Manifest, model: nn.Module, replace: bool) -> None:
    """
    Write the folder's manifest, unless an equal one exists.

    :param replace: whether to remove all maps of another manifest, so that maps of two teachers
        are never mixed; not for several processes, which could remove each other's.
    :raises ValueError: if another manifest exists and must not be replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / PSEUDO_LABEL_MANIFEST).is_file():
        there = vars(Manifest.read(folder)) | {'root': manifest.root}
        if there == vars(manifest):
            return
        if not replace:
            check_same_settings(folder, there, vars(manifest), 'choose another folder, or '
                                'overwrite its labels in a single process')
        for kind in PSEUDO_LABEL_MAPS:
            shutil.rmtree(folder / kind, ignore_errors=True)
    if space_name(model.labels, folder) != model.labels.name:
        write_text(folder / SPACE_FILE, yaml.safe_dump(
            model.labels.to_dict(), sort_keys=False), shared=True)
    write_text(folder / PSEUDO_LABEL_MANIFEST, manifest.to_json(), shared=True)


def write_maps(folder: Path, sample_id: str, maps: dict[str, np.ndarray]) -> None:
    """Write a sample's maps, labels last; remove obsolete ones."""
    for kind in reversed(PSEUDO_LABEL_MAPS):
        path = map_file(folder, kind, sample_id)
        if kind not in maps:
            path.unlink(missing_ok=True)
            continue
        write_bytes(path, png_bytes(maps[kind]), shared=True)


def pseudo_label_summary(result: dict[str, Any]) -> str:
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
