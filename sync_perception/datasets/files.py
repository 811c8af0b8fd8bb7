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


"""Readers of data set files: labels, intrinsics, lists, numbers."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from pathlib import Path

import numpy as np
from sync_perception.images.reading import read_stored
from sync_perception.images.single_channel import read_gray, Size
from sync_perception.labels import LabelSpace, VOID

IDS = 256
EXPERT_CLASSES = 19  # expert labels are Cityscapes train ids

def shifted(number: str, offset: int) -> str:
    """Add an offset to a number in a file name, with leading zeros kept; '' below zero."""
    moved = int(number) + offset
    return f'{moved:0{len(number)}}' if moved >= 0 else ''


def identity_table(classes: int, void: Iterable[int] = ()) -> np.ndarray:
    """
    Return the look-up table of a label file that already contains the ids of its space.

    :param classes: number of classes; ids 0..classes-1 are unchanged.
    :param void: further ids that the files may contain; they become 255, like 255 itself.
    :return: int16 (256,), -1 for ids that must not occur.
    """
    table = np.full(IDS, -1, np.int16)
    table[:classes] = np.arange(classes)
    table[[*void, VOID]] = VOID
    return table


def read_labels(
        path: str | Path, size: Size, table: np.ndarray,
        wrong: Callable[[np.ndarray], str] | None = None) -> np.ndarray:
    """
    Read a label PNG through a look-up table.

    :param path: the file.
    :param size: expected height and width.
    :param table: int16 (256,), the id for each stored value, -1 for invalid values.
    :param wrong: function of the stored values that returns a message if they look like another
        coding, else ''.
    :return: uint8 (H, W), 255 void.
    :raises ValueError: if the file contains an invalid value, or `wrong` returns a message.
    """
    stored = read_gray(path, np.uint8, size, 'label ids')
    present = np.bincount(stored.ravel(), minlength=IDS) > 0
    foreign = np.flatnonzero(present & (table < 0))
    if foreign.size:
        raise ValueError(
            f'{path} holds the label ids {foreign.tolist()}, expected only '
            f'{np.flatnonzero(table >= 0).tolist()}')
    reason = wrong(np.flatnonzero(present)) if wrong is not None else ''
    if reason:
        raise ValueError(f'{path} {reason}')
    return table.astype(np.uint8)[stored]


def read_color_labels(path: str | Path, size: Size, space: LabelSpace) -> np.ndarray:
    """
    Read a label image that stores the colours of classes.

    :param path: the file.
    :param size: expected height and width.
    :param space: the classes and their colours.
    :return: uint8 (H, W), 255 where the colour belongs to no class.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if the file is broken, of another size, or no colour belongs to a class.
    """
    coded = read_stored(path)
    if coded.dtype != np.uint8 or coded.ndim != 3 or coded.shape[2] != 3:
        raise ValueError(
            f'{path} is {coded.dtype} {coded.shape}, expected three channels of 8 bits')
    if coded.shape[:2] != tuple(size):
        raise ValueError(
            f'{path} is {coded.shape[1]}x{coded.shape[0]}, expected {size[1]}x{size[0]} as its '
            'photograph')
    labels = space.decode_colors(coded)
    if (labels == VOID).all() and coded.any():
        raise ValueError(f'{path} has none of the colours of the space {space.name}')
    return labels


def read_expert_labels(path: str | Path, size: Size) -> np.ndarray:
    """Read an expert's Cityscapes train ids: uint8 (H, W), 255 where it is uncertain."""
    return read_labels(path, size, identity_table(EXPERT_CLASSES))


def read_confidence(path: str | Path, size: Size) -> np.ndarray:
    """Read probabilities stored as 255ths: float32 (H, W) in [0, 1]."""
    stored = read_gray(path, np.uint8, size, 'probability x 255')
    return stored.astype(np.float32) / np.float32(255)


def read_intrinsics(path: str | Path) -> np.ndarray:
    """
    Read intrinsics from a text file of nine numbers, row by row.

    :return: float64 (3, 3), pixels.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if the content is anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no intrinsics file {path}')
    words = path.read_text().split()
    try:
        K = np.array(words, np.float64).reshape(3, 3)
    except ValueError as error:
        raise ValueError(
            f'{path} holds {len(words)} words, expected nine numbers, the intrinsics row by row'
        ) from error
    if not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0 or (K[2] != (0, 0, 1)).any():
        raise ValueError(
            f'{path} holds {K.tolist()}, expected intrinsics with positive focal lengths and a '
            'last row 0 0 1')
    return K


def read_list(
        path: str | Path, split: str, content: str, images: Container[str] | None = None
        ) -> list[str]:
    """
    Read the list file of a split, with one entry per line.

    :param split: the split, for the error message.
    :param content: expected content of a line, for the error message.
    :param images: the allowed names; None allows any.
    :return: the stripped, non-empty lines.
    :raises FileNotFoundError: if the file or one of its entries does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'no file {path}, expected {content} of split {split!r}, one a line')
    listed = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    missing = [] if images is None else [name for name in listed if name not in images]
    if missing:
        raise FileNotFoundError(f'{path} lists {missing[0]}, but there is no such image')
    return listed
