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


"""A pretrained joint model, against the library's own forward pass."""

from __future__ import annotations

import json
import logging
from pathlib import Path
import shutil

import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.models.huggingface import pair
from sync_perception.models.perception_model import PerceptionModel
from tiny_segmenters import save_joint, save_segmenter, TIPSV2
import torch
from torch.nn import functional

NAMES = ['wall', 'building', 'sky', 'floor', 'tree']


def build(source: Path, label_space: dict | None = None, **arguments) -> PerceptionModel:
    """Build a model in evaluation mode, whose images come in [-1, 1]."""
    space = label_space or pair.make_label_space(dict(enumerate(NAMES)), 'tiny').to_dict()
    config = ModelConfig(
        'transformers_joint', {'pretrained': str(source), **arguments}, space)
    return build_model(config).eval()


def noise(*size: int) -> torch.Tensor:
    """Return the same images in [0, 1] each time."""
    return torch.rand(size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('size', [(56, 84), (56, 56)])
def test_its_maps_are_the_library_s_resized_to_the_image(size, tmp_path):
    """The library's normals, which point left, up and to the camera, negated."""
    reference, model = save_joint(tmp_path, NAMES), build(tmp_path)
    image = noise(2, 3, *size)
    with torch.no_grad():
        expected = reference(image)  # its processor does not normalise
        found = model(image * 2 - 1)
    assert expected.predicted_depth.shape[1:] == tuple(side * 8 // 14 for side in size)

    def resize(maps: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(maps, size=size, mode='bilinear')

    close = {'rtol': 1e-3, 'atol': 1e-3}
    depth = resize(expected.predicted_depth[:, None])
    torch.testing.assert_close(found.depth, depth, **close)
    assert depth.min() >= TIPSV2['min_depth']
    assert depth.max() <= TIPSV2['max_depth']
    torch.testing.assert_close(found.logits, resize(expected.segmentation_logits), **close)
    normals = resize(expected.normals / expected.normals.norm(dim=1, keepdim=True))
    torch.testing.assert_close(
        found.normals, -normals / normals.norm(dim=1, keepdim=True), **close)
    assert found.log_variance is None


def test_an_image_that_patches_do_not_fill_is_resized(tmp_path):
    """To the nearest multiple of 14, and the maps back."""
    reference, model = save_joint(tmp_path, NAMES), build(tmp_path)
    image = noise(1, 3, 60, 90)
    with torch.no_grad():
        seen = functional.interpolate(image, size=(56, 84), mode='bilinear')
        depth = functional.interpolate(
            reference(seen).predicted_depth[:, None], size=(60, 90), mode='bilinear')
        found = model(image * 2 - 1)
    torch.testing.assert_close(found.depth, depth, rtol=1e-3, atol=1e-3)
    assert {tuple(maps.shape[2:]) for maps in found.maps().values()} == {(60, 90)}


def test_a_saved_model_needs_its_source_no_more(tmp_path):
    """The folder says all."""
    save_joint(tmp_path / 'source', NAMES)
    model = build(tmp_path / 'source')
    hub.save(model, tmp_path / 'model')
    shutil.rmtree(tmp_path / 'source')
    loaded = hub.load(tmp_path / 'model')
    assert loaded.config == model.config
    assert 'pretrained' not in loaded.config.arguments
    image = noise(2, 3, 56, 84)
    with torch.no_grad():
        expected = model(image).maps()
        for name, maps in loaded(image).maps().items():
            assert torch.equal(maps, expected[name]), name


def test_another_number_of_classes_makes_one_layer_new(tmp_path, caplog):
    """And the log names it."""
    save_joint(tmp_path, NAMES)
    with caplog.at_level(logging.WARNING):
        same = build(tmp_path)
        assert not caplog.records
        other = build(tmp_path, LabelSpace.load('driving').to_dict())
    assert 'segmentation_decoder.head' in caplog.text
    new = other.network.state_dict()
    assert {name for name, weight in same.network.state_dict().items()
            if new[name].shape != weight.shape or not torch.equal(new[name], weight)} == {
        'labels.decoder.head.weight', 'labels.decoder.head.bias'}


def test_the_backbone_can_be_frozen(tmp_path):
    """Then the three heads learn, and all of them."""
    save_joint(tmp_path, NAMES)
    model = build(tmp_path, freeze_encoder=True).train()
    maps = model(noise(2, 3, 56, 84)).maps()
    sum(values.square().mean() for values in maps.values()).backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) != name.startswith('network.encoder.'), name


def test_other_models_are_refused(tmp_path):
    """By what they are."""
    save_segmenter(tmp_path / 'segformer', 'segformer')
    with pytest.raises(ValueError, match="'segformer'.*tipsv2_dpt"):
        build(tmp_path / 'segformer')
    save_joint(tmp_path / 'joint', NAMES)
    path = tmp_path / 'joint' / 'config.json'
    path.write_text(json.dumps(
        {**json.loads(path.read_text()), 'architectures': ['Tipsv2DptForDepthEstimation']}))
    with pytest.raises(ValueError, match='depth.*joint'):
        build(tmp_path / 'joint')
    with pytest.raises(ValueError, match='config.*pretrained'):
        build(tmp_path / 'joint', config=TIPSV2)


def test_it_is_loaded_by_a_short_name(tmp_path, monkeypatch):
    """As the published ones are, whose name means a place on the hub."""
    save_joint(tmp_path, NAMES)
    monkeypatch.setitem(pair.JOINT_MODELS, 'tipsv2-b14', str(tmp_path))
    model = hub.load('tipsv2-b14')
    assert model.labels.names == tuple(NAMES)
    config = hub.read_config('tipsv2-b14')
    assert config.canonical_focal is None
    assert config.depth_range == [0.1, TIPSV2['max_depth']]
    assert config.arguments == {'pretrained': str(tmp_path)}
    image = noise(1, 3, 56, 84)
    with torch.no_grad():
        assert torch.allclose(model(image).depth, build(tmp_path)(image * 2 - 1).depth, atol=1e-3)
    hub.save(model, tmp_path / 'saved')
    with torch.no_grad():
        assert torch.equal(hub.load(tmp_path / 'saved')(image).logits, model(image).logits)


def test_a_folder_of_the_library_is_loaded_as_what_it_is(tmp_path):
    """Joint by itself, or refused with what to do instead."""
    save_joint(tmp_path / 'joint', NAMES)
    save_segmenter(tmp_path / 'segformer', 'segformer')
    assert hub.load(tmp_path / 'joint').labels.name == 'joint'
    with pytest.raises(ValueError, match="'segformer'.*DEPTH.SEGMENTATION"):
        hub.load(tmp_path / 'segformer')
    with pytest.raises(ValueError, match='tipsv2-b14'):
        hub.load('tipsv2-b14+segformer-b0')
