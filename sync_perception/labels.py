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

"""Label spaces: class names, colours and ids, and the correspondence between two spaces."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sync_perception.files.checks import flag, mapping, several, shown, text, whole
from sync_perception.files.whole_files import read_yaml
from sync_perception.resources import config_folder

VOID = 255
PIVOT = 'driving'
FLAGS = {'dynamic': 'dynamic', 'infinite': 'infinite', 'ground': 'ground', 'object': 'objects'}
"""Properties of a class: the key in a description, and the attribute of the space."""
CLASS_CHECKS = {
    'name': text(), 'color': several(whole(0, 255), 3), **dict.fromkeys(FLAGS, flag),
    PIVOT: lambda value, key: several(text(pivot_names()))(value, key)}
"""Checks of the values in the description of a class, by key."""


@dataclass(frozen=True, eq=False)
class LabelSpace:
    """
    Ordered list of classes; the id of a class is its position, and 255 is void.

    :param name: the space's name.
    :param names: class names, unique.
    :param colors: uint8 (C, 3), RGB.
    :param dynamic: bool (C,), classes that move by themselves.
    :param infinite: bool (C,), classes without a depth (sky).
    :param ground: bool (C,), surfaces on which one can move.
    :param objects: bool (C,), countable classes whose instances can be separated ("things").
    :param pivot: for each class the classes of the `driving` space that it comprises, or None
        if the space has no relation to street scenes.
    :param parts: the spaces that a union joins, in the order of its classes; otherwise empty.
    """

    name: str
    names: tuple[str, ...]
    colors: np.ndarray
    dynamic: np.ndarray
    infinite: np.ndarray
    ground: np.ndarray
    objects: np.ndarray
    pivot: tuple[tuple[str, ...], ...] | None = None
    void: int = VOID
    parts: tuple[LabelSpace, ...] = ()

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.names)

    @classmethod
    def load(cls, name_or_path: str | Path) -> LabelSpace:
        """
        Load a shipped space by its name, or a space from a YAML file.

        Several names or paths joined by `+`, such as `nyud40+kitti6`, give the union of their
        classes.

        :raises ValueError: if there is no such space, or the file does not describe one.
        """
        parts = str(name_or_path).split('+')
        if len(parts) > 1 and not Path(name_or_path).is_file():
            return union(*(cls.load(part) for part in parts))
        path = Path(name_or_path)
        if path.suffix not in ('.yaml', '.yml'):
            folder = config_folder() / 'labels'
            path = folder / f'{name_or_path}.yaml'
            if not path.is_file():
                known = ', '.join(sorted(p.stem for p in folder.glob('*.yaml')))
                raise ValueError(f'no label space {str(name_or_path)!r}, expected one of: {known}')
        return cls.from_dict(read_yaml(path), str(path))

    @classmethod
    def from_dict(cls, description: dict[str, Any], key: str = 'label space') -> LabelSpace:
        """
        Build a space from a dictionary as returned by `to_dict` or read from a YAML file.

        The dictionary of a union also has `parts`, the descriptions of the joined spaces in the
        order of its classes.

        :param key: name of the description in error messages.
        :raises ValueError: if the description is malformed; the message names the key or class.
        """
        check_description(description, key)
        classes = description['classes']
        names = tuple(entry['name'] for entry in classes)
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f'{key}: class names must be unique, got {twice!r} twice')
        parts = tuple(cls.from_dict(part, f'{key}.parts[{index}]')
                      for index, part in enumerate(description.get('parts', ())))
        if parts and sum(map(len, parts)) != len(names):
            raise ValueError(
                f'{key}: a union has the classes of its parts, got {len(names)} and '
                f'{[len(part) for part in parts]}')
        pivot = None
        if description['name'] == PIVOT:
            pivot = tuple((name,) for name in names)
        elif all(PIVOT in entry for entry in classes):
            pivot = tuple(tuple(entry[PIVOT]) for entry in classes)
        return cls(
            name=description['name'],
            names=names,
            colors=np.array([entry['color'] for entry in classes], np.uint8).reshape(-1, 3),
            pivot=pivot, parts=parts,
            **{attribute: np.array([entry.get(flag_key, False) for entry in classes])
               for flag_key, attribute in FLAGS.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the space as a dictionary of plain types, for config.json."""
        classes = []
        for index, name in enumerate(self.names):
            entry: dict[str, Any] = {'name': name, 'color': self.colors[index].tolist()}
            entry.update({key: True for key, attribute in FLAGS.items()
                          if getattr(self, attribute)[index]})
            if self.pivot is not None and self.name != PIVOT:
                entry[PIVOT] = list(self.pivot[index])
            classes.append(entry)
        if not self.parts:
            return {'name': self.name, 'classes': classes}
        return {
            'name': self.name, 'classes': classes,
            'parts': [part.to_dict() for part in self.parts]}

    def index(self, name: str) -> int:
        """
        Return the id of a class.

        :raises ValueError: if the space has no such class.
        """
        if name not in self.names:
            raise ValueError(f'{self.name} has no class {name!r}, only {", ".join(self.names)}')
        return self.names.index(name)

    def part(self, name: str | None) -> tuple[LabelSpace, slice]:
        """
        Return a part of a union and the range of its class ids; for None, the whole space.

        :raises ValueError: if there is no such part.
        """
        start = 0
        for part in self.parts:
            if part.name == name:
                return part, slice(start, start + len(part))
            start += len(part)
        if name is not None:
            known = ', '.join(part.name for part in self.parts) or 'none, since it is not a union'
            raise ValueError(f'label space {self.name!r} has no part {name!r}; its parts: {known}')
        return self, slice(0, len(self))

    @property
    def palette(self) -> np.ndarray:
        """Colours of all 256 ids: uint8 (256, 3), RGB; ids without a class are black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[:len(self)] = self.colors
        return palette

    def colorize(self, labels: np.ndarray) -> np.ndarray:
        """Return uint8 (H, W) ids as a uint8 (H, W, 3) RGB image; void is black."""
        if labels.dtype == np.uint8 and labels.ndim == 2:  # four times as fast
            return cv2.applyColorMap(np.ascontiguousarray(labels), self.palette[:, None])
        return np.take(self.palette, labels, axis=0)

    def decode_colors(self, image: np.ndarray) -> np.ndarray:
        """
        Return the ids encoded in a uint8 (H, W, 3) RGB image.

        :return: uint8 (H, W); colours of no class become void.
        """
        labels = np.full(image.shape[:2], VOID, np.uint8)
        codes = _color_codes(image)
        for index, code in enumerate(_color_codes(self.colors)):
            labels[codes == code] = index
        return labels


@lru_cache
def pivot_names() -> tuple[str, ...]:
    """Return the names of the pivot space's classes."""
    return LabelSpace.load(PIVOT).names


def check_description(description: Any, key: str) -> None:
    """
    Validate the description of a label space.

    :param key: name of the description in error messages.
    :raises ValueError: if the description is malformed; the message names the key or class.
    """
    mapping(description, key)
    keys = set(description)
    if keys - {'parts'} != {'name', 'classes'}:
        raise ValueError(f'{key}: expected the keys name and classes, got {shown(sorted(keys))}')
    text()(description['name'], f'{key}: name')
    classes = description['classes']
    if not isinstance(classes, list) or not 0 < len(classes) < VOID:
        count = f'{len(classes)}' if isinstance(classes, list) else shown(classes)
        raise ValueError(
            f'{key}: classes: expected a list of 1 to {VOID - 1} classes, got {count}')
    for index, entry in enumerate(classes):
        where = f'{key}: classes[{index}]'
        mapping(entry, where)
        if set(entry) - set(CLASS_CHECKS) or not {'name', 'color'} <= set(entry):
            raise ValueError(
                f'{where}: expected name and color, optionally '
                f'{", ".join(sorted(set(CLASS_CHECKS) - {"name", "color"}))}, got '
                f'{shown(sorted(entry))}')
        for name, value in entry.items():
            CLASS_CHECKS[name](value, f'{where}.{name}')
    parts = description.get('parts', [])
    several(mapping)(parts, f'{key}: parts')
    if any('parts' in part for part in parts):
        raise ValueError(f'{key}: parts: expected spaces that are no unions themselves')


def union(*spaces: LabelSpace) -> LabelSpace:
    """
    Return the union of label spaces, for one segmentation head over several data sets.

    The classes of the spaces follow one another. A class name that occurs in several parts is
    prefixed with the name of its space: `kitti6/car`. A colour that an earlier class uses is
    replaced by a similar free one. Parts that are unions themselves are flattened.

    :raises ValueError: if a space is given twice, or there are too many classes.
    """
    parts = tuple(part for space in spaces for part in space.parts or (space,))
    if len({part.name for part in parts}) < len(parts):
        raise ValueError(f'parts of a union must differ, got {[part.name for part in parts]}')
    taken = Counter(name for part in parts for name in part.names)
    classes: list[dict[str, Any]] = []
    colors: set[tuple[int, ...]] = set()
    for part in parts:
        for index, entry in enumerate(part.to_dict()['classes']):
            if taken[entry['name']] > 1:
                entry['name'] = f'{part.name}/{entry["name"]}'
            entry['color'] = list(_free_color(tuple(entry['color']), colors))
            colors.add(tuple(entry['color']))
            if any(other.pivot for other in parts):
                entry[PIVOT] = list(part.pivot[index]) if part.pivot else []
            classes.append(entry)
    return LabelSpace.from_dict({
        'name': '+'.join(part.name for part in parts), 'classes': classes,
        'parts': [part.to_dict() for part in parts]})


def with_flags(space: LabelSpace) -> LabelSpace:
    """
    Return a label space with the ground and object flags filled in where it has none.

    Label spaces stored with older models lack these flags. They are taken from the shipped space
    with the same name and classes. Otherwise a class has a flag if all its pivot classes have it.
    A space with neither source is returned unchanged.
    """
    names = ('ground', 'objects')
    if any(getattr(space, name).any() for name in names):
        return space
    if space.parts:
        parts = tuple(with_flags(part) for part in space.parts)
        return replace(space, parts=parts, **{
            name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
    if (config_folder() / 'labels' / f'{space.name}.yaml').is_file():
        shipped = LabelSpace.load(space.name)
        if shipped.names == space.names:
            return replace(space, **{name: getattr(shipped, name) for name in names})
    if space.pivot is None:
        return space
    members, pivot = _pivot_matrix(space), LabelSpace.load(PIVOT)
    return replace(space, **{
        name: members.any(axis=1) & ~(members & ~getattr(pivot, name)).any(axis=1)
        for name in names})


def correspondence(source: LabelSpace, target: LabelSpace) -> np.ndarray:
    """
    Return which classes of two spaces can have the same meaning, through the pivot space.

    A space that is a part of a union corresponds class by class to that part only.

    :return: bool (C_source, C_target).
    :raises ValueError: if one of the spaces has no relation to the pivot.
    """
    if source.names == target.names:
        return np.eye(len(source), dtype=bool)
    sources, targets = source.parts or (source,), target.parts or (target,)
    if not any(a.names == b.names for a in sources for b in targets):
        return _pivot_matrix(source) @ _pivot_matrix(target).T
    return np.block([[_part_correspondence(a, b, sources, targets) for b in targets]
                     for a in sources])


def candidates(source: LabelSpace, target: LabelSpace) -> np.ndarray:
    """
    Return the target classes among which a pixel labelled in the source space is classified.

    For a union these are the classes of the parts that share a class with the source: a network
    trained on several data sets is scored on an image only in the classes of that image.

    :param source: label space of the ground truth.
    :param target: label space of the network.
    :return: bool (C_target,).
    :raises ValueError: if one of the spaces has no relation to the pivot.
    """
    related = correspondence(source, target).any(axis=0)
    ends = np.cumsum([len(part) for part in target.parts or (target,)])[:-1]
    return np.concatenate([np.full(len(own), own.any()) for own in np.split(related, ends)])


def _pivot_matrix(space: LabelSpace) -> np.ndarray:
    if space.pivot is None:
        raise ValueError(f'label space {space.name!r} has no classes in common with {PIVOT!r}')
    pivot = space if space.name == PIVOT else LabelSpace.load(PIVOT)
    matrix = np.zeros((len(space), len(pivot)), bool)
    for index, members in enumerate(space.pivot):
        matrix[index, [pivot.index(name) for name in members]] = True
    return matrix


def _part_correspondence(
        source: LabelSpace, target: LabelSpace, sources: tuple[LabelSpace, ...],
        targets: tuple[LabelSpace, ...]) -> np.ndarray:
    """Relate two parts of unions; a space that both unions contain relates only to itself."""
    if source.names == target.names:
        return np.eye(len(source), dtype=bool)
    settled = (any(source.names == part.names for part in targets)
               or any(target.names == part.names for part in sources))
    if settled or source.pivot is None or target.pivot is None:
        return np.zeros((len(source), len(target)), bool)
    return _pivot_matrix(source) @ _pivot_matrix(target).T


def _free_color(color: tuple[int, ...], taken: set[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the colour, or if it is taken the nearest free one in steps of 32 per channel."""
    steps = sorted(
        itertools.product(range(-7, 8), repeat=3), key=lambda step: (np.square(step).sum(), step))
    for step in steps:
        shifted = tuple(value + 32 * offset for value, offset in zip(color, step))
        if shifted not in taken and 0 <= min(shifted) and max(shifted) <= 255:
            return shifted
    return color


def _color_codes(colors: np.ndarray) -> np.ndarray:
    wide = colors.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
