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

"""Mixed batches: order, shares and annotations."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.training.feeding.mixture import Mixture, MixtureData, MixtureSource


@pytest.fixture
def sources(data_root):
    return [
        MixtureSource('camvid', str(data_root / 'camvid'), share=3, scale=(0.7, 1.2)),
        MixtureSource(
            'kitti_depth', str(data_root / 'depth_selection'), share=1, focal=(360, 560))]


def test_the_sequence_is_seeded(sources):
    first, again, other = (Mixture(sources, 8, (64, 96), 2, seed) for seed in (1, 1, 2))
    for position in (0, 5):
        np.testing.assert_array_equal(first[position]['image'], again[position]['image'])
        assert first[position]['id'] == again[position]['id']
    assert [other[i]['id'] for i in range(8)] != [first[i]['id'] for i in range(8)]


def test_shares_and_rounds(sources):
    mixture = Mixture(sources, 400, (64, 96), 2)
    assert 0.65 < (mixture.source_of == 0).mean() < 0.85
    every = len(mixture.datasets[1])
    drawn = {mixture[int(index)]['id'] for index in np.flatnonzero(mixture.source_of == 1)[:every]}
    assert len(drawn) == every  # all before any twice


def test_each_sample_brings_what_it_has(sources):
    mixture = Mixture(sources, 40, (64, 96), 2)
    camvid = mixture[int(np.flatnonzero(mixture.source_of == 0)[0])]
    assert camvid['space'] == 'camvid11' and np.isnan(camvid['depth']).all()
    assert (camvid['labels'] != 255).any() and (camvid['expert_labels'] == 255).all()
    kitti = mixture[int(np.flatnonzero(mixture.source_of == 1)[0])]
    assert kitti['space'] == '' and 360 <= kitti['focal'] <= 560
    assert (kitti['labels'] == 255).all() and (kitti['expert_labels'] != 255).any()


def test_batches_collate(sources):
    data = MixtureData(sources, samples=4, batch_size=2, crop=(64, 96), workers=0)
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    assert batches[0]['image'].shape == (2, 64, 96, 3)
    assert batches[0]['depth'].shape == (2, 32, 48)
    assert len(batches[0]['space']) == 2


@pytest.fixture
def spoilt(tmp_path, write_image, random_image):
    """Write eight frames of CamVid, of which two are broken."""
    for index in range(8):
        write_image(tmp_path / 'train' / f'{index}.png', random_image(64, 96))
        write_image(tmp_path / 'trainannot' / f'{index}.png', np.full((64, 96), index, np.uint8))
    path = tmp_path / 'train' / '3.png'
    path.write_bytes(path.read_bytes()[:-50])
    (tmp_path / 'trainannot' / '5.png').unlink()
    return [MixtureSource('camvid', str(tmp_path), scale=(1, 1))]


def test_a_bad_sample_stops_the_training(spoilt):
    mixture = Mixture(spoilt, 8, (64, 96), 2)
    with pytest.raises((ValueError, FileNotFoundError), match='3.png|5.png'):
        list(map(mixture.__getitem__, range(8)))


@pytest.mark.parametrize('workers', [0, 2])
def test_bad_samples_are_skipped_counted_and_logged_once(spoilt, workers, caplog):
    data = MixtureData(spoilt, samples=24, batch_size=4, crop=(64, 96), workers=workers,
                       skip_bad=True)
    ids = [name for batch in data.train_dataloader() for name in batch['id']]
    assert len(ids) == 24
    assert set(ids) == {f'camvid:train/{index}' for index in (0, 1, 2, 4, 6, 7)}
    assert data.mixture.skipped() == {'camvid': 2}
    if not workers:  # other processes log to stderr
        logged = [record.getMessage() for record in caplog.records]
        assert sum('train/3' in line and 'truncated' in line for line in logged) == 1
        assert sum('train/5' in line and 'trainannot/5.png' in line for line in logged) == 1
    data.teardown('fit')
    assert '2 sample(s) of camvid' in caplog.records[-1].getMessage()


def test_skipping_changes_nothing_where_nothing_is_bad(sources):
    plain, skipping = (Mixture(sources, 6, (64, 96), 2, skip_bad=skip) for skip in (False, True))
    for position in range(6):
        np.testing.assert_array_equal(plain[position]['image'], skipping[position]['image'])
    assert skipping.skipped() == {}


def test_nothing_but_bad_samples_is_an_error(spoilt, tmp_path):
    for path in (tmp_path / 'trainannot').iterdir():
        path.unlink()
    with pytest.raises(ValueError, match='camvid.*8'):
        Mixture(spoilt, 1, (64, 96), 2, skip_bad=True)[0]


def test_streets_are_drawn_in_their_order_without_a_folder():
    source = MixtureSource('synthetic', scale=(1, 1), arguments={'size': [32, 48], 'length': 12})
    mixture = Mixture([source], 4, (32, 48), 2)
    assert [mixture[i]['id'] for i in range(4)] == [
        f'synthetic:{name}' for name in mixture.datasets[0].ids[:4]]
    assert mixture[0]['space'] == 'driving' and np.isfinite(mixture[0]['depth']).any()


def test_bad_sources_are_refused(data_root):
    with pytest.raises(ValueError, match='either scale or focal'):
        MixtureSource('camvid', 'x', share=1)
    with pytest.raises(ValueError, match="'camvit'"):
        MixtureSource('camvit', 'x', share=1, scale=(1, 1)).load()
    mixture = Mixture(
        [MixtureSource('camvid', str(data_root / 'camvid'), share=1, focal=(300, 400))],
        1, (64, 96), 2)
    with pytest.raises(ValueError, match='no intrinsics'):
        mixture[0]


def test_later_epochs_go_on_with_the_next_samples(sources):
    """The turns of a source count on: no sample comes twice before all of them came once."""
    mixture = Mixture(sources, 6, (64, 96), 2, seed=1)
    epochs = [[mixture[position]['id'] for position in range(6 * e, 6 * e + 6)] for e in (0, 1)]
    kinds = [[name.split(':')[0] for name in ids] for ids in epochs]
    assert kinds[0] == kinds[1]
    assert len(set(epochs[0] + epochs[1])) == 12
    first, again = mixture[0]['image'], Mixture(sources, 6, (64, 96), 2, seed=1)[0]['image']
    np.testing.assert_array_equal(first, again)
