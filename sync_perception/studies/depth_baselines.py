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


"""What depth is without learning: that with which learned depth is to be compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.progress import track
from sync_perception.datasets.sample import Sample
from sync_perception.evaluation.evaluate import spread
from sync_perception.evaluation.metrics import CROPS, DepthMetrics, MAX_DEPTH
from sync_perception.geometry import pixel_rays
from sync_perception.training.feeding.recordings import EvaluationSource

CAMERA_HEIGHT = 1.65
"""Metres above the road, of KITTI's cameras (Geiger et al., IJRR 2013)."""


def constant(sample: Sample) -> np.ndarray:
    """Return the same depth everywhere, 1 m, as float64 (H, W); to be scaled."""
    return np.ones(sample.image.shape[:2])


def ground_plane(sample: Sample) -> np.ndarray:
    """
    Return the depth of a level road under a level camera, float64 (H, W), metres.

    `CAMERA_HEIGHT` below the camera; from the distance on at which depth is not scored, and above
    the horizon, it is that distance.
    """
    down = pixel_rays(sample.K, sample.image.shape[:2])[..., 1]
    return CAMERA_HEIGHT / np.maximum(down, CAMERA_HEIGHT / MAX_DEPTH)


BASELINES: dict[str, Callable[[Sample], np.ndarray]] = {
    'constant depth': constant, 'ground plane': ground_plane}
"""Depth of a sample with intrinsics, by name."""


def measure_baseline(name: str, source: EvaluationSource) -> dict[str, float]:
    """
    Measure a baseline by the protocol of `evaluate`, each frame scaled by its median.

    :param name: a key of BASELINES.
    :return: the depth's scores by name; none if no frame has both depth and intrinsics.
    """
    samples = source.load()
    metrics = DepthMetrics(median_scaling=True, max_depth=samples.max_depth)
    for sample_id in track(
            spread(samples.ids, source.samples), name, console=Console(stderr=True)):
        sample = samples.read(sample_id)
        if sample.depth is None or sample.K is None:
            continue
        crop = samples.crop(sample_id)
        part = None if crop is None else CROPS[crop](sample.depth.shape)
        metrics.update(BASELINES[name](sample), sample.depth, part)
    return metrics.compute() if metrics.images else {}
