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

"""Pictures: colours, sizes, captions and legends."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.images.colors import colorize_depth
from sync_perception.labels import LabelSpace
from sync_perception.runtime.pictures.visualize import (
    cloud_view,
    legend,
    overlay,
    prediction_panel,
    shaded_labels,
)
from sync_perception.types import Frame, Prediction

SPACE = LabelSpace.load('driving')
SIZE = (60, 160)


def scene() -> tuple[Frame, Prediction]:
    """Make a frame that looks at a wall 5 m away, half building and half vegetation."""
    K = np.array([[100.0, 0, 79.5], [0, 100.0, 29.5], [0, 0, 1]])
    labels = np.full(SIZE, SPACE.index('building'), np.uint8)
    labels[:, 80:] = SPACE.index('vegetation')
    image = np.full((*SIZE, 3), 128, np.uint8)
    return Frame(image, K), Prediction(depth=np.full(SIZE, 5.0, np.float32), labels=labels)


def test_overlay_blends_and_leaves_void_alone():
    image = np.full((2, 3, 3), 100, np.uint8)
    labels = np.array([[0, 0, 255], [10, 10, 255]], np.uint8)
    blended = overlay(image, labels, SPACE)
    np.testing.assert_array_equal(blended[:, 2], 100)
    np.testing.assert_allclose(blended[0, 0], (SPACE.colors[0] + 100.0) / 2, atol=1)


def test_overlay_refuses_labels_of_another_size():
    with pytest.raises(ValueError, match='3, 3'):
        overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((3, 3), np.uint8), SPACE)


def test_panel_holds_the_four_pictures():
    frame, prediction = scene()
    picture = prediction_panel(frame, prediction, SPACE)
    height, width = SIZE
    assert picture.dtype == np.uint8 and picture.shape[1] == 2 * width + 2
    corner = (slice(height // 2, height), slice(0, width))
    np.testing.assert_array_equal(picture[corner], frame.image[corner[0]])
    right_of_it = (slice(height // 2, height // 2 + 5), slice(-width, -width // 2))
    expected = colorize_depth(prediction.depth)
    np.testing.assert_array_equal(
        picture[right_of_it], expected[right_of_it[0], :width // 2])
    bottom = (slice(height + 2 + height // 2, 2 * height + 2), slice(0, width))
    np.testing.assert_array_equal(
        picture[bottom], SPACE.colorize(prediction.labels)[height // 2:])


@pytest.mark.parametrize('present', [(), ('depth',), ('labels',)])
def test_panel_does_without_maps(present):
    frame, prediction = scene()
    partial = Prediction(**{name: getattr(prediction, name) for name in present})
    assert prediction_panel(frame, partial, SPACE).shape[0] >= 2 * SIZE[0]


def test_legend_shows_the_classes_that_are_there():
    _, prediction = scene()
    colors = {tuple(color) for color in legend(prediction.labels, SPACE, 320).reshape(-1, 3)}
    shown = [name for name, color in zip(SPACE.names, SPACE.colors) if tuple(color) in colors]
    assert {'building', 'vegetation'} <= set(shown)
    assert not {'road', 'car', 'sky', 'person'} & set(shown)


def test_legend_breaks_into_rows():
    labels = np.repeat(np.arange(len(SPACE), dtype=np.uint8), 10)[None]
    narrow, wide = legend(labels, SPACE, 300), legend(labels, SPACE, 3000)
    assert narrow.shape[0] > wide.shape[0] and narrow.shape[1] == 300


def test_shaded_labels_keep_the_camera_s_light():
    labels = np.zeros((1, 2), np.uint8)
    dark, bright = shaded_labels(np.array([[[0] * 3, [255] * 3]], np.uint8), labels, SPACE)[0]
    assert (bright >= dark).all() and bright.sum() > 1.5 * dark.sum()


def test_cloud_view_shows_both_halves_of_the_wall():
    frame, prediction = scene()
    picture = cloud_view(frame, prediction, SPACE, size=(120, 320)).astype(int)
    colors = shaded_labels(frame.image, prediction.labels, SPACE)[0]
    for column, color in ((150, colors[0]), (170, colors[-1])):
        assert (np.abs(picture[:, column] - color).sum(axis=1) < 6).any()
