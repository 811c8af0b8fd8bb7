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

"""Probabilities of a teacher's most probable classes: written, read back, and learned from."""

from __future__ import annotations

import json
from pathlib import Path

from constant import constant_model
import cv2
from known_teacher import CAR, K, KnownTeacher, ROAD, sample_of, SIZE, SPACE, write_drives
import numpy as np
import pytest
from small_batches import TINY, write_recipe, write_streets
from sync_perception.cli import app
from sync_perception.datasets import DatasetOptions, open_dataset
from sync_perception.evaluation.predict_sample import dense_output, enlarge
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.studies.pseudo_labels import pseudo_label
from sync_perception.studies.teacher import Teacher, TeacherOptions
from sync_perception.training.feeding.mixture import MixtureData, MixtureSource
from sync_perception.training.train import train
import torch
from typer.testing import CliRunner

TRUCK = SPACE.index('truck')
SOFT = {'soft': True}


@pytest.fixture
def drives(tmp_path) -> Path:
    """Write three frames of CamVid's layout: labels, no camera."""
    return write_drives(tmp_path / 'camvid')


def times(folder: Path) -> dict[str, int]:
    """Return when each map of a folder was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns
            for path in sorted(folder.rglob('*.png'))}


def test_the_classes_after_the_label():
    """Where the teacher is half sure of a car it is nearly as sure of a truck, of others not."""
    maps = Teacher(KnownTeacher(), TeacherOptions(soft=3)).annotate(sample_of(K))
    for kind in ('expert_alternatives', 'expert_alternative_confidence'):
        assert maps[kind].shape == (2 * SIZE[0], SIZE[1]) and maps[kind].dtype == np.uint8
    second, third = np.split(maps['expert_alternatives'], 2)
    probability = np.split(maps['expert_alternative_confidence'], 2)
    assert (maps['expert_semantics'][30:50, 10:40] == CAR).all()
    assert (second[30:50, 10:40] == TRUCK).all() and (third == 255).all()
    assert (probability[0][30:50, 10:40] == round(0.4 / 0.9 * 255)).all()
    assert (probability[1] == 0).all() and (second[50:] == 255).all()


def test_where_there_is_no_label_there_are_no_others():
    """Neither of pixels that are too unsure, nor of those that contradict the depth."""
    options = TeacherOptions(min_confidence=0.7, soft=2)
    unsure = Teacher(KnownTeacher(), options).annotate(sample_of(K))
    assert (unsure['expert_alternatives'] == 255).all()
    assert (unsure['expert_alternative_confidence'] == 0).all()
    known = KnownTeacher()
    known.output.logits[0, TRUCK, 24:] = np.log(0.5)
    known.output.depth[0, 0] = torch.from_numpy(
        0.75 / np.maximum((np.arange(SIZE[0]) - 31.5) / 100, 0.03))[:, None]
    known.output.depth[0, 0, 36:60, 60:80] = 1.5
    maps = Teacher(known, TeacherOptions(agreement=True, soft=2)).annotate(sample_of(K))
    dropped = maps['expert_semantics'][50:] == 255
    assert dropped.any() and (maps['expert_semantics'][50:][~dropped] == ROAD).all()
    np.testing.assert_array_equal(maps['expert_alternatives'][50:] == 255, dropped)
    np.testing.assert_array_equal(maps['expert_alternative_confidence'][50:] == 0, dropped)


@pytest.mark.parametrize('count', [2, 4])
def test_what_is_written_is_read(drives, small_model, tmp_path, count):
    """The model's own ranks and probabilities, to half a unit; the labels are the first."""
    out = tmp_path / 'pseudo'
    pseudo_label(small_model, DatasetOptions('camvid', drives), out, TeacherOptions(soft=count))
    sample = open_dataset('pseudo_labelled', out, 'train', SOFT)[1]
    probability = enlarge(
        dense_output(hub.load(small_model), sample.image).logits.softmax(dim=1), SIZE)[0].numpy()
    ranked = np.sort(probability, axis=0)[::-1][:count]
    classes = sample.expert_classes
    assert classes.shape == sample.expert_probabilities.shape == (*SIZE, count)
    np.testing.assert_array_equal(classes[..., 0], sample.expert_labels)
    np.testing.assert_allclose(
        sample.expert_probabilities / 255, ranked.transpose(1, 2, 0), atol=0.51 / 255)
    chosen = np.take_along_axis(probability, classes.transpose(2, 0, 1).astype(int), axis=0)
    np.testing.assert_array_equal(chosen, ranked)
    plain = open_dataset('pseudo_labelled', out, 'train')[1]
    assert plain.expert_classes is None and plain.expert_probabilities is None
    np.testing.assert_array_equal(plain.expert_labels, sample.expert_labels)


def test_an_interrupted_run_goes_on_in_shards(drives, small_model, tmp_path):
    """A map that is missing or cut short is written again, the rest kept; the same maps result."""
    whole, out = tmp_path / 'whole', tmp_path / 'pseudo'
    pseudo_label(small_model, DatasetOptions('camvid', drives), whole, TeacherOptions(soft=3))
    for part in ('1/2', '2/2'):
        pseudo_label(
            small_model, DatasetOptions('camvid', drives), out, TeacherOptions(soft=3), shard=part)
    before = times(out)
    assert len(before) == 3 * 4
    gone, short = (
        out / f'{kind}/train/{number}.png' for number, kind in enumerate(
            ('expert_alternatives', 'expert_alternative_confidence')))
    gone.unlink()
    short.write_bytes(short.read_bytes()[:-5])
    results = [pseudo_label(
        small_model, DatasetOptions('camvid', drives), out, TeacherOptions(soft=3), shard=part)
               for part in ('1/2', '2/2')]
    assert [(result['written'], result['kept']) for result in results] == [(1, 1), (1, 0)]
    after = times(out)
    assert after.keys() == before.keys()
    assert sum(after[name] == before[name] for name in after) == 4
    for name in after:
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    with pytest.raises(ValueError, match='settings.soft.*3.*0'):
        pseudo_label(small_model, DatasetOptions('camvid', drives), out)
    with pytest.raises(ValueError, match='settings.soft.*3.*2'):
        pseudo_label(small_model, DatasetOptions('camvid', drives), out, TeacherOptions(soft=2))


def test_a_folder_from_before_is_gone_on_with(drives, small_model, tmp_path):
    """A manifest that does not mention soft labels is that of a folder without them."""
    out = tmp_path / 'pseudo'
    pseudo_label(small_model, DatasetOptions('camvid', drives), out)
    path = out / 'pseudo_labels.json'
    manifest = json.loads(path.read_text())
    del manifest['settings']['soft']
    path.write_text(json.dumps(manifest))
    assert pseudo_label(small_model, DatasetOptions('camvid', drives), out)['kept'] == 3


def test_what_cannot_be_is_refused(drives, small_model, tmp_path):
    """Other numbers of classes, teachers without so many, sources without probabilities."""
    out = tmp_path / 'pseudo'
    for wrong in (1, 5, -2):
        with pytest.raises(ValueError, match=f'2.*4.*{wrong}'):
            pseudo_label(
                small_model, DatasetOptions('camvid', drives), out, TeacherOptions(soft=wrong))
    two = {'name': 'two', 'classes': [
        {'name': name, 'color': [1, 2, index], 'driving': [name]}
        for index, name in enumerate(('road', 'car'))]}
    for number, parts in enumerate(({'depth': None, 'semantics': TINY},
                                    {'depth': TINY, 'semantics': None})):
        teacher = tmp_path / f'teacher{number}'
        hub.save(build_model(ModelConfig('sync', parts, two, input_pixels=64 * 96)), teacher)
        with pytest.raises(ValueError, match='[02] classes'):
            pseudo_label(teacher, DatasetOptions('camvid', drives), out, TeacherOptions(soft=3))
    pseudo_label(small_model, DatasetOptions('camvid', drives), out)
    with pytest.raises(ValueError, match='--soft 3.*--soft 0'):
        open_dataset('pseudo_labelled', out, 'train', SOFT)
    pseudo_label(
        small_model, DatasetOptions('camvid', drives), out, TeacherOptions(soft=2), overwrite=True)
    with pytest.raises(ValueError, match='labels: False'):
        open_dataset('pseudo_labelled', out, 'train', {**SOFT, 'labels': False})
    stored = out / 'expert_alternatives/train/0.png'
    cv2.imwrite(str(stored), np.full(SIZE, len(SPACE), np.uint8))
    with pytest.raises(ValueError, match=str(len(SPACE))):
        open_dataset('pseudo_labelled', out, 'train', SOFT)[0]
    stored.unlink()
    with pytest.raises(FileNotFoundError, match='expert_alternatives'):
        open_dataset('pseudo_labelled', out, 'train', SOFT)[0]


def test_sources_with_and_without_them_share_a_batch(drives, small_model, tmp_path):
    """Maps of the same shape everywhere; void where a source has none."""
    out = tmp_path / 'pseudo'
    done = CliRunner().invoke(app, [
        'pseudo-label', '--dataset', 'camvid', '--root', str(drives), '--teacher',
        str(small_model), '--out', str(out), '--soft', '2'])
    assert done.exit_code == 0 and '3 written' in done.output
    data = MixtureData(
        [MixtureSource('pseudo_labelled', str(out), scale=(1.0, 1.0), arguments=SOFT),
         MixtureSource('pseudo_labelled', str(out), scale=(1.0, 1.0)),
         MixtureSource('camvid', str(drives), scale=(1.0, 1.0))], 12, 12, SIZE, workers=0)
    batch = next(iter(data.train_dataloader()))
    assert batch['expert_classes'].shape == (12, 4, 32, 48)
    soft = (batch['expert_classes'][:, 0] != 255).flatten(1).all(dim=1)
    hard = (batch['expert_labels'] != 255).flatten(1).all(dim=1)
    assert 0 < soft.sum() < hard.sum() < 12 and hard[soft].all()
    assert (batch['expert_classes'][:, 2:] == 255).all()
    assert (batch['expert_probabilities'][~soft] == 0).all()
    assert (batch['expert_probabilities'][soft, :2] > 0).all()


def doubtful_teacher(folder: Path) -> tuple[Path, torch.Tensor]:
    """Save a model that says of every pixel: 0.5 road, 0.3 car, 0.1 sky, a little of the rest."""
    model = hub.load(constant_model(folder, 'road'))
    probability = torch.full((len(SPACE),), 0.1 / (len(SPACE) - 3))
    for name, share in (('road', 0.5), ('car', 0.3), ('sky', 0.1)):
        probability[SPACE.index(name)] = share
    with torch.no_grad():
        model.network.semantics.head.bias.copy_(probability.log())
    hub.save(model, folder)
    return folder, probability


@pytest.mark.parametrize('soft', [True, False])
def test_a_student_learns_its_teachers_doubt(tmp_path, soft):
    """From probabilities it learns them; from labels alone that everything is road."""
    streets = write_streets(tmp_path / 'streets')
    teacher, probability = doubtful_teacher(tmp_path / 'teacher')
    out = tmp_path / 'pseudo'
    pseudo_label(teacher, DatasetOptions('vkitti2', streets), out, TeacherOptions(soft=3))
    recipe = write_recipe(
        tmp_path / 'run/recipe.yaml', streets,
        model={'arguments': {'depth': None, 'semantics': TINY},
               'optimizer': {'learning_rate': 0.02}, 'objectives': {'supervised': {
                   'semantics': {'weight': 0.0}, 'expert': {'weight': 1.0, 'confidence': 0.4}}}},
        data={'samples': 360, 'crop': [32, 32], 'sources': [
            {'dataset': 'pseudo_labelled', 'root': str(out), 'scale': [0.5, 0.6],
             'split': 'all', 'arguments': {'soft': soft}}]})
    train(['--config', str(recipe)])
    image = open_dataset('vkitti2', streets)[0].image
    logits = dense_output(hub.load(tmp_path / 'run/model'), image).logits
    learned = logits.softmax(dim=1)[0].mean((1, 2))
    road, car, sky = (SPACE.index(name) for name in ('road', 'car', 'sky'))
    if not soft:
        assert learned[road] > 0.9
        return
    torch.testing.assert_close(
        learned[[road, car, sky]], probability[[road, car, sky]], rtol=0, atol=0.06)
