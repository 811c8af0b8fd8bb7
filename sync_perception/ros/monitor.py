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

import time
from typing import Any

from sync_perception.labels import LabelSpace
from sync_perception.types import Frame, Prediction


class ConsistencyMonitor:
    """
    Asks a contrastive model, at a low rate.

    :param scorer: whose `score` is the cosine similarity of the embeddings of depth and labels.
    :ivar score: the latest; None before the first.
    """

    MAPS = frozenset({'depth', 'labels'})

    def __init__(self, scorer: Any):
        self.scorer = scorer
        self.score: float | None = None
        self.last = -float('inf')

    def due(self, period: float) -> bool:
        """Say whether so many seconds have passed since the last judgement."""
        return time.monotonic() - self.last >= period

    def judge(self, prediction: Prediction, frame: Frame, labels: LabelSpace,
              minimum: float) -> str:
        """
        Score a prediction with depth and labels.

        :param minimum: cosine similarity from which on they fit together.
        :return: what is wrong, or an empty string.
        """
        self.last = time.monotonic()
        self.score = self.scorer.score(prediction, frame, labels)
        if self.score >= minimum:
            return ''
        return (f'depth and labels contradict each other: their similarity is {self.score:.2f}, '
                f'expected at least {minimum:g}')
