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


"""Predictors whose answers are known, and a process that stops in the middle of a bag."""

from __future__ import annotations

import os
from pathlib import Path
import signal
import sys

import numpy as np
from sync_perception.labels import LabelSpace
from sync_perception.ros.bags import process
from sync_perception.types import Frame, Prediction


class NumberPredictor:
    """
    Says of every pixel the number that the image carries in its first one, as metres and label.

    :param stop_at: at this number it says `waiting` on stdout and waits for ever.
    """

    available = frozenset({'depth', 'labels', 'confidence'})
    labels = LabelSpace.load('driving')
    model_name = 'numbers'

    def __init__(self, stop_at: int = -1):
        self.stop_at = stop_at
        self.seen: list[int] = []

    def focal_problem(self, frame: Frame) -> str:
        """Find nothing."""
        return ''

    def predict(self, frame: Frame, maps: frozenset[str]) -> Prediction:
        """Answer with the number."""
        number = int(frame.image[0, 0, 0])
        if number == self.stop_at:
            print('waiting', flush=True)
            signal.pause()
        self.seen.append(number)
        return Prediction(
            depth=np.full(frame.size, number + 0.5, np.float32),
            labels=np.full(frame.size, number % 5, np.uint8),
            confidence=np.full(frame.size, 0.75, np.float32))


if __name__ == '__main__':
    source, out, stop_at = sys.argv[1:]
    print(os.getpid(), flush=True)
    process.process_bag(
        process.BagJob(Path(source), Path(out)), report=lambda line: None, chunk_frames=3,
        load=lambda parameters: NumberPredictor(int(stop_at)))
