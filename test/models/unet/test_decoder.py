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

"""The light decoder around any encoder: shapes, odd sizes, bad input, MobileUNet's files."""

from __future__ import annotations

import pytest
from safetensors import safe_open
from sync_perception.models.unet.decoder import LightUNet
from sync_perception.models.unet.mobilenet import MobileUNet
from sync_perception.resources import default_model_folder
import torch
from torch import nn


class Pools(nn.Module):
    """An encoder of averages: the image at strides 2, 4 and 8, rounded up."""

    def forward(self, image_b3hw):
        """Return three features of three channels."""
        return [nn.functional.avg_pool2d(image_b3hw, stride, ceil_mode=True)
                for stride in (2, 4, 8)]


def test_map_is_at_the_finest_stride_whatever_the_coarser_ones_round_to():
    branch = LightUNet(5, Pools(), (3, 3, 3), (2, 4, 8), (4, 6, 8)).eval()
    assert branch.multiple == 8
    with torch.no_grad():
        assert branch(torch.randn(2, 3, 48, 64)).shape == (2, 5, 24, 32)
        assert branch(torch.randn(2, 3, 50, 70)).shape == (2, 5, 25, 35)


def test_every_feature_reaches_the_map():
    branch = LightUNet(1, Pools(), (3, 3, 3), (2, 4, 8), (4, 6, 8)).eval()
    features = [torch.randn(1, 3, 32 // s, 32 // s, requires_grad=True) for s in (2, 4, 8)]
    branch.decode(features).square().sum().backward()
    assert all((feature.grad != 0).any() for feature in features)


def test_a_width_for_each_feature():
    with pytest.raises(ValueError, match='each of the 3 features'):
        LightUNet(1, Pools(), (3, 3, 3), (2, 4, 8), (4, 8))


def test_the_default_models_files_keep_their_names():
    branch = MobileUNet(out_channels=1)
    with safe_open(default_model_folder() / 'model.safetensors', 'pt') as file:
        stored = {key for key in file.keys() if key.startswith('network.depth.')}
    assert stored == {f'network.depth.{key}' for key in branch.state_dict()}
