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


"""Photographs: read whole and in RGB, or refused by name."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.images import read_image


def photograph() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def test_png_comes_back_exactly_in_rgb(tmp_path):
    image = photograph()
    cv2.imwrite(str(tmp_path / 'a.png'), image[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), image)


def test_grey_becomes_three_channels(tmp_path):
    grey = photograph()[..., 0]
    cv2.imwrite(str(tmp_path / 'a.png'), grey)
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), np.dstack([grey] * 3))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.png'):
        read_image(tmp_path / 'nowhere.png')


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_truncated_file_is_refused(tmp_path, suffix):
    path = tmp_path / f'cut{suffix}'
    cv2.imwrite(str(path), photograph())
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match=f'cut{suffix}.*truncated'):
        read_image(path)


@pytest.mark.parametrize('content', [b'', b'not an image'])
def test_empty_and_foreign_files_are_refused(tmp_path, content):
    (tmp_path / 'odd.png').write_bytes(content)
    with pytest.raises(ValueError, match=rf'odd.png \({len(content)} bytes\)'):
        read_image(tmp_path / 'odd.png')
