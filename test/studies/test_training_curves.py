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

"""Curves: read from a log as torch writes it, averaged by hand-computed numbers, drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sync_perception.studies.training_curves import (
    averaged,
    draw_comparison,
    draw_couplings,
    load_curves,
    PALETTE,
    read_curves,
    spread_apart,
    step_reached,
    write_curves,
)
from torch.utils.tensorboard import SummaryWriter


def write_log(folder, values, first=0, tag='train/task_depth', suffix=''):
    """Log values of consecutive steps, in an event file of its own."""
    with SummaryWriter(folder, filename_suffix=suffix) as log:
        for step, value in enumerate(values, first):
            log.add_scalar(tag, value, step)
            log.add_scalar('learning_rate', 1.0, step)
        log.add_image('picture', np.zeros((3, 8, 8), np.uint8), 0)


def test_a_log_is_read(tmp_path):
    write_log(tmp_path, [3.0, 2.0, 1.0 / 3])
    assert read_curves(tmp_path) == {'train/task_depth': ([0, 1, 2], [3.0, 2.0, 0.33333])}


def test_of_steps_made_twice_the_later_ones_count(tmp_path):
    """The training was killed after step 3, and went on from a checkpoint at step 2."""
    write_log(tmp_path, [3.0, 2.0, 9.0, 9.0], suffix='.killed')
    write_log(tmp_path, [1.5, 1.0, 0.5], first=2, suffix='.resumed')
    steps, values = read_curves(tmp_path)['train/task_depth']
    assert steps == [0, 1, 2, 3, 4]
    assert values == [3.0, 2.0, 1.5, 1.0, 0.5]


def test_what_is_stored_is_read_back(tmp_path):
    curves = {'train/total': ([0, 5], [1.0, 0.5]), 'val/a/miou': ([4], [0.25])}
    write_curves(tmp_path / 'curves.json', curves)
    assert load_curves(tmp_path / 'curves.json') == curves
    assert load_curves(tmp_path / 'none.json') == {}


def test_measurements_are_averaged_step_by_step():
    """Lightning logs them before the next step: at 499, 999, 1499."""
    steps, mean, deviation = averaged([
        ([499, 999, 1499], [1.0, 2.0, 4.0]), ([499, 999, 1499], [3.0, 2.0, 0.0])])
    assert steps.tolist() == [499, 999, 1499]
    assert mean.tolist() == [2, 2, 2]
    assert deviation.tolist() == pytest.approx([2 ** 0.5, 0, 8 ** 0.5])


def test_many_steps_are_averaged_in_bins():
    values = [float(step) for step in range(100)]
    steps, mean, deviation = averaged([(list(range(100)), values)], bins=4)
    assert mean.tolist() == pytest.approx([12, 37, 62, 87], abs=0.5)
    assert steps.tolist() == mean.tolist()
    assert not deviation.any()


def test_a_run_that_ends_early_ends_the_average():
    """Where there is no value of every seed, a mean would be one of other seeds."""
    steps, mean, _ = averaged([([10, 20, 30, 40], [1.0, 1, 1, 1]), ([10, 20], [3.0, 3])])
    assert steps.tolist() == [15] and mean.tolist() == [2]


def test_labels_keep_their_distance():
    moved = spread_apart({'a': 0.5, 'b': 0.5, 'c': 0.1, 'd': 0.52}, 0.1)
    order = sorted(moved, key=moved.get)
    assert order == ['c', 'a', 'b', 'd'] and moved['c'] == 0.1
    assert np.diff([moved[name] for name in order]).min() == pytest.approx(0.1)
    assert np.mean([moved[name] for name in 'abd']) == pytest.approx(np.mean([0.5, 0.5, 0.52]))


def test_the_way_that_a_curve_has_gone():
    """It falls back below the half once."""
    values = np.array([0, 6, 4, 6, 9, 9.5, 10])
    steps = np.arange(7.0) * 10
    assert step_reached((steps, values), 0.5) == 30
    assert step_reached((steps, values), 0.9) == 40
    assert step_reached((steps, -values), 0.5) == 30


def colors_of(path):
    """Return the colours of a picture, as #rrggbb."""
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return {f'#{bytes(color).hex().upper()}'
            for color in np.unique(image.reshape(-1, 3), axis=0).tolist()}


def test_each_variant_has_its_colour_and_each_tag_its_panel(tmp_path):
    run = {'train/task_depth': ([0, 1, 2], [3.0, 2.0, 1.0])}
    path = tmp_path / 'images' / 'losses.png'
    other = {'train/task_depth': ([0, 1, 2], [4.0, 2.5, 2.0]), 'val/a/miou': ([2, 4], [0.1, 0.2])}
    assert draw_comparison(
        {'plain': [run, run], 'other': [other]},
        {'train/task_depth': 'Training loss, depth', 'none': 'None', 'val/a/miou': 'mIoU'},
        'While training', path)
    assert set(PALETTE[:2]) <= colors_of(path)
    assert PALETTE[2] not in colors_of(path)
    again = path.read_bytes()
    draw_comparison(
        {'plain': [run, run], 'other': [other]},
        {'train/task_depth': 'Training loss, depth', 'none': 'None', 'val/a/miou': 'mIoU'},
        'While training', path)
    assert path.read_bytes() == again


def test_couplings_are_drawn_below_the_losses(tmp_path):
    run = {'train/task_depth': ([0, 1, 2], [3.0, 2.0, 1.0])}
    assert not draw_couplings([run], {}, 'None', tmp_path / 'none.png')
    assert not draw_comparison({'a': [run]}, {'none': 'None'}, 'None', tmp_path / 'none.png')
    assert list(tmp_path.iterdir()) == []
    coupled = {**run, **{f'coupling/depth_to_semantics/{level}': ([0, 1, 2], [0.0, 1.0, 2.0])
                         for level in range(11)}}
    path = tmp_path / 'couplings.png'
    assert draw_couplings([coupled], {'train/task_depth': 'depth'}, 'Couplings', path)
    height = cv2.imread(str(path)).shape[0]
    coupled['coupling/semantics_to_depth/0'] = [0, 1, 2], [0.0, 0.0, 0.0]
    draw_couplings([coupled], {'train/task_depth': 'depth'}, 'Couplings', path)
    assert cv2.imread(str(path)).shape[0] == pytest.approx(height * 3 / 2, abs=2)
