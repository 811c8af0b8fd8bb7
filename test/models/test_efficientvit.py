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

"""EfficientViT against the published checkpoint, its tables and plain attention."""

from __future__ import annotations

import runpy

import pytest
from sync_perception.models import build_branch, hub
from sync_perception.models.efficientvit.network import (
    EfficientViT,
    EFFICIENTVIT_SIZES,
    MultiScaleAttention,
    SegmentationHead,
)
from sync_perception.models.exchange.import_weights import import_weights
import torch
from torch import nn

# millions of parameters of encoder and Cityscapes head, as the authors' table gives them
PUBLISHED_PARAMETERS = {'b0': 0.7, 'b1': 4.8, 'b2': 15, 'b3': 40, 'l1': 40, 'l2': 52}


@pytest.fixture
def published(data_root):
    """Return the folder of the published B0 for Cityscapes."""
    return data_root / 'pretrained' / 'efficientvit_b0_cityscapes'


def test_the_imported_folder_computes_what_the_published_network_does(published, tmp_path):
    config = import_weights(published / 'b0.pt', 'efficientvit', tmp_path / 'model')
    assert config.arguments['semantics'] == {'kind': 'efficientvit', 'variant': 'b0'}
    assert config.label_space['name'] == 'cityscapes19'
    reference = runpy.run_path(str(published / 'forward.py'))['EfficientViTB0Seg'](
        published / 'b0.pt')
    image = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = hub.load(tmp_path / 'model')(image).logits
    torch.testing.assert_close(logits, reference(image), atol=1e-5, rtol=1e-5)


def test_classes_beyond_the_published_ones_start_low(published):
    """The 19 known ones keep their scores; a space with fewer classes starts its layer anew."""
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    known, more, fewer = (
        build_branch(classes, 'efficientvit', pretrained=str(published / 'b0.pt')).eval()
        for classes in (19, 20, 7))
    with torch.no_grad():
        logits = more(image)
        torch.testing.assert_close(logits[:, :19], known(image))
        assert (logits[:, 19] < logits[:, :19].amax(dim=1)).all()
        assert fewer(image).shape == (1, 7, 8, 8)
        torch.testing.assert_close(fewer.encode(image), known.encode(image))


def test_a_checkpoint_of_another_variant_is_refused(published):
    with pytest.raises(ValueError, match='encoder.stem'):
        build_branch(19, 'efficientvit', variant='b1', pretrained=str(published / 'b0.pt'))


@pytest.mark.parametrize('name', sorted(EFFICIENTVIT_SIZES))
def test_variants_are_as_large_as_published(name):
    with torch.device('meta'):
        size = EFFICIENTVIT_SIZES[name]
        parts = EfficientViT(size), SegmentationHead(size, 19)
    millions = sum(weight.numel() for part in parts for weight in part.parameters()) / 1e6
    assert millions == pytest.approx(PUBLISHED_PARAMETERS[name], rel=0.025)
    assert parts[0].strides == (2, 4, 8, 16, 32)


def test_linear_attention_is_attention_with_relu_kernels():
    """As the quadratic form computes it, pixel by pixel."""
    torch.manual_seed(0)
    attention = MultiScaleAttention(32, 16, 1e-5)
    qkv = torch.randn(2, 96, 5, 6)
    q, k, v = qkv.reshape(2, 2, 48, 30).double().split(16, dim=2)
    weights = q.relu().transpose(2, 3) @ k.relu()
    expected = v @ (weights / weights.sum(dim=3, keepdim=True)).transpose(2, 3)
    torch.testing.assert_close(
        attention.attend(qkv).double(), expected.reshape(2, 32, 5, 6), atol=1e-5, rtol=1e-4)


def test_attention_keeps_float32_under_autocast():
    """Sums over many pixels overflow float16 and lose what is small in bfloat16."""
    torch.manual_seed(0)
    attention = MultiScaleAttention(16, 16, 1e-5).eval()
    seen = []
    attend = attention.attend
    attention.attend = lambda qkv: seen.append(qkv.dtype) or attend(qkv)
    with torch.autocast('cpu', torch.bfloat16):
        attention(torch.randn(1, 16, 8, 8))
    assert seen == [torch.float32]


def test_frozen_norms_keep_their_statistics():
    branch = build_branch(5, 'efficientvit', frozen_norm=True).train()
    norms = [part for part in branch.modules() if isinstance(part, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    branch(torch.randn(2, 3, 64, 64))
    for norm, mean in zip(norms, before, strict=True):
        assert torch.equal(norm.running_mean, mean)
