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

"""Selection files: ranked images of a data set to label first, usable as a split."""

from __future__ import annotations

from dataclasses import asdict, dataclass
import json
import os
from pathlib import Path
import re
from typing import Any

from sync_perception.files.whole_files import write_json

WORDS = re.compile(r'(?P<file>.*\.json)(?::(?P<budget>\d+))?', re.DOTALL)


@dataclass(frozen=True)
class Selection:
    """
    Images of a data set in the order of selection.

    :param dataset: a key of DATASETS.
    :param split: split of the data set that was selected from.
    :param strategy: selection strategy.
    :param seed: random seed.
    :param budgets: increasing numbers of images; the selection for a budget is its first ids.
    :param ids: ids of the selected samples, in the order of selection.
    :param scores: score of each sample when selected; None for a random one.
    :param root: the data set's folder at that time; '' for a data set without files.
    :param model: model whose features and depth were compared; '' for a random selection.
    :param arguments: further arguments of the data set's class.
    :param record: settings and other facts about the selection.
    """

    dataset: str
    split: str
    strategy: str
    seed: int
    budgets: tuple[int, ...]
    ids: tuple[str, ...]
    scores: tuple[float | None, ...]
    root: str = ''
    model: str = ''
    arguments: dict[str, Any] | None = None
    record: dict[str, Any] | None = None

    def __post_init__(self):
        """Check that the selection is consistent."""
        if not self.ids or len(set(self.ids)) != len(self.ids):
            raise ValueError(
                f'a selection needs ids, each of them once, got {len(self.ids)} ids of which '
                f'{len(set(self.ids))} differ')
        if len(self.scores) != len(self.ids):
            raise ValueError(
                f'a selection needs one score an id, got {len(self.scores)} scores and '
                f'{len(self.ids)} ids')

    def first(self, budget: int | None = None) -> list[str]:
        """
        Return the first ids, in the order of selection.

        :param budget: number of ids; None for all.
        :raises ValueError: if there are fewer ids.
        """
        if budget is None:
            return list(self.ids)
        if not 1 <= budget <= len(self.ids):
            raise ValueError(
                f'the selection has {len(self.ids)} images, expected a budget from 1 to that, '
                f'got {budget}')
        return list(self.ids[:budget])

    @staticmethod
    def read(path: str | Path) -> Selection:
        """
        Read a selection file.

        :param path: environment variables are expanded.
        :raises FileNotFoundError: if there is no such file.
        :raises ValueError: if it is no selection file.
        """
        path = Path(os.path.expandvars(path))
        if not path.is_file():
            raise FileNotFoundError(f'no selection file {path}')
        try:
            values = json.loads(path.read_text())
            for name in ('budgets', 'ids', 'scores'):
                values[name] = tuple(values[name])
            if not all(isinstance(name, str) for name in values['ids']):
                raise TypeError('ids are expected to be texts')
            return Selection(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f'{path}: expected a file as `sync_perception select` writes it, got '
                f'{type(error).__name__}: {error}') from error

    def write(self, path: str | Path) -> None:
        """Write a selection file atomically."""
        write_json(path, asdict(self), indent=1, shared=True)


def read_selection(path: str | Path, budget: int | None = None) -> list[str]:
    """
    Return the ids of a selection file's first images, in the order of selection.

    :param path: environment variables are expanded.
    :param budget: number of ids; None for all.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if it is no selection file, or has fewer images.
    """
    selection = Selection.read(path)
    try:
        return selection.first(budget)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def split_words(split: str) -> tuple[str, int | None] | None:
    """
    Parse a split that names a selection file.

    :param split: argument of `open_dataset`: FILE.json for all images of the file, FILE.json:25
        for its first 25.
    :return: the file and the budget; None if the split is one of the data set's own.
    """
    found = WORDS.fullmatch(split)
    if found is None:
        return None
    return found['file'], None if found['budget'] is None else int(found['budget'])
