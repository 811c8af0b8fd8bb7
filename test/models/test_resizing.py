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

"""Resized maps by hand: pixels are areas, not points."""

from __future__ import annotations

import pytest
from sync_perception.models.resizing import resize_bilinear
import torch


@pytest.mark.parametrize(('row', 'width', 'expected'), [
    ([0.0, 1.0], 4, [0, 0.25, 0.75, 1]), ([0.0, 2.0, 4.0, 6.0], 2, [1, 5]),
    ([0.0, 3.0], 2, [0, 3])])
def test_the_outer_edges_of_both_maps_coincide(row, width, expected):
    """A pixel of the small map covers exactly two of the large one, in both directions."""
    map_b1hw = torch.tensor(row).expand(1, 1, 2, -1)
    along = resize_bilinear(map_b1hw, (2, width))
    torch.testing.assert_close(along, torch.tensor(expected).float().expand(1, 1, 2, -1))
    across = resize_bilinear(map_b1hw.mT, (width, 2))
    torch.testing.assert_close(across, along.mT)
