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

"""Training of the contrastive model of depth maps and label maps."""

from __future__ import annotations

import math
from typing import Any

import lightning
from sync_perception.labels import LabelSpace
from sync_perception.models.contrastive.dense_clip import (
    class_meanings,
    ContrastiveConfig,
    ContrastiveModel,
    GREATEST_SCALE,
    matched_labels,
)
from sync_perception.training.loop.callbacks import SeededSteps, StopWhenNotFinite
from sync_perception.training.loop.optimizer import annealed
from sync_perception.training.losses.contrastive import symmetric_info_nce
import torch
from torch import distributed, Tensor


class ContrastiveLearning(lightning.LightningModule):
    """
    Contrastive learning of depth and labels: pairs of one view against all others of the batch.

    The batch spans all processes, as in CLIP.

    The defaults are those of the reference: CLIP's large tower, Adam at a constant learning rate.
    Weight decay is decoupled and excludes gains, biases and the temperature, as in CLIP.

    :param label_space: label space of the model; labels of other spaces are converted to it.
    :param tower: a key of `models.contrastive.vision_towers.TOWERS`, or a tower's settings; None
        for that of `pretrained`, or else `base`.
    :param shared: whether depth and labels share one tower.
    :param encoding: `colors` or `one_hot`.
    :param depth_form: `log` or `disparity`.
    :param depth_range: depth range in metres; depth outside is clamped.
    :param pretrained: folder or hub id of a CLIP model to start from.
    :param mirrors: whether each training batch includes the mirrored pairs, so that left and right
        must match, too. Not in the reference; the loss at chance level becomes ln 2B.
    :param learning_rate: Adam's learning rate; its peak with a warm-up.
    :param betas: Adam's betas.
    :param epsilon: Adam's epsilon.
    :param weight_decay: decoupled weight decay.
    :param warmup: share of the training for the warm-up, followed by cosine decay; None for a
        constant learning rate.
    """

    def __init__(
            self, label_space: str = 'driving', tower: str | dict[str, Any] | None = None,
            shared: bool = True, encoding: str = 'colors', depth_form: str = 'log',
            depth_range: tuple[float, float] = (1.0, 80.0), pretrained: str | None = None,
            mirrors: bool = False, learning_rate: float = 5e-5,
            betas: tuple[float, float] = (0.9, 0.98), epsilon: float = 1e-6,
            weight_decay: float = 0.2, warmup: float | None = None):
        super().__init__()
        self.save_hyperparameters()
        self.model = ContrastiveModel(ContrastiveConfig(
            label_space=LabelSpace.load(label_space).to_dict(), tower=tower, shared=shared,
            encoding=encoding, depth_form=depth_form, depth_range=list(depth_range),
            pretrained=pretrained))
        self.model.train()  # pretrained towers are loaded in evaluation mode
        self.tables: dict[str, Tensor] = {}

    def configure_callbacks(self) -> list[lightning.Callback]:
        """Return callbacks for reproducible random numbers and a stop at non-finite losses."""
        return [SeededSteps(), StopWhenNotFinite()]

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the loss of one batch."""
        loss = self.compare(batch, 'train', self.hparams.mirrors)
        self.log('train/scale', self.model.scale)
        return loss

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        """Log loss and retrieval of one batch."""
        self.compare(batch, 'val')

    def compare(self, batch: dict[str, Any], stage: str, mirrors: bool = False) -> Tensor:
        """
        Compare each depth map with each label map, and log loss and retrieval.

        :param batch: batch of `sync_perception.training.feeding.contrastive_pairs.LabelledCrops`.
        :param stage: prefix of the names in the log.
        :param mirrors: whether to add the mirrored pairs.
        :return: scalar, the symmetric InfoNCE; at chance level the logarithm of the number of
            pairs.
        """
        depth, labels = batch['depth'], self.matched_labels(batch)
        if mirrors:
            depth, labels = (torch.cat([maps, maps.flip(-1)]) for maps in (depth, labels))
        depth_bd = of_all_processes(self.model.embed_depth(depth))
        labels_bd = of_all_processes(self.model.embed_labels(labels))
        similarity = (self.model.scale * depth_bd @ labels_bd.T).float()
        loss = symmetric_info_nce(similarity)
        labels_found, depth_found = retrieval_accuracy(similarity)
        # all processes have equal values; Lightning warns unless they are averaged
        how = {'batch_size': len(similarity), 'sync_dist': stage == 'val'}
        self.log(f'{stage}/loss', loss, prog_bar=True, **how)
        self.log(f'{stage}/labels_found', labels_found, prog_bar=True, **how)
        self.log(f'{stage}/depth_found', depth_found, **how)
        return loss

    def matched_labels(self, batch: dict[str, Any]) -> Tensor:
        """Convert labels of several spaces to the model's: probabilities (B, C, H, W)."""
        return torch.stack([
            matched_labels(labels, self.meanings(space))
            for space, labels in zip(batch['space'], batch['labels'])])

    def meanings(self, space: str) -> Tensor:
        """Return the table of `class_meanings` from a label space to the model's."""
        if space not in self.tables:
            self.tables[space] = class_meanings(LabelSpace.load(space), self.model.labels)
        return self.tables[space]

    def on_train_batch_end(self, *args: Any) -> None:
        """Clamp the temperature to the range with a gradient."""
        with torch.no_grad():
            self.model.log_scale.clamp_(max=math.log(GREATEST_SCALE))

    def configure_optimizers(self) -> Any:
        """Return Adam with decoupled weight decay, at a constant rate or annealed."""
        settings = self.hparams
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(
            [{'params': [weight for weight in trained if weight.ndim > 1]},
             {'params': [weight for weight in trained if weight.ndim <= 1], 'weight_decay': 0.0}],
            lr=settings.learning_rate, betas=tuple(settings.betas), eps=settings.epsilon,
            weight_decay=settings.weight_decay)
        if settings.warmup is None:
            return optimizer
        return annealed(optimizer, self.trainer, settings.warmup)


def of_all_processes(embedding_bd: Tensor) -> Tensor:
    """
    Gather the embeddings of all processes, with gradients to each of them.

    A process's embeddings get the gradients of all processes' losses, which are equal. The mean
    gradient over processes is therefore that of one process with the whole batch.

    :param embedding_bd: (B, D), embeddings of this process; B is equal in all.
    :return: (W B, D) for W processes; unchanged for one.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return embedding_bd
    from torch.distributed.nn.functional import all_gather  # optional part of torch
    return torch.cat(all_gather(embedding_bd))


def retrieval_accuracy(similarity_bb: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the retrieval accuracy in both directions.

    :param similarity_bb: (B, B), depth by labels; matching pairs are on the diagonal.
    :return: fractions of depth maps whose labels, and of labels whose depth, are the most similar
        in the batch.
    """
    partners = torch.arange(len(similarity_bb), device=similarity_bb.device)
    rows, columns = similarity_bb.argmax(dim=1), similarity_bb.argmax(dim=0)
    return (rows == partners).float().mean(), (columns == partners).float().mean()
