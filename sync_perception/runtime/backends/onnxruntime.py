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

"""Backend for exported ONNX files in onnxruntime."""

from __future__ import annotations

from sync_perception.models.exchange.exported import OnnxModel
from sync_perception.runtime.backends.base import Backend, in_float32, takes_batches
from sync_perception.types import DenseOutput
from torch import Tensor


class OnnxBackend(Backend):
    """
    ONNX file in onnxruntime, in the precision in which it was exported.

    :param model: model loaded from the ONNX file.
    """

    name = 'onnxruntime'
    precision = 'float32'

    def __init__(self, model: OnnxModel):
        self.model, self.device = model, model.device
        self.batches = takes_batches(model)

    def __call__(self, image_b3hw: Tensor) -> DenseOutput:
        """Run the network."""
        return in_float32(self.model(image_b3hw))
