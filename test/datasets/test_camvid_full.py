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

"""CamVid's whole photographs: 31 classes by colour, their groups, SegNet's splits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sync_perception.datasets.camvid import CamVid, CamVidFull, customary_split, grouping, GROUPS
from sync_perception.labels import correspondence, LabelSpace

NAMES = ('0001TP_006690', '0001TP_008550', '0006R0_f00930', '0016E5_07959', '0016E5_00390',
         'Seq05VD_f00000')
VOID, STRAY = (0, 0, 0), (1, 2, 3)


@pytest.fixture
def root(tmp_path, write_image, random_image):
    """Write a frame of each drive, whose labels are all classes, Void and a stray colour."""
    colors = LabelSpace.load('camvid32').colors.tolist()
    row = np.uint8([*colors, VOID, STRAY])
    for name in NAMES:
        write_image(tmp_path / '701_StillsRaw_full' / f'{name}.png', random_image(4, len(row)))
        write_image(tmp_path / 'LabeledApproved_full' / f'{name}_L.png', np.tile(row, (4, 1, 1)))
    return tmp_path


def test_every_colour_is_its_class(root):
    data = CamVidFull(root)
    assert data.label_space == 'camvid32'
    assert data[0].labels[2].tolist() == [*range(31), 255, 255]


def test_eleven_classes_are_groups_of_the_others(root):
    data = CamVidFull(root, classes=11)
    fine, coarse = LabelSpace.load('camvid32'), LabelSpace.load('camvid11')
    assert data.label_space == 'camvid11'
    labels = dict(zip(fine.names, data[0].labels[0].tolist()))
    for name, group in (('Road', 'road'), ('LaneMkgsDriv', 'road'), ('Truck_Bus', 'car'),
                        ('Child', 'pedestrian'), ('MotorcycleScooter', 'bicyclist'),
                        ('TrafficLight', 'sign'), ('Wall', 'building')):
        assert labels[name] == coarse.index(group)
    assert data[0].labels[0, -2:].tolist() == [255, 255]
    members = [name for names in GROUPS.values() for name in names]
    assert sorted(members) == sorted(fine.names)
    with pytest.raises(ValueError, match='11.*32.*12'):
        CamVidFull(root, classes=12)


def test_groups_agree_with_the_pivot():
    """A class that relates to street scenes at all relates to its own group there, alone."""
    fine, coarse = LabelSpace.load('camvid32'), LabelSpace.load('camvid11')
    related, table = correspondence(fine, coarse), grouping()
    for index in np.flatnonzero(related.any(axis=1)):
        assert np.flatnonzero(related[index]).tolist() == [table[index]], fine.names[index]
    assert {fine.names[i] for i in np.flatnonzero(~related.any(axis=1))} == {
        'Animal', 'Bridge', 'CartLuggagePram', 'Misc_Text', 'OtherMoving', 'ParkingBlock',
        'RoadShoulder', 'TrafficCone', 'Tunnel'}
    driving = LabelSpace.load('driving')
    lanes = correspondence(fine, driving)[fine.index('LaneMkgsDriv')]
    assert np.flatnonzero(lanes).tolist() == [driving.index('road')]


def test_splits_are_the_customary_ones_or_those_of_a_file(root):
    assert CamVidFull(root, 'train').ids == ['0001TP_006690', '0006R0_f00930', '0016E5_00390']
    assert CamVidFull(root, 'val').ids == ['0016E5_07959']
    assert CamVidFull(root, 'test').ids == ['0001TP_008550', 'Seq05VD_f00000']
    (root / 'val.txt').write_text('Seq05VD_f00000\n0006R0_f00930\n')
    assert CamVidFull(root, 'val').ids == ['Seq05VD_f00000', '0006R0_f00930']
    (root / 'val.txt').write_text('Seq05VD_f00030\n')
    with pytest.raises(FileNotFoundError, match='val.txt.*Seq05VD_f00030'):
        CamVidFull(root, 'val')


def test_customary_splits_are_those_of_the_real_copy(data_root):
    """Each frame of SegNet's folders is in the split that the rule says."""
    for split, count in (('train', 367), ('val', 101)):
        names = [name.split('/')[1] for name in CamVid(data_root / 'camvid', split).ids]
        assert Counter(map(customary_split, names)) == {split: count}


def test_a_name_of_another_set_is_refused(root, write_image, random_image):
    write_image(root / '701_StillsRaw_full' / 'holiday.png', random_image())
    with pytest.raises(ValueError, match='holiday'):
        CamVidFull(root, 'train')


def test_the_colour_list_must_agree(root):
    space = LabelSpace.load('camvid32')
    lines = [f'{r} {g} {b}\t{name}' for name, (r, g, b) in zip(space.names, space.colors)]
    path = root / 'label_colors.txt'
    path.write_text('\n'.join([*lines, '0 0 0\t\tVoid', '']))
    assert len(CamVidFull(root)) == len(NAMES)
    path.write_text('\n'.join(lines).replace('64 128 64\tAnimal', '64 128 65\tAnimal'))
    with pytest.raises(ValueError, match='label_colors.txt.*.64 128 65'):
        CamVidFull(root)


def test_broken_labels_are_named(root, write_image):
    path = root / 'LabeledApproved_full' / f'{NAMES[0]}_L.png'
    write_image(path, np.zeros((4, 33), np.uint8))
    with pytest.raises(ValueError, match='_L.png.*uint8.*8'):
        CamVidFull(root)[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match='0001TP_006690_L.png'):
        CamVidFull(root)[0]
