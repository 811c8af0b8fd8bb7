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

"""The UNet: its size by hand-computed formulas, its shapes, its reach, its refusals."""

from __future__ import annotations

import pytest
from sync_perception.models.unet.ddpm_unet import UNet
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Make weights and inputs the same in every run."""
    torch.manual_seed(0)


def conv(i: int, o: int, k: int, groups: int = 1) -> int:
    """Count a k x k convolution with bias."""
    return k * k * i * o // groups + o


def shortcut(i: int, o: int) -> int:
    """Count the 1x1 convolution of a block that changes the width."""
    return 0 if i == o else conv(i, o, 1)


def resnet(i: int, o: int) -> int:
    """Count two 3x3 convolutions, each with a GroupNorm's scale and offset."""
    return conv(i, o, 3) + conv(o, o, 3) + 2 * 2 * o + shortcut(i, o)


def convnext(i: int, o: int) -> int:
    """Count 7x7 depthwise, GroupNorm, 3x3 to twice the width, GroupNorm, 3x3 back."""
    body = conv(i, i, 7, i) + 2 * i + conv(i, 2 * o, 3) + 2 * 2 * o + conv(2 * o, o, 3)
    return body + shortcut(i, o)


def vit(i: int, o: int) -> int:
    """Count position, two LayerNorms, attention of o / 32 heads of 32, and an MLP of 4 x o."""
    inner = max(1, o // 32) * 32
    attention = conv(o, 3 * inner, 1) + conv(inner, o, 1)
    mlp = conv(o, 4 * o, 1) + conv(4 * o, o, 1)
    return shortcut(i, o) + conv(o, o, 3, o) + 2 * 2 * o + attention + mlp


def linear_attention(d: int) -> int:
    """Count the pre-norm, 4 heads of 32 without bias, the way back and its GroupNorm."""
    return 2 * d + 3 * 128 * d + conv(128, d, 1) + 2 * d


def full_attention(d: int) -> int:
    """Count the pre-norm, 4 heads of 32 without bias and the way back."""
    return 2 * d + 3 * 128 * d + conv(128, d, 1)


def stage(block, i: int, o: int) -> int:
    """Count a level: two blocks and a linear attention."""
    return block(i, o) + block(o, o) + linear_attention(o)


def paper_parameters(block, out_channels: int) -> int:
    """Count the reference size, level by level: dim 64, multipliers 1, 2, 4, 8."""
    encoder = (conv(3, 64, 7) + stage(block, 64, 64) + stage(block, 64, 128)
               + stage(block, 128, 256) + stage(block, 256, 512)
               + conv(64, 64, 4) + conv(128, 128, 4) + conv(256, 256, 4))
    middle = block(512, 512) + full_attention(512) + block(512, 512)
    decoder = (stage(block, 1024, 256) + stage(block, 512, 128) + stage(block, 256, 64)
               + conv(256, 256, 4) + conv(128, 128, 4) + conv(64, 64, 4))
    head = block(128, 64) + conv(64, out_channels, 1)
    return encoder + middle + decoder + head


@pytest.mark.parametrize('kind, block, millions', [
    ('resnet', resnet, 30), ('convnext', convnext, 56), ('vit', vit, 21)])
def test_base_has_the_papers_parameters(kind, block, millions):
    """The formulas agree to the last weight, and with the published 30 M and 56 M."""
    with torch.device('meta'):
        unet = UNet(14, kind, 'base')
    count = sum(weight.numel() for weight in unet.parameters())
    assert count == paper_parameters(block, 14)
    assert count / 1e6 == pytest.approx(millions, abs=0.6)


@pytest.mark.parametrize('kind', ['resnet', 'convnext', 'vit'])
@pytest.mark.parametrize('size', ['tiny', 'small'])
def test_features_and_map_have_the_promised_shapes(kind, size):
    """Every feature has the channels and stride that the branch announces."""
    unet = UNet(5, kind, size).eval()
    image = torch.randn(2, 3, 3 * unet.multiple, 5 * unet.multiple)
    with torch.no_grad():
        features = unet.encode(image)
        raw = unet.decode(features)
    assert [tuple(f.shape) for f in features] == [
        (2, c, image.shape[2] // s, image.shape[3] // s)
        for c, s in zip(unet.channels, unet.strides)]
    assert raw.shape == (2, 5, *image.shape[2:])


def test_base_announces_the_papers_levels():
    """Dim 64, multipliers 1, 2, 4, 8, and the bottleneck."""
    with torch.device('meta'):
        unet = UNet(1, size='base')
    assert unet.channels == (64, 128, 256, 512, 512)
    assert unet.strides == (1, 2, 4, 8, 8)
    assert unet.multiple == 8


def test_explicit_widths_replace_the_size():
    """Dim and multipliers may be given one by one, down to a single level."""
    assert UNet(1, dim=8, multipliers=[1, 3]).channels == (8, 24, 24)
    assert UNet(1, size='tiny', dim=8).channels == (8, 16, 32, 32)
    single = UNet(2, dim=8, multipliers=(2,))
    assert single.multiple == 1
    assert single(torch.randn(1, 3, 5, 7)).shape == (1, 2, 5, 7)


@pytest.mark.parametrize('kind', ['resnet', 'convnext', 'vit'])
def test_every_weight_learns(kind):
    """All parameters get a finite gradient from the map."""
    unet = UNet(2, kind, dim=8, multipliers=(1, 2))
    unet(torch.randn(1, 3, 16, 16)).square().mean().backward()
    for name, weight in unet.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def test_the_decoder_uses_every_feature():
    """No skip is stored in vain, the one at full resolution included."""
    unet = UNet(2, size='tiny')
    features = [f.detach().requires_grad_() for f in unet.encode(torch.randn(1, 3, 16, 16))]
    unet.decode(features).square().mean().backward()
    for stride, feature in zip(unet.strides, features):
        assert feature.grad.abs().sum() > 0, f'stride {stride}'


def test_overfits_one_image():
    """Sixty steps of Adam bring the error on one small image below a twentieth."""
    unet = UNet(1, dim=8, multipliers=(1, 2))
    image = torch.randn(1, 3, 16, 16)
    target = image.mean(dim=1, keepdim=True).flip(-1)
    optimiser = torch.optim.Adam(unet.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = (unet(image) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


def test_map_moves_with_the_image():
    """
    An object on an empty ground, moved by whole strides, moves the map.

    All attention here is global and blind to position, so only the borders are left out.
    """
    unet = UNet(1, dim=8, multipliers=(1, 2)).eval()
    image = torch.zeros(1, 3, 144, 144)
    image[..., 68:76, 68:76] = torch.randn(3, 8, 8)
    with torch.no_grad():
        moved = unet(torch.roll(image, (4, -2), (2, 3)))[..., 42:-42, 42:-42]
        still = unet(image)
    expected = torch.roll(still, (4, -2), (2, 3))[..., 42:-42, 42:-42]
    assert (expected - still[..., 42:-42, 42:-42]).abs().max() > 0.1
    torch.testing.assert_close(moved, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize('arguments, message', [
    ({'block': 'resnext'}, "unknown block 'resnext'.*resnet, convnext, vit"),
    ({'size': 'huge'}, "unknown size 'huge'.*tiny, small, base"),
    ({'out_channels': 0}, 'output channel, got 0'),
    ({'dim': 12}, 'multiple of 8, got 12'),
    ({'multipliers': []}, r'multiplier a level.*got \(\)'),
    ({'multipliers': (1, 0)}, r'multiplier a level.*got \(1, 0\)'),
])
def test_bad_arguments_are_named(arguments, message):
    """A message says what was got and what was expected."""
    with pytest.raises(ValueError, match=message):
        UNet(**{'out_channels': 1, **arguments})


@pytest.mark.parametrize('shape', [(1, 3, 30, 32), (1, 4, 32, 32), (3, 32, 32), (1, 3, 0, 32)])
def test_bad_images_are_refused(shape):
    """The network pads nothing itself: sizes that do not divide are the caller's mistake."""
    unet = UNet(1, size='tiny')
    with pytest.raises(ValueError, match='multiples of 4, got'):
        unet.encode(torch.zeros(shape))


def test_a_missing_feature_is_refused():
    """Decode wants all that encode gave."""
    unet = UNet(1, size='tiny')
    features = unet.encode(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match='4 features.*3'):
        unet.decode(features[:3])
