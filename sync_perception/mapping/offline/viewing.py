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

"""The command `view`: maps, videos and webcams in the viewer of Rerun."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import subprocess
import sys
import time

import cv2
import numpy as np
from sync_perception.images.bit_depth import BitDepth
from sync_perception.mapping.offline.command import RECORDING
from sync_perception.mapping.offline.frame_sources import CameraArguments, FrameSource
from sync_perception.mapping.offline.recording import RerunRecording
from sync_perception.mapping.offline.run import MAP_FOLDER
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.storage import DESCRIPTION
from sync_perception.mapping.semantic_map.surface import surface_of
from sync_perception.mapping.trajectory import Trajectory
from sync_perception.runtime.image_files.image_reader import ImageReader
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame


class Webcam:
    """
    Webcam as a source without an end.

    :param number: number of the device, from 0.
    :raises ValueError: if there is no such webcam.
    """

    count = rate = None

    def __init__(self, number: int, arguments: CameraArguments):
        self.title, self.reader = f'webcam {number}', ImageReader(arguments, BitDepth())
        self.capture = cv2.VideoCapture(number)
        if not self.capture.isOpened():
            raise ValueError(f'webcam: there is no webcam {number}, or another program has it')

    def frames(self, start: int, stride: int) -> Iterator[tuple[int, Frame | ValueError]]:
        """Yield index and frame as they come, with the time since 1970."""
        index = start
        while True:
            there, bgr = self.capture.read()
            if not there:
                return
            image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            yield index, self.reader.frame(image, 1, image.shape[:2], time.time_ns())
            index += 1

    def trajectory(self) -> Trajectory | None:
        """Return None: a webcam has no poses."""
        return None

    def sensor_depth(self, index: int) -> np.ndarray | None:
        """Return None: a webcam has no depth."""
        return None


def view_map(path: Path, save: Path | None = None) -> bool:
    """
    Open a map or a recording in the viewer.

    :param path: the folder that `map` has written, or a recording.
    :param save: write a recording of the map instead of opening the viewer.
    :return: whether the path is a map or a recording.
    """
    recorded = path if path.suffix == '.rrd' else path / RECORDING
    if recorded.is_file() and save is None:
        subprocess.run([sys.executable, '-m', 'rerun', str(recorded)], check=False)
        return True
    folder = next((each for each in (path, path / MAP_FOLDER)
                   if (each / DESCRIPTION).is_file()), None)
    if folder is None:
        return False
    stored, _ = SemanticMap.load(folder)
    recording = RerunRecording(stored.space, save, tuple(stored.settings.up))
    recording.surface(surface_of(stored))
    recording.close()
    return True


def view_live(
        source: FrameSource, predictor: Predictor, save: Path | None = None,
        frames: int | None = None) -> int:
    """
    Predict the frames of a source and show them as they come.

    :param save: write a recording instead of opening the viewer.
    :param frames: end after so many; None for all.
    :return: number of frames shown.
    """
    recording, shown = RerunRecording(predictor.labels, save), 0
    for _, frame in source.frames(0, 1):
        if frames is not None and shown >= frames:
            break
        if isinstance(frame, ValueError):
            continue
        recording.frame(frame, predictor.predict(frame))
        shown += 1
    recording.close()
    if not shown:
        raise ValueError(f'{source.title} has no readable frame')
    return shown
