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


"""Runs every frame of a bag through the model, offline, and writes the answers beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String
from sync_perception.bit_depth import BitDepth
from sync_perception.ros import qos
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.camera import BagCamera, PairedImage, Pairing
from sync_perception.ros.bags.chunks import ChunkedBag
from sync_perception.ros.bags.rosbag2 import Bag, BagWriter, Record
from sync_perception.ros.camera_info import pairing_doubt
from sync_perception.ros.conversions import MalformedInput, to_frame
from sync_perception.ros.outputs import (
    label_space_json,
    maps_of,
    offered,
    Output,
    Result,
    sure_labels,
)
from sync_perception.ros.parameters import PerceptionParameters
from sync_perception.ros.sources import read_camera_info
from sync_perception.ros.type_names import type_name
from sync_perception.types import Prediction

# what the others can be computed from
DEFAULT_OUTPUTS = (
    'sync/depth', 'sync/semantics', 'sync/semantics/confidence', 'sync/camera_info')
LABEL_SPACE = 'sync/label_space'
CHUNK_FRAMES = 100  # what an interruption costs at most
CHUNK_BYTES = 2 ** 30


@dataclass(frozen=True)
class Job:
    """
    What is to be done.

    :param source: the bag to read: its folder, or a file of it.
    :param out: the bag to write; if it is there it must be the interrupted one of the same job.
    :param image: topic of the images, '' to find it.
    :param camera_info: topic of their calibrations, '' to find it, or a YAML file as
        camera_calibration writes it.
    :param outputs: topics as the node has them, or `all`; empty for `DEFAULT_OUTPUTS`.
    :param namespace: put before the outputs' topics.
    :param storage: mcap or sqlite3, '' for that of the source.
    :param parameters: the node's.
    """

    source: Path
    out: Path
    image: str = ''
    camera_info: str = ''
    outputs: tuple[str, ...] = ()
    namespace: str = ''
    storage: str = ''
    parameters: PerceptionParameters = PerceptionParameters()


def load_predictor(parameters: PerceptionParameters) -> Any:
    """Load the model as the node does."""
    from sync_perception.ros.node import load_predictor as load
    return load(parameters)


def process_bag(job: Job, load: Callable[[PerceptionParameters], Any] = load_predictor,
                report: Callable[[str], None] = print,
                chunk_frames: int = CHUNK_FRAMES) -> dict[str, Any]:
    """
    Write a bag with all messages of another and, of every frame, what the model says.

    A frame that is malformed or has no calibration keeps its image and gets no answer; it is
    counted. Called again after an interruption, it goes on behind the last finished chunk.

    :param load: makes the predictor.
    :param report: takes lines for the user.
    :param chunk_frames: frames in a file of the bag.
    :return: `frames`, `answered`, `refused` (by reason), `resumed` (frames done before), `files`.
    :raises ValueError: if the bags, the topics or the model are not as expected.
    :raises OSError: if the disk is full; the state can be resumed.
    """
    with Bag(job.source) as bag:
        calibrated = Path(job.camera_info).suffix in ('.yaml', '.yml')
        camera = BagCamera.find(
            bag, job.image, '' if calibrated else job.camera_info, not calibrated)
        fixed = read_camera_info(job.camera_info) if calibrated else None
        predictor = load(job.parameters)
        outputs = chosen_outputs(job, predictor.available)
        writer = OutputWriter(job, bag, predictor, outputs, fixed, report)
        storage = job.storage or storage_of(bag)
        chunked = ChunkedBag(job.out, storage, settings_of(job, bag, camera, outputs))
        report(f'{camera.image} with {job.camera_info if calibrated else camera.camera_info} '
               f'-> {", ".join(writer.topics)}')
        resumed = summarize(chunked)['frames']
        if resumed:
            report(f'{job.out}: going on after {resumed} frames')
        pairing = Pairing(bag, camera)
        try:
            with progress_bar(bag.counts[camera.image]) as advance:
                steps = pairing.follow(bag.records())
                write_chunks(chunked, steps, camera, writer, chunk_frames, advance)
            chunked.finish({'sync_perception': predictor.model_name, 'image': camera.image})
        except OSError as error:
            raise OSError(f'{error}; {summarize(chunked)["frames"]} frames are done: the same '
                          'command goes on from there') from error
        if pairing.unreadable:
            report(f'{pairing.unreadable} messages on {camera.camera_info} cannot be read')
    return {**summarize(chunked), 'resumed': resumed}


def summarize(chunked: ChunkedBag) -> dict[str, Any]:
    """Count the frames of the finished chunks: all, answered, and refused by reason."""
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
    Write all chunks that are not there yet.

    A chunk begins with an image (the first one: with the first message), when all images before
    it are answered. So the records of the finished chunks say where to go on.
    """
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


def skip(steps: Iterator[Record | PairedImage], records: int,
         advance: Callable[[int], None]) -> Record | PairedImage | None:
    """Pass over so many records, with the images that they complete; return what comes then."""
    for step in steps:
        if isinstance(step, PairedImage):
            advance(1)
        elif records == 0:
            return step
        else:
            records -= 1
    return None


class OutputWriter:
    """
    Writes the messages of one bag and the answers to them into the chunks of another.

    :param fixed: the calibration of all images, where it does not come from the bag.
    :param report: takes the first line of each kind of trouble.
    :raises ValueError: if a topic of the outputs is in the bag already.
    """

    def __init__(self, job: Job, bag: Bag, predictor: Any, outputs: Sequence[Output],
                 fixed: CameraInfo | None, report: Callable[[str], None]):
        self.bag = bag
        self.predictor = predictor
        self.outputs = outputs
        self.fixed = fixed
        self.report = report
        self.noted: set[str] = set()
        self.parameters = job.parameters
        self.bit_depth = BitDepth(job.parameters.image_significant_bits, lambda text: report(
            f'{text} (image.significant_bits)'))
        self.maps = maps_of(outputs, predictor.available, job.parameters)
        self.store = rosbag2.typestore(bag)
        self.namespace = f'/{job.namespace.strip("/")}'.rstrip('/')
        self.topics = [f'{self.namespace}/{output.topic}' for output in outputs]
        taken = sorted({*self.topics, f'{self.namespace}/{LABEL_SPACE}'} & set(bag.topics))
        if taken:
            raise ValueError(f'{bag.path} has {", ".join(taken)} already: choose a namespace '
                             'for the outputs')

    def begin(self, bag: BagWriter, first: bool) -> None:
        """
        Set up the topics of a chunk.

        :param first: it is the first one, which describes the labels.
        """
        self.out = bag
        self.copies = {connection.id: bag.copy_topic(connection, self.store)
                       for connection in self.bag.connections}
        self.answers = [
            bag.add_topic(topic, type_name(output.message_type),
                          recorded_qos(output.profile()), self.store)
            for topic, output in zip(self.topics, self.outputs)]
        if 'labels' in self.predictor.available:
            space = bag.add_topic(f'{self.namespace}/{LABEL_SPACE}', type_name(String),
                                  recorded_qos(qos.latched()), self.store)
            if first:
                text = label_space_json(self.predictor.labels, self.parameters)
                bag.write(space, self.bag.start_time, serialize_message(String(data=text)))

    def copy(self, record: Record) -> None:
        """Write a message as it was recorded."""
        self.out.write(self.copies[record.connection.id], record.time, record.data)

    def answer(self, paired: PairedImage, refused: Counter) -> None:
        """Write the outputs of a frame, at the time of its image, or count why there are none."""
        try:
            messages = self.messages(paired)
        except ValueError as error:
            reason = error.reason if isinstance(error, MalformedInput) else 'model input'
            refused[reason] += 1
            self._note(reason, f'no answer to the image at {paired.time} ns: {error}')
            return
        for connection, message in zip(self.answers, messages):
            self.out.write(connection, paired.time, serialize_message(message))

    def messages(self, paired: PairedImage) -> list[Any]:
        """
        Make the messages of the outputs, under the image's header.

        :raises ValueError: if the frame cannot be answered.
        """
        if paired.image is None:
            raise MalformedInput('message', paired.problem)
        camera_info = self.fixed or paired.camera_info
        if camera_info is None:
            raise MalformedInput(
                'no camera_info', 'there is none of the frame '
                f'{paired.image.header.frame_id!r}')
        frame = to_frame(
            paired.image, camera_info, self.bit_depth, self.parameters.max_pixels)
        if not self.fixed:
            self._note('frame', pairing_doubt(paired.image.header, camera_info))
        if any(camera_info.d):
            self._note('distortion', 'camera_info states distortion: images are taken to be '
                       'rectified, and P to be their intrinsics')
        self._note('focal length', self.predictor.focal_problem(frame))
        prediction = self.predictor.predict(frame, self.maps) if self.maps else Prediction()
        result = Result(
            header=paired.image.header, frame=frame,
            prediction=sure_labels(prediction, self.parameters), labels=self.predictor.labels,
            parameters=self.parameters)
        return [output.build(result) for output in self.outputs]

    def _note(self, kind: str, trouble: str) -> None:
        """Report the first trouble of each kind."""
        if trouble and kind not in self.noted:
            self.noted.add(kind)
            self.report(trouble)


def chosen_outputs(job: Job, available: frozenset[str]) -> list[Output]:
    """
    Return the outputs that the job names.

    :raises ValueError: if the model does not give one; those that it gives are listed.
    """
    given = {output.topic: output for output in offered(available)}
    if 'all' in job.outputs:
        return list(given.values())
    wanted = [name.strip('/') for name in job.outputs] or [
        name for name in DEFAULT_OUTPUTS if name in given]
    unknown = [name for name in wanted if name not in given]
    if unknown:
        raise ValueError(f'outputs: the model does not give {", ".join(unknown)}, expected all '
                         f'or some of {", ".join(given)}')
    return [output for name, output in given.items() if name in wanted]


def settings_of(job: Job, bag: Bag, camera: BagCamera, outputs: Sequence[Output]) -> dict:
    """Return all that decides what is written; a job goes on only where this is the same."""
    parameters = asdict(job.parameters)
    del parameters['device']  # one may go on elsewhere
    return {
        'source': str(bag.path.resolve()), 'messages': bag.message_count,
        'start': bag.start_time, 'storage': job.storage or storage_of(bag),
        'image': camera.image, 'camera_info': camera.camera_info or job.camera_info,
        'outputs': [output.topic for output in outputs], 'namespace': job.namespace,
        **{name: list(value) if isinstance(value, tuple) else value
           for name, value in parameters.items()}}


def storage_of(bag: Bag) -> str:
    """Return the name of the storage that a bag has."""
    files = [bag.path] if bag.path.is_file() else [*bag.path.iterdir()]
    return next((name for name, suffix in rosbag2.SUFFIXES.items()
                 if any(file.suffix == suffix for file in files)), 'mcap')


def recorded_qos(profile: QoSProfile) -> Any:
    """Describe a publisher's quality of service as bags do."""
    return rosbag2.qos(
        depth=profile.depth, latched=profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        reliable=profile.reliability == ReliabilityPolicy.RELIABLE)


@contextmanager
def progress_bar(frames: int) -> Iterator[Callable[[int], None]]:
    """Show the frames that are done on the console; yields what counts them."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TextColumn('frames'), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task('process-bag', total=frames)
        yield lambda count: progress.advance(task, count)
