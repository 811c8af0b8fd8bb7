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

"""Label spaces against hand-written facts and a real recording."""

from __future__ import annotations

import json

import cv2
from mutations import FILES, mutations
import numpy as np
import pytest
from sync_perception.labels import (
    candidates,
    correspondence,
    LabelSpace,
    union,
    with_flags,
)
from sync_perception.resources import config_folder
import yaml

SIZES = {
    'driving': 20, 'cityscapes19': 19, 'camvid11': 11, 'camvid32': 31, 'idd7': 7, 'vkitti2': 14,
    'nyud40': 40, 'kitti6': 6}


@pytest.mark.parametrize('name, size', SIZES.items())
def test_shipped_space_survives_its_description(name, size):
    space = LabelSpace.load(name)
    assert len(space) == size
    assert len(np.unique(space.colors, axis=0)) == size
    assert LabelSpace.from_dict(space.to_dict()).to_dict() == space.to_dict()


def test_cityscapes_ids_are_the_train_ids():
    space = LabelSpace.load('cityscapes19')
    facts = {'road': 0, 'traffic light': 6, 'sky': 10, 'car': 13, 'bicycle': 18}
    assert {name: space.index(name) for name in facts} == facts
    assert [space.names[i] for i in np.flatnonzero(space.infinite)] == ['sky']
    assert space.dynamic.sum() == 8


def test_fine_classes_correspond_to_their_coarse_class():
    driving, camvid = LabelSpace.load('driving'), LabelSpace.load('camvid11')
    matches = correspondence(driving, camvid)
    for fine, coarse in (('truck', 'car'), ('traffic light', 'sign'), ('road', 'road')):
        assert np.flatnonzero(matches[driving.index(fine)]).tolist() == [camvid.index(coarse)]
    cars = matches[:, camvid.index('car')]
    assert [driving.names[i] for i in np.flatnonzero(cars)] == ['car', 'truck', 'bus', 'train']


def test_coarse_classes_correspond_to_all_their_members():
    idd, driving = LabelSpace.load('idd7'), LabelSpace.load('driving')
    matches = correspondence(idd, driving)
    members = {driving.names[i] for i in np.flatnonzero(matches[idd.index('far objects')])}
    assert members == {'building', 'vegetation'}
    assert (matches.sum(axis=0) == 1).all()  # the coarse classes split the street completely
    assert (correspondence(driving, idd) == matches.T).all()


def test_two_spaces_meet_through_the_pivot():
    vkitti, camvid = LabelSpace.load('vkitti2'), LabelSpace.load('camvid11')
    matches = correspondence(vkitti, camvid)
    assert matches[vkitti.index('Tree'), camvid.index('tree')]
    assert matches[vkitti.index('Terrain')].sum() == 2  # tree (grass) and pavement
    assert not matches[vkitti.index('Misc')].any()


def test_indoor_space_has_nothing_in_common_with_streets():
    with pytest.raises(ValueError, match='nyud40'):
        correspondence(LabelSpace.load('nyud40'), LabelSpace.load('driving'))


def test_colours_and_ids_translate_both_ways():
    space = LabelSpace.load('vkitti2')
    labels = np.random.default_rng(0).integers(0, len(space), (20, 30)).astype(np.uint8)
    labels[0, 0] = 255
    picture = space.colorize(labels)
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[3, 4].tolist() == space.colors[labels[3, 4]].tolist()
    assert (space.decode_colors(picture) == labels).all()


def test_kitti6_colours_are_those_of_a_real_annotation(data_root):
    path = data_root / 'kitti_semantics' / 'six_classes' / 'segm_gt_000099.png'
    picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    labels = LabelSpace.load('kitti6').decode_colors(picture)
    black = (picture == 0).all(axis=-1)
    assert ((labels == 255) == black).all()
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 5, 255}


def without_flags(name: str) -> dict:
    """Describe a shipped space as models were saved before ground and object were known."""
    description = LabelSpace.load(name).to_dict()
    for entry in [*description['classes'],
                  *(entry for part in description.get('parts', ()) for entry in part['classes'])]:
        entry.pop('ground', None)
        entry.pop('object', None)
    return description


def named(space: LabelSpace, flags: np.ndarray) -> set[str]:
    """Return the names of the classes that are marked."""
    return {space.names[index] for index in np.flatnonzero(flags)}


def test_streets_have_ground_and_objects():
    space = LabelSpace.load('driving')
    assert named(space, space.ground) == {'road', 'sidewalk', 'terrain'}
    assert named(space, ~space.ground & ~space.objects) == {
        'building', 'wall', 'fence', 'vegetation', 'sky', 'guard rail'}
    assert not (space.ground & space.objects).any()


@pytest.mark.parametrize('name', [*SIZES, 'nyud40+kitti6'])
def test_a_space_saved_before_the_flags_gets_them_back(name):
    space = LabelSpace.load(name)
    old = LabelSpace.from_dict(without_flags(name))
    assert not old.ground.any() and not old.objects.any()
    again = with_flags(old)
    assert again.to_dict() == space.to_dict()
    assert with_flags(space) is space


@pytest.mark.parametrize('name', sorted(SIZES.keys() - {'driving', 'nyud40'}))
def test_the_flags_of_street_spaces_agree_with_the_pivot(name):
    """What was written down for each space is what its members in the pivot say."""
    space = LabelSpace.load(name)
    derived = with_flags(LabelSpace.from_dict({**without_flags(name), 'name': 'mine'}))
    comprised = np.array([bool(members) for members in space.pivot])
    assert (derived.ground == space.ground & comprised).all()
    assert (derived.objects == space.objects & comprised).all()


def test_a_space_that_nobody_knows_stays_as_it_is():
    space = LabelSpace.from_dict({**without_flags('nyud40'), 'name': 'rooms'})
    assert with_flags(space) is space


def test_a_union_has_the_classes_of_its_parts_one_after_another():
    """The 46 classes of a head over NYU Depth v2 and KITTI, back from config.json."""
    joint = LabelSpace.load('nyud40+kitti6')
    nyud, kitti = LabelSpace.load('nyud40'), LabelSpace.load('kitti6')
    assert joint.name == 'nyud40+kitti6'
    assert joint.names == nyud.names + kitti.names
    assert len(np.unique(joint.colors, axis=0)) == 46  # wall and building share one at first
    assert (joint.colors[:40] == nyud.colors).all()
    assert np.abs(joint.colors[40:].astype(int) - kitti.colors).max() == 32
    assert np.flatnonzero(joint.infinite).tolist() == [40]
    assert np.flatnonzero(joint.dynamic).tolist() == [30, 45]
    again = LabelSpace.from_dict(json.loads(json.dumps(joint.to_dict())))
    assert again.to_dict() == joint.to_dict()
    assert [part.name for part in again.parts] == ['nyud40', 'kitti6']
    assert again.parts[1].colors.tolist() == kitti.colors.tolist()


def test_names_that_clash_get_their_space_in_front():
    joint = LabelSpace.load('cityscapes19+kitti6')
    assert joint.names[:2] == ('cityscapes19/road', 'cityscapes19/sidewalk')
    assert 'fence' in joint.names
    assert joint.names[-1] == 'kitti6/car'
    assert len(set(joint.names)) == 25


def test_a_part_corresponds_to_itself_alone():
    kitti, joint = LabelSpace.load('kitti6'), LabelSpace.load('cityscapes19+kitti6')
    matches = correspondence(kitti, joint)
    assert (matches[:, 19:] == np.eye(6)).all()
    assert not matches[:, :19].any()  # though cityscapes19 also has roads and cars
    assert (correspondence(joint, kitti) == matches.T).all()


def test_other_spaces_meet_a_union_through_the_pivot():
    vkitti, joint = LabelSpace.load('vkitti2'), LabelSpace.load('nyud40+kitti6')
    matches = correspondence(vkitti, joint)
    assert not matches[:, :40].any()
    assert (matches[:, 40:] == correspondence(vkitti, LabelSpace.load('kitti6'))).all()
    wider = correspondence(joint, LabelSpace.load('nyud40+vkitti2'))
    assert (wider[:40, :40] == np.eye(40)).all()
    assert not wider[:40, 40:].any() and not wider[40:, :40].any()
    assert (wider[40:, 40:] == matches[:, 40:].T).all()


def test_a_label_is_decided_among_the_classes_of_its_own_part():
    joint = LabelSpace.load('nyud40+kitti6')
    street, rooms = [False] * 40 + [True] * 6, [True] * 40 + [False] * 6
    assert candidates(LabelSpace.load('kitti6'), joint).tolist() == street
    assert candidates(LabelSpace.load('cityscapes19'), joint).tolist() == street
    assert candidates(LabelSpace.load('nyud40'), joint).tolist() == rooms
    assert candidates(joint, joint).all()
    assert candidates(LabelSpace.load('idd7'), LabelSpace.load('driving')).all()


def test_unions_of_files_and_of_unions(tmp_path):
    path = tmp_path / 'c++.yaml'
    path.write_text('name: tools\nclasses:\n- {name: hammer, color: [1, 2, 3]}\n')
    assert LabelSpace.load(path).name == 'tools'
    path.rename(tmp_path / 'tools.yaml')
    joint = LabelSpace.load(f'kitti6+{tmp_path}/tools.yaml+nyud40')
    assert joint.name == 'kitti6+tools+nyud40'
    assert joint.pivot[5] == ('car', 'truck', 'bus') and joint.pivot[6] == ()
    assert [part.name for part in union(joint, LabelSpace.load('idd7')).parts] == [
        'kitti6', 'tools', 'nyud40', 'idd7']
    assert LabelSpace.load(f'nyud40+{tmp_path}/tools.yaml').pivot is None


@pytest.mark.parametrize('name, message', [
    ('kitti6+kitti6', 'parts of a union must differ'),
    ('kitti6+kity', "no label space 'kity'.*nyud40"),
    ('kitti6+', "no label space ''"),
])
def test_bad_unions_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        LabelSpace.load(name)


def test_a_union_without_some_of_its_classes_is_refused():
    description = LabelSpace.load('nyud40+kitti6').to_dict()
    del description['classes'][3]
    with pytest.raises(ValueError, match=r'45.*\[40, 6\]'):
        LabelSpace.from_dict(description)


@pytest.mark.parametrize('description, message', [
    ({'name': 'x'}, 'keys name and classes'),
    ({'name': 'x', 'classes': []}, '1 to 254 classes'),
    ({'name': 'x', 'classes': [{'name': 'a', 'color': [0, 0, 1], 'colour': 1}]}, 'colour'),
    ({'name': 'x', 'classes': [{'name': 'a'}]}, 'expected name and color'),
    ({'name': 'x', 'classes': [{'name': 'a', 'color': [0, 0, 1]}] * 2}, 'unique'),
])
def test_bad_descriptions_are_refused(description, message):
    with pytest.raises(ValueError, match=message):
        LabelSpace.from_dict(description)


def test_unknown_names_are_answered_with_the_known():
    with pytest.raises(ValueError, match='camvid11.*driving'):
        LabelSpace.load('citiscapes')
    with pytest.raises(ValueError, match="no class 'tram'"):
        LabelSpace.load('driving').index('tram')


def test_every_malformed_label_file_is_refused_in_one_line(tmp_path):
    """No TypeError and the like: the line names the file and the key."""
    right = yaml.safe_load((config_folder() / 'labels' / 'kitti6.yaml').read_text())
    path = tmp_path / 'space.yaml'
    refused = 0
    for name, description in mutations(right):
        path.write_text(yaml.safe_dump(description))
        try:
            LabelSpace.load(path)
        except ValueError as error:
            message, refused = str(error), refused + 1
            key = name.partition(':')[0].split('.')[0]
            assert str(path) in message and '\n' not in message, (name, message)
            assert key == 'all' or key in message, (name, message)
    assert refused > 100


@pytest.mark.parametrize('name', sorted(set(FILES) - {'UTF-16'}))
def test_a_file_that_is_no_label_space_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / 'space.yaml'
    path.write_bytes(FILES[name])
    with pytest.raises(ValueError, match='space.yaml') as refused:
        LabelSpace.load(path)
    assert '\n' not in str(refused.value)
