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


"""Pictures of mixed samples, while a semi-supervised training goes on."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image
from small_batches import write_recipe, write_streets
from sync_perception.labels import LabelSpace
from sync_perception.training.loop.prediction_pictures import mixed_panel
from sync_perception.training.train import train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
import torch


def test_a_mixed_sample_is_drawn_with_what_the_student_saw():
    """True labels in their own space and guesses in the network's, in the network's colours."""
    images = torch.zeros(2, 4, 8, 3, dtype=torch.uint8)
    images[0], images[1] = 50, 100
    mixed = {
        'seen': torch.full((2, 4, 8, 3), 74.6), 'nearness': torch.zeros(2, 2, 4),
        'labels': torch.full((2, 2, 4), 255, dtype=torch.uint8),
        'guesses': torch.full((2, 2, 4), 255, dtype=torch.uint8),
        'weight': torch.ones(2, 2, 4), 'space': torch.zeros(2, 2, 4, dtype=torch.uint8),
        'partner': torch.tensor([1, 0]), 'spaces': ['camvid11', 'driving']}
    camvid, driving = LabelSpace.load('camvid11'), LabelSpace.load('driving')
    mixed['labels'][0, 0, :2] = camvid.index('car')
    mixed['labels'][0, 1, 0], mixed['space'][0, 1, 0] = driving.index('bus'), 1
    mixed['guesses'][0, :, 2] = driving.index('train')
    mixed['nearness'][0, 0, 0], mixed['weight'][0, :, 2] = 1, 0.5
    picture = mixed_panel(images, mixed, 0, driving)
    assert picture.shape == (8, 24, 3) and picture.dtype == np.uint8
    assert [picture[0, column, 0] for column in (0, 8, 16)] == [50, 100, 75]
    near, far = picture[4, 0].astype(int), picture[7, 7].astype(int)
    assert near[0] > near[2] and far[2] > far[0]  # red and blue
    labels = picture[4:, 8:16][::2, ::2]
    colors = dict(zip(driving.names, driving.colors))
    for place, name in (((0, 0), 'car'), ((0, 1), 'car'), ((1, 0), 'bus'), ((0, 2), 'train'),
                        ((1, 2), 'train')):
        assert tuple(labels[place]) == tuple(colors[name]), name
    assert not labels[:, 3].any()  # neither true nor guessed
    assert picture[5, 20].tolist() == [128] * 3 and picture[5, 16].tolist() == [255] * 3


def test_a_semi_supervised_training_shows_what_it_mixed(tmp_path):
    """In bf16, as the recipes train."""
    recipe = write_recipe(
        tmp_path / 'recipe.yaml', write_streets(tmp_path / 'streets'), data={'samples': 4},
        model={'objectives': {'semi_supervised': {}}},
        trainer={'precision': 'bf16-mixed', 'callbacks': [
            {'class_path': 'sync_perception.training.loop.prediction_pictures.Pictures',
             'init_args': {'samples': 2, 'every': 2}}]})
    train(['--config', str(recipe)])
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Images('pictures/mixed/1')] == [2]
    mixed, plain = (np.asarray(Image.open(BytesIO(
        events.Images(f'pictures/{tag}')[0].encoded_image_string)))
        for tag in ('mixed/0', 'train/0'))
    assert mixed.shape == (128, 288, 3)
    np.testing.assert_array_equal(mixed[:64, :96], plain[:64, :96])
    assert (mixed[64:, 192:] == 255).all()  # true labels count wholly
