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


"""One string names two pretrained models: they give what each gives alone."""

from __future__ import annotations

from collections import Counter
import json

import huggingface_hub.constants
import numpy as np
import pytest
from sync_perception.labels import correspondence, LabelSpace
from sync_perception.models import build_model, hub
from sync_perception.models.huggingface import pair
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame
from tiny import IMAGENET, save_depth, save_segformer
import torch
from torch.nn import functional

HALF = ([0.5] * 3, [0.5] * 3)
CITYSCAPES = list(LabelSpace.load('cityscapes19').names)
# how each depth model's images are normalised, and what follows its name in a pair
KINDS = {
    'depth_anything': (IMAGENET, ''), 'depth_anything_relative': (IMAGENET, '@30,0.2'),
    'dpt': (HALF, '@30,0.2'), 'dpt_dinov2': (IMAGENET, '@metric'),
    'glpn': (([0.0] * 3, [1.0] * 3), ''), 'zoedepth': (HALF, '')}


def save_processor(normalisation):
    """Describe an image processor."""
    mean, std = normalisation
    return {'do_normalize': True, 'image_mean': mean, 'image_std': std}


@pytest.fixture
def offline(monkeypatch):
    """Forbid every way to the hub."""
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)


@pytest.fixture
def folders(tmp_path):
    """Save Depth Anything and SegFormer, and return a function that names them as a pair."""
    save_depth(tmp_path / 'depth', 'depth_anything', **save_processor(IMAGENET))
    save_segformer(tmp_path / 'labels', CITYSCAPES, **save_processor(IMAGENET))
    return lambda options='': f'{tmp_path}/depth{options}+{tmp_path}/labels'


def normalise(image, normalisation):
    """Normalise an image in [0, 1] as the models' own processors do."""
    mean, std = (torch.tensor(values)[:, None, None] for values in normalisation)
    return (image - mean) / std


@pytest.mark.parametrize('kind', sorted(KINDS))
def test_a_pair_gives_what_both_models_give_alone(kind, tmp_path, offline):
    """Depth in metres and logits, of images in [0, 1]; also after it was saved and loaded."""
    normalisation, options = KINDS[kind]
    depth = save_depth(tmp_path / 'depth', kind, **save_processor(normalisation))
    labels = save_segformer(tmp_path / 'labels', CITYSCAPES, **save_processor(IMAGENET))
    model = hub.load(f'{tmp_path}/depth{options}+{tmp_path}/labels')
    image = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        expected = depth(pixel_values=normalise(image, normalisation)).predicted_depth
        logits = labels(pixel_values=normalise(image, IMAGENET)).logits
        output = model(image)
    if options.startswith('@30'):
        expected = 30 / (expected + 0.2)
    # DPT's decoder makes 16 pixels of a patch, though DINOv2's has 14
    expected = functional.interpolate(
        expected[:, None].clamp(min=1e-3), (224, 224), mode='bilinear')[:, 0]
    assert expected.std() > 1e-3 * expected.abs().mean()
    torch.testing.assert_close(output.depth[:, 0], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(output.logits, logits, rtol=1e-4, atol=1e-4)

    hub.save(model, tmp_path / 'saved')
    for name in ('depth', 'labels'):
        (tmp_path / name).rename(tmp_path / f'{name} elsewhere')
    loaded = hub.load(tmp_path / 'saved')
    assert 'pretrained' not in json.dumps(loaded.config.arguments)
    with torch.no_grad():
        again = loaded(image)
    assert torch.equal(again.depth, output.depth)
    assert torch.equal(again.logits, output.logits)


def test_coupling_two_pretrained_models_changes_nothing_at_first(folders):
    """To the bit; then both directions learn, and the pair itself has them off."""
    config = hub.read_config(folders())
    uncoupled = build_model(config).eval()
    switches = {'depth_to_semantics': True, 'semantics_to_depth': True}
    config.arguments = {**config.arguments, **switches}
    coupled = build_model(config).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = uncoupled(image)
    found = coupled(image)
    assert torch.equal(found.depth, expected.depth)
    assert torch.equal(found.logits, expected.logits)
    (found.depth.mean() + found.logits.square().mean()).backward()
    for direction in switches:
        weights = getattr(coupled.network, direction).convolutions.parameters()
        assert all(weight.grad.abs().max() > 0 for weight in weights), direction
        assert not any(
            weight.requires_grad for weight in getattr(uncoupled.network, direction).parameters())


def test_a_recipe_trains_frozen_encoders_and_new_classes(folders, caplog):
    """With another number of classes the classifier is new, which the log says."""
    config = hub.read_config(folders())
    for branch in ('depth', 'semantics'):
        config.arguments[branch]['freeze_encoder'] = True
    config.label_space = LabelSpace.load('kitti6').to_dict()
    model = build_model(config).train()
    assert 'fresh weights for decode_head.classifier' in caplog.text
    output = model(torch.rand(2, 3, 64, 96))
    assert output.logits.shape[1] == 6
    (output.depth.mean() + output.logits.square().mean()).backward()
    for name, weight in model.named_parameters():
        learns = 'encoder.' not in name and '_to_' not in name
        assert (weight.grad is not None) == learns, name


def test_a_pair_runs_in_the_predictor(folders):
    """Its metres stay as they are, whatever the camera."""
    predictor = Predictor(folders(), device='cpu')
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    depths = [
        predictor.predict(Frame(image, np.array([[f, 0, 32], [0, f, 24], [0, 0, 1.0]]))).depth
        for f in (50.0, 500.0)]
    np.testing.assert_array_equal(depths[0], depths[1])
    assert np.nanmax(depths[0]) <= 80


def test_the_config_is_read_without_weights(folders, tmp_path):
    """Short of them it says everything."""
    for name in ('depth', 'labels'):
        (tmp_path / name / 'model.safetensors').unlink()
    config = hub.read_config(folders())
    assert config.architecture == 'sync'
    assert config.arguments['depth'] == {
        'kind': 'transformers_depth', 'pretrained': str(tmp_path / 'depth')}
    assert config.arguments['semantics']['pretrained'] == str(tmp_path / 'labels')
    assert (config.mean, config.std) == ([0.0] * 3, [1.0] * 3)
    assert config.canonical_focal is None
    assert config.depth_range[1] == 80
    assert config.label_space == LabelSpace.load('cityscapes19').to_dict()
    with pytest.raises(FileNotFoundError, match='weights as safetensors'):
        hub.load(folders())


def test_a_folder_with_a_plus_is_that_folder(small_model, tmp_path):
    """Rather than a pair."""
    folder = tmp_path / 'mine+yours'
    folder.symlink_to(small_model)
    assert hub.load(folder).config == hub.load(small_model).config


@pytest.mark.parametrize(('name', 'message'), [
    ('depth-anything-v3-small+segformer-b0', "no depth model 'depth-anything-v3-small'.*"
     'depth-anything-v2-base, .*glpn-kitti'),
    ('glpn-kitti+segformer-b9', "no segmentation model 'segformer-b9'.*eomt-large.*segformer-b0"),
    ('segformer-b0+glpn-kitti', 'segformer-b0 is a segmentation model, expected a depth model'),
    ('glpn-kitti+glpn-kitti', 'glpn-kitti is a depth model, expected a segmentation model'),
    ('glpn-kitti+', 'expected a depth model, a \\+ and a segmentation model'),
    ('a/b+c/d+e/f', 'expected a depth model, a \\+ and a segmentation model'),
    ('dpt-large@far+segformer-b0', 'expected @SCALE, @SCALE,SHIFT or @metric'),
    ('dpt-large@1,2,3+segformer-b0', 'expected @SCALE, @SCALE,SHIFT or @metric'),
])
def test_names_that_are_no_pair_are_refused(name, message):
    """Before anything is fetched."""
    with pytest.raises(ValueError, match=message):
        hub.read_config(name)


def test_wrong_models_are_refused(folders, tmp_path):
    """A relative one without a scale, and the two the wrong way round."""
    save_depth(tmp_path / 'relative', 'dpt')
    with pytest.raises(ValueError, match=f'not metres.*{tmp_path}/relative@SCALE'):
        hub.load(f'{tmp_path}/relative+{tmp_path}/labels')
    with pytest.raises(ValueError, match='already gives metres'):
        hub.load(folders('@30'))
    with pytest.raises(ValueError, match='segmentation.*depth'):
        hub.load(f'{tmp_path}/labels+{tmp_path}/depth')


def test_without_internet_the_message_says_what_was_asked_for(offline):
    """The hub id behind the short name."""
    with pytest.raises(ConnectionError, match='Depth-Anything-V2-Metric-Outdoor-Small-hf'):
        hub.load('depth-anything-v2-small+segformer-b0')


def test_classes_named_as_those_of_cityscapes_are_its_space():
    """However they are written."""
    written = [name.replace(' ', '_').title() for name in CITYSCAPES]
    space = pair.make_label_space(dict(enumerate(written)), 'x')
    assert space.to_dict() == LabelSpace.load('cityscapes19').to_dict()


def test_other_classes_make_a_space_of_their_own():
    """Related to street scenes by name; with colours of their own."""
    names = ['wall', 'sky', 'floor, flooring', 'person, individual', 'Traffic-Light', 'floor']
    space = pair.make_label_space(dict(enumerate([*names, 'floor'])), 'mine')
    assert space.names == ('wall', 'sky', 'floor, flooring', 'person, individual',
                           'Traffic-Light', 'floor 5', 'floor 6')
    driving = LabelSpace.load('driving')
    matches = {
        space.names[i]: driving.names[j]
        for i, j in zip(*np.nonzero(correspondence(space, driving)))}
    assert matches == {'wall': 'wall', 'sky': 'sky', 'person, individual': 'person',
                       'Traffic-Light': 'traffic light'}
    assert space.infinite.tolist() == [False, True, False, False, False, False, False]
    assert space.dynamic.tolist() == [False, False, False, True, False, False, False]
    assert LabelSpace.from_dict(space.to_dict()).to_dict() == space.to_dict()
    indoors = pair.make_label_space({0: 'bed', 1: 'sofa'}, 'mine')
    assert indoors.pivot is None


def test_as_many_classes_as_there_are_ids():
    """Have a colour each; one more is refused."""
    most = pair.make_label_space({i: f'class {i}' for i in range(254)}, 'mine')
    assert max(Counter(map(tuple, most.colors.tolist())).values()) == 1
    assert most.colors.any(axis=1).all()
    with pytest.raises(ValueError, match='255.*254'):
        pair.make_label_space({i: f'class {i}' for i in range(255)}, 'mine')


@pytest.mark.parametrize(('index', 'color'), [
    (0, [0, 0, 0]), (1, [128, 0, 0]), (2, [0, 128, 0]), (4, [0, 0, 128]), (8, [64, 0, 0]),
    (15, [192, 128, 128]), (20, [0, 64, 128]), (255, [224, 224, 192])])
def test_colors_are_those_of_pascal_voc(index, color):
    """Background, aeroplane, bicycle, boat, cat, person, TV monitor, and void."""
    assert pair.voc_color(index) == color
