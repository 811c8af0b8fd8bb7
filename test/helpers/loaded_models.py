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

"""Predictors of models that are in memory only."""

from __future__ import annotations

from unittest import mock

from sync_perception.models import hub
from sync_perception.models.perception_model import PerceptionModel
from sync_perception.runtime.predictor import Predictor


def predictor_of(model: PerceptionModel, **settings) -> Predictor:
    """Return a predictor that loads this model, on the model's device, and runs it by torch."""
    with mock.patch.object(hub, 'load', return_value=model.eval()):
        return Predictor(
            type(model).__name__, model.device.type, **{'backend': 'torch', **settings})
