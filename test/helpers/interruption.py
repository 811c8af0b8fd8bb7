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

"""Callbacks that end a training in the middle of a step."""

from __future__ import annotations

import os
import signal
from typing import Any

import lightning


class Kill(lightning.Callback):
    """
    Kills the process after the backward pass of a step: nothing can be tidied up.

    :param step: steps that are done before.
    """

    def __init__(self, step: int):
        self.step = step

    def on_after_backward(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Kill."""
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class Fail(lightning.Callback):
    """
    Raises after the backward pass of a step.

    :param step: steps that are done before.
    """

    def __init__(self, step: int):
        self.step = step

    def on_after_backward(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Raise."""
        if trainer.global_step == self.step:
            raise InterruptedError('as was to be tested')
