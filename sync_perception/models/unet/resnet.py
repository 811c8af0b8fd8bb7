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

"""ResNet (He et al., 2016) as an encoder, compatible with published ImageNet weights."""

from __future__ import annotations

import os
from pathlib import Path
import re
from typing import NamedTuple

from safetensors.torch import load_file
from sync_perception.files.checks import first_line, mapping
from sync_perception.files.whole_files import read_json
from sync_perception.models.storage.hub_files import find_file
import torch
from torch import nn, Tensor
from torch.nn import functional

WIDTHS = (64, 128, 256, 512)
CLASSIFIERS = ('fc.', 'classifier.')
PICKLES = ('.pth', '.pt', '.bin')


class BasicBlock(nn.Module):
    """
    Residual block of two 3x3 convolutions, the first of which strides.

    :param inputs: channels of the input.
    :param width: channels of the output.
    :param stride: stride of the block.
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = make_projection(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, width, h / stride, w / stride)."""
        residual = functional.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return functional.relu(residual + self.downsample(x))


class Bottleneck(nn.Module):
    """
    Residual block: 1x1, 3x3 with stride, 1x1 to four times the width.

    The paper strides in the first 1x1 convolution. Striding in the 3x3, as here, is "v1.5", which
    the published weights use.

    :param inputs: channels of the input.
    :param width: channels of the 3x3 convolution, a quarter of the output's.
    :param stride: stride of the block.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1):
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = make_projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, 4 width, h / stride, w / stride)."""
        residual = functional.relu(self.bn1(self.conv1(x)))
        residual = functional.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return functional.relu(residual + self.downsample(x))


class ResNetLayout(NamedTuple):
    """
    Layout of a ResNet (Table 1 of the paper).

    :param block: class of its blocks.
    :param repeats: number of blocks of each of the four stages.
    """

    block: type[BasicBlock] | type[Bottleneck]
    repeats: tuple[int, int, int, int]


RESNETS = {
    'resnet18': ResNetLayout(BasicBlock, (2, 2, 2, 2)),
    'resnet50': ResNetLayout(Bottleneck, (3, 4, 6, 3)),
    'resnet101': ResNetLayout(Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """
    ResNet without its classifier, with torchvision's parameter names.

    :param kind: a key of RESNETS.
    :param in_channels: channels of the input; 6 for two images.
    :param dilated: whether the last stage dilates instead of striding, and so keeps stride 16; on
        every second pixel the result is the same.
    :param pretrained: source of ImageNet weights, as for `read_weights`.
    :ivar channels: channels of the five features, fine to coarse.
    :ivar strides: strides of the five features, fine to coarse.
    :raises ValueError: for an unknown kind, or weights of another network.
    """

    def __init__(self, kind: str, in_channels: int = 3, dilated: bool = False,
                 pretrained: str | None = None):
        super().__init__()
        if kind not in RESNETS:
            raise ValueError(f'unknown backbone {kind!r}: expected one of {", ".join(RESNETS)}')
        block, repeats = RESNETS[kind]
        self.channels = (WIDTHS[0], *(width * block.expansion for width in WIDTHS))
        self.strides = (2, 4, 8, 16, 16 if dilated else 32)
        self.conv1 = nn.Conv2d(in_channels, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        for stage, (inputs, width, count) in enumerate(zip(self.channels, WIDTHS, repeats)):
            first = block(inputs, width, stride=1 if stage == 0 else 2)
            others = (block(width * block.expansion, width) for _ in range(count - 1))
            self.add_module(f'layer{stage + 1}', nn.Sequential(first, *others))
        if dilated:
            dilate(self.layer4)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        if pretrained is not None:
            self.load_pretrained(pretrained)

    def forward(self, image_bchw: Tensor) -> list[Tensor]:
        """
        Return the stem's feature and those of the four stages, fine to coarse.

        :param image_bchw: (B, in_channels, h, w); ImageNet weights expect ImageNet's
            normalisation.
        :return: features i of (B, channels[i], h / strides[i], w / strides[i]).
        """
        features = [functional.relu(self.bn1(self.conv1(image_bchw)))]
        x = functional.max_pool2d(features[0], 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features

    def load_pretrained(self, source: str) -> None:
        """
        Load published weights.

        For several input images the first convolution's weights are repeated and averaged.

        :param source: source of the weights, as for `read_weights`.
        :raises ValueError: if a tensor is missing, unknown or of another shape, all named.
        """
        own = {name: tensor for name, tensor in self.state_dict().items()
               if not name.endswith('num_batches_tracked')}
        found = read_weights(source)
        wanted, given = own['conv1.weight'], found.get('conv1.weight')
        if given is not None and wanted.shape[1] > given.shape[1] > 0:
            images, rest = divmod(wanted.shape[1], given.shape[1])
            if rest == 0:
                found['conv1.weight'] = given.repeat(1, images, 1, 1) / images
        reshaped = [
            f'{name} {tuple(found[name].shape)} for {tuple(own[name].shape)}'
            for name in own if name in found and found[name].shape != own[name].shape]
        missing, unknown = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
        if missing or unknown or reshaped:
            raise ValueError(
                f'{source}: not the weights of this ResNet: missing {shortened(missing)}, '
                f'unknown {shortened(unknown)}, of another shape {shortened(reshaped)}')
        self.load_state_dict(found, strict=False)


def make_projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Return a strided 1x1 projection with batch norm, or the identity if shapes agree."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def dilate(stage: nn.Module) -> None:
    """Replace a stage's stride of 2 by 1, and dilate the following convolutions by 2."""
    for module in stage.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if module.stride == (2, 2):
            module.stride = (1, 1)
        elif module.kernel_size == (3, 3):
            module.dilation = module.padding = (2, 2)


def shortened(names: list[str]) -> str:
    """Join the first four names and the number of others."""
    more = f' and {len(names) - 4} more' if len(names) > 4 else ''
    return (', '.join(names[:4]) or 'none') + more


def read_weights(source: str) -> dict[str, Tensor]:
    """
    Read a ResNet's weights, without its classifier, by torchvision's names.

    Names of `transformers` are translated. Batch counters, which old files lack, are omitted.

    :param source: a .safetensors file; a .pth, .pt or .bin file with nothing but tensors; a
        folder with model.safetensors, or a model of the Hugging Face hub with one. `~` and
        environment variables are expanded.
    :raises FileNotFoundError: if there is no such file, nor such a model on the hub.
    :raises ValueError: if it holds no tensors by name, or is a ResNet that strides elsewhere.
    """
    path = Path(os.path.expandvars(source)).expanduser()
    if path.suffix not in (*PICKLES, '.safetensors') and not path.is_file():
        path = model_file(path, source)
    if not path.is_file():
        raise FileNotFoundError(f'{source}: no such file')
    try:
        if path.suffix in PICKLES:
            content = torch.load(path, map_location='cpu', weights_only=True)
        else:
            content = load_file(path)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # torch raises many types of errors for damaged archives
        raise ValueError(
            f'{source}: expected a file of nothing but weights: {first_line(error)}') from error
    if isinstance(content, dict) and isinstance(content.get('state_dict'), dict):
        content = content['state_dict']
    if not isinstance(content, dict) or not all(torch.is_tensor(v) for v in content.values()):
        raise ValueError(f'{source}: expected tensors by name, got {type(content).__name__}')
    mapping(content, source)
    named = {torchvision_name(name): tensor for name, tensor in content.items()}
    return {name: tensor for name, tensor in named.items()
            if not name.startswith(CLASSIFIERS) and not name.endswith('num_batches_tracked')}


def model_file(folder: Path, source: str) -> Path:
    """Return the path of model.safetensors in a local folder or on the hub; check its config."""
    config, weights = (
        find_file(str(folder), name) for name in ('config.json', 'model.safetensors'))
    if weights is None:
        raise FileNotFoundError(f'{source}: expected model.safetensors in it')
    description = {} if config is None else read_json(config)
    mapping(description, str(config))
    if description.get('downsample_in_bottleneck'):
        raise ValueError(
            f'{source}: its bottlenecks stride in the first convolution '
            '(downsample_in_bottleneck), expected the second')
    return weights


def torchvision_name(name: str) -> str:
    """Return a tensor's name in torchvision, given its name in transformers or torchvision."""
    name = name.removeprefix('resnet.')
    parts = name.split('.')
    kind = {'convolution': 'conv', 'normalization': 'bn'}.get(parts[-2] if parts[1:] else '')
    if kind is None:
        return name
    if name.startswith('embedder.embedder.'):
        return f'{kind}1.{parts[-1]}'
    match = re.match(r'encoder\.stages\.(\d)\.layers\.(\d+)\.(shortcut|layer\.(\d))\.', name)
    if match is None:
        return name
    block = f'layer{int(match[1]) + 1}.{match[2]}'
    if match[3] == 'shortcut':
        return f'{block}.downsample.{0 if kind == "conv" else 1}.{parts[-1]}'
    return f'{block}.{kind}{int(match[4]) + 1}.{parts[-1]}'
