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

"""A street of flat ground whose depth is known, and a model that is wrong about its scale."""

from __future__ import annotations

import math

import numpy as np
from sync_perception.labels import LabelSpace
from sync_perception.types import Frame, Prediction

K = np.array([[700.0, 0, 320], [0, 700, 150], [0, 0, 1]])
SIZE = (300, 640)
ROAD, OTHER = 0, 5


def street(height=1.6, pitch=0.0, roll=0.0):
    """Return true depth and labels of flat ground, computed point by point from rotations."""
    cp, sp, cr, sr = math.cos(pitch), math.sin(pitch), math.cos(roll), math.sin(roll)
    # camera = Rz(-roll) Rx(-pitch) world, in optical axes: x right, y down, z forward
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    camera_R_world = about_z @ about_x
    v, u = np.mgrid[:SIZE[0], :SIZE[1]]
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(SIZE)], axis=-1)
    towards = (rays @ camera_R_world)[..., 1]  # along the world's y, down
    depth = np.where(towards > 1e-3, height / np.maximum(towards, 1e-3), np.nan)
    depth[depth > 60] = np.nan
    labels = np.where(np.isfinite(depth), ROAD, OTHER).astype(np.uint8)
    return depth.astype(np.float32), labels


class StreetPredictor:
    """
    Predicts the street, as far as this is asked for; its metres are too short.

    :param shortening: metres of the street in a predicted one.
    :ivar asked: the maps that were asked for, of each frame.
    """

    available = frozenset({'depth', 'labels', 'confidence', 'uncertainty'})
    max_depth, model_name, reduced, relative = 60.0, 'street', '', ''
    takes_batches = True

    def __init__(self, shortening: float = 1.25):
        self.labels = LabelSpace.load('driving')
        self.shortening, self.asked = shortening, []

    def describe(self) -> dict:
        """Describe nothing."""
        return {'model': self.model_name, 'device': 'cpu'}

    def focal_problem(self, frame: Frame) -> str:
        """Find nothing."""
        return ''

    def predict(self, frame: Frame, outputs: frozenset[str]) -> Prediction:
        """Answer with the street, whatever the image shows."""
        self.asked.append(frozenset(outputs))
        depth, labels = street()
        depth /= np.float32(self.shortening)
        maps = {'depth': depth, 'labels': labels, 'uncertainty': depth / 10,
                'confidence': np.full(SIZE, 0.75, np.float32)}
        return Prediction(**{name: maps[name] for name in outputs})

    def predict_batch(self, frames, outputs) -> list[Prediction]:
        """Answer several frames."""
        return [self.predict(frame, each) for frame, each in zip(frames, outputs)]
