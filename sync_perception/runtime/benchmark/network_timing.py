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


"""Timing of a network in eager torch and as the predictor runs it, in turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
import time

from sync_perception.models.perception_model import PerceptionModel
from sync_perception.runtime.backends import choose_backend, EagerBackend
import torch

SECONDS = 4.0  # duration of the measurement of one network at one size
MOST_RUNS = 20
PATIENCE = 10.0  # seconds; preparing a slower network for the predictor takes minutes


@dataclass(frozen=True)
class Times:
    """
    Median time per image.

    :param eager: milliseconds of the network in eager torch, in float32.
    :param predictor: milliseconds of the same network as the predictor runs it; None if eager
        took longer than PATIENCE.
    :param backend: backend of the predictor.
    :param runs: number of runs of each variant.
    """

    eager: float
    predictor: float | None
    backend: str | None
    runs: int


def time_network(
        model: PerceptionModel, sizes: list[tuple[int, int]], half: bool = False
        ) -> dict[tuple[int, int], Times]:
    """
    Time a network on one image, in eager torch and as the predictor runs it, in turns.

    :param model: on its device, in evaluation mode.
    :param sizes: heights and widths of the image.
    :param half: whether the predictor runs in the device's 16-bit format.
    """
    eager, chosen = EagerBackend(model), None
    times: dict[tuple[int, int], Times] = {}
    for size in sizes:
        image = torch.rand(1, 3, *size, device=model.device).mul(2).sub(1).contiguous(
            memory_format=torch.channels_last)
        ways: dict[str, Callable[[], object]] = {'eager': partial(eager, image)}
        run_once(ways['eager'], model.device)
        first = run_once(ways['eager'], model.device)
        if first < 1000 * PATIENCE:
            chosen = chosen or choose_backend(model, 'half' if half else 'float32')
            ways['predictor'] = partial(chosen, image)
            run_once(ways['predictor'], model.device)
        spent = take_turns(ways, model.device, first)
        medians = {name: median(values) for name, values in spent.items()}
        times[size] = Times(
            medians['eager'], medians.get('predictor'),
            f'{chosen.name} {chosen.precision}' if chosen and 'predictor' in ways else None,
            len(spent['eager']))
    return times


def take_turns(
        ways: dict[str, Callable[[], object]], device: torch.device, expected: float
        ) -> dict[str, list[float]]:
    """
    Run the variants in turns, for SECONDS or MOST_RUNS times.

    :param expected: approximate milliseconds of a run.
    :return: milliseconds of every run, by variant.
    """
    runs = int(1000 * SECONDS / (expected * len(ways)))
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(1, min(runs, MOST_RUNS))):
        for name, run in ways.items():
            spent[name].append(run_once(run, device))
    return spent


def run_once(run: Callable[[], object], device: torch.device) -> float:
    """Run a function and wait for the device; return the milliseconds."""
    start = time.perf_counter()
    run()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) * 1000
