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

"""Writes an exported model that never ends."""

from __future__ import annotations

from dataclasses import asdict
import json
from pathlib import Path

import numpy as np
from onnx import helper, numpy_helper, save_model, TensorProto
from sync_perception.labels import LabelSpace
from sync_perception.models import ModelConfig
from sync_perception.models.exchange.exported import CONFIG_KEY

SIZE = (64, 96)


def write_endless_onnx(path: Path) -> Path:
    """Write a valid ONNX file of this package that adds one to its depth for ever."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node('Identity', ['condition'], ['next']),
         helper.make_node('Add', ['before', 'one'], ['after'])], 'body',
        [value('count', TensorProto.INT64, []), value('condition', TensorProto.BOOL, []),
         value('before', TensorProto.FLOAT, None)],
        [value('next', TensorProto.BOOL, []), value('after', TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.float32(1), 'one')])
    graph = helper.make_graph(
        [helper.make_node('ReduceMean', ['image'], ['mean'], axes=[1], keepdims=1),
         helper.make_node('Loop', ['times', 'always', 'mean'], ['depth'], body=body)], 'endless',
        [value('image', TensorProto.FLOAT, [1, 3, *SIZE])],
        [value('depth', TensorProto.FLOAT, [1, 1, *SIZE])],
        [numpy_helper.from_array(np.int64(2 ** 62), 'times'),
         numpy_helper.from_array(np.bool_(True), 'always')])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    config = ModelConfig(
        'sync', {}, LabelSpace.load('driving').to_dict(), input_size=list(SIZE))
    entry = model.metadata_props.add()
    entry.key, entry.value = CONFIG_KEY, json.dumps(asdict(config))
    save_model(model, path)
    return path
