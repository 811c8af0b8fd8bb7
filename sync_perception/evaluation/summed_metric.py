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

"""Base class of metrics whose states are sums."""

from __future__ import annotations

import torch
from torchmetrics import Metric


class SummedMetric(Metric):
    """
    Metric whose states are sums, which add up over processes (`sync`) and objects (`merge_state`).

    Results are not summed over processes by `compute` itself, so that a process can check first
    whether there is anything to compute: call `sync` in every process before.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self):
        super().__init__(sync_on_compute=False)

    def add_sum(
            self, name: str, shape: tuple[int, ...] = (),
            dtype: torch.dtype = torch.int64) -> None:
        """Declare a state that starts at 0."""
        self.add_state(name, torch.zeros(shape, dtype=dtype), dist_reduce_fx='sum')

    def increase(self, name: str, values) -> None:
        """Add a number, or an array of the state's shape, to a state."""
        state = getattr(self, name)
        state += torch.as_tensor(values).to(state)


class Counter(SummedMetric):
    """
    Numbers of occurrences.

    :param kinds: names of what is counted.
    """

    def __init__(self, kinds: tuple[str, ...]):
        super().__init__()
        self.kinds = kinds
        self.add_sum('counts', (len(kinds),))

    def update(self, kind: str) -> None:
        """Count one occurrence."""
        self.counts[self.kinds.index(kind)] += 1

    def compute(self) -> dict[str, int]:
        """Return the numbers by name."""
        return dict(zip(self.kinds, self.counts.tolist()))

    def __getitem__(self, kind: str) -> int:
        """Return the number of one kind."""
        return int(self.counts[self.kinds.index(kind)])
