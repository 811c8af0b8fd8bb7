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


"""
Quality of service of every topic; users override it by `qos_overrides.*` parameters.

Each call gives a new profile, because rclpy writes the overrides into the profile it is given.
"""

from __future__ import annotations

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions


def image_input() -> QoSProfile:
    """Best effort, as it matches reliable and best effort cameras alike; only the newest image."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def every_image_input() -> QoSProfile:
    """Reliable, and nothing is thrown away: who publishes faster has to wait."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_ALL, depth=1, reliability=ReliabilityPolicy.RELIABLE)


def camera_info_input() -> QoSProfile:
    """Best effort, and some more of them than images: each image is to find its own."""
    return QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def output() -> QoSProfile:
    """Reliable; a subscriber that cannot keep up loses the older ones."""
    return QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


def latched(depth: int = 1) -> QoSProfile:
    """Reliable, and the last so many kept for those who subscribe later."""
    return QoSProfile(
        depth=depth, reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL)


def camera_info_output() -> QoSProfile:
    """Latched; as deep as the other outputs, so that each frame's calibration arrives with it."""
    return latched(output().depth)


def overridable() -> QoSOverridingOptions:
    """
    Let users set a topic's history, depth, reliability and durability by parameters.

    Durability, for cameras that publish a latched camera_info only once.
    """
    return QoSOverridingOptions([
        QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY])
