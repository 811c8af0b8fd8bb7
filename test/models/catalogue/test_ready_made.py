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


"""Ready-made architectures: each can be built, is what its name says, and trains by its recipe."""

from __future__ import annotations

import pytest
from sync_perception.models import build_model
from sync_perception.models.catalogue.cost import count_parameters, measure_cost
from sync_perception.models.catalogue.ready_made import CATALOGUE, find_architecture
from sync_perception.models.catalogue.stored_costs import COST_SIZES, stored_costs
from sync_perception.models.hub import read_config
from sync_perception.models.huggingface.pretrained_configs import CONFIGS, offline
from sync_perception.resources import default_model_folder
import torch
import yaml

# millions of parameters as their authors give them, a classifier of 1000 classes not counted
PUBLISHED = {
    'depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf': 24.8,
    'depth-anything/Depth-Anything-V2-Metric-Outdoor-Base-hf': 97.5,
    'depth-anything/Depth-Anything-V2-Metric-Outdoor-Large-hf': 335.3,
    'vinvino02/glpn-kitti': 61.2,
    'nvidia/segformer-b0-finetuned-cityscapes-1024-1024': 3.8,
    'nvidia/segformer-b2-finetuned-cityscapes-1024-1024': 27.5,
    'nvidia/segformer-b5-finetuned-cityscapes-1024-1024': 84.7,
    'facebook/mask2former-swin-small-cityscapes-semantic': 68.7,
    'microsoft/resnet-50': 25.56 - 2.05,
    'facebook/convnextv2-tiny-22k-224': 28.6 - 0.77,
    'microsoft/swin-tiny-patch4-window7-224': 28.3 - 0.77,
    'facebook/dinov2-small': 22.1,
}
SMALL = ['mobile-unet', 'mobile-unet-all', 'mobile-unet-depth', 'refinenet', 'unet-resnet-tiny']


@pytest.mark.parametrize('name', [name for name in CATALOGUE if 'eomt' not in name])
def test_every_architecture_runs(name):
    """Without anything pretrained at hand, and it gives what its name lets one expect."""
    if find_architecture(name).needs_transformers:
        pytest.importorskip('transformers')
    cost = measure_cost(find_architecture(name).config(), [(64, 96)])
    assert cost.flops[64, 96] > 3e7
    expected = {'depth'} if name.endswith('-depth') else (
        {'labels'} if name.endswith('-labels') else {'depth', 'labels'})
    if name.endswith('-all'):
        expected |= {'normals', 'uncertainty'}
    if name in ('mobile-unet', 'efficientvit-b0-mobile-unet'):
        expected |= {'uncertainty'}
    if name.startswith('tipsv2'):
        expected |= {'normals'}
    assert set(cost.tasks) == expected


@pytest.mark.parametrize('name', PUBLISHED)
def test_pretrained_models_have_their_published_size(name):
    """So the shapes that are listed here are theirs; segmenters counted for 150 classes."""
    pytest.importorskip('transformers')
    from sync_perception.models.huggingface.base import to_config
    from transformers import (
        AutoModel,
        AutoModelForDepthEstimation,
        AutoModelForSemanticSegmentation,
        AutoModelForUniversalSegmentation,
    )
    kinds = {'depth_anything': AutoModelForDepthEstimation, 'glpn': AutoModelForDepthEstimation,
             'segformer': AutoModelForSemanticSegmentation,
             'mask2former': AutoModelForUniversalSegmentation}
    config = to_config({'num_labels': 150, **CONFIGS[name]})
    with torch.device('meta'):
        model = kinds.get(config.model_type, AutoModel).from_config(config)
    millions = sum(weight.numel() for weight in model.parameters()) / 1e6
    assert millions == pytest.approx(PUBLISHED[name], rel=0.01, abs=0.06)


@pytest.mark.parametrize('name, parameters', [
    ('refinenet-kitti6', 2_991_687), ('refinenet-nyud40', 3_070_057)])
def test_refinenet_has_its_published_size(name, parameters):
    """To the unit."""
    assert measure_cost(find_architecture(name).config(), [(64, 96)]).parameters == parameters


@pytest.mark.parametrize('name, millions', [
    ('unet-resnet-base', 2 * 30), ('unet-convnext-base', 2 * 56)])
def test_the_papers_unets_have_about_their_published_size(name, millions):
    """Which is for either branch, without the couplings."""
    parameters = measure_cost(find_architecture(name).config(), [(64, 96)]).parameters
    assert parameters == pytest.approx(millions * 1e6, rel=0.04)


def test_the_default_model_is_listed():
    """Its weights have the names and shapes of the first architecture."""
    shipped = build_model(read_config(default_model_folder()))
    listed = build_model(find_architecture(next(iter(CATALOGUE))).config())
    shapes = [{name: weight.shape for name, weight in model.state_dict().items()}
              for model in (shipped, listed)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize('name', SMALL)
def test_a_recipe_trains_what_is_listed(name):
    """The YAML holds the arguments of the training module, and makes the same network."""
    pytest.importorskip('lightning')
    from sync_perception.training.module import SynchronisedLearning
    module = SynchronisedLearning(**yaml.safe_load(find_architecture(name).recipe())['model'])
    listed = build_model(find_architecture(name).config())
    assert count_parameters(module.model) == count_parameters(listed)
    assert module.model.config.arguments == listed.config.arguments


def test_recipes_name_pretrained_weights():
    """The list is made without them, a recipe with them."""
    entry = find_architecture('depth-anything-v2-small+segformer-b0')
    recipe = yaml.safe_load(entry.recipe())['model']
    assert recipe['arguments']['depth']['pretrained'] in CONFIGS
    assert recipe['canonical_focal'] is None
    assert 'pretrained' not in str(entry.config().arguments)


def test_pairs_carry_the_names_of_their_models():
    """A name of the list means the same two models as it does to the node."""
    pair = pytest.importorskip('sync_perception.models.huggingface.pair')
    for name, entry in CATALOGUE.items():
        if '+' in name:
            depth, semantics = name.split('+')
            assert entry.arguments['depth']['pretrained'] == pair.DEPTH_MODELS[depth]
            assert entry.arguments['semantics']['pretrained'] == (
                pair.SEGMENTATION_MODELS[semantics])


def test_unknown_names_are_refused():
    """The message lists what there is."""
    with pytest.raises(ValueError, match="'unet'"):
        find_architecture('unet')
    with pytest.raises(ValueError, match="'some/model' is not known"):
        offline({'depth': {'kind': 'transformers_depth', 'pretrained': 'some/model'}})


@pytest.mark.timeout(300)
@pytest.mark.parametrize('name', [
    pytest.param(name, marks=() if name in SMALL else pytest.mark.exhaustive)
    for name in CATALOGUE])
def test_stored_costs_are_those_that_are_counted(name):
    """If not: `sync_perception models --count NAME`."""
    assert name in stored_costs()
    if find_architecture(name).needs_transformers:
        pytest.importorskip('transformers')
    assert measure_cost(find_architecture(name).config(), COST_SIZES) == stored_costs()[name]


def test_no_cost_is_stored_of_what_there_is_not():
    assert set(stored_costs()) == set(CATALOGUE)
