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

"""Processes that end badly, or meet: copies of this one, which need not import torch again."""

from __future__ import annotations

from collections.abc import Callable
import multiprocessing
from multiprocessing.context import ForkProcess
from typing import Any

import cv2
import torch


def fork(function: Callable[..., Any], *arguments: Any) -> ForkProcess:
    """
    Start a function in a copy of this process; its `exitcode` is negative after a signal.

    A copy has no threads but its own, so that neither torch nor OpenCV may wait for others.
    """
    process = multiprocessing.get_context('fork').Process(
        target=on_one_thread, args=(function, *arguments))
    process.start()
    return process


def on_one_thread(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function without the threads of torch and OpenCV."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    function(*arguments)
