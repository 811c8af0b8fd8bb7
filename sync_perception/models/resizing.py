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

"""Bilinear resizing of maps, shared by networks and losses."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def resize_bilinear(map_bchw: Tensor, size: Sequence[int]) -> Tensor:
    """
    Resize a map bilinearly, with the corners of the outer pixels aligned (`align_corners=False`).

    :param map_bchw: float (B, C, h, w).
    :param size: height and width of the result, pixels.
    :return: (B, C, H, W).
    """
    return functional.interpolate(map_bchw, size=size, mode='bilinear', align_corners=False)
