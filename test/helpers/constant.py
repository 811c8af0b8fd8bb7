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

"""A real model that gives the same answer to every image, for the tests of measuring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig
from tiny_branch import TINY
import torch

SPACE = LabelSpace.load('driving')


def constant_model(folder: Path, label: str, **settings: Any) -> Path:
    """
    Save a model that answers `label` and 10 m of a canonical camera everywhere.

    :param settings: of its ModelConfig.
    """
    model = build_model(ModelConfig(
        'sync', {'depth': TINY, 'semantics': TINY}, SPACE.to_dict(),
        **{'input_pixels': 32 * 32, 'depth_range': [1.0, 100.0], 'canonical_focal': 50.0,
           **settings}))
    with torch.no_grad():
        for head in (model.network.depth.head, model.network.semantics.head):
            head.weight.zero_()
            head.bias.zero_()
        model.network.semantics.head.bias[SPACE.index(label)] = 10.0
    hub.save(model, folder)
    return folder
