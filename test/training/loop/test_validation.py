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

"""Measuring while training: the averaged model, by the protocols of the command, in pictures."""

from __future__ import annotations

from io import BytesIO
import json
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest
from small_batches import write_recipe, write_streets
from sync_perception.datasets import DatasetOptions
from sync_perception.datasets.vkitti2 import VirtualKitti2
from sync_perception.evaluation.evaluate import evaluate
from sync_perception.evaluation.sample_evaluation import Evaluation
from sync_perception.images.colors import colorize_depth
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.models.network_input import resize_image
from sync_perception.training.feeding.recordings import EvaluationSamples, EvaluationSource
from sync_perception.training.loop.prediction_pictures import training_panel, translated
from sync_perception.training.loop.validation import SourceEvaluation
from sync_perception.training.train import train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import distributed

MONITOR = 'val/streets/abs_rel'
EXPORT = 'sync_perception.training.loop.export.ExportAverage'


@pytest.fixture(scope='module')
def streets(tmp_path_factory):
    return write_streets(tmp_path_factory.mktemp('streets'))


@pytest.fixture(scope='module')
def trained(streets, tmp_path_factory):
    """Train 12 steps in bf16, measured after every fourth; return the folder and the trainer."""
    callbacks = [
        {'class_path': EXPORT, 'init_args': {
            'decay': 0.5, 'start': 0, 'monitor': MONITOR, 'mode': 'min'}},
        {'class_path': 'lightning.pytorch.callbacks.ModelCheckpoint', 'init_args': {
            'monitor': MONITOR, 'mode': 'min', 'filename': 'best'}},
        {'class_path': 'sync_perception.training.loop.prediction_pictures.Pictures', 'init_args': {
            'samples': 1, 'every': 6}}]
    source = {'dataset': 'vkitti2', 'root': str(streets), 'split': 'all', 'samples': 3,
              'name': 'streets'}
    recipe = write_recipe(
        tmp_path_factory.mktemp('run') / 'recipe.yaml', streets,
        trainer={'callbacks': callbacks, 'val_check_interval': 4, 'precision': 'bf16-mixed',
                 'gradient_clip_val': 1.0},
        data={'val_sources': [source]})
    return recipe.parent, train(['--config', str(recipe)]).trainer


@pytest.fixture(scope='module')
def events(trained):
    accumulator = EventAccumulator(str(trained[0]), size_guidance={'images': 0, 'scalars': 0})
    return accumulator.Reload()


def test_measurements_are_in_the_log(events):
    scalars = events.Tags()['scalars']
    for name in ('abs_rel', 'delta1', 'miou', 'pixel_accuracy'):
        assert len(events.Scalars(f'val/streets/{name}')) == 3, name
    assert {'train/depth/silog', 'train/semantics/cross_entropy', 'train/total', 'weight/depth',
            'train/gradient_norm', 'coupling/depth_to_semantics/0'} <= set(scalars)


def test_the_best_average_is_exported_and_measures_what_the_log_says(trained, events, streets):
    """The command, which loads the folder anew, must find the same; so it was the average."""
    measured = [event.value for event in events.Scalars(MONITOR)]
    record = json.loads((trained[0] / 'model' / 'config.json').read_text())['record']
    assert record['measured'] == {MONITOR: pytest.approx(min(measured))}
    assert record['steps'] == 4 * (1 + int(np.argmin(measured)))
    model = hub.load(trained[0] / 'model')
    data = VirtualKitti2(streets)
    evaluation = Evaluation(model, LabelSpace.load('vkitti2'))
    for index in (0, 2, 4):  # three of six, evenly
        evaluation.add(data[index])
    scores = evaluation.scores()
    best = int(np.argmin(measured))
    for name in ('abs_rel', 'rmse', 'miou'):
        logged = events.Scalars(f'val/streets/{name}')[best].value
        assert logged == pytest.approx(scores[name], rel=1e-5), name
    everything = evaluate(trained[0] / 'model', DatasetOptions('vkitti2', streets))
    assert everything['abs_rel'] != pytest.approx(scores['abs_rel'], rel=1e-5)


def test_the_best_checkpoint_is_kept(trained):
    best = trained[1].checkpoint_callback
    assert best.best_model_path.endswith('checkpoints/best.ckpt')
    assert float(best.best_model_score) == pytest.approx(float(
        json.loads((trained[0] / 'model' / 'config.json').read_text())['record']['measured'][
            MONITOR]))


def test_pictures_show_photograph_truth_and_prediction(trained, events, streets):
    tags = events.Tags()['images']
    assert sorted(tags) == ['pictures/train/0', 'pictures/val/streets/0']
    assert [event.step for event in events.Images('pictures/train/0')] == [6, 12]
    encoded = events.Images('pictures/val/streets/0')[-1].encoded_image_string
    picture = np.asarray(Image.open(BytesIO(encoded)))
    height, width = 64, 96
    assert picture.shape == (2 * height, 3 * width, 3)
    sample = VirtualKitti2(streets)[0]
    np.testing.assert_array_equal(
        picture[:height, :width], resize_image(sample.image, (height, width)))
    nearest = sample.depth[np.arange(height) * 72 // height][:, np.arange(width) * 104 // width]
    np.testing.assert_array_equal(picture[:height, width:2 * width], colorize_depth(nearest))
    labels = picture[height:, width:2 * width].reshape(-1, 3)
    space = LabelSpace.load('driving')
    names = {space.names[space.colors.tolist().index(color)]
             for color in np.unique(labels, axis=0).tolist()}
    assert names == {'sky', 'road', 'vegetation'}
    predicted = np.unique(picture[height:, 2 * width:].reshape(-1, 3), axis=0).tolist()
    assert all(color in space.colors.tolist() for color in predicted)


def test_true_labels_are_said_in_the_models_classes():
    own, space = LabelSpace.load('camvid11'), LabelSpace.load('driving')
    labels = np.uint8([[own.index('sky'), own.index('sign'), 255]])
    said = translated(labels, own, space)[0]
    assert space.names[said[0]] == 'sky' and said[2] == 255
    assert space.names[said[1]] in ('traffic sign', 'traffic light')


def test_what_is_not_known_stays_dark():
    image = np.full((4, 6, 3), 200, np.uint8)
    picture = training_panel(image, None, None, None, None, LabelSpace.load('driving'), 80.0)
    assert (picture[:4, :6] == 200).all() and (picture[4:, :6] == 200).all()
    assert (picture[:, 6:].reshape(-1, 3) == (24, 26, 30)).all()


def test_an_unknown_measurement_is_named(streets, tmp_path):
    recipe = write_recipe(
        tmp_path / 'recipe.yaml', streets,
        trainer={'callbacks': [{'class_path': EXPORT, 'init_args': {
            'monitor': 'val/camvid/miou'}}], 'max_steps': 2, 'val_check_interval': 2},
        data={'val_sources': [{'dataset': 'vkitti2', 'root': str(streets), 'split': 'all',
                               'samples': 1}]})
    with pytest.raises(ValueError, match="'val/camvid/miou'.*val/vkitti2"):
        train(['--config', str(recipe)])


def test_evaluations_of_parts_add_up(streets, small_model):
    """Two evaluations of three samples each, merged into an empty one, equal one of all six."""
    model = hub.load(small_model)
    measured = EvaluationSamples(EvaluationSource('vkitti2', str(streets), split='all'))
    empty, *parts = (SourceEvaluation(model, measured) for _ in range(3))
    whole = SourceEvaluation(model, measured)
    for index in range(6):
        parts[index % 2].add(measured[index])
        whole.add(measured[index])
    for part in parts:
        # the first one counts the labelled frames, without which there are no metrics of labels
        empty.evaluation.metrics()[0].merge_state(part.evaluation.metrics()[0])
        pairs = zip(empty.evaluation.metrics()[1:], part.evaluation.metrics()[1:], strict=True)
        for merged, other in pairs:
            merged.merge_state(other)
    assert empty.evaluation.protocol() == whole.evaluation.protocol()
    assert empty.scores() == {
        name: pytest.approx(value, rel=1e-12) for name, value in whole.scores().items()}


def test_one_process_of_a_group_keeps_its_scores(streets, small_model, tmp_path):
    measured = EvaluationSamples(EvaluationSource('vkitti2', str(streets), split='all'))
    evaluation = SourceEvaluation(hub.load(small_model), measured)
    evaluation.add(measured[0])
    alone = evaluation.scores()
    distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/group', rank=0, world_size=1)
    try:
        evaluation.gather()
    finally:
        distributed.destroy_process_group()
    assert evaluation.scores() == alone


EVALUATE_A_PART = """
import sys
from sync_perception.models import hub
from sync_perception.training.feeding.recordings import EvaluationSamples, EvaluationSource
from sync_perception.training.loop.validation import SourceEvaluation
from torch import distributed
model, streets, group, rank = sys.argv[1:]
distributed.init_process_group(
    'gloo', init_method=f'file://{group}', rank=int(rank), world_size=2)
measured = EvaluationSamples(EvaluationSource('vkitti2', streets, split='all'))
evaluation = SourceEvaluation(hub.load(model), measured)
for index in range(3) if rank == '0' else ():
    evaluation.add(measured[index])
evaluation.gather()
print(evaluation.scores())
"""


@pytest.mark.exhaustive
def test_a_process_without_samples_has_the_scores_of_the_other(streets, small_model, tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', EVALUATE_A_PART, small_model, streets, tmp_path / 'group',
             rank],
            stdout=subprocess.PIPE, text=True) for rank in ('0', '1')]
    first, second = (process.communicate(timeout=120)[0] for process in processes)
    assert 'vkitti2/miou' in first and 'vkitti2/abs_rel' in first
    assert first == second
