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

"""Judges now and then whether the depth and the labels of a frame fit together."""

from __future__ import annotations

from collections.abc import Sequence
import time
from typing import Any

from sync_perception.labels import LabelSpace
from sync_perception.types import Frame, Prediction

NEVER = -float('inf')


class ConsistencyMonitor:
    """
    Scores a frame of one camera at a time, at a low rate; all cameras take turns.

    :param scorer: whose `score` is the cosine similarity of the embeddings of depth and labels.
    :ivar scores: the latest of each camera, by its name.
    """

    MAPS = frozenset({'depth', 'labels'})

    def __init__(self, scorer: Any):
        self.scorer = scorer
        self.scores: dict[str, float] = {}
        self.latest = NEVER
        self.judged: dict[str, float] = {}

    def choose(self, cameras: Sequence[str], period: float) -> int | None:
        """
        Choose which of the frames in hand is to be judged.

        :param cameras: the name of each frame's camera.
        :param period: seconds between two judgements. A camera waits as many periods as there
            are cameras, so that a fast one leaves the others their turn.
        :return: the index of the frame whose camera was judged longest ago; None if none is due.
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

        :param camera: its name.
        :param minimum: cosine similarity from which on they fit together.
        :return: what is wrong, or an empty string.
        """
        self.latest = self.judged[camera] = time.monotonic()
        score = self.scores[camera] = self.scorer.score(prediction, frame, labels)
        if score >= minimum:
            return ''
        return (f'depth and labels contradict each other: their similarity is {score:.2f}, '
                f'expected at least {minimum:g}')
