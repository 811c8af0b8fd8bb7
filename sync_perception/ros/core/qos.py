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
Quality of service of every topic; users override it with `qos_overrides.*` parameters.

Each call returns a new profile, because rclpy writes the overrides into the given profile.
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
    """Return best effort, keep last 1; it matches reliable and best-effort cameras."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def every_image_input() -> QoSProfile:
    """Return reliable, keep all; a faster publisher has to wait."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_ALL, depth=1, reliability=ReliabilityPolicy.RELIABLE)


def camera_info_input() -> QoSProfile:
    """Return best effort, with a larger depth than images so that each image finds its own."""
    return QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def output() -> QoSProfile:
    """Return reliable; a slow subscriber loses older messages."""
    return QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


def latched(depth: int = 1) -> QoSProfile:
    """Return reliable, transient local; late subscribers receive the last `depth` messages."""
    return QoSProfile(
        depth=depth, reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL)


def latched_output() -> QoSProfile:
    """Return latched, as deep as other outputs, so that each frame's calibration arrives."""
    return latched(output().depth)


def tf_input() -> QoSProfile:
    """Return the profile of tf2_ros for /tf."""
    return QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


def overridable() -> QoSOverridingOptions:
    """
    Return the options that expose a topic's history, depth, reliability and durability.

    Durability is for cameras that publish a latched camera_info only once.
    """
    return QoSOverridingOptions([
        QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY])
