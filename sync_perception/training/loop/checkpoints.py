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


"""Atomically written checkpoints."""

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
    Checkpoint IO that writes a temporary file in the same folder, syncs and renames it.

    Lightning's own uses the system's temporary folder. If that is another file system, the final
    step is a copy, and a kill would leave a partial file under the final name.
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
        content = BytesIO()  # in memory: on a full disk, torch's archive writer hides the reason
        torch.save(checkpoint, content)
        write_bytes(path, content.getbuffer())

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """
        Read a checkpoint.

        :raises FileNotFoundError: if it does not exist.
        :raises ValueError: if it is damaged, or not a training checkpoint.
        """
        try:
            checkpoint = super().load_checkpoint(path, *arguments, **options)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # torch raises many types of errors for damaged archives
            raise ValueError(
                f'{path}: expected a checkpoint of a training, and it is damaged or something '
                f'else: {type(error).__name__}: {first_line(error)}') from error
        missing = [name for name in ('state_dict', 'global_step', 'optimizer_states')
                   if not isinstance(checkpoint, dict) or name not in checkpoint]
        if missing:
            raise ValueError(
                f'{path}: expected a checkpoint of a training, and it lacks {", ".join(missing)}')
        return checkpoint
