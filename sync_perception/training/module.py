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

from typing import Any

from kornia import augmentation
import lightning
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, ModelConfig
from sync_perception.models.config import SCALES
from sync_perception.models.interface import Interface
from sync_perception.models.resizing import resize_bilinear
from sync_perception.runtime.preprocess import normalise
from sync_perception.training.feeding.recordings import Measurement
from sync_perception.training.loop.callbacks import SeededSteps, StopWhenNotFinite
from sync_perception.training.loop.optimizer import annealed, learned_parameters
from sync_perception.training.loop.pretrained_parts import Origin, start_from
from sync_perception.training.loop.validation import SourceEvaluation
from sync_perception.training.objectives.feature_reference import FeatureReference
from sync_perception.training.objectives.self_supervised import (
    depth_scales,
    first_depth,
    SelfSupervision,
    SelfSupervisionSettings,
)
from sync_perception.training.objectives.semi_supervised import SemiSupervisedLoss, SemiSupervision
from sync_perception.training.objectives.supervised import Consistency, KINDS, Objective, TASKS
from sync_perception.training.objectives.temporal import (
    TemporalConsistency,
    TemporalConsistencySettings,
)
from sync_perception.training.objectives.weighting import (
    DynamicWeightAverage,
    FixedWeights,
    UncertaintyWeights,
    Weighting,
    WEIGHTINGS,
)
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor


class SynchronisedLearning(lightning.LightningModule):
    """
    Depth and semantics learned together; each sample contributes what its annotations allow.

    :param architecture: a key of `sync_perception.models.MODELS`.
    :param arguments: the architecture's own arguments.
    :param initial: what parts of the network start from, by their names (`depth`,
        `semantics.encoder`): models that learned before.
    :param label_space: what the network speaks; other spaces' labels are matched to it.
    :param input_pixels: area at which the trained network will see images.
    :param depth_range: least and greatest depth of the canonical camera, metres.
    :param canonical_focal: focal length of the canonical camera, pixels; None to learn metres
        whatever the camera.
    :param max_depth: greatest true depth that is learned from, metres.
    :param learning_rate: peak rate of decoders, heads and couplings.
    :param encoder_learning_rate: peak rate of submodules named `encoder`, which may come from
        pretraining.
    :param encoder_layer_decay: each layer of an encoder learns at this share of the next one's
        rate, in (0, 1]; the last one learns at the encoders' rate.
    :param weight_decay: decoupled, of AdamW.
    :param warmup: share of the training in which the rate rises.
    :param depth_losses: weights of the depth's losses within `depth_weight`, by their names in
        `sync_perception.training.losses.DEPTH_LOSSES`.
    :param semantic_losses: likewise of SEMANTIC_LOSSES, for true and for expert labels.
    :param normals_losses: likewise of NORMALS_LOSSES.
    :param depth_weight: weight of the depth losses.
    :param uncertainty_weight: weight of the likelihood of the depth's errors, for a network that
        gives their variance.
    :param ranking_weight: weight of the order of depth at the borders of labels, true ones or an
        expert's: that of true depth, or without it that of the network's own away from them.
    :param ranking_own_borders: probability from which on the network's own labels show the borders
        in samples that have no others; None for no borders there.
    :param smoothness_weight: weight of disparity that is smooth where the image is.
    :param normals_weight: weight of the normals, for a network that gives them.
    :param semantics_weight: weight of the losses on true labels.
    :param expert_weight: weight of the losses on an expert's labels.
    :param expert_confidence: expert labels below this probability are ignored.
    :param class_weights: by class name; the others weigh 1.
    :param consistency: a frozen contrastive model and the weight of its say on whether depth and
        labels belong together; None for none.
    :param self_supervision: how depth learns from neighbouring images; None for not at all.
    :param semi_supervision: how what a teacher says of mixed images is learned, in which labels
        may be missing; None for not at all, `{}` for the usual way.
    :param temporal_consistency: what must not change between neighbouring frames; None for
        nothing, `{}` for the usual.
    :param photometric: whether the photographs' colours and sharpness are varied, on the device;
        what moves pixels (scale, crop, mirror) is the data's, which keeps the intrinsics true.
    :param weighting: how depth, normals and semantics, each with the weights above, are balanced:
        a key of `sync_perception.training.objectives.weighting.WEIGHTINGS`.
    :param weighting_period: steps after which `dynamic` weights are renewed.
    :raises ValueError: if a name is unknown.
    """

    def __init__(
            self, architecture: str, arguments: dict[str, Any],
            initial: dict[str, Origin] | None = None, label_space: str = 'driving',
            input_pixels: int = 170_000, depth_range: tuple[float, float] = (0.5, 200.0),
            canonical_focal: float | None = 400.0, max_depth: float = 120.0,
            learning_rate: float = 1e-3, encoder_learning_rate: float = 2e-4,
            encoder_layer_decay: float = 1.0, weight_decay: float = 1e-2, warmup: float = 0.05,
            depth_losses: dict[str, float] = {'silog': 1.0, 'log_l1': 1.0},  # noqa: B006
            semantic_losses: dict[str, float] = {'cross_entropy': 1.0},  # noqa: B006
            normals_losses: dict[str, float] = {'cosine': 1.0},  # noqa: B006
            depth_weight: float = 1.0, uncertainty_weight: float = 0.1,
            ranking_weight: float = 0.0, ranking_own_borders: float | None = None,
            smoothness_weight: float = 0.0,
            normals_weight: float = 1.0, semantics_weight: float = 1.0,
            expert_weight: float = 0.5, expert_confidence: float = 0.6,
            class_weights: dict[str, float] | None = None,
            consistency: Consistency | None = None,
            self_supervision: SelfSupervisionSettings | None = None,
            semi_supervision: SemiSupervision | None = None,
            temporal_consistency: TemporalConsistencySettings | None = None,
            photometric: bool = True,
            weighting: str = 'fixed', weighting_period: int = 500):
        super().__init__()
        self.save_hyperparameters()
        self.space = LabelSpace.load(label_space)
        self.model = build_model(ModelConfig(
            architecture=architecture, arguments=arguments, label_space=self.space.to_dict(),
            input_pixels=input_pixels, depth_range=list(depth_range),
            canonical_focal=canonical_focal))
        self.features = None
        if (self_supervision or {}).get('feature_distance'):
            self.features = FeatureReference(self.model.network, arguments)
        start_from(self.model.network, initial or {})
        self.self_supervision = None
        if self_supervision is not None:
            self.self_supervision = SelfSupervision(
                self_supervision, interface(self.model.config), canonical_focal,
                first_depth(self.model.network, tuple(depth_range)))
        self.objective = Objective(self.space, self.hparams)
        self.semi_supervision = None if semi_supervision is None else SemiSupervisedLoss(
            semi_supervision, self.objective)
        self.temporal_consistency = None if temporal_consistency is None else TemporalConsistency(
            temporal_consistency, self.model.config, self.self_supervision)
        self.model.config.metric = self_supervision is None and (
            self.objective.knows_metres or not depth_weight)
        self.weighting = build_weighting(weighting)
        self.terms: dict[str, Tensor] = {}
        self.evaluations: list[SourceEvaluation] = []
        self.photometric = photometric_variation() if photometric else nn.Identity()

    def configure_callbacks(self) -> list[lightning.Callback]:
        """Give every training its repeatable random numbers, and a stop where they explode."""
        return [SeededSteps(), StopWhenNotFinite()]

    def setup(self, stage: str) -> None:
        """Lay the weights out as the fast convolutions want them; load what is only asked."""
        self.model.to(memory_format=torch.channels_last)
        self.objective.load_contrastive(self.trainer.strategy.root_device)
        if self.semi_supervision is not None and stage == 'fit':
            self.semi_supervision.prepare(self.model, self.trainer.strategy.root_device)
        if self.features is not None:
            self.features.to(self.trainer.strategy.root_device)
        if self.self_supervision is not None:
            self.self_supervision.check_offsets(getattr(self.trainer.datamodule, 'offsets', ()))
        if self.temporal_consistency is not None:
            self.temporal_consistency.check_offsets(
                getattr(self.trainer.datamodule, 'offsets', ()))

    def on_train_start(self) -> None:
        """Refuse, before the first step, recordings that cannot teach what they are asked to."""
        mixture = getattr(self.trainer.datamodule, 'mixture', None)
        if self.self_supervision is not None and mixture is not None:
            self.self_supervision.check_poses(mixture)
        if self.temporal_consistency is not None and mixture is not None:
            self.temporal_consistency.check_poses(mixture)

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the weighted sum of the losses that the batch's annotations allow."""
        # before the student's forward pass: see SemiSupervisedLoss
        mixed = {} if self.semi_supervision is None else self.semi_supervision(
            self.model, batch, self.global_step)
        image = self.augmented_input(batch['image'])
        output, depths = depth_scales(self.model, image)
        output = resized(output, batch['labels'].shape[-2:])
        self.terms = {**mixed, **self.objective(output, batch)}
        unused = untouched(output)
        if self.self_supervision is not None:
            self.terms.update(self.self_supervised(image, depths, batch))
            unused = unused + self.self_supervision.untouched(depths)
        if self.temporal_consistency is not None:  # last: see there
            self.terms.update(self.temporal_consistency(self.model, output, batch))
        self.note_scale(batch)
        tasks, others = self.by_task(self.terms)
        total = sum(others, unused)
        if tasks:
            total = total + self.weighting(tasks)
        self.log_step(tasks, total, len(batch['image']))
        return total

    def self_supervised(
            self, image: Tensor, depths: list[Tensor], batch: dict[str, Any]) -> dict[str, Tensor]:
        """
        Return the terms of self-supervision.

        :param image: the network's input.
        :param depths: of the canonical camera, at one or several scales.
        """
        terms = self.self_supervision(depths, batch, self.global_step)
        if self.features is not None:
            terms['feature_distance'] = self.features.distance(self.model.network, image)
        return terms

    def note_scale(self, batch: dict[str, Any]) -> None:
        """Note what of a batch tells how long a metre is; if anything does, depth is metric."""
        config = self.model.config
        told = set(config.scale_from)
        if self.objective.gives_scale(self.terms):
            told.add('depth')
        if self.self_supervision is not None:
            told |= self.self_supervision.scale_from(batch, self.terms)
        config.scale_from = [name for name in SCALES if name in told]
        config.metric = config.metric or bool(told)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what in the training told how long a metre is; and the teacher."""
        checkpoint['metric'] = self.model.config.metric
        checkpoint['scale_from'] = self.model.config.scale_from
        if self.semi_supervision is not None:
            checkpoint['semi_supervision'] = self.semi_supervision.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with that, and with the teacher, if there was one."""
        self.model.config.metric = checkpoint.get('metric', True)  # older ones knew metres alone
        self.model.config.scale_from = checkpoint.get('scale_from', [])
        if self.semi_supervision is not None and 'semi_supervision' in checkpoint:
            self.semi_supervision.load_state_dict(checkpoint['semi_supervision'])

    def augmented_input(self, images_bhw3: Tensor) -> Tensor:
        """Vary the photographs' colours and sharpness, then normalise: (B, 3, H, W)."""
        images = images_bhw3.permute(0, 3, 1, 2).float() / 255
        varied = self.photometric(images).clamp(0, 1) * 255
        return self.normalised(varied.permute(0, 2, 3, 1).contiguous())

    def normalised(self, images_bhw3: Tensor) -> Tensor:
        """Turn images, in [0, 255], into the network's input: (B, 3, H, W)."""
        return normalise(images_bhw3, self.model.config.mean, self.model.config.std)

    def by_task(self, terms: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return the weighted terms summed by task, and those that belong to none."""
        tasks: dict[str, Tensor] = {}
        others: list[Tensor] = []
        for name, term in terms.items():
            weighted = self.objective.weights[name] * term
            task = TASKS.get(name.partition('/')[0])
            if task is None:
                others.append(weighted)
            else:
                tasks[task] = tasks.get(task, 0) + weighted
        return tasks, others

    def log_step(self, tasks: dict[str, Tensor], total: Tensor, batch_size: int) -> None:
        """Log every term, each task and, now and then, weights and the couplings' norms."""
        values = {**self.terms, **{f'task_{name}': loss for name, loss in tasks.items()}}
        self.log_dict({f'train/{name}': value for name, value in values.items()},
                      batch_size=batch_size)
        self.log('train/total', total, prog_bar=True, batch_size=batch_size)
        if self.global_step % self.trainer.log_every_n_steps == 0:
            self.log_dict({f'weight/{name}': weight
                           for name, weight in self.weighting.weights().items()})
            self.log_couplings()

    def log_couplings(self) -> None:
        """Log every coupling's norm: a sudden convergence shows when one wakes up."""
        for direction, norms in self.model.network.coupling_norms().items():
            for level, norm in enumerate(norms):
                self.log(f'coupling/{direction}/{level}', norm)

    def on_train_batch_end(self, *args: Any) -> None:
        """End a period of the dynamic weights."""
        if (isinstance(self.weighting, DynamicWeightAverage)
                and self.global_step % self.hparams.weighting_period == 0):
            self.weighting.advance()

    def on_validation_epoch_start(self) -> None:
        """Begin to measure; the averaged weights, if there are any, are in place by now."""
        sources = self.trainer.datamodule.measured
        metric = self.model.config.metric
        self.evaluations = [
            SourceEvaluation(self.model, measured, median_scaling=not metric)
            for measured in sources]

    def validation_step(
            self, measurement: Measurement, index: int, dataloader_idx: int = 0
            ) -> DenseOutput | None:
        """Measure one recording; return what the model gave."""
        return self.evaluations[dataloader_idx].add(measurement)

    def on_validation_epoch_end(self) -> None:
        """Log what was measured, of all processes together, as val/{source}/{metric}."""
        for evaluation in self.evaluations:
            evaluation.gather()
            self.log_dict(
                {f'val/{name}': value for name, value in evaluation.scores().items()},
                prog_bar=False)

    def configure_optimizers(self) -> dict[str, Any]:
        """
        Return AdamW, slower for the encoders, with warm-up and cosine annealing.

        :raises ValueError: if everything is frozen.
        """
        settings = self.hparams
        groups = learned_parameters(
            self.model, settings.learning_rate, settings.encoder_learning_rate,
            settings.encoder_layer_decay)
        supervision = self.self_supervision
        if supervision is not None and supervision.pose is not None:
            groups.append({
                'params': list(supervision.pose.parameters()), 'lr': supervision.learning_rate})
        weights = list(self.weighting.parameters())
        if weights:  # decay would draw them to 0
            groups.append({'params': weights, 'lr': settings.learning_rate, 'weight_decay': 0.0})
        optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        return annealed(optimizer, self.trainer, settings.warmup)


def interface(config: ModelConfig) -> Interface:
    """Return how a model of this config sees images, and the range of its depth."""
    return Interface(
        depth_range=tuple(config.depth_range), mean=tuple(config.mean), std=tuple(config.std))


def photometric_variation() -> nn.Module:
    """Build what varies the colours and the sharpness of images (B, 3, H, W) in [0, 1]."""
    return augmentation.AugmentationSequential(
        augmentation.ColorJiggle(0.3, 0.3, 0.3, 0.04, p=0.8),
        augmentation.RandomGrayscale(p=0.05),
        augmentation.RandomGaussianBlur((5, 5), (0.1, 1.5), p=0.1),
        data_keys=['input'])


def build_weighting(name: str) -> Weighting:
    """
    Build what balances the tasks.

    :raises ValueError: if there is no such weighting.
    """
    if name not in WEIGHTINGS:
        raise ValueError(f'no weighting {name!r}, there are: {", ".join(WEIGHTINGS)}')
    kind = WEIGHTINGS[name]
    if kind is FixedWeights:
        return FixedWeights(dict.fromkeys(KINDS, 1.0))
    return UncertaintyWeights(KINDS) if kind is UncertaintyWeights else kind(KINDS)


def untouched(output: DenseOutput) -> Tensor:
    """
    Return 0, of all maps that there are.

    Where a batch annotates nothing of a map, its head still gets a gradient, of zero: processes
    that learn together wait for each other's gradients of every weight.
    """
    return sum(values.mean() for values in output.maps().values()) * 0


def resized(output: DenseOutput, size: tuple[int, int]) -> DenseOutput:
    """Bring all maps to one size, bilinearly; what has it already stays as it is."""
    return output.apply(
        lambda values: values if values.shape[-2:] == size else resize_bilinear(values, size))
