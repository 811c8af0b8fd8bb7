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


"""Baselines of depth without learning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.progress import track
from sync_perception.datasets.sample import Sample
from sync_perception.evaluation.evaluate import evenly_spread
from sync_perception.evaluation.metrics import CROPS, DepthMetrics, MAX_DEPTH
from sync_perception.geometry import pixel_rays
from sync_perception.training.feeding.recordings import EvaluationSource

CAMERA_HEIGHT = 1.65
"""Height of KITTI's cameras above the road, metres (Geiger et al., IJRR 2013)."""


def constant(sample: Sample) -> np.ndarray:
    """Return a constant depth of 1 m, float64 (H, W), to be scaled."""
    return np.ones(sample.image.shape[:2])


def ground_plane(sample: Sample) -> np.ndarray:
    """
    Return the depth of a flat road below a level camera, float64 (H, W), metres.

    The road is `CAMERA_HEIGHT` below the camera. Depth is clamped to the greatest evaluated
    distance, also above the horizon.
    """
    down = pixel_rays(sample.K, sample.image.shape[:2])[..., 1]
    return CAMERA_HEIGHT / np.maximum(down, CAMERA_HEIGHT / MAX_DEPTH)


BASELINES: dict[str, Callable[[Sample], np.ndarray]] = {
    'constant depth': constant, 'ground plane': ground_plane}
"""Baselines by name: functions from a sample with intrinsics to depth."""


def measure_baseline(name: str, source: EvaluationSource) -> dict[str, float]:
    """
    Evaluate a baseline by the protocol of `evaluate`, with median scaling.

    :param name: a key of BASELINES.
    :return: depth metrics by name; empty if no frame has both depth and intrinsics.
    """
    samples = source.load()
    metrics = DepthMetrics(median_scaling=True, max_depth=samples.max_depth)
    for sample_id in track(
            evenly_spread(samples.ids, source.samples), name, console=Console(stderr=True)):
        sample = samples.read(sample_id)
        if sample.depth is None or sample.K is None:
            continue
        crop = samples.crop(sample_id)
        part = None if crop is None else CROPS[crop](sample.depth.shape)
        metrics.update(BASELINES[name](sample), sample.depth, part)
    return metrics.compute() if metrics.images else {}
