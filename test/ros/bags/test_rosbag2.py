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


"""Bags, written and read by other libraries; and everything that is not one."""

from __future__ import annotations

from collections import Counter
import errno
from random import Random
import sqlite3

from bag_checks import check_bag, read_bag
from camera_bags import camera_messages, image, info, PERIOD, START, write_bag
import pytest
import rclpy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String
from sync_perception.ros.bags import rosbag2
from sync_perception.ros.bags.rosbag2 import Bag, BagWriter
import yaml

pytest.importorskip('mcap', reason='bags are checked with the package mcap')
WORD = 'std_msgs/msg/String'


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_what_is_written_is_what_others_read(tmp_path, storage):
    messages = camera_messages(3)
    folder = write_bag(tmp_path / 'bag', messages, storage)
    information = check_bag(folder)
    assert information['storage_identifier'] == storage
    stored = read_bag(folder)
    # deserialised, because rclpy leaves the gaps between a message's numbers to chance
    assert [(each.topic, each.time, deserialize_message(each.data, type(message)))
            for each, (*_, message) in zip(stored, messages)] == messages


@pytest.mark.parametrize('whole', [True, False])
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_is_read_with_or_without_its_metadata(tmp_path, storage, whole):
    folder = write_bag(tmp_path / 'bag', camera_messages(3), storage)
    path = folder if whole else next(folder.glob('bag.*'))
    with Bag(path) as bag:
        assert bag.topics == {'/cam/camera_info': rosbag2.CAMERA_INFO_TYPE,
                              '/cam/image': rosbag2.IMAGE_TYPE,
                              '/word': WORD}
        assert bag.counts == dict.fromkeys(bag.topics, 3)
        assert (bag.message_count, bag.start_time) == (9, START)
        words = list(bag.records(['/word']))
        assert [word.time for word in words] == [
            START + index * PERIOD + PERIOD // 2 for index in range(3)]
        assert words[1].data == serialize_message(String(data='after 1'))
        assert len(list(bag.records())) == 9
        assert list(bag.records(['/none'])) == []
    bag.close()


def test_a_file_of_mcaps_own_writer_is_read(tmp_path):
    writers = pytest.importorskip('mcap_ros2.writer', reason='needs mcap-ros2-support')
    path = tmp_path / 'drive.mcap'
    with path.open('wb') as file:
        writer = writers.Writer(file)
        schema = writer.register_msgdef(WORD, 'string data')
        for index in range(3):
            writer.write_message('/word', schema, {'data': f'{index}'}, log_time=START + index)
        writer.finish()
    with Bag(path) as bag:
        assert bag.topics == {'/word': WORD}
        assert [record.time for record in bag.records()] == [START, START + 1, START + 2]


def test_a_type_that_only_the_bag_knows_is_copied(tmp_path):
    writers = pytest.importorskip('mcap_ros2.writer', reason='needs mcap-ros2-support')
    path, kind = tmp_path / 'own.mcap', 'own_msgs/msg/Thing'
    with path.open('wb') as file:
        writer = writers.Writer(file)
        schema = writer.register_msgdef(kind, 'uint8 number\nstring name')
        writer.write_message('/thing', schema, {'number': 7, 'name': 'x'}, log_time=START)
        writer.finish()
    with Bag(path) as bag, BagWriter(tmp_path / 'copy') as copy:
        store = rosbag2.typestore(bag)
        connection = copy.copy_topic(bag.connections[0], store)
        for record in bag.records():
            copy.write(connection, record.time, record.data)
    check_bag(tmp_path / 'copy')
    decoder = pytest.importorskip('mcap_ros2.decoder').DecoderFactory()
    from mcap.reader import make_reader
    with (tmp_path / 'copy' / 'copy.mcap').open('rb') as file:
        decoded = [message for *_, message in make_reader(
            file, decoder_factories=[decoder]).iter_decoded_messages()]
    assert [(message.number, message.name) for message in decoded] == [(7, 'x')]


def test_nothing_lies_under_the_name_before_it_is_complete(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        topic = writer.add_topic('/word', WORD, rosbag2.qos(), rosbag2.typestore())
        writer.write(topic, START, serialize_message(String(data='a')))
        assert not (tmp_path / 'bag').exists()
    assert [path.name for path in tmp_path.iterdir()] == ['bag']


@pytest.mark.parametrize(('error', 'message'), [
    (OSError(errno.ENOSPC, 'No space left on device'), 'No space left'),
    (sqlite3.OperationalError('database or disk is full'), 'disk is full')])
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, monkeypatch, error, message):
    def refuse(*_):
        raise error

    def write():
        with BagWriter(tmp_path / 'bag') as writer:
            topic = writer.add_topic('/word', WORD, rosbag2.qos(), rosbag2.typestore())
            monkeypatch.setattr(writer.writer.storage, 'write', refuse)
            writer.write(topic, START, b'')
    with pytest.raises(OSError, match=f'{message}'):
        write()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_bag_is_refused(tmp_path):
    folder = write_bag(tmp_path / 'bag', camera_messages(2))
    cases = {tmp_path / 'none': 'there is no .*none', tmp_path: 'it has no metadata.yaml'}
    for name, text in (('photo.png', 'expected a folder'), ('old.bag', 'ROS 1'),
                       ('empty.mcap', 'not a rosbag2 bag'), ('short.mcap', 'not a rosbag2'),
                       ('garbage.db3', 'not a rosbag2')):
        (tmp_path / name).write_bytes(b'\x89MCAP0\r\n' if name == 'short.mcap' else
                                      b'' if name.startswith('empty') else b'garbage' * 100)
        cases[tmp_path / name] = text
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes((folder / 'bag.mcap').read_bytes()[:60])  # before the first whole message
    cases[cut] = 'ros2 bag reindex'
    for path, text in cases.items():
        with pytest.raises(ValueError, match=text):
            Bag(path)


@pytest.mark.parametrize(('text', 'message'), [
    ('[1, 2', 'is not the metadata'), ('a: 1', 'is not the metadata'),
    ('rosbag2_bagfile_information: {storage_identifier: rocksdb}',
     "by the plugin 'rocksdb', expected one of mcap, sqlite3"),
    ('rosbag2_bagfile_information: {storage_identifier: mcap}',
     'it has no .topics_with_message_count')])
def test_metadata_that_is_none_is_refused(tmp_path, text, message):
    (tmp_path / 'metadata.yaml').write_text(text)
    with pytest.raises(ValueError, match=message):
        Bag(tmp_path)


def test_a_file_that_is_missing_is_named(tmp_path):
    folder = write_bag(tmp_path / 'bag', camera_messages(2))
    (folder / 'bag.mcap').unlink()
    with pytest.raises(ValueError, match='bag.mcap'):
        Bag(folder)


def test_a_break_in_the_middle_is_said_where_it_is(tmp_path):
    folder = write_bag(tmp_path / 'bag', camera_messages(1500))
    data = bytearray((folder / 'bag.mcap').read_bytes())
    assert len(data) > 3 * 2 ** 20  # several of MCAP's chunks
    middle = len(data) // 2
    chunk = data.index(b'/cam', middle)
    data[chunk - 2 ** 17:chunk] = bytes(2 ** 17)
    (folder / 'bag.mcap').write_bytes(data)
    with Bag(folder) as bag:
        assert bag.damage == {}
        count = sum(1 for _ in bag.records())
        assert 0 < count < 4500
        assert f'bag.mcap is damaged after {count} of 4500 messages' in bag.damage['bag.mcap']


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path, storage):
    folder, random = write_bag(tmp_path / 'bag', camera_messages(3), storage), Random(0)
    path = next(folder.glob('bag.*'))
    data, outcomes = path.read_bytes(), Counter()
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(random.randrange(1, 20)):
            # half of the damage is done to the end, where MCAP has its index
            place = random.choice([random.randrange(len(data)), -1 - random.randrange(600)])
            broken[place] = random.randrange(256)
        path.write_bytes(broken[:random.choice([len(data), random.randrange(len(data))])])
        try:
            with Bag(path) as bag:
                assert sum(1 for _ in bag.records()) <= 9
                outcomes['broken' if bag.damage else 'read'] += 1
        except ValueError:
            outcomes['refused'] += 1
    assert outcomes.total() == 150 and min(outcomes['read'], outcomes['refused']) > 10


def write_humble_bag(folder) -> list[tuple[str, bytes]]:
    """Write a bag as ROS 2 Humble does: metadata 5, schema 3, and no definitions of messages."""
    kinds = {'/cam/image': rosbag2.IMAGE_TYPE, '/cam/camera_info': rosbag2.CAMERA_INFO_TYPE,
             '/own': 'own_msgs/msg/Thing'}
    profile = ('- history: 3\n  depth: 0\n  reliability: 1\n  durability: 2\n'
               + ''.join(f'  {name}:\n    sec: 9223372036\n    nsec: 854775807\n'
                         for name in ('deadline', 'lifespan', 'liveliness_lease_duration'))
               + '  liveliness: 1\n  avoid_ros_namespace_conventions: false')
    messages = [('/cam/camera_info', serialize_message(info(0))),
                ('/cam/image', serialize_message(image(0))), ('/own', b'\0\1\0\0\7\0\0\0')]
    folder.mkdir()
    with sqlite3.connect(folder / 'old_0.db3') as database:
        database.executescript(
            'CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);'
            'CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, '
            'metadata TEXT NOT NULL);'
            'CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, '
            'serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);'
            'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, '
            'timestamp INTEGER NOT NULL, data BLOB NOT NULL);'
            'CREATE INDEX timestamp_idx ON messages (timestamp ASC);'
            "INSERT INTO schema VALUES (3, 'humble');")
        for index, (topic, kind) in enumerate(kinds.items()):
            database.execute('INSERT INTO topics VALUES (?, ?, ?, ?, ?)',
                             (index + 1, topic, kind, 'cdr', profile))
        for index, (topic, data) in enumerate(messages):
            database.execute('INSERT INTO messages VALUES (?, ?, ?, ?)',
                             (index + 1, list(kinds).index(topic) + 1, START + index, data))
    begin = {'nanoseconds_since_epoch': START}
    (folder / 'metadata.yaml').write_text(yaml.safe_dump({'rosbag2_bagfile_information': {
        'version': 5, 'storage_identifier': 'sqlite3', 'duration': {'nanoseconds': 2},
        'starting_time': begin, 'message_count': 3,
        'topics_with_message_count': [
            {'topic_metadata': {'name': topic, 'type': kind, 'serialization_format': 'cdr',
                                'offered_qos_profiles': profile}, 'message_count': 1}
            for topic, kind in kinds.items()],
        'compression_format': '', 'compression_mode': '', 'relative_file_paths': ['old_0.db3'],
        'files': [{'path': 'old_0.db3', 'starting_time': begin, 'message_count': 3,
                   'duration': {'nanoseconds': 2}}]}}))
    return messages


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_of_humble_is_copied_even_with_unknown_types(tmp_path, storage):
    messages = write_humble_bag(tmp_path / 'old')
    with Bag(tmp_path / 'old') as bag, BagWriter(tmp_path / 'new', storage) as copy:
        store = rosbag2.typestore(bag)
        connections = {each.id: copy.copy_topic(each, store) for each in bag.connections}
        for record in bag.records():
            copy.write(connections[record.connection.id], record.time, record.data)
    information = check_bag(tmp_path / 'new')
    assert [(each.topic, each.data) for each in read_bag(tmp_path / 'new')] == messages
    hashes = {entry['topic_metadata']['name']: entry['topic_metadata']['type_description_hash']
              for entry in information['topics_with_message_count']}
    # of sensor_msgs/msg/Image, as every Jazzy has it
    assert hashes['/cam/image'] == type_hash(Image)
    assert hashes['/own'] == rosbag2.UNKNOWN_HASH
    with Bag(tmp_path / 'new') as bag:
        assert [record.data for record in bag.records()] == [data for _, data in messages]


def type_hash(kind: type) -> str:
    """Ask ROS itself for the hash of a type."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('asks', context=context)
    try:
        node.create_publisher(kind, 'hashed', 1)
        return str(node.get_publishers_info_by_topic('/hashed')[0].topic_type_hash)
    finally:
        node.destroy_node()
        context.shutdown()


def test_the_writer_says_what_it_is_not_given(tmp_path):
    with pytest.raises(ValueError, match="storage: got 'bag'"):
        BagWriter(tmp_path / 'bag', 'bag')
    with pytest.raises(ValueError, match=tmp_path.name):
        BagWriter(tmp_path)


def test_quality_of_service_goes_into_the_metadata(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        for topic, profile in (('/a', rosbag2.qos(3, latched=True)),
                               ('/b', rosbag2.qos(7, reliable=False))):
            connection = writer.add_topic(topic, WORD, profile, rosbag2.typestore())
            writer.write(connection, START, serialize_message(String()))
    information = check_bag(tmp_path / 'bag')
    latched, fast = (entry['topic_metadata']['offered_qos_profiles'][0]
                     for entry in information['topics_with_message_count'])
    assert (latched['durability'], latched['depth']) == ('transient_local', 3)
    assert (fast['reliability'], fast['durability'], fast['depth']) == (
        'best_effort', 'volatile', 7)
    assert yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())
