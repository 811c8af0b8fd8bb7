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

"""LabelledCrops of depth and labels: what a batch may hold, and that crops stay aligned."""

from __future__ import annotations

from collections import Counter
import math

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.training.feeding.contrastive_pairs import (
    DistinctFrames,
    frame_of,
    LabelledCrops,
    PairData,
)
from sync_perception.training.feeding.mixture import MixtureSource
import torch

VARIANTS = ('clone', 'fog', 'rain')
SIZE = (20, 30)
FRAMES = 6
COLORS = LabelSpace.load('vkitti2').colors


@pytest.fixture
def write(tmp_path, write_image):
    """
    Return a function that writes streets in all variants and both cameras.

    Each pixel's depth in metres is its label's id plus one, so that a pair can be checked.
    """
    def write_streets(scenes=('Scene01', 'Scene20'), root='vkitti2', frames=FRAMES):
        rng = np.random.default_rng(0)
        rows = [f'{frame} {camera} 25 25 14.5 9.5' for frame in range(frames) for camera in (0, 1)]
        for scene in scenes:
            for variant in VARIANTS:
                for row in rows:
                    frame, camera = row.split()[:2]
                    labels = rng.integers(0, len(COLORS), SIZE)
                    maps = {('rgb', 'rgb', 'jpg'): np.zeros((*SIZE, 3), np.uint8),
                            ('depth', 'depth', 'png'): np.uint16(100 * (labels + 1)),
                            ('classSegmentation', 'classgt', 'png'): COLORS[labels]}
                    for (kind, start, ending), image in maps.items():
                        write_image(
                            tmp_path / root / scene / variant / 'frames' / kind
                            / f'Camera_{camera}' / f'{start}_{int(frame):05}.{ending}', image)
                path = tmp_path / root / scene / variant / 'intrinsic.txt'
                path.write_text('\n'.join(['frame cameraID fx fy cx cy', *rows]))
        return tmp_path / root
    return write_streets


def source(root, share: float = 1.0, **settings) -> MixtureSource:
    """Describe a folder of streets at its own size."""
    return MixtureSource(
        'vkitti2', str(root), share, **{'scale': (1, 1), 'split': 'all', **settings})


@pytest.mark.parametrize('sample_id, frame', [
    ('Scene01/clone/Camera_0/00003', 'Scene01/00003'),
    ('Scene01/15-deg-left/Camera_1/00003', 'Scene01/00003'),
    ('Scene02/clone/Camera_0/00003', 'Scene02/00003'),
    ('aachen/aachen_000000_000019', 'aachen/aachen_000000_000019'),
    ('0001TP_006690', '0001TP_006690'),
])
def test_variants_and_cameras_show_one_frame(sample_id, frame):
    assert frame_of(sample_id) == frame


def test_no_batch_has_two_variants_of_a_frame(write):
    """In 72 samples of 12 frames, at the largest batch that is possible."""
    pairs = LabelledCrops([source(write())])
    assert len(pairs) == 2 * len(VARIANTS) * 2 * FRAMES
    for batch_size in (5, 12):
        batches = list(DistinctFrames(pairs, batch_size, batches=30))
        assert len(batches) == 30
        for batch in batches:
            ids = [pairs.places[index][1] for index in batch]
            assert len({(i.split('/')[0], i.split('/')[3]) for i in ids}) == len(ids) == batch_size
        seen = Counter(index for batch in batches for index in batch)
        assert len(seen) == len(pairs)


def test_a_round_draws_every_sample_once(write):
    """Where frames cannot collide, sampling is without replacement."""
    pairs = LabelledCrops([source(write(frames=1, scenes=[f'Scene{n:02}' for n in range(1, 9)]))])
    pairs.frames = list(map(str, range(len(pairs))))
    drawn = sum(DistinctFrames(pairs, 8, batches=len(pairs) // 8), [])
    assert sorted(drawn) == list(range(len(pairs)))


def test_orders_differ_unless_repeated(write):
    pairs = LabelledCrops([source(write())])
    fresh, same = DistinctFrames(pairs, 6, 4), DistinctFrames(pairs, 6, 4, repeat=True)
    assert list(fresh) != list(fresh)
    assert list(same) == list(same) == list(DistinctFrames(pairs, 6, 4))
    assert list(same) != list(DistinctFrames(pairs, 6, 4, seed=1))


def test_shares_decide_between_sources(write):
    first, second = write(root='a', scenes=['Scene01']), write(root='b', scenes=['Scene02'])
    pairs = LabelledCrops([source(first, 3.0), source(second, 1.0)])
    drawn = sum(DistinctFrames(pairs, 1, batches=2000), [])
    from_first = np.mean([pairs.places[index][0] == 0 for index in drawn])
    assert from_first == pytest.approx(0.75, abs=4 * math.sqrt(0.75 * 0.25 / 2000))


def test_a_batch_larger_than_the_frames_is_refused(write):
    pairs = LabelledCrops([source(write())])
    with pytest.raises(ValueError, match='13.*12'):
        DistinctFrames(pairs, 13, 1)


@pytest.mark.parametrize('stride', [1, 2])
def test_crops_stay_aligned(write, stride):
    """Depth and labels come from the same pixels, mirrored or not; some are mirrored."""
    pairs = LabelledCrops([source(write())], crop=(12, 16), stride=stride)
    whole = {sample_id: pairs.datasets[0].read(sample_id).labels for _, sample_id in pairs.places}
    mirrored = 0
    torch.manual_seed(0)
    for index in range(len(pairs)):
        pair = pairs[index]
        assert pair['depth'].shape == (1, 12 // stride, 16 // stride)
        assert pair['depth'].dtype == np.float32
        np.testing.assert_allclose(pair['depth'][0], pair['labels'] + 1.0, rtol=1e-6)
        if stride == 1:
            labels = whole[pair['id'].removeprefix('vkitti2:')]
            windows = np.lib.stride_tricks.sliding_window_view(labels, (12, 16))
            found = [bool((windows == view).all(axis=(2, 3)).any())
                     for view in (pair['labels'], pair['labels'][:, ::-1])]
            assert sum(found) == 1
            mirrored += found[1]
    assert stride == 2 or 20 < mirrored < 52


def test_crops_are_drawn_anew_or_fixed_by_a_seed(write):
    root = write()
    fresh = LabelledCrops([source(root)], (12, 16))
    fixed = LabelledCrops([source(root)], (12, 16), seed=3)
    torch.manual_seed(0)
    crops = [fresh[5]['labels'] for _ in range(4)]
    assert any((crops[0] != crop).any() for crop in crops[1:])
    torch.manual_seed(0)
    np.testing.assert_array_equal(fresh[5]['labels'], crops[0])
    np.testing.assert_array_equal(fixed[5]['labels'], fixed[5]['labels'])


def test_outside_of_the_image_all_is_unknown(write):
    pair = LabelledCrops([source(write())], crop=(24, 16))[0]
    assert np.isnan(pair['depth'][0]).sum() == (pair['labels'] == 255).sum() == 4 * 16


def test_the_sky_stays_infinite(write, write_image):
    root = write(scenes=['Scene01'])
    write_image(root / 'Scene01/clone/frames/depth/Camera_0/depth_00000.png',
                np.full(SIZE, 65535, np.uint16))
    assert np.isinf(LabelledCrops([source(root)], (12, 16))[0]['depth']).all()


def test_samples_without_depth_are_refused(write):
    root = write(scenes=['Scene01'])
    for path in root.glob('Scene01/clone/frames/depth/*/*'):
        path.unlink()
    with pytest.raises(ValueError, match='vkitti2: Scene01/clone/Camera_0/00000'):
        LabelledCrops([source(root)])[0]


def test_data_sets_that_never_have_labels_are_refused(tmp_path, write_image, monkeypatch):
    """Before anything is trained."""
    from sync_perception.datasets import DATASETS

    class Unlabelled:
        label_space = None

        def __init__(self, root, split):
            self.ids = ['a']

    monkeypatch.setitem(DATASETS, 'unlabelled', Unlabelled)
    with pytest.raises(ValueError, match='unlabelled: .*labels'):
        LabelledCrops([MixtureSource('unlabelled', str(tmp_path), 1.0, scale=(1, 1))])


def test_the_data_module_feeds_batches(write):
    """An epoch is all samples, by default; validation repeats itself."""
    root = write()
    data = PairData([source(root)], [source(root, split='val')], batch_size=6, crop=(12, 16),
                    workers=0)
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.train_dataloader()) == 12
    assert batches[0]['depth'].shape == (6, 1, 12, 16)
    assert batches[0]['labels'].shape == (6, 12, 16)
    assert batches[0]['space'] == ['vkitti2'] * 6
    data.samples = 20
    assert len(data.train_dataloader()) == 3
    first, second = list(data.val_dataloader()), list(data.val_dataloader())
    assert len(first) == 6
    assert all(i.split(':')[1].startswith('Scene20') for b in first for i in b['id'])
    assert all(torch.equal(a['labels'], b['labels']) for a, b in zip(first, second))
    assert PairData([source(root)]).val_dataloader() == []


def test_batches_and_crops_go_on_where_they_were_left(write):
    root = write()

    def batches(epoch=0, done=0):
        data = PairData([source(root)], batch_size=6, crop=(12, 16), workers=0, seed=4)
        data.load_state_dict({'epoch': epoch, 'done': done})
        loader = data.train_dataloader()
        assert len(loader) == 12
        return [*loader, *loader]

    whole, later = batches(), batches(epoch=0, done=9)
    assert len(whole) == 24 and len(later) == 15
    for first, second in zip(whole[9:], later):
        assert first['id'] == second['id']
        assert torch.equal(first['labels'], second['labels'])
    assert batches(epoch=1)[0]['id'] == whole[12]['id'] != whole[0]['id']
