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

"""The one preprocessing against hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import ModelConfig
from sync_perception.models.network_input import (
    input_size_of,
    network_size,
    normalise,
    resize_image,
)
import torch


@pytest.mark.parametrize('size, expected', [
    ((375, 1242), (224, 736)),
    ((360, 480), (352, 480)),
    ((1080, 1920), (320, 544)),
    ((60, 80), (128, 160)),  # not enlarged beyond twice its size
])
def test_network_size_keeps_shape_and_area(size, expected):
    assert network_size(size, 170_000) == expected


def test_a_model_with_a_size_of_its_own_sees_every_image_at_it():
    space = LabelSpace.load('driving').to_dict()
    config = ModelConfig('of this test', {}, space, input_pixels=170_000)
    assert input_size_of(config, (360, 480)) == (352, 480)
    config.input_size = [192, 640]
    assert input_size_of(config, (360, 480)) == (192, 640)


def test_resize_averages_when_it_shrinks():
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, ::2] = 200
    assert (resize_image(image, (2, 4)) == 100).all()


def test_resize_to_the_same_size_is_free():
    image = np.zeros((4, 8, 3), np.uint8)
    assert resize_image(image, (4, 8)) is image


def test_normalise_by_channel():
    images = torch.tensor([0, 127, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    result = normalise(images, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2))
    expected = [(0 - 0.5) / 0.5, (127 / 255 - 0.4) / 0.25, (1 - 0.3) / 0.2]
    assert result.shape == (1, 3, 1, 1)
    assert result.flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_normalise_keeps_channels_last():
    result = normalise(torch.zeros(2, 8, 8, 3, dtype=torch.uint8), (0, 0, 0), (1, 1, 1))
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('size', [
    (1, 65536), (65536, 1), (1, 4096), (4096, 2), (3, 7000), (20, 640), (8, 8), (1, 1),
    (4320, 7680)])
@pytest.mark.parametrize('input_pixels', [6144, 170_000])
def test_no_shape_makes_the_network_larger(size, input_pixels):
    """Sides are rounded to 32, so that a small network may become twice as large, no more."""
    height, width = network_size(size, input_pixels)
    assert height % 32 == width % 32 == 0 and min(height, width) >= 32
    assert height * width <= 2 * input_pixels


@pytest.mark.parametrize(('multiple', 'size', 'seen'), [
    (32, (375, 1242), (384, 1248)), (96, (375, 1242), (384, 1248)), (96, (720, 1280), (480, 864))])
def test_the_sides_are_multiples_of_what_the_config_says(multiple, size, seen):
    """At its own size an image of KITTI, 1242x375, is 13 x 96 and 4 x 96 pixels."""
    config = ModelConfig('of this test', {}, LabelSpace.load('driving').to_dict(),
                         input_pixels=466_000, input_multiple=multiple)
    assert input_size_of(config, size) == seen
