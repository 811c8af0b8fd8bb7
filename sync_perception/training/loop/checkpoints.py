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


"""Checkpoints that are whole or not there."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO
from sync_perception.files.checks import first_line
from sync_perception.files.whole_files import write_bytes
import torch


class WholeCheckpoints(TorchCheckpointIO):
    """
    Writes each checkpoint beside its place, waits until the disk has it, and renames it.

    Lightning's own goes through the system's folder for temporary files; where that is another
    file system, the last act is a copy, of which a kill leaves a part under the final name.
    """

    def save_checkpoint(
            self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
            ) -> None:
        """
        Write a checkpoint.

        :raises TypeError: if options for a remote storage are given.
        :raises OSError: if the disk is full, naming the file and the disk.
        """
        if storage_options is not None:
            raise TypeError(f'checkpoints are written to local folders, got {storage_options}')
        content = BytesIO()  # written to a full disk, torch's archive hides the reason
        torch.save(checkpoint, content)
        write_bytes(path, content.getbuffer())

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """
        Read a checkpoint.

        :raises FileNotFoundError: if there is none.
        :raises ValueError: if it is damaged, or no checkpoint of a training.
        """
        try:
            checkpoint = super().load_checkpoint(path, *arguments, **options)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # a damaged archive makes torch raise whatever there is
            raise ValueError(
                f'{path}: expected a checkpoint of a training, and it is damaged or something '
                f'else: {type(error).__name__}: {first_line(error)}') from error
        missing = [name for name in ('state_dict', 'global_step', 'optimizer_states')
                   if not isinstance(checkpoint, dict) or name not in checkpoint]
        if missing:
            raise ValueError(
                f'{path}: expected a checkpoint of a training, and it lacks {", ".join(missing)}')
        return checkpoint
