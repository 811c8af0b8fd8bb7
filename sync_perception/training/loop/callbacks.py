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


"""Callbacks of every training: reproducible random numbers, and a stop at non-finite losses."""

from __future__ import annotations

import math
from pathlib import Path
import random
from typing import Any

import lightning
import numpy as np
from sync_perception.files.whole_files import write_json
import torch
from torch import Tensor


class SeededSteps(lightning.Callback):
    """
    Seed all random generators at every batch, from the training's seed and the batch's number.

    So a resumed training draws the same numbers as an uninterrupted one. Python's, NumPy's and
    torch's generators (kornia uses torch's) need no state in checkpoints, which also restores
    those of other processes.

    :ivar seed: seed of `seed_everything`, stored in checkpoints.
    """

    def __init__(self):
        self.seed: int | None = None

    def on_fit_start(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Store the process's seed, unless a checkpoint restored one."""
        if self.seed is None:
            self.seed = torch.initial_seed()

    def on_train_batch_start(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any,
            batch_idx: int) -> None:
        """Seed by the number of processed batches over all epochs."""
        number = trainer.fit_loop.epoch_loop.batch_progress.total.processed
        entropy = (self.seed, trainer.global_rank, number)
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (it is others' code that draws from it)
        torch.manual_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed."""
        return {'seed': self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a checkpoint's seed."""
        self.seed = state_dict['seed']


class NotFiniteError(ValueError):
    """Error for a NaN or infinite loss or gradient; the message names it."""


class StopWhenNotFinite(lightning.Callback):
    """
    Stop the training before a step with NaN or infinite losses or gradient.

    It first writes two files to the trainer's root folder: `not_finite.ckpt`, to resume the
    training or repeat the step, and `not_finite.json` with the step, the samples and the terms.
    The cost is one device synchronisation per step.
    """

    def __init__(self):
        self.ids: list[str] = []
        self.losses: list[Tensor] = []
        self.terms: dict[str, Tensor] = {}

    def on_train_batch_start(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any,
            batch_idx: int) -> None:
        """Store the samples; with gradient accumulation, a step has several batches."""
        if not self.losses:
            self.ids = []
        self.ids += batch.get('id', [])

    def on_before_backward(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
            ) -> None:
        """Store the loss and its terms, and keep non-finite ones."""
        self.losses.append(loss.detach())
        for name, term in getattr(pl_module, 'terms', {}).items():
            kept = self.terms.get(name, 0)
            # NaN and infinity remain non-finite under addition
            self.terms[name] = kept + term.detach()

    def on_before_optimizer_step(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule,
            optimizer: torch.optim.Optimizer) -> None:
        """
        Check the step's losses and gradient; all processes stop together.

        :raises NotFiniteError: if any is NaN or infinite.
        """
        norm = gradient_norm(optimizer)
        values = torch.stack([torch.stack(self.losses).sum(), norm])
        if getattr(trainer.precision_plugin, 'scaler', None) is not None:
            values = values[:1]  # the float16 gradient scaler skips steps whose gradient overflows
        finite = bool(torch.isfinite(values).all())
        if not trainer.strategy.reduce_boolean_decision(finite, all=True):
            self.stop(trainer, values.tolist())
        pl_module.log('train/gradient_norm', norm, batch_size=len(self.ids) or 1)
        self.losses, self.terms = [], {}

    def stop(self, trainer: lightning.Trainer, values: list[float]) -> None:
        """Write the files and raise the error."""
        folder = Path(trainer.default_root_dir)
        terms = {name: float(term) for name, term in self.terms.items()}
        bad = [f'{name} is {value}' for name, value in terms.items() if not math.isfinite(value)]
        if not bad:
            names = ('the total loss', 'the norm of the gradient')
            bad = [f'{name} is {value}' for name, value in zip(names, values)
                   if not math.isfinite(value)] or ['the reason is in the log of another process']
        checkpoint = folder / 'not_finite.ckpt'
        trainer.save_checkpoint(checkpoint)
        suffix = f'_{trainer.global_rank}' if trainer.world_size > 1 else ''
        record = {'step': trainer.global_step, 'samples': self.ids,
                  'terms': {name: repr(value) for name, value in terms.items()}, 'reason': bad}
        write_json(folder / f'not_finite{suffix}.json', record)
        raise NotFiniteError(
            f'step {trainer.global_step}: {", ".join(bad)}; samples {", ".join(self.ids)}; '
            f'the weights before this step are in {checkpoint}')


def gradient_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """Return the total gradient norm, a scalar on its device."""
    weights = [weight for group in optimizer.param_groups for weight in group['params']]
    return torch.nn.utils.clip_grad_norm_(weights, math.inf)  # no clipping
