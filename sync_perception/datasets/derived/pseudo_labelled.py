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

"""Data set with pseudo-labels of a teacher network, joined by the samples' ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sync_perception.datasets.files import identity_table, read_confidence, read_labels
from sync_perception.datasets.sample import DenseDataset, PROBABILITY_UNITS, Sample
from sync_perception.images.single_channel import read_depth, read_gray
from sync_perception.labels import LabelSpace, VOID

PSEUDO_LABEL_MANIFEST = 'pseudo_labels.json'
SPACE_FILE = 'label_space.yaml'
LABELS, CONFIDENCE, DEPTH, DEVIATION, *SOFT = PSEUDO_LABEL_MAPS = (
    'expert_semantics', 'expert_confidence', 'depth', 'depth_deviation', 'expert_alternatives',
    'expert_alternative_confidence')
"""Kinds of maps. SOFT are the classes after the label, by probability, and their probabilities:
the maps of each rank below those of the one before, so (K - 1) * H rows."""
DEPTH_UNITS = 256
DEVIATION_UNITS = 10000
"""Stored units of a standard deviation of ln(depth)."""


@dataclass
class Manifest:
    """
    Manifest of a folder of pseudo-labels, stored as `pseudo_labels.json`.

    :param teacher: name of the teacher model.
    :param fingerprint: fingerprint of the teacher's weights; empty if there is no file of them.
    :param dataset: key of DATASETS.
    :param root: the data set's folder.
    :param split: the data set's split.
    :param arguments: further arguments of the data set's class.
    :param label_space: the teacher's label space, as `LabelSpace.to_dict` returns it.
    :param maps: the teacher's maps, a subset of MAPS.
    :param settings: settings of the filters.
    """

    teacher: str
    fingerprint: str
    dataset: str
    root: str
    split: str
    arguments: dict[str, Any]
    label_space: dict[str, Any]
    maps: list[str]
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path) -> Manifest:
        """
        Read a folder's manifest.

        :raises FileNotFoundError: if there is no manifest.
        :raises ValueError: if the file is not a manifest.
        """
        path = Path(folder) / PSEUDO_LABEL_MANIFEST
        if not path.is_file():
            raise FileNotFoundError(
                f'{folder} holds no pseudo labels: expected {PSEUDO_LABEL_MANIFEST}, as '
                '`sync_perception pseudo-label` writes it')
        expected = {entry.name for entry in fields(cls)}
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f'{path} is not JSON: {error}') from error
        if not isinstance(content, dict) or set(content) != expected:
            raise ValueError(f'{path}: expected the keys {sorted(expected)}, got {content!r:.200}')
        manifest = cls(**content)
        for name, value in (('soft', 0), ('scales', [1.0]), ('flip', False)):
            manifest.settings.setdefault(name, value)  # folders older than these settings
        return manifest

    def to_json(self) -> str:
        """Return the file's content."""
        return json.dumps(asdict(self), indent=2) + '\n'


def map_file(folder: Path, kind: str, sample_id: str) -> Path:
    """Return the path of the PNG of a sample's map, one of MAPS."""
    return folder / kind / f'{sample_id}.png'


def is_whole(path: Path) -> bool:
    """Return whether a complete PNG exists, by its first and last bytes."""
    if not path.is_file():
        return False
    with path.open('rb') as file:
        start = file.read(8)
        file.seek(-min(12, path.stat().st_size), os.SEEK_END)
        end = file.read()
    return start == b'\x89PNG\r\n\x1a\n' and end[4:8] == b'IEND'


def is_labelled(folder: Path, manifest: Manifest, sample_id: str) -> bool:
    """
    Return whether all of a sample's maps exist and are complete.

    Depth may be missing: it is not computed for images without intrinsics.
    """
    semantic = (LABELS, CONFIDENCE, *SOFT)
    required = [kind for kind in manifest.maps if kind in semantic] or manifest.maps
    optional = [kind for kind in manifest.maps if map_file(folder, kind, sample_id).exists()]
    return all(is_whole(map_file(folder, kind, sample_id)) for kind in {*required, *optional})


class PseudoLabelled(DenseDataset):
    """
    Samples of another data set with a teacher's maps from a folder.

    The teacher's labels replace the samples' expert labels. Its depth is used for samples without
    depth; scores on such depth measure the agreement with the teacher. Sky has no depth. All other
    annotations are kept.

    :param root: a folder that `sync_perception pseudo-label` wrote.
    :param split: split of the data set; `all` is the split that the teacher labelled.
    :param images: the data set's folder, if it has moved since; environment variables are
        expanded.
    :param depth: whether the teacher's depth is used.
    :param labels: whether the teacher's labels are used.
    :param max_deviation: standard deviation of ln(depth) above which depth is not used, if the
        teacher predicts it.
    :param soft: whether to use the teacher's most probable classes with their probabilities.
    :param open_base: function that opens the annotated data set: `datasets.open_dataset`.
    :raises FileNotFoundError: if the folder has no maps of these samples.
    :raises ValueError: if soft labels are requested, but the folder has none or `labels` is off.
    """

    splits = ()
    label_space = None
    layout = (
        f'{PSEUDO_LABEL_MANIFEST} and {{{",".join(PSEUDO_LABEL_MAPS)}}}/ID.png, as '
        '`sync_perception pseudo-label` writes them')

    def __init__(
            self, root: str | Path, split: str = 'all', images: str | None = None,
            depth: bool = True, labels: bool = True, max_deviation: float | None = None,
            soft: bool = False, *, open_base: Callable[..., DenseDataset]):
        self.root, self.split = Path(root), split
        self.manifest = Manifest.read(self.root)
        self.classes = int(self.manifest.settings['soft'])
        if soft and not (labels and self.classes):
            raise ValueError(
                f'{self.root}: expected labels with probabilities for soft: true, as `sync_'
                f'perception pseudo-label --soft 3` writes them, got labels: {labels}, written '
                f'with --soft {self.classes}')
        self.base = open_base(
            self.manifest.dataset, images or self.manifest.root or None,
            self.manifest.split if split == 'all' else split, self.manifest.arguments)
        self.use_depth, self.use_labels, self.use_soft = depth, labels, soft
        self.max_deviation = max_deviation
        self.splits, self.label_space = self.base.splits, self.base.label_space
        self.max_depth, self.ordered = self.base.max_depth, self.base.ordered
        self.space = LabelSpace.from_dict(self.manifest.label_space)
        self.expert_space = space_name(self.space, self.root)
        self.ids = self.list_ids()
        if not self.ids:
            raise FileNotFoundError(
                f'{self.root} holds no maps of the split {split!r} of {self.manifest.dataset}')

    def list_ids(self) -> list[str]:
        """Return the ids with maps, in the data set's order."""
        return [name for name in self.base.ids
                if any(map_file(self.root, kind, name).is_file() for kind in self.manifest.maps)]

    def read(self, sample_id: str) -> Sample:
        """Read a sample of the data set with the teacher's maps."""
        sample = self.base.read(sample_id)
        size = sample.image.shape[:2]
        changes: dict[str, np.ndarray] = {}
        labels, confidence, depth, deviation, *_ = (
            map_file(self.root, kind, sample_id) for kind in PSEUDO_LABEL_MAPS)
        if self.use_labels and labels.is_file():
            changes['expert_labels'] = read_labels(labels, size, identity_table(len(self.space)))
            changes['expert_confidence'] = read_confidence(confidence, size)
            changes.update(expert_classes=None, expert_probabilities=None)
            if self.use_soft:
                changes.update(self.read_soft(
                    sample_id, changes['expert_labels'], changes['expert_confidence']))
        if self.use_depth and sample.depth is None and depth.is_file():
            metres = read_depth(depth, size, DEPTH_UNITS)
            if self.max_deviation is not None and deviation.is_file():
                metres[read_deviation(deviation, size) > self.max_deviation] = np.nan
            changes['depth'] = metres
        return replace(sample, **changes)

    def read_soft(
            self, sample_id: str, labels: np.ndarray, confidence: np.ndarray
            ) -> dict[str, np.ndarray]:
        """Return the classes, the label first, and their probabilities, its confidence first."""
        size = labels.shape[0] * (self.classes - 1), labels.shape[1]
        classes, probabilities = (map_file(self.root, kind, sample_id) for kind in SOFT)
        later = (read_labels(classes, size, identity_table(len(self.space))),
                 read_gray(probabilities, np.uint8, size, 'probability x 255'))
        sure = np.rint(confidence * PROBABILITY_UNITS).astype(np.uint8) * (labels != VOID)
        joined = (
            np.concatenate([first, others]).reshape(-1, *labels.shape).transpose(1, 2, 0)
            for first, others in zip((labels, sure), later))
        return dict(zip(('expert_classes', 'expert_probabilities'), joined))

    def crop(self, sample_id: str) -> str | None:
        """Return the crop of the data set's protocol."""
        return self.base.crop(sample_id)

    def pose(self, sample_id: str, offset: int = 0) -> np.ndarray | None:
        """Return the camera's pose from the data set."""
        return self.base.pose(sample_id, offset)

    def neighbour_id(self, sample_id: str, offset: int) -> str | None:
        """Return the id of the data set's sample `offset` frames later."""
        return self.base.neighbour_id(sample_id, offset)

    def neighbour_file(self, sample_id: str, offset: int) -> Path | None:
        """Return the data set's image `offset` frames later."""
        return self.base.neighbour_file(sample_id, offset)

    def partner_pose(self, sample_id: str) -> np.ndarray | None:
        """Return the stereo partner's pose from the data set."""
        return self.base.partner_pose(sample_id)

    def partner_image(self, sample_id: str) -> np.ndarray:
        """Read the stereo partner's image from the data set."""
        return self.base.partner_image(sample_id)


def read_deviation(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """Read a standard deviation of ln(depth): float32 (H, W), inf where it is unknown."""
    stored = read_gray(path, np.uint16, size, f'deviation of ln(depth) x {DEVIATION_UNITS}')
    return np.where(stored == 0, np.inf, stored / np.float32(DEVIATION_UNITS))


def space_name(space: LabelSpace, folder: Path) -> str:
    """Return a teacher's argument of `LabelSpace.load`: a shipped name, or a file."""
    try:
        shipped = LabelSpace.load(space.name)
    except ValueError:
        shipped = None
    same = shipped is not None and shipped.to_dict() == space.to_dict()
    return space.name if same else str(folder / SPACE_FILE)


def png_bytes(array: np.ndarray) -> bytes:
    """Encode a map, uint8 or uint16 (H, W), as PNG."""
    done, coded = cv2.imencode('.png', array)
    assert done, array.dtype
    return coded.tobytes()


def encode_maps(
        labels: np.ndarray | None, confidence: np.ndarray | None, depth: np.ndarray | None,
        deviation: np.ndarray | None, classes: np.ndarray | None = None,
        probabilities: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """
    Convert a teacher's maps to the arrays stored in files; the inverse of reading them.

    :param labels: uint8 (H, W), 255 void.
    :param confidence: float (H, W) in [0, 1].
    :param depth: float (H, W), metres, NaN where unknown; values outside the format (from 256 m
        on, or below 2 mm) are stored as unknown.
    :param deviation: float (H, W), standard deviation of ln(depth); stored up to 6.5.
    :param classes: uint8 (K - 1, H, W), classes after the label; kept where there is a label and
        the stored probability is not 0.
    :param probabilities: float (K - 1, H, W) in [0, 1], probabilities of these classes.
    :return: arrays by kind, a key of MAPS.
    """
    stored: dict[str, np.ndarray] = {}
    if labels is not None:
        stored[LABELS] = labels
        stored[CONFIDENCE] = np.rint(confidence * PROBABILITY_UNITS).astype(np.uint8)
    if labels is not None and classes is not None:
        units = np.rint(probabilities * PROBABILITY_UNITS).astype(np.uint8)
        units[:, labels == VOID] = 0
        maps = np.where(units == 0, VOID, classes), units
        stored.update(
            (kind, values.reshape(-1, labels.shape[1])) for kind, values in zip(SOFT, maps))
    if depth is not None:
        units = np.rint(np.nan_to_num(depth, nan=0, posinf=0).astype(np.float64) * DEPTH_UNITS)
        units[(units < 0) | (units > np.iinfo(np.uint16).max)] = 0
        stored[DEPTH] = units.astype(np.uint16)
        if deviation is not None:
            units = np.rint(deviation.astype(np.float64) * DEVIATION_UNITS)
            stored[DEVIATION] = units.clip(1, np.iinfo(np.uint16).max).astype(np.uint16)
    return stored
