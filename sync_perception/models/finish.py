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

"""Last operations on a network's maps: sharp borders, calibrated confidence and uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, replace
import math

from sync_perception.types import DenseOutput
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Finish:
    """
    Last operations of a trained network, none of which has weights.

    :param sharpen: ratio of neighbouring depths from which borders are sharpened (`sharpened`),
        such as 1.3; None leaves them as they are.
    :param temperature: divisor of the logits, which changes confidences but no label (Guo et al.,
        ICML 2017).
    :param deviation_scale: factor of the standard deviation of ln(depth).
    :raises ValueError: if `sharpen` is not above 1, or another value is not positive and finite.
    """

    sharpen: float | None = None
    temperature: float = 1.0
    deviation_scale: float = 1.0

    def __post_init__(self):
        """Validate the values."""
        if self.sharpen is not None and not 1 < self.sharpen < math.inf:
            raise ValueError(f'finish: expected a ratio above 1 as sharpen, got {self.sharpen}')
        for name in ('temperature', 'deviation_scale'):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f'finish: expected a positive {name}, got {value}')

    def __call__(self, output: DenseOutput) -> DenseOutput:
        """Return the finished maps; those that need no change are the same tensors."""
        changed: dict[str, Tensor] = {}
        if self.sharpen is not None and output.depth is not None:
            changed['depth'] = sharpened(output.depth, self.sharpen)
        if self.temperature != 1 and output.logits is not None:
            changed['logits'] = output.logits / self.temperature
        if self.deviation_scale != 1 and output.log_variance is not None:
            changed['log_variance'] = output.log_variance + 2 * math.log(self.deviation_scale)
        return replace(output, **changed)


def sharpened(depth_b1hw: Tensor, ratio: float) -> Tensor:
    """
    Move the depth at borders to the nearer or the farther side, whichever is closer in ln(depth).

    Convolutions leave a ramp between two surfaces, whose points hang in the air. This is one step
    of the morphological shock filter (Kramer and Bruckner, Pattern Recognition 7, 1975): a pixel
    becomes the least or the greatest depth of its 3x3 neighbours, where these differ by more than
    `ratio`.

    :param depth_b1hw: metres, positive.
    :param ratio: ratio of greatest to least depth beyond which pixels lie at a border, above 1.
    """
    nearest = -functional.max_pool2d(-depth_b1hw, 3, 1, 1)
    farthest = functional.max_pool2d(depth_b1hw, 3, 1, 1)
    side = torch.where(depth_b1hw.square() < nearest * farthest, nearest, farthest)
    return torch.where(farthest > ratio * nearest, side, depth_b1hw)
