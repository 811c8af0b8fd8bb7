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


"""Offline processing of every frame of a bag; the outputs are written to a new bag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
import shutil
from typing import Any

from sync_perception.files.locks import output_lock
from sync_perception.files.progress import progress_bar
from sync_perception.labels import LabelSpace
from sync_perception.mapping.temporal_predictor import (
    check_temporal,
    pose_source,
    TemporalPredictor,
)
from sync_perception.ros.bags.bag_poses import bag_poses, TF
from sync_perception.ros.bags.camera import BagCamera, first_frame_id, PairedImage, Pairing
from sync_perception.ros.bags.chunks import ChunkedBag, refuse_unless_resumable
from sync_perception.ros.bags.output_writer import chosen_outputs, OutputWriter, stated_mount
from sync_perception.ros.bags.rosbag2 import Bag, Record
from sync_perception.ros.io.calibration_messages import read_camera_info
from sync_perception.ros.node.model_loading import load_predictor
from sync_perception.ros.parameters.perception import PerceptionParameters

CHUNK_FRAMES = 100  # most frames lost by an interruption
CHUNK_BYTES = 2 ** 30


@dataclass(frozen=True)
class BagJob:
    """
    Settings of the processing of a bag.

    :param source: input bag: its folder, or one of its files.
    :param out: output bag; if it exists, it must be interrupted output of the same job.
    :param image: topic of the images; '' to detect it.
    :param camera_info: topic of the calibrations, '' to detect it, or a YAML file as written by
        camera_calibration.
    :param outputs: topics of the node, or `all`; empty for `DEFAULT_TOPICS`.
    :param namespace: prefix of the outputs' topics.
    :param storage: mcap or sqlite3; '' for that of the source.
    :param parameters: parameters of the node.
    :param temporal: off, or fuse to fuse each frame with the frames before. After an interruption,
        the first frame is not fused.
    :param poses: file of the camera's poses by the stamps of the images, or `odometry`, or `tf`
        or a topic of the bag.
    """

    source: Path
    out: Path
    image: str = ''
    camera_info: str = ''
    outputs: tuple[str, ...] = ()
    namespace: str = ''
    storage: str = ''
    parameters: PerceptionParameters = PerceptionParameters()
    temporal: str = 'off'
    poses: str = ''


def process_bag(job: BagJob, load: Callable[[PerceptionParameters], Any] = load_predictor,
                report: Callable[[str], None] = print,
                chunk_frames: int = CHUNK_FRAMES) -> dict[str, Any]:
    """
    Write a bag with all messages of another one, and the model's outputs for every frame.

    For a frame that is malformed or has no calibration, the image is copied without outputs. Such
    frames and unreadable messages are counted. After an interruption, a second call continues
    after the last finished chunk.

    :param load: function that loads the predictor.
    :param report: receives lines for the user.
    :param chunk_frames: number of frames in a file of the bag.
    :return: `frames`, `answered`, `refused` (by reason), `resumed` (frames of earlier runs),
        `files`, `damage` (lines on unreadable parts).
    :raises ValueError: if the bags, the topics or the model are invalid, or another process
        writes the same output.
    :raises OSError: if the disk or the memory is full; the job can be resumed.
    """
    with output_lock(job.out):
        refuse_unless_resumable(job.out)
        with Bag(job.source) as bag:
            for line in bag.damage.values():
                report(line)
            return process_open_bag(job, bag, load, report, chunk_frames)


def process_open_bag(job: BagJob, bag: Bag, load: Callable[[PerceptionParameters], Any],
                     report: Callable[[str], None], chunk_frames: int) -> dict[str, Any]:
    """Process an open bag for `process_bag`."""
    calibrated = Path(job.camera_info).suffix in ('.yaml', '.yml')
    camera = BagCamera.find(
        bag, job.image, '' if calibrated else job.camera_info, not calibrated)
    fixed = read_camera_info(job.camera_info) if calibrated else None
    settings = settings_of(job, bag, camera)
    refuse_unless_resumable(job.out, settings)  # before the model is loaded
    if job.parameters.temporal != 'off':
        raise ValueError('temporal: got a parameter of the node, expected --temporal fuse')
    stated_mount(job.parameters)  # raises now what the writer would raise after loading
    check_temporal(job.temporal, job.poses)
    predictor = load(job.parameters)
    if job.temporal == 'fuse':
        predictor = TemporalPredictor(predictor, job_poses(job, bag, camera, predictor.labels))
    outputs = chosen_outputs(job.outputs, predictor.available, job.parameters)
    writer = OutputWriter(
        bag, predictor, outputs, job.parameters, job.namespace, fixed, camera.image,
        report)
    chunked = ChunkedBag(job.out, settings['storage'], {
        **settings, 'outputs': [output.topic for output in outputs]})
    report(f'{camera.image} with {job.camera_info if calibrated else camera.camera_info} '
           f'-> {", ".join(writer.topics)}')
    resumed = sum_counts(chunked)['frames']
    if resumed:
        report(f'{job.out}: resuming after {resumed} frames')
    pairing = Pairing(bag, camera)
    try:
        with progress_bar('process-bag', bag.counts[camera.image]) as advance:
            steps = pairing.follow(bag.records())
            write_chunks(chunked, steps, camera, writer, chunk_frames, advance)
        if writer.scale is not None:
            report(writer.scale.describe())
        if job.temporal == 'fuse':
            report(predictor.progress())
        if not chunked.chunks:
            shutil.rmtree(job.out)
            raise ValueError(f'{job.out} is not written: {bag.path} has no readable message '
                             f'({"; ".join(bag.damage.values())})')
        chunked.finish({'sync_perception': predictor.model_name, 'image': camera.image})
    except (OSError, MemoryError) as error:
        raise OSError(f'{error}; {sum_counts(chunked)["frames"]} frames are written: run the same '
                      'command again to resume') from error
    damage = list(bag.damage.values())
    if pairing.unreadable:
        damage.append(f'{pairing.unreadable} messages on {camera.camera_info} cannot be read')
    return {**sum_counts(chunked), 'resumed': resumed, 'damage': damage}


def report_lines(out: Path, result: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that report the result of `process_bag`."""
    yield f'{out}: {result["answered"]} of {result["frames"]} frames answered'
    for reason, count in result['refused'].items():
        yield f'{count:6} refused: {reason}'
    for line in result['damage']:
        yield f'damaged: {line}'
    if not result['answered']:
        yield f'{out} contains no outputs: ' + (
            'every frame was refused, for the reasons above' if result['frames'] else
            'no frame could be read')


def job_poses(job: BagJob, bag: Bag, camera: BagCamera, space: LabelSpace) -> Any:
    """
    Return the poses that a job names: a file, odometry, or those of the bag itself.

    :raises ValueError: if the bag does not have them.
    """
    if job.poses == TF or job.poses in bag.topics:
        return bag_poses(bag, first_frame_id(bag, camera), job.poses).trajectory
    return pose_source(job.poses, space)


def sum_counts(chunked: ChunkedBag) -> dict[str, Any]:
    """Return the counts of the finished chunks: all frames, answered, and refused by reason."""
    facts = [chunk['facts'] for chunk in chunked.chunks]
    refused = Counter()
    for each in facts:
        refused.update(each['refused'])
    frames = sum(each['frames'] for each in facts)
    return {'frames': frames, 'answered': frames - refused.total(), 'refused': dict(refused),
            'files': len(facts)}


def write_chunks(chunked: ChunkedBag, steps: Iterator[Record | PairedImage], camera: BagCamera,
                 writer: OutputWriter, chunk_frames: int,
                 advance: Callable[[int], None]) -> None:
    """
    Write all missing chunks.

    A chunk starts with an image (the first chunk: with the first message) after all previous
    images are processed, so the number of records in the finished chunks is where to continue.
    """
    if chunked.chunks:
        writer.state = chunked.chunks[-1]['facts']['learned']
    upcoming = skip(steps, sum(chunk['facts']['records'] for chunk in chunked.chunks), advance)
    while upcoming is not None:
        facts = {'records': 0, 'frames': 0, 'refused': Counter()}
        with chunked.chunk(facts) as bag:
            writer.begin(bag, first=not chunked.chunks)
            while upcoming is not None:
                if isinstance(upcoming, PairedImage):
                    writer.answer(upcoming, facts['refused'])
                    advance(1)
                else:
                    full = facts['frames'] >= chunk_frames or bag.bytes >= CHUNK_BYTES
                    if full and upcoming.topic == camera.image:
                        break
                    writer.copy(upcoming)
                    facts['records'] += 1
                    facts['frames'] += upcoming.topic == camera.image
                upcoming = next(steps, None)
            facts['learned'] = writer.state


def skip(steps: Iterator[Record | PairedImage], records: int,
         advance: Callable[[int], None]) -> Record | PairedImage | None:
    """Skip a number of records, with the images that they complete; return the next step."""
    for step in steps:
        if isinstance(step, PairedImage):
            advance(1)
        elif records == 0:
            return step
        else:
            records -= 1
    return None


def settings_of(job: BagJob, bag: Bag, camera: BagCamera) -> dict[str, Any]:
    """
    Return the settings that affect the result, except the outputs, which depend on the model.

    A job can be resumed only with the same settings.
    """
    parameters = asdict(job.parameters)
    del parameters['device']  # a job may continue on another device
    return {
        'source': str(bag.path.resolve()), 'messages': bag.message_count,
        'start': bag.start_time, 'storage': job.storage or bag.storage,
        'image': camera.image, 'camera_info': camera.camera_info or job.camera_info,
        'namespace': job.namespace,
        **({'temporal': job.temporal, 'poses': job.poses} if job.temporal != 'off' else {}),
        **{name: list(value) if isinstance(value, tuple) else value
           for name, value in parameters.items()}}
