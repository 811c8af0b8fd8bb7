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


"""Pretrained segmentation models as branches, against the library's own model and processor."""

from __future__ import annotations

import json
import logging
from pathlib import Path
import shutil

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import build_branch, build_model, hub, ModelConfig
from sync_perception.models.huggingface.base import IMAGENET_NORMALISATION
from sync_perception.models.interface import Interface
from sync_perception.models.sync import SyncNet
from tiny import save_depth
from tiny_segmenters import CLASSES, save_segmenter, SEGMENTERS
import torch
from torch.nn import functional
from transformers import EomtImageProcessorPil, Mask2FormerImageProcessorPil

KINDS = sorted(SEGMENTERS)
SIZE = (64, 64)  # EoMT in the library takes its own square alone


def build(pretrained: Path, out_channels: int = CLASSES, **arguments):
    """Build a branch in evaluation mode."""
    return build_branch(
        out_channels, 'transformers_segmentation', pretrained=str(pretrained), **arguments).eval()


def noise(*size: int) -> torch.Tensor:
    """Return the same images each time."""
    return torch.randn(size, generator=torch.Generator().manual_seed(1))


def test_segformer_s_logits_are_the_library_s_to_the_bit(tmp_path):
    """A quarter of the image, and features at strides 4, 8, 16 and 32."""
    reference, branch = save_segmenter(tmp_path, 'segformer'), build(tmp_path)
    image = noise(2, 3, 64, 96)
    with torch.no_grad():
        features = branch.encode(image)
        logits = branch.decode(features)
        assert torch.equal(logits, reference(image).logits)
    assert logits.shape == (2, CLASSES, 16, 24)
    assert [tuple(f.shape[1:]) for f in features] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(branch.channels, (4, 8, 16, 32))]
    assert branch.multiple == 32


@pytest.mark.parametrize('kind', ['mask2former', 'eomt', 'eomt_unmasked'])
def test_the_queries_semantic_map_is_the_library_s(kind, tmp_path):
    """The logarithm of the sum over queries, its classes those of the library's processor."""
    reference, branch = save_segmenter(tmp_path, kind), build(tmp_path)
    image = noise(2, 3, *SIZE)
    with torch.no_grad():
        outputs = reference(image)
        logits = branch(image)
    assert logits.shape == (2, CLASSES, 16, 16)
    shares = sum(
        outputs.class_queries_logits.softmax(-1)[:, query, :-1, None, None]
        * outputs.masks_queries_logits.sigmoid()[:, query, None]
        for query in range(outputs.masks_queries_logits.shape[1]))
    torch.testing.assert_close(logits.exp(), shares, rtol=1e-4, atol=1e-5)
    # at a size that the processor's own resizing leaves as it is, by copies of each pixel
    copies = 384 // 16
    outputs.masks_queries_logits = enlarge(outputs.masks_queries_logits, copies)
    if kind == 'mask2former':
        classes = Mask2FormerImageProcessorPil().post_process_semantic_segmentation(outputs)
    else:
        classes = EomtImageProcessorPil().post_process_semantic_segmentation(
            outputs, [(384, 384)] * 2, size={'shortest_edge': 384, 'longest_edge': 384})
    expected = torch.stack(classes)
    assert len(expected.unique()) > 1
    assert torch.equal(enlarge(logits, copies).argmax(1), expected)


def enlarge(maps: torch.Tensor, copies: int) -> torch.Tensor:
    """Repeat each pixel of the last two dimensions."""
    return maps.repeat_interleave(copies, -2).repeat_interleave(copies, -1)


def test_eomt_of_another_size_has_its_positions_interpolated(tmp_path):
    """As the library's model of that size whose position embeddings were resized before."""
    reference, branch = save_segmenter(tmp_path / 'small', 'eomt'), build(tmp_path / 'small')
    larger = save_segmenter(tmp_path / 'large', 'eomt', image_size=96)
    weights = reference.state_dict()
    positions = weights['embeddings.position_embeddings.weight'].T.reshape(1, -1, 4, 4)
    weights['embeddings.position_embeddings.weight'] = functional.interpolate(
        positions, size=(6, 6), mode='bicubic')[0].flatten(1).T
    larger.load_state_dict(weights)
    image = noise(1, 3, 96, 96)
    with torch.no_grad():
        expected = larger(image)
        logits = branch(image)
    shares = torch.einsum(
        'bqc,bqhw->bchw', expected.class_queries_logits.softmax(-1)[..., :-1],
        expected.masks_queries_logits.sigmoid())
    torch.testing.assert_close(logits.exp(), shares, rtol=1e-4, atol=1e-5)
    assert branch(noise(1, 3, 32, 80)).shape == (1, CLASSES, 8, 20)


@pytest.mark.parametrize('kind', ['segformer', 'mask2former'])
def test_an_image_is_seen_as_the_library_s_processor_shows_it(kind, tmp_path):
    """Through a model with a normalisation of its own, from the same 8-bit image."""
    settings = {'image_mean': [0.4, 0.5, 0.3], 'image_std': [0.2, 0.25, 0.3]}
    reference = save_segmenter(tmp_path, kind, **settings)
    branch = build(tmp_path)
    assert branch.normalisation == tuple(map(tuple, settings.values()))
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    # SegFormer's, which does the same to an image, wants torchvision in older versions
    processor = Mask2FormerImageProcessorPil(**settings)
    shown = processor(pixels, do_resize=False, return_tensors='pt')['pixel_values']
    interface = Interface(CLASSES, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    network = SyncNet(None, branch, interface).eval()
    arriving = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255 * 2 - 1
    with torch.no_grad():
        found = network(arriving).logits
        expected = reference(shown)
    if kind == 'segformer':
        torch.testing.assert_close(found, expected.logits, rtol=1e-4, atol=1e-4)
    else:
        shares = torch.einsum(
            'bqc,bqhw->bchw', expected.class_queries_logits.softmax(-1)[..., :-1],
            expected.masks_queries_logits.sigmoid())
        torch.testing.assert_close(found.exp(), shares, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_a_saved_model_needs_its_source_no_more(kind, tmp_path):
    """The folder says all; the masks of EoMT's last blocks, read off its weights, included."""
    save_segmenter(tmp_path / 'source', kind)
    source = {'kind': 'transformers_segmentation', 'pretrained': str(tmp_path / 'source')}
    space = {**LabelSpace.load('driving').to_dict()}
    space['classes'] = space['classes'][:CLASSES]
    model = build_model(
        ModelConfig('sync', {'depth': None, 'semantics': source}, space, mean=[0.3] * 3)).eval()
    image = noise(2, 3, 64, 96)
    with torch.no_grad():
        expected = model(image).logits
    hub.save(model, tmp_path / 'model')
    shutil.rmtree(tmp_path / 'source')
    config = json.loads((tmp_path / 'model' / 'config.json').read_text())
    assert 'pretrained' not in config['arguments']['semantics']
    loaded = hub.load(tmp_path / 'model')
    with torch.no_grad():
        assert torch.equal(loaded(image).logits, expected)
    assert loaded.config == model.config


@pytest.mark.parametrize('kind', KINDS)
def test_another_number_of_classes_makes_the_classifier_new_and_nothing_else(
        kind, tmp_path, caplog):
    """And the log names it."""
    save_segmenter(tmp_path, kind)
    with caplog.at_level(logging.WARNING):
        other = build(tmp_path, out_channels=CLASSES + 2)
    assert 'classifier' in caplog.text or 'class_predictor' in caplog.text
    assert other(noise(1, 3, *SIZE)).shape[1] == CLASSES + 2
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        same = build(tmp_path)
    assert not caplog.records
    new = other.state_dict()
    for name, weight in same.state_dict().items():
        if 'classifier' in name:
            assert new[name].shape != weight.shape, name
        else:
            assert torch.equal(new[name], weight), name


@pytest.mark.parametrize('kind', KINDS)
def test_the_encoder_can_be_frozen(kind, tmp_path):
    """Then all but the encoder learns; else all of it does."""
    save_segmenter(tmp_path, kind)
    for frozen in (False, True):
        branch = build(tmp_path, freeze_encoder=frozen).train()
        branch(noise(2, 3, *SIZE)).square().mean().backward()
        for name, weight in branch.named_parameters():
            learns = not (frozen and name.startswith('encoder.'))
            assert (weight.grad is not None) == learns, name


def test_mask2former_waits_for_no_device_in_training(tmp_path):
    """Its layers' check for infinities is off; with dropout they are in training all the same."""
    config = {**SEGMENTERS['mask2former'], 'dropout': 0.1}
    save_segmenter(tmp_path, 'mask2former')
    still = build(tmp_path).train().decoder
    moving = build_branch(5, 'transformers_segmentation', config=config).train().decoder
    layers = 'pixel_decoder.encoder.layers.0'
    assert not still.get_submodule(layers).training
    assert moving.get_submodule(layers).training
    assert still.transformer.training


def test_without_a_processor_the_library_s_normalisation_holds(tmp_path):
    """ImageNet's, for all three."""
    for kind in KINDS:
        save_segmenter(tmp_path / kind, kind)
        assert build(tmp_path / kind).normalisation == IMAGENET_NORMALISATION


def test_other_models_are_refused(tmp_path):
    """By what they are, and with what there is."""
    save_depth(tmp_path / 'depth', 'glpn')
    with pytest.raises(ValueError, match="'glpn'.*mask2former"):
        build(tmp_path / 'depth')
    with pytest.raises(ValueError, match="'upernet'.*mask2former"):
        build_branch(5, 'transformers_segmentation', config={'model_type': 'upernet'})
    with pytest.raises(ValueError, match='config.*pretrained'):
        build_branch(5, 'transformers_segmentation')
    save_segmenter(tmp_path / 'segformer', 'segformer')
    path = tmp_path / 'segformer' / 'config.json'
    description = {**json.loads(path.read_text()),
                   'architectures': ['SegformerForImageClassification']}
    path.write_text(json.dumps(description))
    with pytest.raises(ValueError, match='SegformerForImageClassification.*segmentation'):
        build(tmp_path / 'segformer')
    with pytest.raises(ValueError, match='each of 2 blocks'):
        build_branch(
            5, 'transformers_segmentation', config=SEGMENTERS['eomt'], masked=[True, False, True])
