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


"""The reading helpers: what they return, and what they refuse by name."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.datasets.files import (
    identity_table,
    read_color_labels,
    read_confidence,
    read_expert_labels,
    read_intrinsics,
    read_labels,
    read_list,
    shifted,
)
from sync_perception.images.reading import images_by_stem
from sync_perception.images.single_channel import read_depth, read_gray
from sync_perception.labels import LabelSpace

SIZE = (3, 4)


def test_images_are_found_whatever_the_extension(tmp_path):
    for name in ('b_rgb.png', 'a_rgb.JPG', 'c_rgb.txt', 'd_depth.png'):
        (tmp_path / name).touch()
    assert list(images_by_stem(tmp_path, '_rgb')) == ['a', 'b']
    assert images_by_stem(tmp_path)['d_depth'] == tmp_path / 'd_depth.png'
    assert images_by_stem(tmp_path / 'absent') == {}


def test_depth_is_in_metres_with_nan_and_inf(tmp_path, write_image):
    stored = np.zeros(SIZE, np.uint16)
    stored[0] = [0, 1, 256, 65535]
    write_image(tmp_path / 'd.png', stored)
    depth = read_depth(tmp_path / 'd.png', SIZE, 256)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth[0], np.float32([np.nan, 1 / 256, 1, 65535 / 256]))
    assert read_depth(tmp_path / 'd.png', SIZE, 100, infinite=65535)[0, 3] == np.inf


def test_labels_go_through_the_table(tmp_path, write_image):
    write_image(tmp_path / 'l.png', np.uint8([[0, 1, 11, 255]] * 3))
    labels = read_labels(tmp_path / 'l.png', SIZE, identity_table(2, void=(11,)))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels[0], [0, 1, 255, 255])


def test_labels_of_another_space_are_refused(tmp_path, write_image):
    write_image(tmp_path / 'l.png', np.uint8([[0, 1, 11, 30]] * 3))
    with pytest.raises(ValueError, match=r'l.png.*\[11, 30\]'):
        read_labels(tmp_path / 'l.png', SIZE, identity_table(7))
    with pytest.raises(ValueError, match=r'\[30\]'):
        read_expert_labels(tmp_path / 'l.png', SIZE)


def test_confidence_is_a_probability(tmp_path, write_image):
    write_image(tmp_path / 'c.png', np.uint8([[0, 51, 102, 255]] * 3))
    confidence = read_confidence(tmp_path / 'c.png', SIZE)
    assert confidence.dtype == np.float32
    np.testing.assert_allclose(confidence[0], [0, 0.2, 0.4, 1])


def test_colours_become_ids(tmp_path, write_image):
    space = LabelSpace.load('kitti6')
    row = np.uint8([*space.colors[:3], (1, 2, 3)])
    write_image(tmp_path / 'l.png', np.tile(row, (3, 1, 1)))
    labels = read_color_labels(tmp_path / 'l.png', SIZE, space)
    np.testing.assert_array_equal(labels[0], [0, 1, 2, 255])
    write_image(tmp_path / 'l.png', np.full((*SIZE, 3), 7, np.uint8))
    with pytest.raises(ValueError, match='l.png.*kitti6'):
        read_color_labels(tmp_path / 'l.png', SIZE, space)


def test_numbers_in_names_keep_their_zeros():
    assert shifted('000140', -20) == '000120'
    assert shifted('0000000009', 1) == '0000000010'
    assert shifted('00000', -1) == ''
    assert shifted('99', 1) == '100'


def test_lists_have_no_empty_lines(tmp_path):
    (tmp_path / 'train.txt').write_text(' a b \n\nc\r\n')
    assert read_list(tmp_path / 'train.txt', 'train', 'names') == ['a b', 'c']
    with pytest.raises(FileNotFoundError, match=r"val.txt.*'val'"):
        read_list(tmp_path / 'val.txt', 'val', 'names')


def test_eight_bits_where_sixteen_are_due_are_refused(tmp_path, write_image):
    write_image(tmp_path / 'd.png', np.zeros(SIZE, np.uint8))
    with pytest.raises(ValueError, match='d.png.*1.*8.*16'):
        read_depth(tmp_path / 'd.png', SIZE, 256)


def test_sixteen_bits_where_eight_are_due_are_refused(tmp_path, write_image):
    write_image(tmp_path / 'l.png', np.zeros(SIZE, np.uint16))
    with pytest.raises(ValueError, match='16 bits.*8'):
        read_labels(tmp_path / 'l.png', SIZE, identity_table(7))


def test_colour_where_ids_are_due_is_refused(tmp_path, write_image, random_image):
    write_image(tmp_path / 'l.png', random_image(*SIZE))
    with pytest.raises(ValueError, match='3 channel.* 8 bits'):
        read_labels(tmp_path / 'l.png', SIZE, identity_table(7))


def test_another_size_is_refused(tmp_path, write_image):
    write_image(tmp_path / 'l.png', np.zeros((5, 6), np.uint8))
    with pytest.raises(ValueError, match='l.png.*6x5.*4x3'):
        read_gray(tmp_path / 'l.png', np.uint8, SIZE, 'label ids')


def test_truncated_png_is_refused(tmp_path, write_image):
    path = tmp_path / 'd.png'
    write_image(path, np.random.default_rng(0).integers(0, 65536, SIZE, dtype=np.uint16))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match='d.png.*truncated'):
        read_depth(path, SIZE, 256)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='absent.png'):
        read_depth(tmp_path / 'absent.png', SIZE, 256)


def test_intrinsics_are_read_row_by_row(tmp_path):
    (tmp_path / 'k.txt').write_text('700.0 0 600 0 701 180 0 0 1\n')
    np.testing.assert_array_equal(
        read_intrinsics(tmp_path / 'k.txt'), [[700, 0, 600], [0, 701, 180], [0, 0, 1]])


@pytest.mark.parametrize(('text', 'message'), [
    ('', 'holds 0 words, expected nine numbers'),
    ('1 2 3 4', 'holds 4 words'),
    ('a b c d e f g h i', 'holds 9 words, expected nine numbers'),
    ('0 0 600 0 701 180 0 0 1', 'positive focal lengths'),
    ('nan 0 600 0 701 180 0 0 1', 'positive focal lengths'),
    ('700 0 600 0 701 180 0 0 2', 'last row'),
])
def test_malformed_intrinsics_are_refused(tmp_path, text, message):
    (tmp_path / 'k.txt').write_text(text)
    with pytest.raises(ValueError, match=f'k.txt {message}|k.txt.*{message}'):
        read_intrinsics(tmp_path / 'k.txt')


def test_missing_intrinsics_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='k.txt'):
        read_intrinsics(tmp_path / 'k.txt')
