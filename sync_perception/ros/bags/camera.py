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


"""Camera of a bag: its topics, and the calibration of each image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sync_perception.images.frame_times import SECOND
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.rosbag2 import Bag, Record
from sync_perception.ros.io.camera_info import CameraInfoCache
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.types import MalformedInput

IMAGE_TYPES = {rosbag2.IMAGE_TYPE: Image, rosbag2.COMPRESSED_IMAGE: CompressedImage}
PATIENCE = SECOND  # nanoseconds that an image waits for the calibration with its own stamp


@dataclass(frozen=True)
class BagCamera:
    """
    Topics of one camera.

    :param image: topic of the images.
    :param camera_info: topic of the calibrations, or '' if the calibration is from a file.
    :param image_type: Image or CompressedImage.
    """

    image: str
    camera_info: str
    image_type: type

    @classmethod
    def find(cls, bag: Bag, image: str = '', camera_info: str = '',
             needs_calibration: bool = True) -> BagCamera:
        """
        Return a camera of a bag.

        :param image: topic of the images; by default the only image topic, or the only raw one
            with a camera_info beside it.
        :param camera_info: topic of the calibrations; by default the one beside the images (by
            the convention of image_transport), or the only one.
        :param needs_calibration: False if the calibration has another source.
        :raises ValueError: if a topic is missing, has another type or no messages, or the choice
            is ambiguous; the message lists the topics.
        """
        image = _choose(bag, 'image', image, IMAGE_TYPES, _likely_images(bag))
        kind = IMAGE_TYPES[bag.topics[image]]
        if not camera_info and not needs_calibration:
            return cls(image, '', kind)
        beside = [info for info in [info_beside(image)]
                  if bag.topics.get(info) == rosbag2.CAMERA_INFO_TYPE]
        camera_info = _choose(bag, 'camera_info', camera_info, (rosbag2.CAMERA_INFO_TYPE,), beside)
        return cls(image, camera_info, kind)

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the names of the camera's topics."""
        return (self.image, self.camera_info) if self.camera_info else (self.image,)


def info_beside(image: str) -> str:
    """Return the camera_info topic of an image topic by the convention of image_transport."""
    base = image.removesuffix('/compressed')
    return f'{base.rpartition("/")[0]}/camera_info'


def _likely_images(bag: Bag) -> list[str]:
    calibrated = [topic for topic, kind in bag.topics.items() if kind in IMAGE_TYPES
                  and bag.topics.get(info_beside(topic)) == rosbag2.CAMERA_INFO_TYPE]
    raw = [topic for topic in calibrated if bag.topics[topic] == rosbag2.IMAGE_TYPE]
    return raw or calibrated


def _choose(bag: Bag, name: str, topic: str, kinds: Iterable[str], likely: list[str]) -> str:
    """Return the topic that the user named, or the only candidate."""
    kinds = tuple(kinds)
    expected = ' or '.join(kinds)
    if topic:
        kind = bag.topics.get(topic)
        if kind not in kinds:
            got = 'there is no such topic' if kind is None else f'it is a {kind}'
            raise ValueError(
                f'{name}: {topic} in {bag.path}: {got}, expected one of: {bag.listing(kinds)}; '
                f'all topics: {bag.listing()}')
        if not bag.counts[topic]:
            raise ValueError(f'{name}: {topic} in {bag.path} has no message')
        return topic
    found = [topic for topic, kind in bag.topics.items()
             if kind in kinds and bag.counts[topic]]
    likely = [topic for topic in likely if topic in found]
    if len(found) == 1 or len(likely) == 1:
        return (found if len(found) == 1 else likely)[0]
    if not found:
        raise ValueError(f'{bag.path} has no message of type {expected}; its topics: '
                         f'{bag.listing()}')
    raise ValueError(f'{bag.path} has several topics of type {expected}, set {name} to one of: '
                     f'{bag.listing(kinds)}')


@dataclass(frozen=True)
class PairedImage:
    """
    Image and its calibration.

    :param time: recording time of the image in nanoseconds.
    :param image: the message, or None if it cannot be read.
    :param camera_info: None if none with the image's frame_id was recorded.
    :param problem: why the message cannot be read, or ''.
    """

    time: int
    image: Any
    camera_info: CameraInfo | None
    problem: str = ''


class Pairing:
    """
    Matching of images with calibrations, as in the node but with a longer wait.

    An image waits for a calibration with its own stamp until the next image, or for a second of
    recorded time. After that the latest calibration with its frame_id is used, as in the node, or
    the first calibration of the bag for earlier images.

    :param bag: source of the records; its first calibration is read immediately.
    """

    def __init__(self, bag: Bag, camera: BagCamera):
        self.camera = camera
        self.cache = CameraInfoCache()
        self.waiting: PairedImage | None = None
        self.unreadable = 0
        if camera.camera_info:
            first = next(bag.records([camera.camera_info]), None)
            if first is not None:
                self._remember(first)
                self.unreadable = 0  # counted when it is read in order

    def follow(self, records: Iterable[Record]) -> Iterator[Record | PairedImage]:
        """Yield every record and, shortly after an image's record, the image with calibration."""
        for record in records:
            if self.waiting is not None and (
                    record.topic == self.camera.image
                    or record.time > self.waiting.time + PATIENCE):
                yield self._release()
            yield record
            if record.topic == self.camera.camera_info:
                self._remember(record)
            elif record.topic == self.camera.image:
                self.waiting = self._read(record)
            if self.waiting is not None and self._complete(self.waiting):
                yield self._release()
        if self.waiting is not None:
            yield self._release()

    def _remember(self, record: Record) -> None:
        try:
            self.cache.add(deserialize(record, CameraInfo))
        except MalformedInput:
            self.unreadable += 1

    def _read(self, record: Record) -> PairedImage:
        try:
            image = deserialize(record, self.camera.image_type)
        except MalformedInput as error:
            return PairedImage(record.time, None, None, str(error))
        return PairedImage(record.time, image, None)

    def _complete(self, paired: PairedImage) -> bool:
        if paired.image is None or not self.camera.camera_info:
            return True
        found = self._find(paired.image)
        return (found is not None
                and stamp_nanoseconds(found.header) == stamp_nanoseconds(paired.image.header))

    def _find(self, image: Image | CompressedImage) -> CameraInfo | None:
        size = (image.height, image.width) if isinstance(image, Image) else None
        return self.cache.find(image.header, size)

    def _release(self) -> PairedImage:
        paired, self.waiting = self.waiting, None
        if paired.image is None:
            return paired
        return PairedImage(paired.time, paired.image, self._find(paired.image))


def first_frame_id(bag: Bag, camera: BagCamera) -> str:
    """Return the frame_id of a camera's first image that can be read; '' if there is none."""
    for record in bag.records([camera.image]):
        try:
            return deserialize(record, camera.image_type).header.frame_id.lstrip('/')
        except MalformedInput:
            continue
    return ''


def deserialize(record: Record, kind: type) -> Any:
    """
    Return a record as a ROS message.

    :raises MalformedInput: if its bytes are not such a message.
    """
    try:
        return deserialize_message(bytes(record.data), kind)
    except Exception as error:  # rclpy has no public class for the middleware's exceptions
        raise MalformedInput(
            'message', f'{len(record.data)} bytes on {record.topic} at {record.time} ns are no '
            f'{kind.__name__} ({error})') from error
