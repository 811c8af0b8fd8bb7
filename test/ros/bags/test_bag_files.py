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


"""Bags of several files: one that is broken costs no other; and what other tools make of them."""

from __future__ import annotations

import os

from bag_checks import check_bag
from camera_bags import cut, PERIOD, split_bag, START
import pytest
from rclpy.serialization import serialize_message
from std_msgs.msg import String
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.rosbag2 import Bag, BagWriter
import yaml

pytest.importorskip('mcap', reason='bags are checked with the package mcap')
WORD = 'std_msgs/msg/String'


def change_metadata(folder, change) -> None:
    """Change the metadata of a bag."""
    path = folder / 'metadata.yaml'
    document = yaml.safe_load(path.read_text())
    change(document['rosbag2_bagfile_information'])
    path.write_text(yaml.safe_dump(document))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('spoil', [
    cut, lambda path: path.unlink(), lambda path: path.write_bytes(b''),
    lambda path: path.write_bytes(b'garbage' * 1000)], ids=['cut', 'missing', 'empty', 'garbage'])
@pytest.mark.parametrize('number', [0, 1, 2])
def test_a_broken_file_costs_no_other(tmp_path, storage, spoil, number):
    folder = split_bag(tmp_path / 'bag', storage)
    path = sorted(folder.glob('bag_*'))[number]
    spoil(path)
    with Bag(folder) as bag:
        left = [index for index in range(6) if index // 2 != number]
        assert [record.time for record in bag.records(['/cam/image'])] == [
            START + index * PERIOD for index in left]
        assert bag.counts == dict.fromkeys(bag.topics, 4) and bag.message_count == 12
        assert bag.start_time == START + left[0] * PERIOD
        assert list(bag.damage) == [path.name]
        assert path.name in bag.damage[path.name] and ' 6 messages' in bag.damage[path.name]


def test_a_bag_of_broken_files_only_is_refused_with_their_names(tmp_path):
    folder = split_bag(tmp_path / 'bag')
    for path in folder.glob('*.mcap'):
        cut(path)
    with pytest.raises(ValueError, match='bag_0.mcap.*bag_1.mcap.*bag_2.mcap'):
        Bag(folder)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_after_reindex_is_good(tmp_path, storage):
    folder = split_bag(tmp_path / 'bag', storage)

    def as_reindex_writes_it(information) -> None:
        information['storage_identifier'] = ''
        for entry in information['topics_with_message_count']:
            entry['topic_metadata']['offered_qos_profiles'] = []
            entry['topic_metadata']['type_description_hash'] = ''
    change_metadata(folder, as_reindex_writes_it)
    with Bag(folder) as bag, BagWriter(tmp_path / 'copy', bag.storage) as copy:
        assert bag.storage == storage and bag.damage == {}
        store = rosbag2.typestore(bag)
        connections = {each.id: copy.copy_topic(each, store) for each in bag.connections}
        for record in bag.records():
            copy.write(connections[record.connection.id], record.time, record.data)
    information = check_bag(tmp_path / 'copy')
    assert information['message_count'] == 18
    for entry in information['topics_with_message_count']:
        assert entry['topic_metadata']['offered_qos_profiles'][0]['depth'] == 5


@pytest.mark.parametrize('mode', ['FILE', 'MESSAGE'])
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_compressed_bag_is_read(tmp_path, storage, mode):
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer
    writer = Writer(tmp_path / 'bag', version=9, storage_plugin=rosbag2.STORAGES[storage])
    writer.set_compression(CompressionMode[mode], CompressionFormat.ZSTD)
    data = serialize_message(String(data='packed'))
    with writer:
        word = writer.add_connection('/word', WORD, typestore=rosbag2.typestore())
        writer.write(word, START, data)
    with Bag(tmp_path / 'bag') as bag:
        assert [record.data for record in bag.records()] == [data]
        assert bag.storage == storage
    if mode == 'FILE':
        path = next((tmp_path / 'bag').glob('*.zstd'))
        with Bag(path) as bag:
            assert bag.counts == {'/word': 1}
        cut(path)
        with pytest.raises(ValueError, match=path.name):
            Bag(tmp_path / 'bag')


@pytest.mark.timeout(20)
def test_a_named_pipe_in_place_of_a_file_is_named_and_not_waited_for(tmp_path):
    folder = split_bag(tmp_path / 'bag')
    pipe = sorted(folder.glob('*.mcap'))[1]
    pipe.unlink()
    os.mkfifo(pipe)
    bag = rosbag2.Bag(folder)
    assert 'regular file' in bag.damage[pipe.name]
