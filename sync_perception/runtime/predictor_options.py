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

"""Options by which a predictor is loaded, as on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sync_perception.runtime.predictor import Predictor


@dataclass(frozen=True)
class PredictorOptions:
    """
    Options of a `Predictor`, which describes them.

    :param model: model folder or hub id; None is the default model.
    :param device: auto, cpu, cuda or cuda:N, openvino:GPU or openvino:NPU.
    :param backend: auto, torch, cuda_graph, openvino or onnxruntime.
    :param precision: auto, float32, half or int8.
    :param half: run the network in the device's 16-bit format.
    :param max_depth: metres beyond which depth is invalid; None is the end of the model's range.
    """

    model: str | Path | None = None
    device: str = 'auto'
    backend: str = 'auto'
    precision: str = 'auto'
    half: bool = False
    max_depth: float | None = None

    def load(self) -> Predictor:
        """Load the predictor; raises what `Predictor` raises."""
        return Predictor(
            self.model, self.device, self.half, self.max_depth, self.backend, self.precision)
