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


"""Runs of process-bag whose answers are known."""

from __future__ import annotations

from pathlib import Path

from bag_checks import read_bag
from bag_predictors import NumberPredictor
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from sync_perception.ros.bags.process import BagJob, process_bag

KINDS = {'/cam/image': Image, '/cam/camera_info': CameraInfo, '/word': String,
         '/sync/depth': Image, '/sync/semantics': Image, '/sync/semantics/confidence': Image,
         '/sync/camera_info': CameraInfo, '/sync/image_rect': Image, '/sync/label_space': String}


def run(source: Path, out: Path, predictor: NumberPredictor | None = None, lines=None,
        chunk_frames: int = 3, **options) -> dict:
    """Process a bag with answers that are known."""
    return process_bag(
        BagJob(source, out, **options), load=lambda parameters: predictor or NumberPredictor(),
        report=(lines if lines is not None else []).append, chunk_frames=chunk_frames)


def content(folder: Path) -> dict[str, list]:
    """Read time and message of everything, by topic."""
    found = {}
    for each in read_bag(folder):
        message = deserialize_message(each.data, KINDS[each.topic])
        found.setdefault(each.topic, []).append((each.time, message))
    return found
