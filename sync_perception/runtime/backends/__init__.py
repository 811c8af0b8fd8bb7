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

"""Inference backends: eager torch as the reference, and faster ones that agree with it."""

from sync_perception.runtime.backends.base import (
    Backend,
    EagerBackend,
    probe_image,
    reduced_precision,
)
from sync_perception.runtime.backends.choice import (
    BackendError,
    BACKENDS,
    check_backend,
    check_precision,
    choose_backend,
    PRECISIONS,
)
from sync_perception.runtime.backends.devices import choose_device, openvino_device
from sync_perception.runtime.backends.onnxruntime import OnnxBackend
from sync_perception.runtime.backends.openvino import OpenVinoBackend

__all__ = [
    'Backend', 'BackendError', 'BACKENDS', 'check_backend', 'check_precision', 'choose_backend',
    'choose_device', 'EagerBackend', 'OnnxBackend', 'openvino_device', 'OpenVinoBackend',
    'PRECISIONS', 'probe_image', 'reduced_precision']
