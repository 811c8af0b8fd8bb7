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

"""Periodic check whether the depth and the labels of a frame are consistent."""

from __future__ import annotations

from collections.abc import Sequence
import time
from typing import Any

from sync_perception.labels import LabelSpace
from sync_perception.types import Frame, Prediction

NEVER = -float('inf')


class ConsistencyMonitor:
    """
    Monitor that scores single frames at a low rate; the cameras take turns.

    :param scorer: object whose `score` is the cosine similarity of the embeddings of depth and
        labels.
    :ivar scores: latest score of each camera, by its name.
    """

    MAPS = frozenset({'depth', 'labels'})

    def __init__(self, scorer: Any):
        self.scorer = scorer
        self.scores: dict[str, float] = {}
        self.latest = NEVER
        self.judged: dict[str, float] = {}

    def choose(self, cameras: Sequence[str], period: float) -> int | None:
        """
        Return which of the current frames is due for a check.

        :param cameras: name of the camera of each frame.
        :param period: seconds between two checks. With n cameras, a camera waits n periods, so
            that a fast camera does not displace the others.
        :return: index of the frame whose camera was checked longest ago; None if none is due.
        """
        now = time.monotonic()
        for name in cameras:
            self.judged.setdefault(name, NEVER)
        index = min(range(len(cameras)), key=lambda index: self.judged[cameras[index]])
        own = self.judged[cameras[index]]
        due = now - self.latest >= period and now - own >= period * len(self.judged)
        return index if due else None

    def judge(self, camera: str, prediction: Prediction, frame: Frame, labels: LabelSpace,
              minimum: float) -> str:
        """
        Score a prediction with depth and labels.

        :param camera: name of the camera.
        :param minimum: least cosine similarity of consistent maps.
        :return: a warning, or an empty string.
        """
        self.latest = self.judged[camera] = time.monotonic()
        score = self.scores[camera] = self.scorer.score(prediction, frame, labels)
        if score >= minimum:
            return ''
        return (f'depth and labels contradict each other: their similarity is {score:.2f}, '
                f'expected at least {minimum:g}')
