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


"""Pictures of predictions during training, for TensorBoard."""

from __future__ import annotations

import math
from typing import Any

import cv2
import lightning
from lightning.pytorch.loggers import TensorBoardLogger
import numpy as np
from sync_perception.images.colors import colorize_depth
from sync_perception.labels import correspondence, LabelSpace
from sync_perception.models.network_input import input_size_of, resize_image
from sync_perception.training.feeding.recordings import Measurement
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.objectives.supervised import canonical_truth
from sync_perception.types import DenseOutput
import torch

DARK = (24, 26, 30)


class Pictures(lightning.Callback):
    """
    Callback that logs panels of image, truth and prediction, for depth and labels.

    Panels show the first recordings of each source at every validation, and the first crops of a
    training batch every `every` steps, without colour augmentation. Depth and labels have the
    colours of the command-line tools, true labels those of the model's classes; unknown pixels are
    dark. Semi-supervised training also shows mixed samples.

    :param samples: number of recordings of each source, and of crops of a batch.
    :param every: steps between two pictures of training batches; 0 for none.
    :param max_depth: far end of the colour scale, metres.
    """

    def __init__(self, samples: int = 2, every: int = 1000, max_depth: float = 80.0):
        self.samples, self.every, self.max_depth = samples, every, max_depth

    def on_train_batch_end(
            self, trainer: lightning.Trainer, pl_module: SynchronisedLearning, outputs: Any,
            batch: dict[str, Any], batch_idx: int) -> None:
        """Draw the first crops; depth is that of the canonical camera."""
        if not self.every or trainer.global_step % self.every or not trainer.is_global_zero:
            return
        output = predicted(pl_module, batch['image'][:self.samples])
        supervised = pl_module.objectives.get('supervised')
        true = canonical_truth(
            batch, pl_module.model.config,
            supervised.config.depth.max_depth if supervised else math.inf)
        depth = true[0].masked_fill(~true[1], float('nan')).cpu().numpy()
        for index in range(min(self.samples, len(batch['image']))):
            space = batch['space'][index]
            expert = (batch['expert_labels'][index] != pl_module.space.void).any()
            labels, space = (batch['labels'], space) if space else (
                (batch['expert_labels'], batch['expert_space'][index]) if expert else (None, None))
            self.write(trainer, f'train/{index}', training_panel(
                batch['image'][index].cpu().numpy(), depth[index, 0],
                None if labels is None else translated(
                    labels[index].cpu().numpy(), LabelSpace.load(space), pl_module.space),
                *of_sample(output, index), pl_module.space, self.max_depth))
        semi_supervised = pl_module.objectives.get('semi_supervised')
        if semi_supervised is not None:
            for index in range(min(self.samples, len(batch['image']))):
                self.write(trainer, f'mixed/{index}', mixed_panel(
                    batch['image'], semi_supervised.mixed, index, pl_module.space))

    def on_validation_batch_end(
            self, trainer: lightning.Trainer, pl_module: SynchronisedLearning,
            outputs: DenseOutput | None, batch: Measurement, batch_idx: int,
            dataloader_idx: int = 0) -> None:
        """Draw the first recordings; depth is that of their own cameras."""
        sample = batch.sample
        if (sample is None or batch_idx >= self.samples or trainer.sanity_checking
                or not trainer.is_global_zero):
            return
        source = pl_module.evaluations[dataloader_idx]
        depth, labels = of_sample(outputs, 0)
        space = source.evaluation.label_space
        size = input_size_of(pl_module.model.config, sample.image.shape[:2])
        self.write(trainer, f'val/{source.name}/{batch_idx}', training_panel(
            resize_image(sample.image, size), sample.depth,
            None if sample.labels is None or space is None else translated(
                sample.labels, space, pl_module.space),
            None if depth is None else depth * source.evaluation.metres(sample), labels,
            pl_module.space, self.max_depth))

    def write(self, trainer: lightning.Trainer, tag: str, picture: np.ndarray) -> None:
        """Write a picture to every TensorBoard logger."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(
                    f'pictures/{tag}', picture, trainer.global_step, dataformats='HWC')


@torch.no_grad()
def predicted(module: SynchronisedLearning, images_bhw3: torch.Tensor) -> DenseOutput:
    """Predict in evaluation mode, and restore the modules' modes."""
    modes = {part: part.training for part in module.model.modules()}
    module.model.eval()
    output = module.model(module.normalised(images_bhw3.float()))
    for part, mode in modes.items():
        part.training = mode
    return output


def of_sample(output: DenseOutput, index: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return a sample's depth, float32 (h, w), and labels, uint8 (h, w); None where absent."""
    depth = labels = None
    if output.depth is not None:
        depth = output.depth[index, 0].float().cpu().numpy()
    if output.logits is not None:
        labels = output.logits[index].argmax(dim=0).to(torch.uint8).cpu().numpy()
    return depth, labels


def translated(labels: np.ndarray, own: LabelSpace, space: LabelSpace) -> np.ndarray:
    """Convert labels, uint8 (h, w), to another space: a coarse class to its first fine class."""
    matches = correspondence(own, space)
    table = np.full(256, space.void, np.uint8)
    table[:len(own)] = np.where(matches.any(axis=1), matches.argmax(axis=1), space.void)
    return table[labels]


def training_panel(
        image: np.ndarray, true_depth: np.ndarray | None, true_labels: np.ndarray | None,
        depth: np.ndarray | None, labels: np.ndarray | None, space: LabelSpace,
        max_depth: float) -> np.ndarray:
    """
    Return a panel of six pictures in two rows.

    The first row shows the image, true and predicted depth; the second the predicted labels over
    the image, true and predicted labels.

    :param image: uint8 (H, W, 3), RGB; the others are drawn at its size.
    :param true_depth: float (h, w), metres, NaN unknown.
    :param true_labels: uint8 (h, w), ids of the model's label space, 255 void.
    :param depth: float (h, w), metres.
    :param labels: uint8 (h, w), ids of the model's label space.
    :return: uint8 (2 H, 3 W, 3), RGB.
    """
    size = image.shape[:2]

    def tile(colors: np.ndarray | None) -> np.ndarray:
        return np.full_like(image, DARK) if colors is None else nearest(colors, size)

    depths = [tile(None if metres is None else colorize_depth(metres, max_depth))
              for metres in (true_depth, depth)]
    classes = [tile(None if ids is None else space.colorize(ids))
               for ids in (true_labels, labels)]
    blend = image if labels is None else cv2.addWeighted(image, 0.5, classes[1], 0.5, 0)
    return np.concatenate([
        np.concatenate([image, *depths], axis=1), np.concatenate([blend, *classes], axis=1)])


def nearest(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture by nearest neighbour."""
    rows, columns = (
        (np.arange(new) * old // new) for new, old in zip(size, picture.shape[:2]))
    return picture[rows][:, columns]


def mixed_panel(
        images_bhw3: torch.Tensor, mixed: dict[str, Any], index: int, space: LabelSpace
        ) -> np.ndarray:
    """
    Return a panel of a mixed sample in two rows.

    The first row shows the two images and the student's mixed image; the second the pixels'
    nearness, the target labels, true and pseudo, and their weights.

    :param images_bhw3: uint8, the batch before it was mixed.
    :param mixed: mixed batch of
        `sync_perception.training.objectives.semi_supervised.SemiSupervised`.
    :param index: index of the sample.
    :param space: label space of the network.
    :return: uint8 (2 H, 3 W, 3), RGB.
    """
    maps = {name: mixed[name][index].cpu().numpy()
            for name in ('seen', 'nearness', 'labels', 'guesses', 'weight', 'space')}
    labels = maps['guesses']
    for number, name in enumerate(mixed['spaces']):
        true = (maps['space'] == number) & (maps['labels'] != space.void)
        if true.any():
            own = translated(maps['labels'], LabelSpace.load(name), space)
            labels = np.where(true, own, labels)
    shares = [np.rint(maps[name] * 255).astype(np.uint8) for name in ('nearness', 'weight')]
    near = cv2.cvtColor(cv2.applyColorMap(shares[0], cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    weight = np.repeat(shares[1][..., None], 3, axis=2)
    photographs = [images_bhw3[place].cpu().numpy()
                   for place in (index, int(mixed['partner'][index]))]
    seen = np.rint(maps['seen']).astype(np.uint8)
    below = [nearest(tile, seen.shape[:2]) for tile in (near, space.colorize(labels), weight)]
    return np.concatenate([
        np.concatenate([*photographs, seen], axis=1), np.concatenate(below, axis=1)])
