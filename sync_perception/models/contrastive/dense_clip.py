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

"""
Contrastive model that scores the fit of a depth map and a label map, trained like CLIP.

Source: Sinha and Panda, "Synchronized learning of depth estimation and semantic segmentation",
section 3.1; the towers are those of Radford et al., arXiv:2103.00020.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
import math
import operator
from pathlib import Path
from typing import Any, ClassVar

from sync_perception.files.checks import flag, mapping, number, optional, several, text
from sync_perception.labels import correspondence, LabelSpace, VOID
from sync_perception.models.contrastive.vision_towers import (
    build_tower,
    describe_tower,
    tower_settings,
)
from sync_perception.models.storage import folder as folders
from sync_perception.models.storage.folder import FolderConfig, FolderModel
import torch
from torch import nn, Tensor
from torch.nn import functional

ENCODINGS = ('colors', 'one_hot')
UNKNOWN = (1.0, 0.0, 1.0)  # colour of unknown depth: known depth is grey
FIRST_SCALE = 1 / 0.07
GREATEST_SCALE = 100.0
# CLIP's normalisation, per channel
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def log_share(depth: Tensor, near: float, far: float) -> Tensor:
    """Return depth on a logarithmic scale: 0 at near, 1 at far."""
    return (torch.log(depth) - math.log(near)) / (math.log(far) - math.log(near))


def disparity_share(depth: Tensor, near: float, far: float) -> Tensor:
    """Return depth on an inverse scale: 0 at far, 1 at near."""
    return (1 / depth - 1 / far) / (1 / near - 1 / far)


# Inverses of `sync_perception.models.interface.DEPTH_FORMS`.
DEPTH_SHARES: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    'log': log_share,
    'disparity': disparity_share,
}


@dataclass
class ContrastiveConfig(FolderConfig):
    """
    Configuration of a contrastive model.

    :param label_space: description of the label space, as `LabelSpace.to_dict` returns it.
    :param tower: a key of `vision_towers.TOWERS`, or settings of its own by name (`SETTINGS`);
        None for that of `pretrained`, or else `base`.
    :param shared: whether depth and labels share one tower.
    :param encoding: `colors` draws labels in the colours of their space; `one_hot` learns the
        colours, starting from these.
    :param depth_form: `log` or `disparity`, the scale by which depth is drawn in grey.
    :param depth_range: depth range in metres; depth outside is clamped. It refers to the camera,
        canonical or not, of the input depth maps.
    :param pretrained: a CLIP model to start from: a folder or a hub id with safetensors, such as
        `openai/clip-vit-large-patch14`; environment variables are expanded.
    :param record: how the model was trained; for human readers.
    """

    checks: ClassVar = {
        'label_space': LabelSpace.from_dict, 'tower': optional(tower_settings), 'shared': flag,
        'encoding': text(ENCODINGS), 'depth_form': text(DEPTH_SHARES),
        'depth_range': several(number(1e-6, 1e6), 2, order=operator.lt),
        'pretrained': optional(text()), 'record': mapping}

    label_space: dict[str, Any]
    tower: str | dict[str, Any] | None = None
    shared: bool = True
    encoding: str = 'colors'
    depth_form: str = 'log'
    depth_range: list[float] = field(default_factory=lambda: [1.0, 80.0])
    pretrained: str | None = None
    record: dict[str, Any] = field(default_factory=dict)


class ContrastiveModel(FolderModel):
    """
    Embedding of depth maps and label maps, in which those of the same view are close.

    Both are drawn as colour images at the towers' input size and pass through a CLIP vision tower
    with its linear projection. A 1x1 convolution maps one-hot labels to three channels, so that
    one tower can serve both inputs and CLIP's own weights fit.

    :param config: configuration of the model.
    :raises ValueError: if a name in the config is unknown or the pretrained model is no CLIP.
    """

    config_type = ContrastiveConfig

    def __init__(self, config: ContrastiveConfig):
        super().__init__()
        if isinstance(config, dict):
            config = ContrastiveConfig.from_dict(config)
        self.labels = LabelSpace.from_dict(config.label_space)
        names = ['shared'] if config.shared else ['depth', 'labels']
        self.towers = nn.ModuleDict(
            {name: build_tower(config.tower, config.pretrained) for name in names})
        self.depth_tower, self.label_tower = names[0], names[-1]
        palette = torch.from_numpy(self.labels.colors / 255).float().T[..., None, None]
        self.palette = nn.Parameter(palette, requires_grad=config.encoding == 'one_hot')
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))
        self.register_buffer('mean', torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer('std', torch.tensor(STD)[:, None, None], persistent=False)
        self.register_buffer('unknown', torch.tensor(UNKNOWN)[:, None, None], persistent=False)
        self.config = replace(
            config, pretrained=None, tower=describe_tower(self.towers[self.depth_tower]))

    @property
    def input_size(self) -> tuple[int, int]:
        """Return the height and width of the towers' input."""
        side = self.config.tower['image_size']
        return side, side

    @property
    def scale(self) -> Tensor:
        """Return the factor of the cosines, one over the temperature; at most 100."""
        return self.log_scale.clamp(max=math.log(GREATEST_SCALE)).exp()

    def embed_depth(self, depth_b1hw: Tensor) -> Tensor:
        """
        Embed depth maps; differentiable within the depth range.

        :param depth_b1hw: (B, 1, H, W), metres; inf is sky and drawn as the far end of the range;
            NaN, zero and negative depth is unknown.
        :return: (B, D), of unit length.
        """
        return self._embed(self.depth_image(depth_b1hw), self.depth_tower)

    def embed_labels(self, labels: Tensor) -> Tensor:
        """
        Embed label maps; differentiable through probabilities.

        :param labels: (B, C, H, W), probabilities of the label space's classes (all zero where
            void), or integer (B, H, W), their ids, 255 void.
        :return: (B, D), of unit length.
        """
        return self._embed(self.label_image(labels), self.label_tower)

    def depth_image(self, depth_b1hw: Tensor) -> Tensor:
        """
        Draw depth in grey over the fixed range, and unknown depth in a colour.

        A pixel of the result is known if any depth that it covers is known.

        :return: (B, 3, h, w) in [0, 1], at the input size.
        """
        if depth_b1hw.ndim != 4 or depth_b1hw.shape[1] != 1 or not depth_b1hw.is_floating_point():
            raise ValueError(
                'expected floating-point depth (B, 1, H, W), got '
                f'{depth_b1hw.dtype} {tuple(depth_b1hw.shape)}')
        near, far = self.config.depth_range
        known = depth_b1hw > 0  # NaN is not
        clipped = torch.where(known, depth_b1hw, far).clamp(near, far)
        share = DEPTH_SHARES[self.config.depth_form](clipped, near, far)
        weight = known.to(share.dtype)
        grey, covered = self._fit(share * weight), self._fit(weight)
        present = covered > 1e-3  # the resize rounds
        grey = grey / torch.where(present, covered, 1)
        return torch.where(present, grey, self.unknown.to(grey.dtype))

    def label_image(self, labels: Tensor) -> Tensor:
        """
        Draw labels in their colours, mixed by probability; void is black.

        :return: (B, 3, h, w) in [0, 1], at the input size.
        """
        classes = len(self.labels)
        if labels.ndim == 3 and not labels.is_floating_point():
            return self._fit(self._paint(labels))
        if labels.ndim != 4 or labels.shape[1] != classes or not labels.is_floating_point():
            raise ValueError(
                f'expected probabilities (B, {classes}, H, W) or ids (B, H, W) of the label space '
                f'{self.labels.name!r}, got {labels.dtype} {tuple(labels.shape)}')
        return self._fit(functional.conv2d(labels, self.palette.to(labels.dtype)))

    def similarity(self, depth_b1hw: Tensor, labels: Tensor) -> Tensor:
        """
        Compare each depth map with each label map.

        :return: (B_depth, B_labels), cosines times `scale`: logits of what belongs together.
        """
        return self.scale * self.embed_depth(depth_b1hw) @ self.embed_labels(labels).T

    def score(self, depth_b1hw: Tensor, labels: Tensor) -> Tensor:
        """
        Return the similarity of each depth map with the label map of the same index.

        :return: (B,), cosine in [-1, 1].
        """
        cosine = (self.embed_depth(depth_b1hw) * self.embed_labels(labels)).sum(dim=1)
        return cosine.clamp(-1, 1)

    def forward(self, depth_b1hw: Tensor, labels: Tensor) -> Tensor:
        """Return the score."""
        return self.score(depth_b1hw, labels)

    def _paint(self, labels_bhw: Tensor) -> Tensor:
        classes = len(self.labels)
        foreign = (labels_bhw != VOID) & ((labels_bhw < 0) | (labels_bhw >= classes))
        if foreign.any():
            raise ValueError(
                f'expected ids below {classes}, or {VOID} for void, got '
                f'{labels_bhw[foreign].unique().tolist()}')
        # equals the 1x1 convolution of one-hot vectors, without creating them
        rows = functional.pad(self.palette[..., 0, 0].T, (0, 0, 0, 1))
        return functional.embedding(labels_bhw.long().clamp(max=classes), rows).movedim(-1, 1)

    def _fit(self, image_bchw: Tensor) -> Tensor:
        if image_bchw.shape[-2:] == self.input_size:
            return image_bchw
        image_bchw = image_bchw.to(torch.promote_types(image_bchw.dtype, torch.float32))
        return functional.interpolate(
            image_bchw, self.input_size, mode='bilinear', align_corners=False, antialias=True)

    def _embed(self, image_b3hw: Tensor, tower: str) -> Tensor:
        pixels = (image_b3hw - self.mean) / self.std
        embedding = self.towers[tower](pixels).image_embeds
        at_least_single = torch.promote_types(embedding.dtype, torch.float32)
        return functional.normalize(embedding.to(at_least_single), dim=1)


def class_meanings(source: LabelSpace, target: LabelSpace) -> Tensor:
    """
    Return the table that maps a label space's ids to another's classes: `table[labels]`.

    :return: float32 (256, C_target), probabilities. A coarser class is an even mixture of the
        classes it comprises; a class without counterpart is void, all zero.
    :raises ValueError: if one of the spaces has no relation to street scenes, or the spaces share
        no class.
    """
    matches = torch.from_numpy(correspondence(source, target)).float()
    if not matches.any():
        raise ValueError(
            f'no class of the label space {source.name!r} corresponds to one of {target.name!r}')
    table = torch.zeros(256, len(target))
    table[:len(source)] = matches / matches.sum(dim=1, keepdim=True).clamp(min=1)
    return table


def matched_labels(labels_hw: Tensor, meanings: Tensor) -> Tensor:
    """
    Convert a label map to probabilities of a contrastive model's classes.

    :param labels_hw: integer (H, W), ids of the source space of `meanings`.
    :param meanings: table of `class_meanings`.
    :return: float32 (C, H, W), probabilities, all zero where void.
    """
    return meanings.to(labels_hw.device)[labels_hw.long()].movedim(-1, 0)


def load_contrastive(model: str | Path, device: str | torch.device = 'cpu') -> ContrastiveModel:
    """
    Load a contrastive model's folder, or one on the Hugging Face hub, for inference.

    :raises FileNotFoundError: if the folder is not there or lacks a file.
    :raises ValueError: if the config is not understood or the weights do not fit it.
    """
    return folders.load_folder(ContrastiveModel, model, device)
