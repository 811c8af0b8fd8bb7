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


"""Lightning module of the synchronised network, trained on partly annotated images."""

from __future__ import annotations

from typing import Any

from kornia import augmentation
import lightning
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, ModelConfig
from sync_perception.models.config import SCALE_SOURCES
from sync_perception.models.network_input import normalise
from sync_perception.training.feeding.recordings import Measurement
from sync_perception.training.loop.callbacks import SeededSteps, StopWhenNotFinite
from sync_perception.training.loop.optimizer import (
    annealed,
    freeze_parts,
    learned_parameters,
    OptimizerConfig,
)
from sync_perception.training.loop.pretrained_parts import Origin, start_from
from sync_perception.training.loop.validation import SourceEvaluation
from sync_perception.training.loop.weighting import build_weighting, WeightingConfig
from sync_perception.training.objectives import OBJECTIVES, Objectives
from sync_perception.training.objectives.class_matching import ClassMatching
from sync_perception.training.objectives.objective import Objective, Setup, Step
from sync_perception.types import DenseOutput
import torch
from torch import nn, Tensor


class SynchronisedLearning(lightning.LightningModule):
    """
    Joint training of depth and semantics; each sample contributes the terms of its annotations.

    :param architecture: a key of `sync_perception.models.MODELS`.
    :param arguments: the architecture's own arguments.
    :param initial: pretrained sources of parts of the network, by the names of the parts (`depth`,
        `semantics.encoder`).
    :param label_space: label space of the network; labels of other spaces are matched to it.
    :param input_pixels: area to which images are resized in inference, pixels.
    :param input_multiple: divisor of both sides of that input, pixels.
    :param depth_range: least and greatest depth of the canonical camera, metres.
    :param canonical_focal: focal length of the canonical camera, pixels; None to learn metric
        depth independent of the camera.
    :param class_weights: class weights in semantic losses, by class name; default 1.
    :param objectives: training objectives.
    :param weighting: balancing of depth, normals and semantics.
    :param optimizer: learning rates and weight decay.
    :param photometric: whether to augment colours and sharpness, on the device; geometric
        augmentation (scale, crop, mirror) is done by the data, with consistent intrinsics.
    :raises ValueError: if a name is unknown.
    """

    def __init__(
            self, architecture: str, arguments: dict[str, Any],
            initial: dict[str, Origin] | None = None, label_space: str = 'driving',
            input_pixels: int = 170_000, input_multiple: int = 32,
            depth_range: tuple[float, float] = (0.5, 200.0),
            canonical_focal: float | None = 400.0,
            class_weights: dict[str, float] | None = None,
            objectives: Objectives = Objectives(),  # noqa: B008 (frozen)
            weighting: WeightingConfig = WeightingConfig(),  # noqa: B008 (frozen)
            optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
            photometric: bool = True):
        super().__init__()
        self.space = LabelSpace.load(label_space)
        self.model = build_model(ModelConfig(
            architecture=architecture, arguments=arguments, label_space=self.space.to_dict(),
            input_pixels=input_pixels, input_multiple=input_multiple,
            depth_range=list(depth_range),
            canonical_focal=canonical_focal))
        self.objectives: dict[str, Objective] = {}
        setup = Setup(
            self.model, arguments, ClassMatching(self.space, class_weights), self.objectives)
        for name, kind in OBJECTIVES.items():
            if getattr(objectives, name, None) is not None:
                self.objectives[name] = kind(getattr(objectives, name), setup)
        # auxiliary networks: in checkpoints, but not in the exported folder
        self.beside = nn.ModuleDict({
            name: objective.learned for name, objective in self.objectives.items()
            if objective.learned is not None})
        start_from(self.model.network, initial or {})
        freeze_parts(self.model.network, optimizer.factors)
        self.model.config.metric = not any(
            objective.scale_free for objective in self.objectives.values())
        self.weighting_config, self.weighting = weighting, build_weighting(weighting.kind)
        self.optimizer_config = optimizer
        self.terms: dict[str, Tensor] = {}
        self.evaluations: list[SourceEvaluation] = []
        self.photometric = photometric_variation() if photometric else nn.Identity()

    def configure_callbacks(self) -> list[lightning.Callback]:
        """Return callbacks for reproducible random numbers and a stop at non-finite losses."""
        return [SeededSteps(), StopWhenNotFinite()]

    def setup(self, stage: str) -> None:
        """Set the memory format for fast convolutions, and prepare the objectives."""
        self.model.to(memory_format=torch.channels_last)
        for objective in self.objectives.values() if stage == 'fit' else ():
            objective.check_offsets(getattr(self.trainer.datamodule, 'offsets', ()))
            objective.prepare(self.model, self.trainer.strategy.root_device)

    def on_train_start(self) -> None:
        """Check before the first step that the data suit the objectives."""
        mixture = getattr(self.trainer.datamodule, 'mixture', None)
        for objective in self.objectives.values() if mixture is not None else ():
            objective.check_mixture(mixture)

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the weighted sum of the batch's terms."""
        step = Step(self.model, batch, self.global_step, self.augmented_input)
        self.terms, losses = {}, {}
        for objective in self.objectives.values():
            terms = objective.terms(step)
            self.terms.update(terms)
            self.note_scale(objective.scale_from(step, terms))
            for task, loss in objective.by_task(terms).items():
                losses[task] = losses.get(task, 0) + loss
        total = losses.pop(None, 0) + self.untouched(step)
        if losses:
            total = total + self.weighting(losses)
        self.log_step(losses, total, len(batch['image']))
        return total

    def untouched(self, step: Step) -> Tensor:
        """
        Return 0, with a gradient of 0 for every weight.

        Distributed processes exchange the gradient of every weight, also of those without a loss
        in a batch.
        """
        maps = [*step.output.maps().values(), *step.depths]
        sums = [*(values.float().mean() for values in maps),
                *(weight.sum() for weight in self.beside.parameters())]
        return sum(sums) * 0

    def note_scale(self, sources: set[str]) -> None:
        """Record the sources of metric scale; with any source, depth is metric."""
        config = self.model.config
        config.scale_from = [
            name for name in SCALE_SOURCES if name in sources or name in config.scale_from]
        config.metric = config.metric or bool(config.scale_from)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the objectives' states and the sources of metric scale."""
        checkpoint['metric'] = self.model.config.metric
        checkpoint['scale_from'] = self.model.config.scale_from
        checkpoint['objectives'] = {
            name: state for name, objective in self.objectives.items()
            if (state := objective.state())}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore that state."""
        self.model.config.metric = checkpoint['metric']
        self.model.config.scale_from = checkpoint['scale_from']
        for name, state in checkpoint['objectives'].items():
            if name in self.objectives:
                self.objectives[name].load_state(state)

    def augmented_input(self, images_bhw3: Tensor) -> Tensor:
        """Return the network's input with augmented colours and sharpness, (B, 3, H, W)."""
        images = images_bhw3.permute(0, 3, 1, 2).float() / 255
        varied = self.photometric(images).clamp(0, 1) * 255
        return self.normalised(varied.permute(0, 2, 3, 1).contiguous())

    def normalised(self, images_bhw3: Tensor) -> Tensor:
        """Return the network's input (B, 3, H, W) for images in [0, 255]."""
        return normalise(images_bhw3, self.model.config.mean, self.model.config.std)

    def log_step(self, tasks: dict[str, Tensor], total: Tensor, batch_size: int) -> None:
        """Log every term and task, and at intervals weights and coupling norms."""
        values = {**self.terms, **{f'task_{name}': loss for name, loss in tasks.items()}}
        self.log_dict({f'train/{name}': value for name, value in values.items()},
                      batch_size=batch_size)
        self.log('train/total', total, prog_bar=True, batch_size=batch_size)
        if self.global_step % self.trainer.log_every_n_steps == 0:
            self.log_dict({f'weight/{name}': weight
                           for name, weight in self.weighting.weights().items()})
            self.log_couplings()

    def log_couplings(self) -> None:
        """Log every coupling's norm, which shows when a coupling starts to grow."""
        for direction, norms in self.model.network.coupling_norms().items():
            for level, norm in enumerate(norms):
                self.log(f'coupling/{direction}/{level}', norm)

    def on_train_batch_end(self, *args: Any) -> None:
        """End a period of the dynamic weights."""
        if self.global_step % self.weighting_config.period == 0:
            self.weighting.advance()

    def on_validation_epoch_start(self) -> None:
        """Start the evaluation; averaged weights, if any, have been set before."""
        sources = self.trainer.datamodule.measured
        metric = self.model.config.metric
        self.evaluations = [
            SourceEvaluation(self.model, measured, median_scaling=not metric)
            for measured in sources]

    def validation_step(
            self, measurement: Measurement, index: int, dataloader_idx: int = 0
            ) -> DenseOutput | None:
        """Evaluate one recording; return the model's output."""
        return self.evaluations[dataloader_idx].add(measurement)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics over all processes as val/{source}/{metric}."""
        for evaluation in self.evaluations:
            evaluation.gather()
            self.log_dict(
                {f'val/{name}': value for name, value in evaluation.scores().items()},
                prog_bar=False)

    def configure_optimizers(self) -> dict[str, Any]:
        """
        Return AdamW with lower rates for encoders, warm-up and cosine decay.

        :raises ValueError: if everything is frozen.
        """
        config = self.optimizer_config
        groups = learned_parameters(self.model, config)
        for objective in self.objectives.values():
            groups += objective.parameter_groups()
        weights = list(self.weighting.parameters())
        if weights:  # no decay, which would pull them to 0
            groups.append({'params': weights, 'lr': config.learning_rate, 'weight_decay': 0.0})
        optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, weight_decay=config.weight_decay)
        return annealed(optimizer, self.trainer, config.warmup)


def photometric_variation() -> nn.Module:
    """Return the augmentation of colours and sharpness of images (B, 3, H, W) in [0, 1]."""
    return augmentation.AugmentationSequential(
        augmentation.ColorJiggle(0.3, 0.3, 0.3, 0.04, p=0.8),
        augmentation.RandomGrayscale(p=0.05),
        augmentation.RandomGaussianBlur((5, 5), (0.1, 1.5), p=0.1),
        data_keys=['input'])
