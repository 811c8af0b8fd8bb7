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


"""Readers of data sets, one per file, with one sample contract."""

from __future__ import annotations

from dataclasses import dataclass
import inspect
import os
from pathlib import Path
from typing import Any

from sync_perception.datasets.camvid import CamVid, CamVidFull
from sync_perception.datasets.cityscapes import Cityscapes, CityscapesSequence
from sync_perception.datasets.derived.pseudo_labelled import PseudoLabelled
from sync_perception.datasets.derived.selection_files import Selection, split_words
from sync_perception.datasets.idd_lite import IddLite
from sync_perception.datasets.kitti.depth_selection import KittiDepthSelection
from sync_perception.datasets.kitti.raw import KittiRaw
from sync_perception.datasets.kitti.semantics import KittiSemantics
from sync_perception.datasets.nyuv2.images import NyuDepthV2Images
from sync_perception.datasets.nyuv2.labeled import NyuDepthV2Labeled
from sync_perception.datasets.nyuv2.raw import NyuDepthV2
from sync_perception.datasets.own_data.labelled_images import LabelledImages
from sync_perception.datasets.own_data.recorded_frames import Frames
from sync_perception.datasets.sample import DenseDataset
from sync_perception.datasets.sevenscenes import SevenScenes
from sync_perception.datasets.synthetic import Synthetic
from sync_perception.datasets.vkitti2 import VirtualKitti2

DATASETS: dict[str, type[DenseDataset]] = {
    'camvid': CamVid,
    'camvid_full': CamVidFull,
    'idd_lite': IddLite,
    'kitti': KittiRaw,
    'kitti_depth': KittiDepthSelection,
    'kitti_semantics': KittiSemantics,
    'vkitti2': VirtualKitti2,
    'cityscapes': Cityscapes,
    'cityscapes_sequence': CityscapesSequence,
    'nyuv2': NyuDepthV2,
    'nyuv2_images': NyuDepthV2Images,
    'nyuv2_labeled': NyuDepthV2Labeled,
    'sevenscenes': SevenScenes,
    'synthetic': Synthetic,
    'frames': Frames,
    'labelled_images': LabelledImages,
    'pseudo_labelled': PseudoLabelled,
}
FIXED = ('self', 'root', 'split', 'open_base')


def dataset_class(name: str) -> type[DenseDataset]:
    """
    Return the class of a data set by its name.

    :raises ValueError: if the name is unknown; the message lists the known ones.
    """
    if name not in DATASETS:
        raise ValueError(f'unknown data set {name!r}, expected one of: {", ".join(DATASETS)}')
    return DATASETS[name]


def open_dataset(
        name: str, root: str | Path | None = None, split: str = 'all',
        arguments: dict[str, Any] | None = None) -> DenseDataset:
    """
    Open a data set: list its files without reading them.

    :param name: a key of DATASETS.
    :param root: the data set's folder; environment variables are expanded. Only `synthetic` needs
        none.
    :param split: one of the data set's splits, or `all`; or a file of `sync_perception select`,
        FILE.json, or FILE.json:25 for its first 25 images.
    :param arguments: further arguments of the data set's class, such as a camera.
    :raises ValueError: if the data set, split or an argument is unknown, the folder is missing, or
        a selection is of another data set.
    :raises FileNotFoundError: if the folder does not contain the data set.
    """
    kind, arguments = dataset_class(name), dict(arguments or {})
    known = [key for key in inspect.signature(kind.__init__).parameters if key not in FIXED]
    unknown = [key for key in arguments if key not in known]
    if unknown:
        raise ValueError(
            f'data set {name!r} has no argument {unknown[0]!r}, '
            + (f'it has: {", ".join(known)}' if known else 'it has none'))
    if not root and kind is not Synthetic:
        raise ValueError(f'data set {name!r}: expected its folder (root), got none')
    root, selected = os.path.expandvars(root) if root else None, split_words(split)
    if selected is None:
        own = {'open_base': open_dataset} if kind is PseudoLabelled else {}
        return kind(root, split, **arguments, **own)
    selection = Selection.read(selected[0])
    if selection.dataset != name and kind is not PseudoLabelled:
        raise ValueError(
            f'{selected[0]} selects images of {selection.dataset!r}, expected {name!r}')
    dataset = open_dataset(name, root, selection.split, arguments)
    dataset.keep(selection.first(selected[1]))
    return dataset


@dataclass(frozen=True)
class DatasetOptions:
    """
    Data set of a command: the arguments of `open_dataset`.

    :param name: a key of DATASETS.
    :param root: the data set's folder; None for a data set without files.
    :param split: one of the data set's splits, or `all`; or a file of `sync_perception select`.
    :param arguments: further arguments of the data set's class.
    """

    name: str
    root: str | Path | None = None
    split: str = 'all'
    arguments: dict[str, Any] | None = None

    def open(self) -> DenseDataset:
        """Open the data set; raises what `open_dataset` raises."""
        return open_dataset(self.name, self.root, self.split, self.arguments)
