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


"""An .mcap file whose end is missing: the messages before the cut are read and answered."""

from __future__ import annotations

from pathlib import Path

from bag_checks import check_bag
from bag_runs import content, run
from camera_bags import image, info, KINDS, PERIOD, START
import pytest
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from std_msgs.msg import String
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.cut_mcap import CutFile
from sync_perception.ros.bags.rosbag2 import Bag

pytest.importorskip('mcap', reason='bags are checked with the package mcap')
FRAMES = 6
FILLING = String(data='.' * 1_100_000)  # rosbags begins another chunk behind each of them


def record_bag(folder: Path, compressed: bool = False) -> Path:
    """Record frames, each of them in a chunk of its own, and return the bag's only file."""
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
    if compressed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        topics = {topic: writer.add_connection(
            topic, KINDS[kind], typestore=rosbag2.typestore()) for topic, kind in (
                ('/cam/camera_info', type(info(0))), ('/cam/image', type(image(0))),
                ('/word', String))}
        for index in range(FRAMES):
            time = START + index * PERIOD
            for topic, shift, message in (
                    ('/cam/image', 1, image(index)), ('/cam/camera_info', 0, info(index)),
                    ('/word', 2, FILLING)):
                writer.write(topics[topic], time + shift, serialize_message(message))
    return next(folder.glob('*.mcap'))


def keep(path: Path, part: float) -> None:
    """Leave the beginning of a file, as a recorder does that was killed."""
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * part)])


def records(path: Path) -> list[tuple[str, int, bytes]]:
    """Return the messages of a bag."""
    with Bag(path) as bag:
        found = [(each.topic, each.time, bytes(each.data)) for each in bag.records()]
        assert bag.message_count == len(found)
    return found


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('frames', [1, 3, FRAMES])
def test_the_messages_before_the_cut_are_read_in_the_order_of_time(tmp_path, compressed, frames):
    path = record_bag(tmp_path / 'bag', compressed)
    whole = records(path)
    assert len(whole) == 3 * FRAMES
    data = path.read_bytes()
    middles = [position + 8 for position in range(len(data)) if data.startswith(
        b'zstd' if compressed else b'...\0', position)]  # of the chunks: a name, the last message
    path.write_bytes(data[:middles[frames] - 9] if frames < FRAMES else data[:-20])
    assert records(path) == whole[:3 * frames]
    with Bag(path) as bag:  # nobody knows how many there were
        assert f'{3 * frames} messages' in bag.damage[path.name]
    with Bag(tmp_path / 'bag') as bag:  # the metadata know it
        assert (path.name in bag.damage) == (frames < FRAMES)
        if frames < FRAMES:
            assert f'{3 * (FRAMES - frames)} messages' in bag.damage[path.name]


def test_the_frames_before_the_cut_are_answered_and_the_loss_is_named(tmp_path):
    path = record_bag(tmp_path / 'bag')
    keep(path, 0.6)
    lines = []
    result = run(path, tmp_path / 'out', lines=lines)
    assert (result['frames'], result['answered']) == (3, 3)
    assert result['damage'] and path.name in result['damage'][0] and path.name in lines[0]
    check_bag(tmp_path / 'out')
    stored = content(tmp_path / 'out')
    assert [message.header for _, message in stored['/sync/depth']] == [
        image(index).header for index in range(3)]


def test_a_file_without_chunks_is_read_up_to_the_cut(tmp_path):
    mcap = pytest.importorskip('mcap.writer')
    path, words = tmp_path / 'words.mcap', [serialize_message(String(data=f'{index}' * 99))
                                            for index in range(50)]
    with path.open('wb') as file:
        writer = mcap.Writer(file, use_chunking=False)
        writer.start(profile='ros2', library='')
        schema = writer.register_schema('std_msgs/msg/String', 'ros2msg', b'string data')
        channel = writer.register_channel('/word', 'cdr', schema)
        for index, word in enumerate(words):
            writer.add_message(channel, log_time=index, publish_time=index, data=word)
        writer.finish()
    keep(path, 0.4)
    found = records(path)
    assert 10 < len(found) < 50
    assert [data for _, _, data in found] == words[:len(found)]


def test_what_has_no_whole_message_or_no_cut_is_refused(tmp_path):
    path = record_bag(tmp_path / 'bag')
    with pytest.raises(ValueError, match='MCAP'):
        CutFile(path)
    keep(path, 0.05)
    with pytest.raises(ValueError, match=path.name):
        CutFile(path)
    with pytest.raises(ValueError, match=path.name):
        Bag(path)
