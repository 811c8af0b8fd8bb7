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

"""A teacher whose answers are known writes maps; data sets read them back; training uses them."""

from __future__ import annotations

from dataclasses import replace
import json
import logging
from pathlib import Path

import cv2
from known_teacher import K, KnownTeacher, ROAD, sample_of, SIZE, SKY, write_drives
import numpy as np
import pytest
from small_batches import batch, output, TINY
from sync_perception.datasets import DatasetOptions, open_dataset
from sync_perception.evaluation.predict_sample import average_probabilities, dense_output
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.studies.pseudo_labels import pseudo_label, pseudo_label_summary
from sync_perception.studies.teacher import Teacher, TeacherOptions
from sync_perception.training.feeding.mixture import Mixture, MixtureSource
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.objectives import Objectives
from sync_perception.training.objectives.supervised import ExpertSupervision, SupervisedConfig
from sync_perception.types import DenseOutput
import torch


def test_maps_of_a_known_answer():
    """Sure labels with their probability; 12 canonical metres are 24 m; sky has none."""
    teacher = Teacher(KnownTeacher(), TeacherOptions(min_confidence=0.7))
    maps = teacher.annotate(sample_of(K))
    labels = maps['expert_semantics']
    assert (labels[:24] == SKY).all() and (labels[50:] == ROAD).all()
    assert (labels[30:50, 10:40] == 255).all()
    np.testing.assert_allclose(maps['expert_confidence'][30:50, 10:40] / 255, 0.5 / 0.9, atol=2e-3)
    assert (maps['depth'][:24] == 0).all() and (maps['depth'][24:] == 24 * 256).all()
    np.testing.assert_allclose(maps['depth_deviation'], 1000, atol=1)
    assert teacher.counts['labelled'] == 64 * 96 - 20 * 30


def test_metres_need_the_camera(caplog):
    """Without intrinsics there are only labels, and it is said once; except for true metres."""
    teacher = Teacher(KnownTeacher())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert sorted(teacher.annotate(sample_of(None))) == [
                'expert_confidence', 'expert_semantics']
    assert len(caplog.records) == 1 and 'depth is skipped' in caplog.text
    assert teacher.counts['without_intrinsics'] == 2
    metres = Teacher(KnownTeacher(canonical_focal=None)).annotate(sample_of(None))['depth']
    assert (metres[24:] == 12 * 256).all()


def test_contradictions_are_left_out():
    """A road that stands upright at 24 m is no road, and its depth none of a road."""
    teacher = Teacher(KnownTeacher(), TeacherOptions(agreement=True))
    plane = 1.5 / np.maximum((np.arange(SIZE[0]) - 31.5) / 100, 0.03)
    depth = np.broadcast_to(plane[:, None], SIZE).copy()
    depth[36:60, 60:80] = 3.0
    teacher.model.output.depth[:] = torch.from_numpy(depth / 2)
    maps = teacher.annotate(sample_of(K))
    height = 1.5 - 3.0 * (np.arange(36, 60) - 31.5) / 100
    wrong = np.abs(height) > 0.6
    assert wrong.sum() >= 15
    patch = np.s_[36:60, 60:80]
    assert (maps['expert_semantics'][patch][wrong] == 255).all()
    assert (maps['depth'][patch][wrong] == 0).all()
    assert (maps['expert_semantics'][50:, :50] == ROAD).all()
    assert teacher.counts['checked'] == 1 and teacher.counts['without_ground'] == 0


@pytest.fixture
def selection(tmp_path) -> Path:
    """Write three frames with intrinsics and one that is broken."""
    root = tmp_path / 'selection'
    for folder in ('image', 'groundtruth_depth', 'intrinsics'):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(4):
        stem = f'drive{number}_image_0000000000_image_02'
        truth = f'drive{number}_groundtruth_depth_0000000000_image_02'
        cv2.imwrite(str(root / f'image/{stem}.png'), rng.integers(0, 256, (*SIZE, 3), np.uint8))
        cv2.imwrite(str(root / f'groundtruth_depth/{truth}.png'), np.full(SIZE, 2560, np.uint16))
        (root / f'intrinsics/{stem}.txt').write_text(' '.join(map(str, K.flatten())))
    broken = root / 'image/drive3_image_0000000000_image_02.png'
    broken.write_bytes(broken.read_bytes()[:500])
    return root


@pytest.fixture
def drives(tmp_path) -> Path:
    """Write three frames of CamVid's layout: labels, no camera."""
    return write_drives(tmp_path / 'camvid')


def files(folder: Path) -> dict[str, int]:
    """Return the folder's maps and when they were written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns
            for path in sorted(folder.rglob('*.png'))}


def test_from_images_to_samples(selection, small_model, tmp_path):
    """What a real model says of a frame is what the joined data set gives for it."""
    out = tmp_path / 'pseudo'
    result = pseudo_label(small_model, DatasetOptions('kitti_depth', selection), out)
    assert (result['written'], result['kept'], len(result['bad'])) == (3, 0, 1)
    assert '3 written' in pseudo_label_summary(result)
    assert '1 could not be read' in pseudo_label_summary(result)
    joined, alone = open_dataset('pseudo_labelled', out), open_dataset('kitti_depth', selection)
    assert joined.ids == alone.ids[:3] and joined.expert_space == 'driving'
    sample = joined[1]
    model = hub.load(small_model)
    output = dense_output(model, sample.image)
    np.testing.assert_array_equal(sample.K, K)
    assert (sample.depth == 10).all()  # true depth is not replaced
    probability = torch.nn.functional.interpolate(
        output.logits.softmax(1), SIZE, mode='bilinear')[0]
    np.testing.assert_array_equal(sample.expert_labels, probability.argmax(0).numpy())
    np.testing.assert_allclose(
        sample.expert_confidence, probability.max(0)[0].numpy(), atol=0.51 / 255)


def test_an_interrupted_run_goes_on(selection, small_model, tmp_path):
    """Only what is missing or cut short is written again; --overwrite writes everything."""
    out = tmp_path / 'pseudo'
    pseudo_label(small_model, DatasetOptions('kitti_depth', selection), out)
    before = files(out)
    gone, short = sorted(out.glob('expert_semantics/*.png'))[:2]
    gone.unlink()
    short.write_bytes(short.read_bytes()[:-5])
    result = pseudo_label(small_model, DatasetOptions('kitti_depth', selection), out)
    assert (result['written'], result['kept']) == (2, 1)
    after = files(out)
    assert after.keys() == before.keys()
    assert sum(after[name] == before[name] for name in after) == 3  # the third frame's maps
    again = pseudo_label(
        small_model, DatasetOptions('kitti_depth', selection), out, overwrite=True)
    assert again['written'] == 3
    assert not list(out.rglob('*.part'))


def test_processes_share_the_work(selection, small_model, tmp_path, monkeypatch):
    """Each takes its own ids, by the flag or by torchrun's environment."""
    out = tmp_path / 'pseudo'
    first = pseudo_label(small_model, DatasetOptions('kitti_depth', selection), out, shard='1/2')
    assert (first['images'], first['written']) == (2, 2)
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '2')
    second = pseudo_label(small_model, DatasetOptions('kitti_depth', selection), out)
    assert (second['shard'], second['written'], len(second['bad'])) == ('2/2', 1, 1)
    assert len(open_dataset('pseudo_labelled', out)) == 3


def test_labels_without_a_camera(drives, small_model, tmp_path):
    """Expert labels join true ones; depth is taken only where there is a camera."""
    out = tmp_path / 'pseudo'
    result = pseudo_label(small_model, DatasetOptions('camvid', drives, 'train'), out)
    assert result['without_intrinsics'] == 3
    joined = open_dataset('pseudo_labelled', out, 'train')
    assert joined.label_space == 'camvid11'
    sample = joined[2]
    assert (sample.labels == 2).all() and sample.depth is None
    assert sample.expert_labels.shape == SIZE
    assert open_dataset('pseudo_labelled', out, 'train', {'labels': False})[
        2].expert_labels is None


def test_another_teachers_folder_is_refused(drives, small_model, tmp_path):
    """Maps of two teachers, or of two settings, never mix unseen."""
    out = tmp_path / 'pseudo'
    pseudo_label(small_model, DatasetOptions('camvid', drives), out)
    with pytest.raises(ValueError, match='settings.min_confidence.*0.0.*0.5'):
        pseudo_label(
            small_model, DatasetOptions('camvid', drives), out, TeacherOptions(min_confidence=0.5))
    with pytest.raises(ValueError, match='single process'):
        pseudo_label(
            small_model, DatasetOptions('camvid', drives), out, TeacherOptions(min_confidence=0.5),
            overwrite=True, shard='1/2')
    assert len(files(out)) == 6
    stale = out / 'expert_semantics/train/9.png'
    stale.write_bytes(b'')
    pseudo_label(
        small_model, DatasetOptions('camvid', drives), out, TeacherOptions(min_confidence=0.5),
        overwrite=True)
    assert len(files(out)) == 6 and not stale.exists()
    with pytest.raises(FileNotFoundError, match=r'pseudo_labels\.json'):
        open_dataset('pseudo_labelled', drives)
    (out / 'pseudo_labels.json').write_text('{"teacher": 1}')
    with pytest.raises(ValueError, match='expected the keys'):
        open_dataset('pseudo_labelled', out)


def depth_model(folder: Path, space: LabelSpace) -> Path:
    """Save a small model with uncertainty that gives metres whatever the camera."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(
        'sync', {'depth': TINY, 'semantics': TINY, 'uncertainty': True}, space.to_dict(),
        input_pixels=64 * 96, canonical_focal=None))
    hub.save(model, folder)
    return folder


def test_depth_where_there_is_none(drives, tmp_path):
    """Depth and its deviation come back; unsure depth is left out; the space is the teacher's."""
    space = LabelSpace.from_dict({'name': 'two', 'classes': [
        {'name': 'ground', 'color': [1, 2, 3], 'driving': ['road', 'sidewalk']},
        {'name': 'car', 'color': [4, 5, 6], 'driving': ['car']}]})
    out = tmp_path / 'pseudo'
    teacher = depth_model(tmp_path / 'teacher', space)
    pseudo_label(teacher, DatasetOptions('camvid', drives), out)
    joined = open_dataset('pseudo_labelled', out)
    assert LabelSpace.load(joined.expert_space).to_dict() == space.to_dict()
    sample = joined[0]
    output = dense_output(hub.load(teacher), sample.image)
    expected, deviation = (
        torch.nn.functional.interpolate(values, SIZE, mode='bilinear')[0, 0].numpy()
        for values in (output.depth, output.log_variance))
    deviation = np.exp(deviation / 2)
    np.testing.assert_allclose(sample.depth, expected, atol=0.51 / 256)
    limit = float(np.median(deviation))
    sure = open_dataset('pseudo_labelled', out, 'all', {'max_deviation': limit})[0].depth
    assert 0.3 < np.isnan(sure).mean() < 0.7
    clear = np.abs(deviation - limit) > 1e-4
    np.testing.assert_array_equal(np.isnan(sure)[clear], (deviation > limit)[clear])


def test_the_manifest_says_what_it_is(selection, small_model, tmp_path):
    """Teacher, its weights, data set and settings; moved images are found by the argument."""
    out = tmp_path / 'pseudo'
    pseudo_label(
        small_model, DatasetOptions('kitti_depth', selection), out,
        TeacherOptions(min_confidence=0.25))
    manifest = json.loads((out / 'pseudo_labels.json').read_text())
    assert manifest['teacher'] == str(small_model) and len(manifest['fingerprint']) == 64
    assert manifest['settings'] == {
        'min_confidence': 0.25, 'agreement': False, 'near_sky': None, 'soft': 0,
        'scales': [1.0], 'flip': False}
    moved = selection.rename(tmp_path / 'moved')
    with pytest.raises(FileNotFoundError, match='no folder'):
        open_dataset('pseudo_labelled', out)
    assert len(open_dataset('pseudo_labelled', out, 'all', {'images': str(moved)})) == 3


def test_training_learns_from_them(drives, small_model, tmp_path):
    """A mixture gives the teacher's labels with their space and confidence."""
    out = tmp_path / 'pseudo'
    pseudo_label(small_model, DatasetOptions('camvid', drives), out)
    mixture = Mixture(
        [MixtureSource('pseudo_labelled', str(out), scale=(1.0, 1.0)),
         MixtureSource('camvid', str(drives), scale=(1.0, 1.0))], 8, SIZE, 2)
    crops = [mixture[index] for index in range(8)]
    assert {crop['expert_space'] for crop in crops} == {'driving', 'cityscapes19'}
    for crop in crops:
        taught = crop['expert_space'] == 'driving'
        assert (crop['expert_labels'] != 255).any() == taught
        assert (crop['labels'] != 255).all()


def test_experts_of_several_spaces_in_a_batch():
    """Each sample's expert is asked in its own space; their losses add up by their shares."""
    objective = SynchronisedLearning(
        'sync', {'depth': TINY, 'semantics': TINY}, objectives=Objectives(
            supervised=SupervisedConfig(expert=ExpertSupervision(confidence=0.0)))
    ).objectives['supervised']
    torch.manual_seed(0)
    said = replace(output(), logits=torch.randn(2, 20, 32, 48))
    labels = torch.randint(0, 11, (2, 32, 48), dtype=torch.uint8)
    mixed = objective.expert_terms(
        said, batch(expert_labels=labels, expert_space=['camvid11', 'driving']))
    alone = []
    for index, space in enumerate(('camvid11', 'driving')):
        only = labels.clone()
        only[1 - index] = 255
        alone.append(objective.expert_terms(
            said, batch(expert_labels=only, expert_space=[space, space])))
    assert mixed.keys() == alone[0].keys() and mixed
    for name, value in mixed.items():
        torch.testing.assert_close(value, alone[0][name] + alone[1][name])
    same = objective.expert_terms(
        said, batch(expert_labels=labels, expert_space=['driving', 'driving']))
    assert any(not torch.allclose(same[name], mixed[name]) for name in same)


def test_sizes_and_mirror_images_are_averaged():
    """A model that takes the left half for road and the right one for sky, unsure at each size."""
    class Halves(KnownTeacher):

        def forward(self, image):
            height, width = image.shape[-2:]
            logits = torch.full((1, len(self.labels), height, width), -20.0)
            logits[:, ROAD, :, :width // 2] = logits[:, SKY, :, width // 2:] = 0.0
            return DenseOutput(logits=logits)

    image = sample_of(K).image
    model = Halves()
    once = average_probabilities(model, image, [1.0], flip=False)
    assert once.shape == (1, len(model.labels), *image.shape[:2])
    assert once[0, ROAD, 5, 5] > 0.99 and once[0, SKY, 5, -5] > 0.99
    both = average_probabilities(model, image, [0.5, 1.0], flip=True)
    torch.testing.assert_close(both[0, ROAD, :, 5], torch.full((image.shape[0],), 0.5))
    torch.testing.assert_close(both.sum(dim=1), torch.ones(1, *image.shape[:2]))
