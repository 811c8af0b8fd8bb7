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

"""A calibration as camera_calibration writes it, for several modules."""

from __future__ import annotations

CALIBRATION = {
    'image_width': 64, 'image_height': 48, 'camera_name': 'front',
    'distortion_model': 'plumb_bob',
    'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.1, -0.2, 0, 0, 0.05]},
    'camera_matrix': {'rows': 3, 'cols': 3, 'data': [50, 0, 31.5, 0, 51, 23.5, 0, 0, 1]},
    'rectification_matrix': {'rows': 3, 'cols': 3, 'data': [1, 0, 0, 0, 1, 0, 0, 0, 1]},
    'projection_matrix': {
        'rows': 3, 'cols': 4, 'data': [48, 0, 30, 0, 0, 49, 22, 0, 0, 0, 1, 0]},
}
