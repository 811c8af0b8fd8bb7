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

"""Label files, read back and held against the label space; how consumers read them is in ros/."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from sync_perception import cli
from sync_perception.label_exports import export_labels, label_table, read_space
from sync_perception.labels import LabelSpace
from sync_perception.resources import default_model_folder
from typer.testing import CliRunner
import yaml


def space_of(*colors: list[int], **flags) -> LabelSpace:
    """Make a space of classes a, b, c... with these colours."""
    return LabelSpace.from_dict({'name': 'mine', 'classes': [
        {'name': chr(ord('a') + index), 'color': color, **flags}
        for index, color in enumerate(colors)]})


def names_of(space: LabelSpace, ids: list[int]) -> set[str]:
    """Return the names of classes."""
    return {space.names[index] for index in ids}


def test_hydras_label_space(tmp_path):
    """Written by hand: what the default model's classes are to Hydra."""
    space = LabelSpace.load('driving')
    written = export_labels(space, 'hydra', tmp_path)
    assert [file.name for file in written.files] == [
        'driving_label_space.yaml', 'driving_colors.csv']
    assert written.notes == []
    read = yaml.safe_load(written.files[0].read_text())
    assert list(read) == ['total_semantic_labels', 'dynamic_labels', 'invalid_labels',
                          'object_labels', 'surface_places_labels', 'label_names']
    assert read['total_semantic_labels'] == 20
    assert read['invalid_labels'] == [space.index('sky'), 255]
    assert names_of(space, read['surface_places_labels']) == {'road', 'sidewalk', 'terrain'}
    vehicles = {'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle'}
    assert names_of(space, read['dynamic_labels']) == vehicles | {'person', 'rider'}
    assert names_of(space, read['object_labels']) == vehicles | {
        'person', 'rider', 'pole', 'traffic light', 'traffic sign'}
    assert read['label_names'][6] == {'label': 6, 'name': 'traffic light'}
    assert written.files[1].read_text().splitlines()[:2] == [
        'name,red,green,blue,alpha,id', 'road,128,64,128,255,0']


def test_kimeras_ids_are_ours_plus_one(tmp_path):
    space = LabelSpace.load('driving')
    table_file, dynamic = export_labels(space, 'kimera', tmp_path).files
    with table_file.open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        'name': 'void', 'red': '0', 'green': '0', 'blue': '0', 'alpha': '255', 'id': '0'}
    assert [int(row['id']) for row in rows[1:]] == list(range(1, 21))
    assert [row['name'] for row in rows[1:]] == list(space.names)
    ids = yaml.safe_load(dynamic.read_text())['dynamic_semantic_labels']
    assert {rows[label]['name'] for label in ids} == {
        'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle'}


@pytest.mark.parametrize('name', ['driving', 'nyud40', 'idd7'])
def test_every_class_has_one_cost_in_nav2(name, tmp_path):
    """What is in no type the costmap layer reports as an error."""
    space = LabelSpace.load(name)
    written = export_labels(space, 'nav2', tmp_path)
    camera = yaml.safe_load(written.files[0].read_text())[
        'local_costmap']['local_costmap']['ros__parameters'][
        'semantic_segmentation_layer']['camera']
    members = {kind: camera[kind]['classes'] for kind in camera['class_types']}
    assert sorted(sum(members.values(), [])) == sorted(space.names)
    assert all(members.values())
    cost = {name: camera[kind]['max_cost'] for kind, names in members.items() for name in names}
    ground = {name for name, flag in zip(space.names, space.ground) if flag}
    assert {name for name, value in cost.items() if value == 0} == ground | (
        {'sky'} & set(space.names))
    assert set(cost.values()) == {0, 254}


@pytest.mark.parametrize('consumer', ['hydra', 'kimera'])
def test_colours_that_cannot_be_told_apart_are_named(consumer, tmp_path):
    space = space_of([1, 2, 3], [0, 0, 0], [1, 2, 3], ground=True, object=True)
    notes = export_labels(space, consumer, tmp_path).notes
    assert len(notes) == 2
    assert notes[0].startswith('a, c have the same colour [1, 2, 3]')
    assert notes[1].startswith('b: black is also the colour of void')


def test_white_is_kimeras_unknown(tmp_path):
    space = space_of([1, 2, 3], [255, 255, 255], ground=True, object=True)
    assert export_labels(space, 'hydra', tmp_path).notes == []
    note, = export_labels(space, 'kimera', tmp_path).notes
    assert note.startswith('b: Kimera-Semantics takes white')


def test_more_classes_than_kimera_is_compiled_for(tmp_path):
    assert export_labels(LabelSpace.load('driving'), 'kimera', tmp_path).notes == []
    note, = export_labels(LabelSpace.load('nyud40'), 'kimera', tmp_path).notes
    assert 'kTotalNumberOfLabels = 41' in note


def test_a_space_without_flags_says_what_will_be_missing(tmp_path):
    notes = export_labels(space_of([1, 2, 3]), 'hydra', tmp_path).notes
    assert 'ground: true' in notes[0] and 'object: true' in notes[1]
    assert 'ground: true' in export_labels(space_of([1, 2, 3]), 'nav2', tmp_path).notes[0]


def test_names_with_commas_stay_one_column(tmp_path):
    """Neither Hydra nor Kimera-Semantics understands quotes in a CSV; YAML keeps the name."""
    space = LabelSpace.from_dict({'name': 'a b', 'classes': [
        {'name': 'signboard, "sign"', 'color': [1, 2, 3]}, {'name': 'no', 'color': [4, 5, 6]}]})
    label_space, colors = export_labels(space, 'hydra', tmp_path).files
    assert colors.name == 'a_b_colors.csv'
    assert colors.read_bytes() == (
        b'name,red,green,blue,alpha,id\nsignboard sign,1,2,3,255,0\nno,4,5,6,255,1\n')
    assert [entry['name'] for entry in yaml.safe_load(label_space.read_text())['label_names']] \
        == ['signboard, "sign"', 'no']


def test_a_model_folder_gives_the_classes_that_it_answers_with(tmp_path):
    """Of a union the model's part; ground and objects come back where the model is older."""
    description = LabelSpace.load('nyud40+kitti6').to_dict()
    for entry in [*description['classes'], *description['parts'][1]['classes']]:
        entry.pop('ground', None)
        entry.pop('object', None)
    (tmp_path / 'config.json').write_text(
        json.dumps({'label_space': description, 'label_part': 'kitti6'}))
    space = read_space(tmp_path)
    assert space.to_dict() == LabelSpace.load('kitti6').to_dict()


def test_the_models_that_come_with_the_package_can_be_exported(tmp_path):
    weights = default_model_folder()
    assert read_space(weights).ground.any()
    assert export_labels(read_space(weights), 'nav2', tmp_path).notes == []


@pytest.mark.parametrize('content, message', [
    (None, 'no config.json'), ({'architecture': 'x'}, 'names no label_space')])
def test_other_folders_are_refused(content, message, tmp_path):
    if content is not None:
        (tmp_path / 'config.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_space(tmp_path)


def test_programs_without_label_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'rtabmap'.*nav2"):
        export_labels(LabelSpace.load('driving'), 'rtabmap', tmp_path)


def test_the_table_for_people():
    lines = label_table(LabelSpace.load('kitti6')).splitlines()
    assert lines[0] == 'kitti6: 6 classes; void is 255, in 16SC1 images -1'
    assert lines[6] == '  5  #400080  car  (dynamic, object)'


def test_the_verb_says_what_it_wrote(tmp_path):
    arguments = ['labels', 'export', '--space', 'nyud40', '--consumer', 'kimera', '--out']
    result = CliRunner().invoke(cli.app, [*arguments, str(tmp_path / 'new')])
    assert result.exit_code == 0
    first, second, note = result.output.splitlines()
    assert Path(first).is_file() and Path(second).is_file() and note.startswith('note: ')
    shown = CliRunner().invoke(cli.app, ['labels', 'show', 'nyud40'])
    assert '#800000  wall' in shown.output
