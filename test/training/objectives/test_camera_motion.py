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

"""The pose network: order of the images, units of translations."""

from __future__ import annotations

import pytest
from sync_perception.models.interface import Interface
from sync_perception.training.objectives.camera_motion import (
    CameraMotion,
    first_depth,
    PoseConfig,
)
import torch
from zoo import build


def test_networks_without_depth_are_refused():
    with pytest.raises(ValueError, match='depth.*semantics'):
        first_depth(build('semantics_alone').network, (0.5, 200.0))


def test_poses_back_in_time_are_inverses_of_those_forward():
    """A neighbour before sees the pair in the same order as the image after it would."""
    torch.manual_seed(0)
    motion = CameraMotion(PoseConfig(), Interface(), 10.0).eval()
    images, others = torch.rand(2, 2, 3, 32, 64)
    before = motion(images, others, torch.tensor([-1, -1]))
    after = motion(others, images, torch.tensor([1, 1]))
    torch.testing.assert_close(before @ after, torch.eye(4).expand(2, 4, 4), atol=1e-6, rtol=0)


@pytest.mark.parametrize('name, metres', [
    ('padnet', 2 / (1 / 0.5 + 1 / 200)), ('mobile_unet', 10.0), ('refinenet', 10.0)])
def test_translations_are_in_units_of_the_depth_that_a_network_begins_with(name, metres):
    assert first_depth(build(name).network, (0.5, 200.0)) == pytest.approx(metres)
    torch.manual_seed(0)
    plain = CameraMotion(PoseConfig(), Interface(), 1 / 5).eval()
    torch.manual_seed(0)
    scaled = CameraMotion(PoseConfig(), Interface(), metres).eval()
    pair, offsets = torch.rand(2, 1, 3, 32, 64), torch.tensor([1])
    with torch.no_grad():
        expected, pose = (each(*pair, offsets)[0] for each in (plain, scaled))
    torch.testing.assert_close(pose[:3, :3], expected[:3, :3])
    torch.testing.assert_close(pose[:3, 3], 5 * metres * expected[:3, 3])
