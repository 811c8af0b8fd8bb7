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

"""
Export of a label space to the label files of SLAM and navigation software.

The formats follow the source code of those programs; docs/consumers.md names the versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
import csv
import io
import json
from pathlib import Path
import re
from typing import Any, NamedTuple

import numpy as np
from sync_perception.files.whole_files import write_text
from sync_perception.labels import FLAGS, LabelSpace, VOID, with_flags
import yaml

COLUMNS = ('name', 'red', 'green', 'blue', 'alpha', 'id')
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
OPAQUE = 255
KIMERA_UNKNOWN = 0
KIMERA_LABELS = 21
"""Number of ids compiled into Kimera-Semantics (kTotalNumberOfLabels), with its unknown 0."""


class CostType(NamedTuple):
    """
    Costs of one kind of class in the Nav2 layer semantic_segmentation_layer.

    :param note: explanation of the costs for the user.
    :param base: cost of a tile (0 free, 254 lethal) with fewer than `samples` observations, or
        with a mean confidence of at most `confidence`.
    :param highest: cost of a tile that reaches both thresholds.
    :param confidence: threshold of the mean confidence, 0 to 255.
    :param samples: threshold of the number of observations.
    :param priority: whether one observation outweighs those of all other classes.
    """

    note: str
    base: int
    highest: int
    confidence: int
    samples: int
    priority: bool


COST_TYPES = {
    'movable': CostType(
        'moving objects: lethal at once, whatever was seen there before', 254, 254, 0, 0, True),
    'traversable': CostType('ground: free', 0, 0, 0, 0, False),
    'unseen': CostType('has no depth, so it never meets a tile', 0, 0, 0, 0, False),
    'obstacle': CostType(
        'everything else: lethal once seen twice with a mean probability above one half', 100,
        254, 127, 2, False),
}


class Written(NamedTuple):
    """Result of an export: its files, and notes about them for the user."""

    files: list[Path]
    notes: list[str]


def read_space(source: str | Path) -> LabelSpace:
    """
    Load a label space, with its ground and object flags where they are known.

    :param source: name of a shipped space, several joined by `+`, a YAML file or a model folder.
    :raises ValueError: if the source is none of these.
    """
    folder = Path(source)
    if not folder.is_dir():
        return with_flags(LabelSpace.load(source))
    file = folder / 'config.json'
    if not file.is_file():
        raise ValueError(f'{folder} is not a model folder: it has no config.json')
    config = json.loads(file.read_text(encoding='utf-8'))
    if 'label_space' not in config:
        raise ValueError(f'{file} names no label_space')
    space = LabelSpace.from_dict(config['label_space'])
    return with_flags(space.part(config.get('label_part'))[0])


def export_labels(space: LabelSpace, consumer: str, folder: Path) -> Written:
    """
    Write the label files for one program.

    :param space: label space of the ids.
    :param consumer: one of `WRITERS`.
    :param folder: output folder, created if missing. Files of the same names are replaced.
    :raises ValueError: if the program is unknown.
    """
    if consumer not in WRITERS:
        raise ValueError(
            f'{consumer!r} reads no label files, expected one of: {", ".join(WRITERS)}')
    folder.mkdir(parents=True, exist_ok=True)
    contents, notes = WRITERS[consumer](space)
    stem = re.sub(r'[^\w.+-]', '_', space.name)
    files = [folder / f'{stem}_{suffix}' for suffix in contents]
    for file, content in zip(files, contents.values()):
        write_text(file, content)
    return Written(files, notes)


def hydra_files(space: LabelSpace) -> tuple[dict[str, str], list[str]]:
    """
    Return the label space (YAML) and the colours (CSV) for Hydra.

    :return: content by file name suffix, and notes.
    """
    labels = {
        'total_semantic_labels': len(space),
        'dynamic_labels': _ids(space.dynamic),
        'invalid_labels': [*_ids(space.infinite), VOID],
        'object_labels': _ids(space.objects),
        'surface_places_labels': _ids(space.ground & ~space.infinite),
        'label_names': [{'label': index, 'name': name} for index, name in enumerate(space.names)]}
    comment = (
        f'# Label space {space.name} for Hydra.\n# dynamic_labels and invalid_labels are excluded '
        'from the map, with their depth; to map\n# parked vehicles, remove them from '
        f'dynamic_labels.\n# {VOID} is void in mono8 label images. In 16SC1 void is -1: its depth '
        'is kept, without a label.\n')
    notes = [*color_notes(space), *ground_notes(space)]
    if not space.objects.any():
        notes.append('no class is marked `object: true`: Hydra will find no objects')
    rows = _rows(space, range(len(space)))
    return {'label_space.yaml': comment + _yaml(labels), 'colors.csv': _csv(rows)}, notes


def kimera_files(space: LabelSpace) -> tuple[dict[str, str], list[str]]:
    """
    Return the label colours (CSV) and the dynamic labels (YAML) for Kimera-Semantics.

    Kimera-Semantics reserves id 0 for unknown, so its ids are those of the space plus one, and
    void becomes 0.

    :return: content by file name suffix, and notes.
    """
    shift = KIMERA_UNKNOWN + 1
    void = {'name': 'void', **dict(zip(COLUMNS[1:], (*BLACK, OPAQUE, KIMERA_UNKNOWN)))}
    rows = [void, *_rows(space, range(shift, shift + len(space)))]
    notes = color_notes(space)
    white = [name for name, color in zip(space.names, _colors(space)) if color == WHITE]
    if white:
        notes.append(
            f'{" and ".join(white)}: Kimera-Semantics takes white for its unknown label')
    if len(space) + shift > KIMERA_LABELS:
        notes.append(
            f'Kimera-Semantics is compiled for {KIMERA_LABELS} labels and would write beyond '
            f'them: build it with kTotalNumberOfLabels = {len(space) + shift}')
    dynamic = {'dynamic_semantic_labels': [index + shift for index in _ids(space.dynamic)]}
    comment = (
        f'# Label space {space.name} for Kimera-Semantics: ids as in the CSV, which are those of\n'
        '# the label image plus one. These labels are not mapped.\n')
    return {'kimera.csv': _csv(rows), 'kimera.yaml': comment + _yaml(dynamic)}, notes


def nav2_files(space: LabelSpace) -> tuple[dict[str, str], list[str]]:
    """
    Return the parameters of the Nav2 costmap layer semantic_segmentation_layer (YAML).

    :return: content by file name suffix, and notes.
    """
    kinds = {
        'movable': space.dynamic,
        'traversable': space.ground & ~space.dynamic,
        'unseen': space.infinite & ~space.dynamic & ~space.ground,
        'obstacle': ~(space.dynamic | space.ground | space.infinite)}
    kinds = {kind: members for kind, members in kinds.items() if members.any()}
    lines = [
        f'# The labels of {space.name} for the costmap layer semantic_segmentation_layer. Put',
        '# this into the parameters of Nav2, and "semantic_segmentation_layer" into the plugins',
        '# of the costmap. Every class needs a type: the layer reports one without a type as an',
        f'# error. Void ({VOID}) has none and is ignored. The layer ignores heights: an object',
        '# above the road marks the road below it.',
        'local_costmap:',
        '  local_costmap:',
        '    ros__parameters:',
        '      semantic_segmentation_layer:',
        '        plugin: semantic_segmentation_layer::SemanticSegmentationLayer',
        '        enabled: true',
        '        observation_sources: camera',
        '        camera:',
        '          segmentation_topic: /sync/semantics',
        '          # empty if the model gives no confidence',
        '          confidence_topic: /sync/semantics/confidence',
        '          pointcloud_topic: /sync/points',
        '          labels_topic: /sync/label_info',
        f'          class_types: {_flow(list(kinds))}']
    for kind, members in kinds.items():
        cost = COST_TYPES[kind]
        lines += [
            f'          # {cost.note}',
            f'          {kind}:',
            f'            classes: {_flow([space.names[index] for index in _ids(members)])}',
            f'            base_cost: {cost.base}',
            f'            max_cost: {cost.highest}',
            f'            mark_confidence: {cost.confidence}',
            f'            samples_to_max_cost: {cost.samples}',
            f'            dominant_priority: {str(cost.priority).lower()}']
    return {'semantic_layer.yaml': '\n'.join(lines) + '\n'}, ground_notes(space)


WRITERS: dict[str, Callable[[LabelSpace], tuple[dict[str, str], list[str]]]] = {
    'hydra': hydra_files, 'kimera': kimera_files, 'nav2': nav2_files}


def color_notes(space: LabelSpace) -> list[str]:
    """Return warnings about classes that share a colour with another class or with void."""
    classes: dict[tuple[int, ...], list[str]] = {}
    for name, color in zip(space.names, _colors(space)):
        classes.setdefault(color, []).append(name)
    notes = [
        f'{", ".join(names)} have the same colour {list(color)}: consumers of the colour image '
        'cannot distinguish them' for color, names in classes.items() if len(names) > 1]
    if BLACK in classes:
        notes.append(
            f'{", ".join(classes[BLACK])}: black is also the colour of void, what has no label')
    return notes


def ground_notes(space: LabelSpace) -> list[str]:
    """Return a warning if no class is known to be ground."""
    if space.ground.any():
        return []
    return [f'no class of {space.name} is marked `ground: true`: there will be no places on the '
            'ground, and nothing is traversable']


def label_table(space: LabelSpace) -> str:
    """Return a readable table of the ids, colours, names and properties of the classes."""
    marks = {key: getattr(space, attribute) for key, attribute in FLAGS.items()}
    lines = [f'{space.name}: {len(space)} classes; void is {VOID}, in 16SC1 images -1']
    for index, (name, color) in enumerate(zip(space.names, _colors(space))):
        known = ', '.join(key for key, flags in marks.items() if flags[index])
        lines.append(f'{index:3}  #{bytes(color).hex()}  {name}' + f'  ({known})' * bool(known))
    return '\n'.join(lines)


def _colors(space: LabelSpace) -> list[tuple[int, ...]]:
    return [tuple(color) for color in space.colors.tolist()]


def _ids(members: np.ndarray) -> list[int]:
    return np.flatnonzero(members).tolist()


def _rows(space: LabelSpace, ids: Iterable[int]) -> list[dict[str, Any]]:
    # neither program supports quotes in a CSV file; the names are only informative
    names = (re.sub(r'[,"\s]+', ' ', name).strip() for name in space.names)
    return [dict(zip(COLUMNS, (name, *color, OPAQUE, label)))
            for name, color, label in zip(names, _colors(space), ids)]


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(
        values, sort_keys=False, default_flow_style=None, width=96, allow_unicode=True)


def _flow(values: list[str]) -> str:
    return yaml.safe_dump(
        values, default_flow_style=True, width=10 ** 6, allow_unicode=True).strip()
