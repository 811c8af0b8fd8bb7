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

"""The training step of the synchronised network on partly annotated images."""

from __future__ import annotations

from collections.abc import Callable
import math
from typing import Any

from kornia import augmentation
import lightning
from sync_perception.labels import candidates, correspondence, LabelSpace
from sync_perception.models import build_model, ModelConfig
from sync_perception.models.interface import present_maps
from sync_perception.runtime.preprocess import normalise
from sync_perception.training.losses.depth import log_gaussian_nll, log_l1, silog
from sync_perception.training.losses.normals import cosine_distance
from sync_perception.training.losses.semantics import grouped_cross_entropy
from sync_perception.types import DenseOutput
import torch
from torch import Tensor
from torch.nn import functional

EXPERT_SPACE = 'cityscapes19'


class SynchronisedLearning(lightning.LightningModule):
    """
    Depth and semantics learned together; each sample contributes what its annotations allow.

    :param architecture: a key of `sync_perception.models.MODELS`.
    :param arguments: the architecture's own arguments.
    :param label_space: what the network speaks; other spaces' labels are matched to it.
    :param input_pixels: area at which the trained network will see images.
    :param depth_range: least and greatest depth of the canonical camera, metres.
    :param canonical_focal: focal length of the canonical camera, pixels; None to learn metres
        whatever the camera.
    :param max_depth: greatest true depth that is learned from, metres.
    :param learning_rate: peak rate of decoders, heads and couplings.
    :param encoder_learning_rate: peak rate of submodules named `encoder`, which may come from
        pretraining.
    :param weight_decay: decoupled, of AdamW.
    :param warmup: share of the training in which the rate rises.
    :param depth_weight: weight of the depth loss (SILog + log L1).
    :param uncertainty_weight: weight of the likelihood of the depth's errors, for a network that
        gives their variance.
    :param normals_weight: weight of 1 - cos(angle) of the normals, for a network that gives them.
    :param semantics_weight: weight of the cross-entropy on true labels.
    :param expert_weight: weight of the cross-entropy on an expert's labels.
    :param expert_confidence: expert labels below this probability are ignored.
    :param class_weights: by class name; the others weigh 1.
    """

    def __init__(
            self, architecture: str, arguments: dict[str, Any], label_space: str = 'driving',
            input_pixels: int = 170_000, depth_range: tuple[float, float] = (0.5, 200.0),
            canonical_focal: float | None = 400.0, max_depth: float = 120.0,
            learning_rate: float = 1e-3, encoder_learning_rate: float = 2e-4,
            weight_decay: float = 1e-2, warmup: float = 0.05,
            depth_weight: float = 1.0, uncertainty_weight: float = 0.1,
            normals_weight: float = 1.0, semantics_weight: float = 1.0,
            expert_weight: float = 0.5, expert_confidence: float = 0.6,
            class_weights: dict[str, float] | None = None):
        super().__init__()
        self.save_hyperparameters()
        space = LabelSpace.load(label_space)
        self.model = build_model(ModelConfig(
            architecture=architecture, arguments=arguments, label_space=space.to_dict(),
            input_pixels=input_pixels, depth_range=list(depth_range),
            canonical_focal=canonical_focal))
        self.space = space
        self.class_weights = torch.ones(len(space))
        for name, weight in (class_weights or {}).items():
            self.class_weights[space.index(name)] = weight
        self.groups: dict[str, Tensor] = {}
        self.candidates: dict[str, Tensor] = {}
        self.photometric = augmentation.AugmentationSequential(
            augmentation.ColorJiggle(0.3, 0.3, 0.3, 0.04, p=0.8),
            augmentation.RandomGrayscale(p=0.05),
            augmentation.RandomGaussianBlur((5, 5), (0.1, 1.5), p=0.1),
            data_keys=['input'])

    def setup(self, stage: str) -> None:
        """Lay the weights out as the fast convolutions want them."""
        self.model.to(memory_format=torch.channels_last)

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the weighted sum of the losses that the batch's annotations allow."""
        output = self.model(self.augmented_input(batch['image']))
        output = resized(output, batch['labels'].shape[-2:])
        losses = {}
        if output.depth is not None:
            losses['depth'] = self.depth_loss(output, batch)
        if output.log_variance is not None:
            losses['uncertainty'] = self.uncertainty_loss(output, batch)
        if output.normals is not None:
            losses['normals'] = self.normals_loss(output, batch)
        if output.logits is not None:
            losses['semantics'] = self.semantic_loss(output, batch)
            losses['expert'] = self.expert_loss(output, batch)
        total = sum(self.hparams[f'{name}_weight'] * loss for name, loss in losses.items())
        self.log_dict({f'train/{name}': loss for name, loss in losses.items()})
        self.log('train/total', total, prog_bar=True)
        if self.global_step % self.trainer.log_every_n_steps == 0:
            self.log_couplings()
        return total

    def augmented_input(self, images_bhw3: Tensor) -> Tensor:
        """Vary the photographs' colours and sharpness, then normalise: (B, 3, H, W)."""
        images = images_bhw3.permute(0, 3, 1, 2).float() / 255
        varied = self.photometric(images).clamp(0, 1) * 255
        config = self.model.config
        return normalise(varied.permute(0, 2, 3, 1).contiguous(), config.mean, config.std)

    def depth_loss(self, output: DenseOutput, batch: dict[str, Any]) -> Tensor:
        """Average SILog + log L1 over the samples that have depth, in the canonical camera."""
        true, valid = self.true_depth(batch)

        def loss(*maps: Tensor) -> Tensor:
            return silog(*maps) + log_l1(*maps)

        return mean_over_samples(loss, output.depth, true, valid)

    def uncertainty_loss(self, output: DenseOutput, batch: dict[str, Any]) -> Tensor:
        """
        Average the negative log-likelihood of the depth's errors over the samples that have depth.

        The depth is held still: the variance learns which errors the depth makes, and what the
        depth learns stays with its own losses. Otherwise this loss would divide the depth's
        gradient by the variance, and so neglect where it errs.
        """
        true, valid = self.true_depth(batch)
        return mean_over_samples(
            log_gaussian_nll, output.depth.detach(), true, valid, output.log_variance.float())

    def normals_loss(self, output: DenseOutput, batch: dict[str, Any]) -> Tensor:
        """Average 1 - cos(angle) over the samples that have normals."""
        true = batch['normals']
        valid = torch.isfinite(true).all(dim=1, keepdim=True)
        return mean_over_samples(cosine_distance, output.normals, true, valid)

    def true_depth(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the true depth in the canonical camera, and where it is learned from."""
        near, far = self.hparams.depth_range
        metres = batch['depth'][:, None]
        true = metres
        if self.hparams.canonical_focal is not None:
            true = metres * (self.hparams.canonical_focal / batch['focal'])[:, None, None, None]
        return true, (true > near) & (true < far) & (metres < self.hparams.max_depth)

    def semantic_loss(self, output: DenseOutput, batch: dict[str, Any]) -> Tensor:
        """Average the cross-entropy on true labels, each in its own label space."""
        total = output.logits.sum() * 0
        for name in sorted(set(batch['space']) - {''}):
            members = torch.tensor(
                [space == name for space in batch['space']], device=output.logits.device)
            total = total + members.float().mean() * self.cross_entropy(
                output.logits[members], batch['labels'][members], name)
        return total

    def expert_loss(self, output: DenseOutput, batch: dict[str, Any]) -> Tensor:
        """Cross-entropy on an expert's labels where it is sure, weighted by its confidence."""
        confidence = batch['expert_confidence']
        confidence = confidence * (confidence >= self.hparams.expert_confidence)
        has_expert = (batch['expert_labels'] != self.space.void).flatten(1).any(dim=1)
        if not has_expert.any():
            return output.logits.sum() * 0
        return has_expert.float().mean() * self.cross_entropy(
            output.logits[has_expert], batch['expert_labels'][has_expert], EXPERT_SPACE,
            confidence[has_expert])

    def cross_entropy(
            self, logits: Tensor, labels: Tensor, space: str, confidence: Tensor | None = None
            ) -> Tensor:
        """
        Compare logits with the labels of another space, through the classes they share.

        A head over several data sets is compared in the classes of that space's part only.
        """
        if space not in self.groups:
            own = LabelSpace.load(space)
            self.groups[space] = torch.from_numpy(correspondence(own, self.space))
            self.candidates[space] = torch.from_numpy(candidates(own, self.space))
        groups = self.groups[space].to(logits.device)
        rivals = None
        if not self.candidates[space].all():
            rivals = self.candidates[space].to(logits.device).expand(len(logits), -1)
        weights = self.class_weights.to(logits.device)
        group_weights = (groups * weights).sum(dim=1) / groups.sum(dim=1).clamp(min=1)
        return grouped_cross_entropy(
            logits.float(), labels, groups, group_weights, confidence, rivals)

    def log_couplings(self) -> None:
        """Log every coupling's norm: a sudden convergence shows when one wakes up."""
        for direction, norms in self.model.network.coupling_norms().items():
            for level, norm in enumerate(norms):
                self.log(f'coupling/{direction}/{level}', norm)

    def configure_optimizers(self) -> dict[str, Any]:
        """
        Return AdamW, slower for the encoders, with warm-up and cosine annealing.

        :raises ValueError: if everything is frozen.
        """
        encoders, rest = [], []
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                (encoders if of_encoder(name) else rest).append(parameter)
        rates = [self.hparams.encoder_learning_rate, self.hparams.learning_rate]
        groups = [{'params': p, 'lr': r} for p, r in zip((encoders, rest), rates) if p]
        if not groups:
            raise ValueError('the network has nothing to learn: all of its weights are frozen')
        optimizer = torch.optim.AdamW(groups, weight_decay=self.hparams.weight_decay)
        steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warm_cosine(step / steps, self.hparams.warmup))
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': scheduler, 'interval': 'step'}}


def mean_over_samples(loss: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """
    Average a loss over the samples of a batch.

    :param loss: of the maps of one sample; 0 where nothing is valid.
    :param maps: (B, ., h, w).
    """
    samples = zip(*(values.split(1) for values in maps))
    return torch.stack([loss(*sample) for sample in samples]).mean()


def of_encoder(name: str) -> bool:
    """Say of a parameter's name whether it is below an `encoder` that is no part of a decoder."""
    path = name.split('.')
    return 'encoder' in path and 'decoder' not in path[:path.index('encoder')]


def resized(output: DenseOutput, size: tuple[int, int]) -> DenseOutput:
    """Bring all maps to one size, bilinearly; what has it already stays as it is."""
    return DenseOutput(**{
        name: values if values.shape[-2:] == size else functional.interpolate(
            values, size=size, mode='bilinear', align_corners=False)
        for name, values in present_maps(output).items()})


def warm_cosine(progress: float, warmup: float) -> float:
    """
    Share of the peak learning rate: a linear rise, then half a cosine down to zero.

    :param progress: share of the training that is done.
    :param warmup: share of the training in which the rate rises.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * min((progress - warmup) / (1 - warmup), 1)))
