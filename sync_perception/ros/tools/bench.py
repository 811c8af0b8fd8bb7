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

"""The command `bench`: time of each stage from a camera's message to the output messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from sync_perception.runtime.benchmark.bench_frames import BenchFrames
from sync_perception.runtime.benchmark.reports import write_report
from sync_perception.runtime.benchmark.stages import bench_runtime, Stage, stages_table, Work
from sync_perception.runtime.predictor import Predictor
from sync_perception.runtime.predictor_options import PredictorOptions
from sync_perception.types import Frame

NO_MESSAGES = (
    'messages are not measured: sensor_msgs is not installed (source a ROS 2 installation, or pip '
    "install 'sync_perception[ros]')")


def bench(
        options: PredictorOptions, frames: BenchFrames,
        json: str | Path | None = None) -> dict[str, Any]:
    """
    Time every stage from the input to the output messages on this machine, and print a table.

    Without ROS 2's message packages, the two stages with messages are left out, and the report
    states it.

    :param options: which model to run, and how.
    :param frames: the frames to run it on.
    :param json: path of the report.
    :return: the report.
    """
    with_messages = have_messages()
    report = bench_runtime(
        options, frames, before=message_in if with_messages else None,
        after=messages_out if with_messages else None)
    report['messages'] = 'measured' if with_messages else NO_MESSAGES
    console = Console()
    console.print(stages_table(report))
    if not with_messages:
        console.print(NO_MESSAGES)
    if json is not None:
        write_report(report, json)
    return report


def have_messages() -> bool:
    """Return whether ROS 2's message packages can be imported."""
    try:
        # optional: the benchmark also runs without ROS 2
        import sensor_msgs.msg  # noqa: F401
        import std_msgs.msg  # noqa: F401
    except ImportError:
        return False
    return True


def message_in(frame: Frame) -> list[Stage]:
    """Return the stage that decodes a camera's bgr8 image and its calibration."""
    # optional: the benchmark also runs without ROS 2
    from sensor_msgs.msg import CameraInfo
    from std_msgs.msg import Header
    from sync_perception.ros.io.conversions import image_message, to_frame
    header = Header(frame_id=frame.frame_id)
    height, width = frame.size
    image = image_message(frame.image[..., ::-1], header, 'bgr8')
    camera_info = CameraInfo(
        header=header, height=height, width=width, k=frame.K.ravel(),
        p=[*frame.K[0], 0.0, *frame.K[1], 0.0, *frame.K[2], 0.0])

    def run(work: Work) -> None:
        work.frame = to_frame(image, camera_info)

    return [('message -> frame', run)]


def messages_out(frame: Frame, predictor: Predictor) -> list[Stage]:
    """
    Return the stage that builds the messages of depth, labels, confidence and cloud.

    Outputs that the model does not provide are left out. The cloud is written directly into the
    memory of the next message, as in the node.
    """
    # optional: the benchmark also runs without ROS 2
    from std_msgs.msg import Header
    from sync_perception.ros.io.conversions import (
        depth_message,
        image_message,
        labels_message,
        writable_cloud,
    )
    header = Header(frame_id=frame.frame_id)

    def run(work: Work) -> None:
        prediction = work.prediction
        work.messages = {}
        if prediction.depth is not None:
            work.messages['depth'] = depth_message(prediction.depth, header, '32FC1')
            work.messages['points'], work.cloud = writable_cloud(frame.size, header)
        if prediction.labels is not None:
            work.messages['semantics'] = labels_message(prediction.labels, header, 'mono8')
            work.messages['confidence'] = image_message(prediction.confidence, header, '32FC1')

    return [('frame -> messages', run)]
