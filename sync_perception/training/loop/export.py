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

"""Moving average of the weights, exported as a model folder for the node."""

from __future__ import annotations

import datetime
from pathlib import Path
import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import EMAWeightAveraging
from sync_perception.machine import processor_name
from sync_perception.models import hub
from sync_perception.models.perception_model import PerceptionModel
import torch


class ExportAverage(EMAWeightAveraging):
    """
    Exponential moving average of the weights, exported during and after training.

    Validation also uses the average. The folder always contains a complete model: its files are
    replaced atomically.

    :param folder: the model folder to write; by default `model` in the trainer's root folder.
    :param decay: decay of the average per step.
    :param every: steps between two exports.
    :param start: steps before averaging starts; until then the latest weights are used.
    :param monitor: logged metric, such as `val/camvid/miou`; if given, the model is exported after
        validation only if it is the best so far.
    :param mode: whether the best is the greatest, `max`, or the least, `min`.
    :raises ValueError: for another mode.
    """

    def __init__(
            self, folder: str | None = None, decay: float = 0.999, every: int = 500,
            start: int = 100, monitor: str | None = None, mode: str = 'max'):
        super().__init__(decay=decay)
        if mode not in ('max', 'min'):
            raise ValueError(f'expected the mode max or min, got {mode!r}')
        self.folder = None if folder is None else Path(folder)
        self.every, self.monitor, self.mode, self.start = every, monitor, mode, start
        self.best: float | None = None
        self.focals: list[float] = []
        self.began, self.seconds_before = time.monotonic(), 0.0

    def setup(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule,
            stage: str) -> None:
        """Create the average and set the folder of the export."""
        super().setup(trainer, pl_module, stage)
        self.folder = self.folder or Path(trainer.default_root_dir) / 'model'

    def on_train_batch_end(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule,
            outputs: Any, batch: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Update the average, and export it every `every` steps."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, *args, **kwargs)
        if trainer.global_step <= self.start:  # averaging starts with a copy at the next update
            self._average_model.n_averaged.zero_()
        self.note_focals(batch)
        if self.monitor is None and trainer.global_step % self.every == 0:
            self.export(trainer, self._average_model.module.model)

    def on_validation_end(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """
        Export the average if its monitored metric is the best so far.

        :raises ValueError: if the monitored metric was not measured.
        """
        if self.monitor is None or trainer.sanity_checking or self._average_model is None:
            return
        if self.monitor not in trainer.callback_metrics:
            raise ValueError(
                f'nothing is logged as {self.monitor!r}, expected one of: '
                f'{", ".join(sorted(trainer.callback_metrics))}')
        value = float(trainer.callback_metrics[self.monitor])
        sign = 1 if self.mode == 'max' else -1
        if self.best is None or sign * value > sign * self.best:
            self.best = value
            self.export(trainer, self._average_model.module.model, {self.monitor: value})

    def on_train_end(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Export the final average, unless a monitored metric has chosen an earlier one."""
        super().on_train_end(trainer, pl_module)
        if self.best is None:
            self.export(trainer, pl_module.model)

    def note_focals(self, batch: dict[str, Any]) -> None:
        """Extend the range of focal lengths by those of the crops with a depth loss."""
        if 'focal' in batch:  # contrastive pairs have none
            focal_b = batch['focal']
            deep = batch['depth'].isfinite().flatten(1).any(dim=1)
            if 'neighbour_there' in batch:
                deep = deep | batch['neighbour_there'].any(dim=1)
            seen = [*self.focals, *focal_b[deep & focal_b.isfinite()].tolist()]
            self.focals = [min(seen), max(seen)] if seen else []

    def export(
            self, trainer: lightning.Trainer, model: PerceptionModel,
            measured: dict[str, float] | None = None) -> None:
        """Write the folder, with the training's record in its config, in one process only."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        learned = getattr(trainer.lightning_module, 'model', model)
        if hasattr(model.config, 'metric'):  # contrastive models predict no depth
            model.config.metric = learned.config.metric
            model.config.scale_from = list(learned.config.scale_from)
        if self.focals:  # of this process only: the others use the same sources
            model.config.focal_range = [round(focal, 1) for focal in self.focals]
        model.config.record = {
            'steps': trainer.global_step,
            'batch_size': data.batch_size * trainer.world_size,
            'crop': list(data.crop),
            'data': [
                {'dataset': s.dataset, 'split': s.split, 'share': s.share} for s in data.sources],
            **({'measured': measured} if measured else {}),
            'hours': round(self.seconds() / 3600, 4),
            'finished': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            'machine': machine_name(trainer.strategy.root_device),
            'torch': torch.__version__}
        hub.save(model, self.folder)

    def seconds(self) -> float:
        """Return the total training time in seconds, including that before interruptions."""
        return self.seconds_before + time.monotonic() - self.began

    def state_dict(self) -> dict[str, Any]:
        """Return the average's state, the best metric, the focal lengths and the training time."""
        return {**super().state_dict(), 'best': self.best, 'focals': self.focals,
                'seconds': self.seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a checkpoint's state."""
        super().load_state_dict(state_dict)
        self.best, self.seconds_before = state_dict['best'], state_dict['seconds']
        self.focals = state_dict.get('focals', [])  # older checkpoints have none


def machine_name(device: torch.device) -> str:
    """Return the name of the GPU, or the processor with its number of threads."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{processor_name()}, {torch.get_num_threads()} threads'
