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


"""Ready-made architectures by name, for recipes and the `models` command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TYPE_CHECKING

from sync_perception.labels import LabelSpace
from sync_perception.models.huggingface.pretrained_configs import offline
import yaml

if TYPE_CHECKING:
    from sync_perception.models.config import ModelConfig

MOBILE = {'kind': 'mobile_unet'}
FOR_PRETRAINED = {'canonical_focal': None, 'depth_range': [0.1, 80.0]}


@dataclass(frozen=True)
class Entry:
    """
    A ready-made architecture.

    :param summary: one-line description.
    :param architecture: a key of `sync_perception.models.MODELS`.
    :param arguments: the architecture's arguments; pretrained models by their hub ids.
    :param label_space: label space of the listed entry.
    :param settings: other settings of a training recipe's `model` that differ from the defaults.
    """

    summary: str
    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    label_space: str = 'driving'
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def needs_transformers(self) -> bool:
        """Return whether it is built with the transformers library."""
        kinds = [self.architecture, *(
            branch.get('kind', '') for branch in self.arguments.values()
            if isinstance(branch, dict))]
        return any(kind.startswith(('transformers', 'backbone')) for kind in kinds)

    def config(self) -> ModelConfig:
        """Return the config of this architecture with random weights; nothing is downloaded."""
        from sync_perception.models.config import ModelConfig  # imports torch: seconds
        settings = {key: value for key, value in self.settings.items()
                    if key in ('canonical_focal', 'depth_range')}
        return ModelConfig(
            self.architecture, offline(self.arguments),
            LabelSpace.load(self.label_space).to_dict(), **settings)

    def recipe(self) -> str:
        """Return the YAML of a training recipe's `model`."""
        return yaml.safe_dump({'model': {
            'architecture': self.architecture, 'arguments': self.arguments,
            'label_space': self.label_space, **self.settings}}, sort_keys=False)


def twins(summary: str, branch: dict[str, Any], **arguments: Any) -> Entry:
    """Return the entry of a synchronised network of two equal branches."""
    return Entry(summary, 'sync', {'depth': {**branch}, 'semantics': {**branch}, **arguments})


def unet(block: str, size: str, note: str = '') -> Entry:
    """Return the entry of two synchronised DDPM-style UNets."""
    return twins(f'two UNets of {block} blocks, {size}{note}',
                 {'kind': 'unet', 'block': block, 'size': size})


def backbone(pretrained: str, name: str) -> Entry:
    """Return the entry of two light UNets with a backbone of the transformers library."""
    return twins(f'two light UNets around {name}',
                 {'kind': 'backbone_unet', 'pretrained': pretrained})


def pretrained_pair(depth: str, semantics: str, summary: str) -> Entry:
    """Return the entry of two pretrained models with couplings."""
    return Entry(summary, 'sync', {
        'depth': {'kind': 'transformers_depth', 'pretrained': depth},
        'semantics': {'kind': 'transformers_segmentation', 'pretrained': semantics}},
        settings=FOR_PRETRAINED)


DEPTH_ANYTHING = 'depth-anything/Depth-Anything-V2-Metric-Outdoor-{}-hf'
SEGFORMER = 'nvidia/segformer-b{}-finetuned-cityscapes-1024-1024'

CATALOGUE: dict[str, Entry] = {
    'efficientvit-b0-mobile-unet': Entry(
        'EfficientViT-B0 for labels at full size, a light UNet for depth at two thirds of it: the '
        'default model',
        'sync', {'depth': {**MOBILE, 'image_scale': 2 / 3},
                 'semantics': {'kind': 'efficientvit'}, 'uncertainty': True}),
    'mobile-unet': twins(
        'two light UNets on MobileNetV2', MOBILE, uncertainty=True),
    'mobile-unet-all': twins(
        'the same, with uncertainty and normals', MOBILE, uncertainty=True, normals=True),
    'mobile-unet-uncoupled': twins(
        'the same two networks without synchronisation', MOBILE,
        depth_to_semantics=False, semantics_to_depth=False),
    'mobile-unet-depth': Entry(
        'its depth network alone', 'sync', {'depth': MOBILE, 'semantics': None}),
    'mobile-unet-labels': Entry(
        'its semantic network alone', 'sync', {'depth': None, 'semantics': MOBILE}),
    'efficientvit-b0': twins(
        'two EfficientViT-B0 with their segmentation heads', {'kind': 'efficientvit'}),
    'efficientvit-b1': twins('the same with B1', {'kind': 'efficientvit', 'variant': 'b1'}),
    'unet-resnet-tiny': unet('resnet', 'tiny'),
    'unet-resnet-small': unet('resnet', 'small'),
    'unet-resnet-base': unet('resnet', 'base', " (the paper's)"),
    'unet-convnext-base': unet('convnext', 'base', " (the paper's)"),
    'unet-vit-base': unet('vit', 'base', " (the paper's)"),
    'refinenet': Entry(
        'Light-Weight RefineNet on MobileNetV2', 'refinenet'),
    'refinenet-kitti6': Entry(
        'the same for 6 classes, as published', 'refinenet', label_space='kitti6'),
    'refinenet-nyud40': Entry(
        'the same for 40 classes, as published', 'refinenet', label_space='nyud40'),
    'refinenet-all': Entry(
        'the same with normals and uncertainty', 'refinenet',
        {'normals': True, 'uncertainty': True}),
    'padnet-resnet50': Entry(
        'two decoders on ResNet-50 with distillation', 'padnet', {'backbone': 'resnet50'}),
    'padnet-resnet101': Entry(
        'two decoders on ResNet-101 with distillation', 'padnet', {'backbone': 'resnet101'}),
    'unet-on-resnet50': backbone('microsoft/resnet-50', 'ResNet-50'),
    'unet-on-convnextv2-tiny': backbone('facebook/convnextv2-tiny-22k-224', 'ConvNeXt V2 tiny'),
    'unet-on-swin-tiny': backbone('microsoft/swin-tiny-patch4-window7-224', 'Swin tiny'),
    'unet-on-dinov2-small': backbone('facebook/dinov2-small', 'DINOv2 small'),
    'depth-anything-v2-small+segformer-b0': pretrained_pair(
        DEPTH_ANYTHING.format('Small'), SEGFORMER.format(0),
        'Depth Anything V2 small, SegFormer B0'),
    'depth-anything-v2-base+segformer-b2': pretrained_pair(
        DEPTH_ANYTHING.format('Base'), SEGFORMER.format(2),
        'Depth Anything V2 base, SegFormer B2'),
    'depth-anything-v2-large+segformer-b5': pretrained_pair(
        DEPTH_ANYTHING.format('Large'), SEGFORMER.format(5),
        'Depth Anything V2 large, SegFormer B5'),
    'glpn-kitti+segformer-b0': pretrained_pair(
        'vinvino02/glpn-kitti', SEGFORMER.format(0), 'GLPN, SegFormer B0'),
    'depth-anything-v2-small+mask2former-swin-small': pretrained_pair(
        DEPTH_ANYTHING.format('Small'), 'facebook/mask2former-swin-small-cityscapes-semantic',
        'Depth Anything V2 small, Mask2Former'),
    'depth-anything-v2-small+eomt-large': pretrained_pair(
        DEPTH_ANYTHING.format('Small'), 'tue-mps/cityscapes_semantic_eomt_large_1024',
        'Depth Anything V2 small, EoMT large'),
    'tipsv2-b14': Entry(
        'TIPSv2 with DPT heads: one encoder, three tasks', 'transformers_joint',
        {'pretrained': 'google/tipsv2-b14-dpt'}, settings=FOR_PRETRAINED),
}


def find_architecture(name: str) -> Entry:
    """
    Return an architecture by its name.

    :raises ValueError: if the name is unknown; the message lists the known ones.
    """
    if name not in CATALOGUE:
        raise ValueError(f'no architecture {name!r}, expected one of: {", ".join(CATALOGUE)}')
    return CATALOGUE[name]
