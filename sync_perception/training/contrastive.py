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

"""Teaches the contrastive model which depth maps and label maps belong together."""

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
    Pairs of depth and labels of one view attract each other, all others of the batch repel.

    The batch is that of all processes together, as in CLIP.

    The defaults are the reference's: CLIP's large tower, Adam at a constant rate. The weight
    decay is decoupled and spares gains, biases and the temperature, as in CLIP.

    :param label_space: what the model speaks; other spaces' labels are matched to it.
    :param tower: a key of `models.contrastive.vision_towers.TOWERS`, or a tower's settings; None
        for the one that `pretrained` names, or else `base`.
    :param shared: whether depth and labels go through the same tower.
    :param encoding: `colors` or `one_hot`.
    :param depth_form: `log` or `disparity`.
    :param depth_range: metres; what is nearer or farther looks like the range's ends.
    :param pretrained: a CLIP model to start from, a folder or a hub id.
    :param mirrors: whether each training batch also holds its pairs mirrored: so what is left and
        what is right has to fit, too. Not in the reference; chance becomes ln 2B.
    :param learning_rate: of Adam, its peak if there is a warm-up.
    :param betas: of Adam.
    :param epsilon: of Adam.
    :param weight_decay: decoupled.
    :param warmup: share of the training in which the rate rises, before it falls as half a
        cosine; None keeps it constant.
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
        self.model.train()  # a pretrained tower comes ready for inference
        self.tables: dict[str, Tensor] = {}

    def configure_callbacks(self) -> list[lightning.Callback]:
        """Give every training its repeatable random numbers, and a stop where they explode."""
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
        Compare each depth map with each label map, and log how well partners find each other.

        :param batch: of `sync_perception.training.feeding.contrastive_pairs.Pairs`.
        :param stage: first part of the names in the log.
        :param mirrors: whether to add the mirrored pairs.
        :return: scalar, the symmetric InfoNCE; chance is the logarithm of the number of pairs.
        """
        depth, labels = batch['depth'], self.matched_labels(batch)
        if mirrors:
            depth, labels = (torch.cat([maps, maps.flip(-1)]) for maps in (depth, labels))
        depth_bd = of_all_processes(self.model.embed_depth(depth))
        labels_bd = of_all_processes(self.model.embed_labels(labels))
        similarity = (self.model.scale * depth_bd @ labels_bd.T).float()
        loss = symmetric_info_nce(similarity)
        labels_found, depth_found = retrieval_accuracy(similarity)
        # every process has the same numbers; Lightning warns unless they are averaged
        how = {'batch_size': len(similarity), 'sync_dist': stage == 'val'}
        self.log(f'{stage}/loss', loss, prog_bar=True, **how)
        self.log(f'{stage}/labels_found', labels_found, prog_bar=True, **how)
        self.log(f'{stage}/depth_found', depth_found, **how)
        return loss

    def matched_labels(self, batch: dict[str, Any]) -> Tensor:
        """Say what labels of several spaces mean in the model's: probabilities (B, C, H, W)."""
        return torch.stack([
            matched_labels(labels, self.meanings(space))
            for space, labels in zip(batch['space'], batch['labels'])])

    def meanings(self, space: str) -> Tensor:
        """Return what each id of a label space means in the model's, as `class_meanings` says."""
        if space not in self.tables:
            self.tables[space] = class_meanings(LabelSpace.load(space), self.model.labels)
        return self.tables[space]

    def on_train_batch_end(self, *args: Any) -> None:
        """Keep the temperature where its gradient still counts."""
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
    Join the embeddings of all processes, in their order; each part's gradient finds its way back.

    A process's embeddings get the gradients of all processes' losses, which are equal. So the
    mean over processes that distributed training takes of a weight's gradient is the gradient of
    one process with the whole batch.

    :param embedding_bd: (B, D), of this process; all have as many.
    :return: (W B, D); unchanged if this process is alone.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return embedding_bd
    from torch.distributed.nn.functional import all_gather  # optional part of torch
    return torch.cat(all_gather(embedding_bd))


def retrieval_accuracy(similarity_bb: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return how often a partner is the most similar of the batch.

    :param similarity_bb: (B, B), depth by labels; partners lie on the diagonal.
    :return: share of depth maps that find their labels, share of labels that find their depth.
    """
    partners = torch.arange(len(similarity_bb), device=similarity_bb.device)
    rows, columns = similarity_bb.argmax(dim=1), similarity_bb.argmax(dim=0)
    return (rows == partners).float().mean(), (columns == partners).float().mean()
