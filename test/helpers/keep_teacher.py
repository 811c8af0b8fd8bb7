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


"""A callback that keeps each process's teacher."""

from __future__ import annotations

from pathlib import Path

import lightning
import torch


class KeepTeacher(lightning.Callback):
    """Writes the teacher of a semi-supervised training at its end, one file a process."""

    def on_train_end(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write."""
        path = Path(trainer.default_root_dir) / f'teacher_{trainer.global_rank}.pt'
        torch.save(pl_module.objectives['semi_supervised'].state(), path)
