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


"""What holds for every architecture, whatever it is inside."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from functools import cache
import multiprocessing

from parity import awaken, difference, differences, parts
import pytest
from sync_perception.models import hub
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.runtime.backends import OpenVinoBackend
import torch
from zoo import build, kinds_first, MODEL_ZOO

TOLERANCE = 1e-4  # of a map's greatest value
# Random weights in which, on processors with AMX, rounding to bfloat16 grows beyond a tenth.
AMPLIFYING = {'depth_anything_segformer', 'glpn', 'segformer'}
KINDS_IN_OPENVINO = ('mobile_unet', 'segformer')
KINDS_OF_PARTS = (
    'unet_resnet', 'mobile_unet', 'backbone_swin', 'padnet (whole)', 'coupled pair')


@cache
def built(name: str) -> PerceptionModel:
    """Build a small model once for all tests, none of which may change it."""
    return build(name)


@pytest.fixture(params=sorted(MODEL_ZOO))
def model(request):
    """Return one small model after the other, for the test alone."""
    copy = deepcopy(built(request.param))
    torch.manual_seed(0)
    return copy


def test_save_and_load_give_the_same_maps_to_the_bit(model, tmp_path):
    """And the same config, with nothing left to fetch."""
    hub.save(model, tmp_path)
    loaded = hub.load(tmp_path)
    assert loaded.config == model.config
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected, found = model(image).maps(), loaded(image).maps()
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


@pytest.mark.parametrize('size', [pytest.param((64, 96), marks=pytest.mark.exhaustive), (50, 71)])
def test_maps_are_whole_fractions_of_any_image(model, size):
    """Two images, of a size that suits the network and of one that does not."""
    with torch.no_grad():
        maps = model(torch.randn(2, 3, *size)).maps()
    channels = {'depth': 1, 'logits': 20, 'normals': 3, 'log_variance': 1}
    for name, values in maps.items():
        factor = round(size[1] / values.shape[3])
        expected = (2, channels[name], *(-(-side // factor) for side in size))
        assert values.shape == expected, name
        assert torch.isfinite(values).all(), name
    assert 'depth' not in maps or (maps['depth'] > 0).all()


def test_every_weight_that_may_learn_gets_a_gradient(model):
    """And none that is frozen."""
    model.train()
    maps = model(torch.randn(2, 3, 64, 96)).maps()
    sum(values.float().square().mean() for values in maps.values()).backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name
        if weight.grad is not None:
            assert torch.isfinite(weight.grad).all(), name


@pytest.mark.parametrize('model', sorted(set(MODEL_ZOO) - AMPLIFYING), indirect=True)
def test_half_the_bits_change_little(model):
    """Under bfloat16 autocast on the CPU; in the mean, since single pixels may tip over."""
    awaken(model)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = model(image).maps()
        with torch.autocast('cpu', torch.bfloat16):
            found = model(image).maps()
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.isfinite(found[name]).all(), name
        off = (found[name].float() - values).abs().mean()
        assert off < 0.1 * values.abs().mean(), name


def test_memory_layout_changes_nothing(model):
    """Weights and images in channels-last order."""
    awaken(model)
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = model(image).maps()
        model.to(memory_format=torch.channels_last)
        found = model(image.to(memory_format=torch.channels_last)).maps()
    assert difference(found, expected) < TOLERANCE


@pytest.mark.timeout(300)
@pytest.mark.parametrize('part', kinds_first(sorted(MODEL_ZOO), KINDS_IN_OPENVINO))
def test_in_openvino_it_computes_the_same(part, shared_cache):
    """Converted for the size that it is given, or once for all sizes."""
    pytest.importorskip('openvino')
    model = build(part)
    awaken(model)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = model(image).maps()
    assert difference(OpenVinoBackend(model)(image).maps(), expected) < TOLERANCE


@pytest.fixture(scope='module')
def outcomes(request):
    """
    Compile and export, in processes of their own, the parts that the chosen tests ask about.

    It takes seconds for each of them, however small, and keeps one core busy.
    """
    asked = {item.callspec.params['part'] for item in request.session.items
             if 'outcomes' in getattr(item, 'fixturenames', ()) and hasattr(item, 'callspec')}
    with ProcessPoolExecutor(
            max_workers=2, mp_context=multiprocessing.get_context('spawn')) as pool:
        futures = {part: pool.submit(differences, part) for part in parts() if part in asked}
        yield futures
        for future in futures.values():
            future.cancel()


@pytest.mark.timeout(300)
@pytest.mark.parametrize('way', ['compiled', 'exported', 'onnx'])
@pytest.mark.parametrize('part', kinds_first(parts(), KINDS_OF_PARTS))
def test_compiled_and_exported_it_computes_the_same(outcomes, part, way):
    """
    Without graph breaks, with any number of images, in onnxruntime.

    Of the zoo each part once: every branch alone, every network that has none, a coupled pair.
    """
    if way != 'compiled':
        pytest.importorskip('onnxruntime')
    found = outcomes[part].result()
    assert found['spread'] > 1e-3, 'the maps are flat: they would show no difference'
    assert not isinstance(found[way], str), found[way]
    assert found[way] < TOLERANCE
