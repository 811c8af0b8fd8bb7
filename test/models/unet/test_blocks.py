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

"""Blocks against naive loops, against torch's own attention, and under translation."""

from __future__ import annotations

import math

import pytest
from sync_perception.models.unet.blocks import (
    BLOCKS,
    ConvNextBlock,
    FullAttention,
    LinearAttention,
    ResidualPreNorm,
    ResNetBlock,
    VitBlock,
    WindowAttention,
)
import torch
from torch import nn
from torch.nn import functional as F


@pytest.fixture(autouse=True)
def seeded():
    """Make weights and inputs the same in every run."""
    torch.manual_seed(0)


def naive_softmax(scores: list[float]) -> list[float]:
    """Return exp(score), normalised."""
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize('kind', BLOCKS)
@pytest.mark.parametrize('channels', [(8, 16), (16, 16), (24, 8)])
@pytest.mark.parametrize('size', [(8, 8), (5, 11), (1, 1)])
def test_blocks_keep_the_size_and_set_the_channels(kind, channels, size):
    """Any height and width passes, also one that does not divide into windows."""
    window = {'window': 4, 'shifted': True} if kind == 'vit' else {}
    block = BLOCKS[kind](*channels, **window)
    assert block(torch.randn(2, channels[0], *size)).shape == (2, channels[1], *size)


@pytest.mark.parametrize('make', [
    lambda: ResNetBlock(8, 16), lambda: ConvNextBlock(8, 16), lambda: VitBlock(8, 16, 4, True),
    lambda: VitBlock(8, 16), lambda: ResidualPreNorm(8, LinearAttention(8)),
    lambda: ResidualPreNorm(8, FullAttention(8))])
def test_gradient_reaches_every_weight_and_the_input(make):
    """No layer is left out of the graph, and no gradient is lost to a NaN."""
    block = make()
    x = torch.randn(2, 8, 6, 7, requires_grad=True)
    block(x).square().sum().backward()
    assert x.grad.abs().sum() > 0
    for name, weight in block.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
        # a constant added to all keys of a softmax changes nothing: its gradient is zero
        if not name.endswith('qkv.bias'):
            assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize('attention', [LinearAttention(8), FullAttention(8)],
                         ids=['linear', 'full'])
def test_attention_gradients_agree_with_finite_differences(attention):
    """Queries, keys and values all pass the gradient on, in the right amount."""
    x = torch.randn(1, 8, 2, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(attention.double(), x)


def test_full_attention_equals_torchs_multi_head_attention():
    """nn.MultiheadAttention with the same weights is the independent answer."""
    attention = FullAttention(128)
    torchs = nn.MultiheadAttention(128, 4, batch_first=True)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(attention.qkv.weight[:, :, 0, 0])
        torchs.in_proj_bias.zero_()
        torchs.out_proj.weight.copy_(attention.out.weight[:, :, 0, 0])
        torchs.out_proj.bias.copy_(attention.out.bias)
    x = torch.randn(2, 128, 5, 6)
    tokens = x.flatten(2).transpose(1, 2)
    expected = torchs(tokens, tokens, tokens, need_weights=False)[0]
    torch.testing.assert_close(
        attention(x), expected.transpose(1, 2).unflatten(2, (5, 6)), atol=1e-5, rtol=1e-4)


def test_linear_attention_equals_explicit_loops():
    """Efficient Attention written out, number by number, with Python's own floats."""
    attention = LinearAttention(8)
    attention.out = nn.Identity()
    x = torch.randn(1, 8, 2, 3)
    q, k, v = F.conv2d(x, attention.qkv.weight).reshape(3, 4, 32, 6).tolist()
    expected = torch.zeros(4, 32, 6)
    for head in range(4):
        weights = [naive_softmax(k[head][key]) for key in range(32)]
        for pixel in range(6):
            mix = naive_softmax([q[head][key][pixel] for key in range(32)])
            for value in range(32):
                expected[head, value, pixel] = sum(
                    mix[key] / math.sqrt(32) * sum(
                        weights[key][other] * v[head][value][other] for other in range(6))
                    for key in range(32))
    torch.testing.assert_close(attention(x), expected.reshape(1, 128, 2, 3), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize('automatic', [False, True], ids=['half', 'autocast'])
def test_linear_attention_survives_half_precision(automatic):
    """The keys' weights of 160000 pixels are about 6e-6 each, near the end of float16."""
    attention = LinearAttention(8)
    attention.out = nn.Identity()
    x = torch.randn(1, 8, 400, 400)
    with torch.no_grad():
        exact = attention(x)
        if automatic:
            with torch.autocast('cpu', torch.float16):
                rough = attention(x).float()
        else:
            rough = attention.half()(x.half()).float()
    assert (rough - exact).abs().max() < 5e-3 * exact.abs().max()


@pytest.mark.parametrize('shifted', [False, True])
@pytest.mark.parametrize('size', [(8, 8), (6, 9), (3, 2)])
def test_window_attention_equals_a_loop_over_pixels(shifted, size):
    """Each pixel attends to those of its own window, and never to the padding."""
    attention = WindowAttention(64, window=4, shifted=shifted)
    x = torch.randn(2, *size, 64)
    shift = 2 if shifted else 0
    cells = {(row, column): ((row + shift) // 4, (column + shift) // 4)
             for row in range(size[0]) for column in range(size[1])}
    q, k, v = attention.qkv(x).unflatten(-1, (3, 2, 32)).permute(3, 4, 0, 1, 2, 5)
    expected = torch.empty(2, *size, 2, 32)
    for (row, column), cell in cells.items():
        peers = [pixel for pixel in cells if cells[pixel] == cell]
        rows, columns = zip(*peers)
        scores = torch.einsum('mbc,mbpc->mbp', q[:, :, row, column], k[:, :, rows, columns])
        weights = (scores / math.sqrt(32)).softmax(dim=-1)
        gathered = torch.einsum('mbp,mbpc->bmc', weights, v[:, :, rows, columns])
        expected[:, row, column] = gathered
    torch.testing.assert_close(attention(x), attention.out(expected.flatten(3)),
                               atol=1e-5, rtol=1e-4)


def test_one_window_over_the_image_is_full_attention():
    """A window of the image's size and no window give the same."""
    windowed, full = WindowAttention(32, window=6), WindowAttention(32)
    full.load_state_dict(windowed.state_dict())
    x = torch.randn(1, 6, 6, 32)
    torch.testing.assert_close(windowed(x), full(x))


@pytest.mark.parametrize('block', [ResNetBlock(8, 16), ConvNextBlock(8, 16)],
                         ids=['resnet', 'convnext'])
def test_convolutional_blocks_move_with_the_image(block):
    """An object on an empty ground, moved by (5, -3), moves the features, borders aside."""
    x = torch.zeros(1, 8, 40, 40)
    x[:, :, 17:23, 17:23] = torch.randn(8, 6, 6)
    moved = block(torch.roll(x, (5, -3), (2, 3)))[..., 8:-8, 8:-8]
    expected = torch.roll(block(x), (5, -3), (2, 3))[..., 8:-8, 8:-8]
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('shift, alike', [((4, 8), True), ((1, 0), False)])
def test_windows_move_by_whole_windows_only(shift, alike):
    """Rolling by the window rolls the answer; rolling by one pixel cuts other windows."""
    attention = WindowAttention(32, window=4)
    x = torch.randn(1, 16, 16, 32)
    moved = attention(torch.roll(x, shift, (1, 2)))
    assert torch.allclose(moved, torch.roll(attention(x), shift, (1, 2)), atol=1e-5) is alike


@pytest.mark.parametrize('attention', [LinearAttention(8), FullAttention(8)],
                         ids=['linear', 'full'])
def test_global_attention_knows_no_order(attention):
    """Permuting the pixels permutes the answer: nothing else depends on where they stand."""
    x = torch.randn(1, 8, 4, 5)
    order = torch.randperm(20)
    shuffled = attention(x.flatten(2)[..., order].unflatten(2, (4, 5)))
    torch.testing.assert_close(shuffled.flatten(2), attention(x).flatten(2)[..., order],
                               atol=1e-5, rtol=1e-4)


def test_shifted_block_joins_the_windows():
    """A pixel hears from beyond its first window only once the second block is shifted."""
    def reach(shifted: bool) -> int:
        attend = nn.Sequential(
            WindowAttention(32, 4, False), WindowAttention(32, 4, shifted))
        x = torch.randn(1, 16, 16, 32, requires_grad=True)
        attend(x)[0, 5, 5].sum().backward()
        return int((x.grad.abs().sum(dim=-1) > 0).sum())

    assert reach(False) == 16
    assert reach(True) == 64


def test_bad_arguments_are_named():
    """Channels that GroupNorm cannot split, and windows that hold nothing."""
    with pytest.raises(ValueError, match='multiple of 8, got 12'):
        ResNetBlock(8, 12)
    with pytest.raises(ValueError, match='got 1'):
        WindowAttention(32, window=1)
