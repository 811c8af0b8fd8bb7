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

"""Keeps an average of the weights, and writes it as the folder that the node loads."""

from __future__ import annotations

import datetime
from pathlib import Path
import platform
from typing import Any

import lightning
from lightning.pytorch.callbacks import EMAWeightAveraging
from sync_perception.models import hub
import torch


class ExportAverage(EMAWeightAveraging):
    """
    Exponential moving average of the weights, exported while the training goes on and at its end.

    :param folder: the model folder to write.
    :param decay: of the average, a step.
    :param every: steps between two exports.
    :param start: step at which the averaging starts.
    """

    def __init__(self, folder: str, decay: float = 0.999, every: int = 500, start: int = 100):
        super().__init__(decay=decay, update_starting_at_step=start)
        self.folder, self.every = Path(folder), every
        self.started = datetime.datetime.now(datetime.timezone.utc)

    def on_train_batch_end(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule,
            *args: Any, **kwargs: Any) -> None:
        """Update the average, and export it now and then."""
        super().on_train_batch_end(trainer, pl_module, *args, **kwargs)
        if trainer.global_step % self.every == 0 and trainer.is_global_zero:
            self.export(trainer, self._average_model.module.model)

    def on_train_end(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Export the final average."""
        super().on_train_end(trainer, pl_module)
        if trainer.is_global_zero:
            self.export(trainer, pl_module.model)

    def export(self, trainer: lightning.Trainer, model: hub.PerceptionModel) -> None:
        """Write the folder, with the training's record in its config."""
        now = datetime.datetime.now(datetime.timezone.utc)
        data = trainer.datamodule
        focals = [focal for source in data.sources for focal in source.focal or ()]
        if focals:
            model.config.focal_range = [min(focals), max(focals)]
        model.config.record = {
            'steps': trainer.global_step,
            'batch_size': data.batch_size,
            'crop': list(data.crop),
            'data': [
                {'dataset': s.dataset, 'split': s.split, 'share': s.share} for s in data.sources],
            'hours': round((now - self.started).total_seconds() / 3600, 2),
            'finished': now.date().isoformat(),
            'machine': machine_name(trainer.strategy.root_device),
            'torch': torch.__version__}
        hub.save(model, self.folder)


def machine_name(device: torch.device) -> str:
    """Name what the training ran on: the GPU, or the processor and its threads."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{processor_name()}, {torch.get_num_threads()} threads'


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.processor() or platform.machine()
