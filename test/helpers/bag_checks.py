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


"""
Checks bags without the library that wrote them, and writes drives for them.

The metadata is held against what rosbag2's own reader asks for (version 9, Jazzy), .mcap files
are read by MCAP's reference library, .db3 files by sqlite3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
import sqlite3
from typing import Any, NamedTuple

import cv2
import numpy as np
import yaml

INFORMATION = {
    'version': int, 'storage_identifier': str, 'duration': dict, 'starting_time': dict,
    'message_count': int, 'topics_with_message_count': list, 'compression_format': str,
    'compression_mode': str, 'relative_file_paths': list, 'files': list,
    'custom_data': (dict, type(None)), 'ros_distro': str}
TOPIC = {'name': str, 'type': str, 'serialization_format': str, 'offered_qos_profiles': list,
         'type_description_hash': str}
FILE = {'path': str, 'starting_time': dict, 'duration': dict, 'message_count': int}
POLICIES = {
    'history': ('keep_last', 'keep_all', 'system_default', 'unknown'),
    'reliability': ('reliable', 'best_effort', 'system_default', 'unknown'),
    'durability': ('volatile', 'transient_local', 'system_default', 'unknown'),
    'liveliness': ('automatic', 'manual_by_topic', 'system_default', 'unknown')}
TABLES = {
    'schema': ['schema_version', 'ros_distro'],
    'metadata': ['id', 'metadata_version', 'metadata'],
    'topics': ['id', 'name', 'type', 'serialization_format', 'offered_qos_profiles',
               'type_description_hash'],
    'message_definitions': ['id', 'topic_type', 'encoding', 'encoded_message_definition',
                            'type_description_hash'],
    'messages': ['id', 'topic_id', 'timestamp', 'data']}


class Stored(NamedTuple):
    """A message as it lies in a file."""

    topic: str
    kind: str
    time: int
    data: bytes


def check_bag(folder: Path) -> dict[str, Any]:
    """Hold a bag's metadata against the schema and against its files; return the metadata."""
    document = yaml.safe_load((folder / 'metadata.yaml').read_text())
    assert list(document) == ['rosbag2_bagfile_information']
    information = document['rosbag2_bagfile_information']
    expect(information, INFORMATION)
    assert information['version'] == 9
    assert all(isinstance(value, str) for value in (information['custom_data'] or {}).values())
    topics = [entry['topic_metadata'] for entry in information['topics_with_message_count']]
    for topic in topics:
        check_topic(topic)
    stored = [list(read_file(folder / name)) for name in information['relative_file_paths']]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*information['relative_file_paths'], 'metadata.yaml'])
    counts = Counter(message.topic for messages in stored for message in messages)
    assert {entry['topic_metadata']['name']: entry['message_count']
            for entry in information['topics_with_message_count']} == {
                topic['name']: counts[topic['name']] for topic in topics}
    assert information['message_count'] == sum(counts.values())
    check_times(information, [message.time for messages in stored for message in messages])
    assert len(information['files']) == len(stored)
    for entry, name, messages in zip(
            information['files'], information['relative_file_paths'], stored):
        expect(entry, FILE)
        assert entry['path'] == name and entry['message_count'] == len(messages)
        check_times(entry, [message.time for message in messages])
    types = {topic['name']: topic['type'] for topic in topics}
    assert all(types[message.topic] == message.kind for messages in stored
               for message in messages)
    return information


def expect(entries: dict[str, Any], kinds: dict[str, Any]) -> None:
    """Demand exactly these keys with values of these types."""
    assert set(entries) == set(kinds)
    for key, kind in kinds.items():
        assert isinstance(entries[key], kind), (key, entries[key])


def check_topic(topic: dict[str, Any]) -> None:
    """Hold a topic's metadata against the schema."""
    expect(topic, TOPIC)
    assert topic['name'].startswith('/') and topic['type'].count('/') == 2
    assert topic['serialization_format'] == 'cdr'
    assert len(topic['type_description_hash'].removeprefix('RIHS01_')) == 64
    for profile in topic['offered_qos_profiles']:
        assert set(profile) == {
            *POLICIES, 'depth', 'deadline', 'lifespan', 'liveliness_lease_duration',
            'avoid_ros_namespace_conventions'}
        assert all(profile[policy] in choices for policy, choices in POLICIES.items())
        assert profile['depth'] >= 0
        for duration in ('deadline', 'lifespan', 'liveliness_lease_duration'):
            assert set(profile[duration]) == {'sec', 'nsec'}


def check_times(entry: dict[str, Any], times: list[int]) -> None:
    """Hold a start and a duration against the messages' times."""
    assert entry['starting_time'] == {'nanoseconds_since_epoch': min(times)}
    assert entry['duration'] == {'nanoseconds': max(times) - min(times)}


def read_file(path: Path) -> Iterator[Stored]:
    """Read the messages of one file, with what is not rosbags; the tables are checked."""
    if path.suffix == '.db3':
        yield from read_database(path)
        return
    from mcap.reader import make_reader
    with path.open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        header, summary = reader.get_header(), reader.get_summary()
        assert header.profile == 'ros2'
        assert {each.name for each in reader.iter_metadata()} == {'rosbag2'}
        count = 0
        for schema, channel, message in reader.iter_messages():
            assert channel.message_encoding == 'cdr' and schema.encoding == 'ros2msg'
            assert 'offered_qos_profiles' in channel.metadata
            count += 1
            yield Stored(channel.topic, schema.name, message.log_time, message.data)
        assert summary.statistics.message_count == count


def read_database(path: Path) -> Iterator[Stored]:
    """Read the messages of a .db3 file; the tables are those of rosbag2's schema 4."""
    with sqlite3.connect(path) as database:
        for table, columns in TABLES.items():
            assert [row[1] for row in database.execute(f'PRAGMA table_info({table})')] == columns
        assert database.execute('PRAGMA integrity_check').fetchone() == ('ok',)
        assert database.execute('SELECT schema_version FROM schema').fetchall() == [(4,)]
        for row in database.execute(
                'SELECT name, type, timestamp, data FROM messages JOIN topics '
                'ON messages.topic_id = topics.id ORDER BY timestamp, messages.id'):
            yield Stored(*row)


def read_bag(folder: Path) -> list[Stored]:
    """Read all messages of a bag in the order of its files."""
    information = yaml.safe_load((folder / 'metadata.yaml').read_text())[
        'rosbag2_bagfile_information']
    return [message for name in information['relative_file_paths']
            for message in read_file(folder / name)]


CAM_TO_CAM = """calib_time: 09-Jan-2012 13:57:47
S_rect_00: 1.2e+01 8.0e+00
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_00: 9 0 5 0 0 9 3 0 0 0 1 0
S_rect_02: 1.2e+01 8.0e+00
P_rect_02: 10 0 6 0.6 0 10 4 0 0 0 1 0
"""
IMU_TO_VELO = 'calib_time: 25-May-2012 16:47:16\nR: 1 0 0 0 1 0 0 0 1\nT: -0.8 0.3 -0.8\n'
VELO_TO_CAM = 'calib_time: 15-Mar-2012 11:37:16\nR: 0 -1 0 0 0 -1 1 0 0\nT: 0.1 0.2 0.3\n'
DRIVE = '2011_09_26_drive_0001_sync'


def write_drive(folder: Path, frames: int = 4, cameras: tuple[int, ...] = (0, 2)) -> Path:
    """
    Write a drive as KITTI distributes it: images 8 x 12, scans, packets, calibration.

    The car drives east along the equator at 1e-5 degrees (1.113194908 m) a frame, ten a second.
    """
    drive = folder / '2011_09_26' / DRIVE
    stamps = ''.join(f'2011-09-26 13:02:2{index // 10}.{index % 10}00000001\n'
                     for index in range(frames))
    for part in (*(f'image_{camera:02}' for camera in cameras), 'velodyne_points', 'oxts'):
        (drive / part / 'data').mkdir(parents=True)
        (drive / part / 'timestamps.txt').write_text(stamps)
    for index in range(frames):
        name = f'{index:010}'
        for camera in cameras:
            bgr = np.full((8, 12, 3), (30, 20, index * 10), np.uint8)
            pixels = bgr[..., 2] if camera < 2 else bgr
            cv2.imwrite(str(drive / f'image_{camera:02}' / 'data' / f'{name}.png'), pixels)
        scan = np.array([[10, 2, 1, 0.5], [index, 0, 0, 0.25]], '<f4')
        scan.tofile(drive / 'velodyne_points' / 'data' / f'{name}.bin')
        (drive / 'oxts' / 'data' / f'{name}.txt').write_text(packet(longitude=index * 1e-5))
    for name, text in (('cam_to_cam', CAM_TO_CAM), ('imu_to_velo', IMU_TO_VELO),
                       ('velo_to_cam', VELO_TO_CAM)):
        (drive.parent / f'calib_{name}.txt').write_text(text)
    return drive


def packet(latitude: float = 0.0, longitude: float = 0.0, altitude: float = 100.0,
           roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0,
           velocity: tuple[float, float, float] = (0.0, 11.13, 0.0)) -> str:
    """
    Write a packet as KITTI does: thirty numbers in a line.

    :param velocity: towards north, east and up.
    """
    north, east, up = velocity
    numbers = [latitude, longitude, altitude, roll, pitch, yaw, north, east, 11.13, 0.0, up,
               0.1, 0.2, 9.81, 0.1, 0.2, 9.81, 0.01, 0.02, 0.03, 0.01, 0.02, 0.03, 0.05, 0.08]
    return ' '.join(f'{number:.13g}' for number in numbers) + ' 4 8 4 4 0\n'
