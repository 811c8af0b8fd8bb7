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

"""The contrastive model: what its towers see, what they give, and the folder it is."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.models.contrastive import dense_clip as contrastive
from sync_perception.models.contrastive.dense_clip import ContrastiveConfig, ContrastiveModel
from sync_perception.models.storage.folder import save_folder
import torch

transformers = pytest.importorskip('transformers')

TOWER = {
    'image_size': 28, 'patch_size': 14, 'hidden_size': 16, 'intermediate_size': 32,
    'num_hidden_layers': 2, 'num_attention_heads': 2, 'projection_dim': 8}
SPACE = LabelSpace.load('camvid11')
INF, NAN = float('inf'), float('nan')


def build(**settings) -> ContrastiveModel:
    """Build a small model with the same weights each time."""
    torch.manual_seed(0)
    settings = {'tower': TOWER, **settings}
    return ContrastiveModel(ContrastiveConfig(SPACE.to_dict(), **settings)).eval()


def draw(batch: int = 3, size: tuple[int, int] = (20, 36)) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw depth within the range and soft labels."""
    torch.manual_seed(1)
    depth = torch.rand(batch, 1, *size) * 60 + 2
    return depth, torch.randn(batch, len(SPACE), *size).mul(3).softmax(dim=1)


@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize('encoding', ['colors', 'one_hot'])
def test_scores_are_the_cosines_of_unit_vectors(shared, encoding):
    model = build(shared=shared, encoding=encoding)
    depth, probabilities = draw()
    with torch.no_grad():
        of_depth, of_labels = model.embed_depth(depth), model.embed_labels(probabilities)
        similarity, score = model.similarity(depth, probabilities), model(depth, probabilities)
    assert of_depth.shape == of_labels.shape == (3, 8)
    torch.testing.assert_close(of_depth.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(of_labels.norm(dim=1), torch.ones(3))
    cosines = torch.cosine_similarity(of_depth[:, None], of_labels[None], dim=2)
    torch.testing.assert_close(similarity, cosines / 0.07)
    torch.testing.assert_close(score, cosines.diag())


def test_the_scale_never_exceeds_a_hundred():
    model = build()
    model.log_scale.data.fill_(9.0)
    assert model.scale.item() == pytest.approx(100)
    model.log_scale.data.fill_(math.log(100))
    model.scale.backward()
    assert model.log_scale.grad.item() == pytest.approx(100, rel=1e-4)  # d exp(x) / dx


def test_labels_embed_as_their_colours_do_in_clip(tmp_path):
    """A label map is an image: transformers' own model gives the same embedding."""
    vision = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(**TOWER)).eval()
    vision.save_pretrained(tmp_path)
    model = build(tower=None, pretrained=str(tmp_path))
    ids = np.random.default_rng(0).integers(0, len(SPACE), (2, 28, 28)).astype(np.uint8)
    ids[0, :5] = 255
    processor = transformers.CLIPImageProcessorPil if hasattr(
        transformers, 'CLIPImageProcessorPil') else transformers.CLIPImageProcessor
    pixels = processor(do_resize=False, do_center_crop=False)(
        images=[SPACE.colorize(labels) for labels in ids], return_tensors='pt')['pixel_values']
    with torch.no_grad():
        expected = vision(pixels).image_embeds
        got = model.embed_labels(torch.from_numpy(ids))
    torch.testing.assert_close(got, expected / expected.norm(dim=1, keepdim=True))


@pytest.mark.parametrize('form, expected', [
    ('log', [0, 0, 0.5, 1, 1, 1]),
    ('disparity', [1, 1, 1 / 11, 0, 0, 0]),  # (1/10 - 1/100) / (1 - 1/100)
])
def test_depth_becomes_grey_over_a_fixed_range(form, expected):
    """Nearer than 1 m as 1 m, farther than 100 m, and the sky, as 100 m."""
    model = build(depth_form=form, depth_range=[1.0, 100.0])
    depth = torch.tensor([0.3, 1, 10, 100, 655.35, INF]).repeat_interleave(28 * 28)
    image = model.depth_image(depth.view(6, 1, 28, 28))
    expected = torch.tensor(expected)[:, None, None, None].expand(6, 3, 28, 28)
    torch.testing.assert_close(image, expected)


@pytest.mark.parametrize('unknown', [NAN, 0, -1])
def test_unknown_depth_has_a_colour_of_its_own(unknown):
    depth = torch.full((1, 1, 28, 28), 20.0)
    depth[..., :10] = unknown
    image = build().depth_image(depth)
    known = math.log(20) / math.log(80)
    assert (image[..., :10] == torch.tensor([1.0, 0, 1])[:, None, None]).all()
    torch.testing.assert_close(image[..., 10:], torch.full((1, 3, 28, 18), known))


def test_unknown_depth_takes_no_part_in_a_resize():
    """A sparse map, as a scanner gives, keeps the depth of its points."""
    depth = torch.full((1, 1, 280, 280), NAN)
    depth[..., ::7, ::7] = 20.0
    image = build().depth_image(depth)
    torch.testing.assert_close(image, torch.full_like(image, math.log(20) / math.log(80)))


def test_ids_mean_what_their_probabilities_mean():
    for encoding in ('colors', 'one_hot'):
        model = build(encoding=encoding)
        model.palette.data += 0.1
        ids = torch.randint(0, len(SPACE), (2, 40, 30))
        ids[:, 3:9] = 255
        probabilities = torch.stack([(ids == c).float() for c in range(len(SPACE))], dim=1)
        for labels in (ids, ids.to(torch.uint8)):
            torch.testing.assert_close(
                model.label_image(labels), model.label_image(probabilities))


def test_mixed_labels_have_mixed_colours():
    probabilities = torch.zeros(1, len(SPACE), 28, 28)
    probabilities[:, 2], probabilities[:, 5] = 0.25, 0.5  # the rest is void, black
    expected = (0.25 * SPACE.colors[2].astype(float) + 0.5 * SPACE.colors[5]) / 255
    image = build().label_image(probabilities)
    np.testing.assert_allclose(image[0, :, 7, 7].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize('size', [(28, 28), (61, 200), (9, 12)])
def test_gradients_reach_both_inputs(size):
    """At every pixel, whatever the size, where the map is not unknown or out of range."""
    depth, probabilities = draw(2, size)
    depth[0, 0, 0, 0], depth[0, 0, 0, 1], depth[0, 0, 0, 2] = NAN, INF, 90
    depth.requires_grad_()
    probabilities.requires_grad_()
    build()(depth, probabilities).sum().backward()
    assert torch.isfinite(depth.grad).all()
    assert (depth.grad[0, 0, 0, :3] == 0).all()
    assert (depth.grad[1] != 0).float().mean() > 0.95
    assert (probabilities.grad != 0).float().mean() > 0.95


def test_which_weights_learn():
    """All of both towers; the palette only where labels are one-hot."""
    depth, probabilities = draw()
    for settings, towers in (({}, 1), ({'shared': False, 'encoding': 'one_hot'}, 2)):
        model = build(**settings)
        assert len(model.towers) == towers
        loss = model.similarity(depth, probabilities).square().mean()
        loss.backward()
        learning = {name for name, weight in model.named_parameters() if weight.grad is not None}
        everything = {name for name, _ in model.named_parameters()}
        assert everything - learning == (set() if settings else {'palette'})


@pytest.mark.parametrize('settings', [
    {}, {'shared': False, 'encoding': 'one_hot', 'depth_form': 'disparity'}])
def test_folders_round_trip_exactly(tmp_path, settings):
    model = build(**settings, record={'steps': 3})
    save_folder(model, tmp_path, card='# Pairs')
    loaded = contrastive.load_contrastive(tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    depth, probabilities = draw()
    with torch.no_grad():
        assert torch.equal(loaded(depth, probabilities), model(depth, probabilities))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'README.md', 'config.json', 'model.safetensors']


def test_a_saved_model_needs_no_pretrained_one(tmp_path):
    vision = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**TOWER))
    vision.save_pretrained(tmp_path / 'clip')
    model = build(tower=None, pretrained=str(tmp_path / 'clip'))
    save_folder(model, tmp_path / 'model')
    config = json.loads((tmp_path / 'model' / 'config.json').read_text())
    assert config['pretrained'] is None
    assert config['tower'].items() >= TOWER.items()
    (tmp_path / 'clip' / 'model.safetensors').unlink()
    ours = contrastive.load_contrastive(tmp_path / 'model').state_dict()
    theirs = model.state_dict()
    assert all(torch.equal(weight, ours[name]) for name, weight in theirs.items())


def test_two_kinds_of_folder_are_told_apart(tmp_path, small_model):
    save_folder(build(), tmp_path)
    with pytest.raises(ValueError, match="missing keys.*'architecture'"):
        hub.load(tmp_path)
    with pytest.raises(ValueError, match="unknown keys.*'architecture'"):
        contrastive.load_contrastive(small_model)


def test_an_unknown_config_key_is_refused_by_name(tmp_path):
    save_folder(build(), tmp_path)
    path = tmp_path / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'temprature': 1}))
    with pytest.raises(ValueError, match="unknown keys.*'temprature'"):
        contrastive.load_contrastive(tmp_path)


@pytest.mark.parametrize('settings, message', [
    ({'encoding': 'colours'}, "encoding.*colors.*'colours'"),
    ({'depth_form': 'metres'}, "depth_form.*log.*'metres'"),
    ({'depth_range': [80, 1]}, r'depth_range.*rising.*\[80, 1\]'),
    ({'depth_range': [0, 80]}, r'depth_range\[0\]'),
    ({'tower': 'giant'}, "tower.*'giant'"),
])
def test_mistakes_in_a_config_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


@pytest.mark.parametrize('depth', [
    torch.ones(2, 20, 36), torch.ones(2, 3, 20, 36), torch.ones(2, 1, 20, 36, dtype=torch.uint8)])
def test_other_depth_is_refused(depth):
    with pytest.raises(ValueError, match=r'\(B, 1, H, W\)'):
        build().embed_depth(depth)


@pytest.mark.parametrize('labels, message', [
    (torch.ones(2, 19, 20, 36), r'expected probabilities \(B, 11, H, W\).*camvid11.*19, 20, 36'),
    (torch.ones(2, 20, 36), r'expected probabilities \(B, 11, H, W\)'),
    (torch.ones(2, 11, 20, 36, dtype=torch.uint8), 'got torch.uint8'),
    (torch.full((2, 20, 36), 11), r'ids below 11, or 255 for void, got \[11\]'),
    (torch.full((2, 20, 36), -1), r'got \[-1\]'),
])
def test_other_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        build().embed_labels(labels)


def test_compiled_without_graph_breaks():
    model = build()
    depth, probabilities = draw()
    compiled = torch.compile(model, fullgraph=True, backend='eager')
    torch.testing.assert_close(compiled(depth, probabilities), model(depth, probabilities))


def test_half_precision_stays_close():
    model = build()
    depth, probabilities = draw(size=(60, 40))
    with torch.no_grad():
        single = model(depth, probabilities)
        with torch.autocast('cpu', torch.bfloat16):
            half = model(depth, probabilities.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, single, atol=0.03, rtol=0)


def test_exports_with_a_symbolic_batch(tmp_path):
    """As a torch program and as ONNX: the same scores, also for another batch size."""
    runtime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    model, maps, other = build(), draw(2), draw(5)
    expected = model(*other).detach()
    batch = torch.export.Dim('batch', min=2, max=64)
    program = torch.export.export(
        model, maps, dynamic_shapes={'depth_b1hw': {0: batch}, 'labels': {0: batch}})
    torch.testing.assert_close(program.module()(*other), expected)
    torch.onnx.export(program, dynamo=True, verbose=False).save(tmp_path / 'model.onnx')
    session = runtime.InferenceSession(tmp_path / 'model.onnx')
    inputs = {entry.name: values.numpy() for entry, values in zip(session.get_inputs(), other)}
    np.testing.assert_allclose(session.run(None, inputs)[0], expected.numpy(), atol=1e-6)
