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


"""Drives as bags, read back by MCAP's own library, sqlite3 and rclpy: not by what wrote them."""

from __future__ import annotations

from bag_checks import check_bag, DRIVE, packet, read_bag, write_drive
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from sync_perception.files.locks import output_lock
from sync_perception.ros.bags.kitti import kitti_to_bag
from sync_perception.ros.io.conversions import stamp_nanoseconds
from sync_perception.ros.io.image_messages import decode, decompress

pytest.importorskip('mcap', reason='bags are checked with the package mcap')
FIRST = 1317042140_000000001  # 2011-09-26 13:02:20.000000001 UTC
TENTH = 100_000_000
ALL = {
    '/tf_static': 1, '/tf': 4, '/kitti/oxts/odometry': 4, '/kitti/oxts/imu': 4,
    '/kitti/oxts/fix': 4, '/kitti/velo/points': 4, '/kitti/image_00/camera_info': 4,
    '/kitti/image_00/image_rect': 4, '/kitti/image_02/camera_info': 4,
    '/kitti/image_02/image_rect': 4}


def messages_on(bag, topic: str, kind: type) -> list:
    """Read a topic's messages with rclpy."""
    return [deserialize_message(message.data, kind) for message in read_bag(bag)
            if message.topic == topic]


def decoded(bag, topic: str) -> list:
    """Read a topic's messages with MCAP's decoder, which takes the types from the file itself."""
    factory = pytest.importorskip('mcap_ros2.decoder').DecoderFactory()
    from mcap.reader import make_reader
    with next(bag.glob('*.mcap')).open('rb') as file:
        reader = make_reader(file, decoder_factories=[factory])
        return [message for _, _, _, message in reader.iter_decoded_messages([topic])]


def matrix(transform) -> np.ndarray:
    """Turn a geometry_msgs/Transform into (4, 4) by SciPy."""
    rotation = pytest.importorskip('scipy.spatial.transform').Rotation
    q, t = transform.rotation, transform.translation
    result = np.eye(4)
    result[:3, :3] = rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    result[:3, 3] = t.x, t.y, t.z
    return result


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_everything_of_a_drive_is_there_in_order(tmp_path, storage):
    lines = []
    result = kitti_to_bag(
        write_drive(tmp_path), tmp_path / 'bag', storage, report=lines.append)
    assert result == {'topics': ALL, 'broken': []} and lines == []
    information = check_bag(tmp_path / 'bag')
    assert information['storage_identifier'] == storage
    assert information['custom_data'] == {'kitti_drive': DRIVE}
    assert information['starting_time'] == {'nanoseconds_since_epoch': FIRST}
    assert information['duration'] == {'nanoseconds': 3 * TENTH}
    stored = read_bag(tmp_path / 'bag')
    assert [message.time for message in stored] == sorted(message.time for message in stored)
    assert stored[0].topic == '/tf_static'
    assert list(tmp_path.glob('.*')) == []


def test_images_carry_stamp_frame_and_calibration(tmp_path):
    kitti_to_bag(write_drive(tmp_path), tmp_path / 'bag')
    images = messages_on(tmp_path / 'bag', '/kitti/image_02/image_rect', Image)
    infos = messages_on(tmp_path / 'bag', '/kitti/image_02/camera_info', CameraInfo)
    assert [stamp_nanoseconds(image.header) for image in images] == [
        FIRST + index * TENTH for index in range(4)]
    for index, (image, info) in enumerate(zip(images, infos)):
        assert image.header == info.header
        assert image.header.frame_id == 'camera_2_optical_frame'
        assert (image.encoding, image.height, image.width, image.step) == ('rgb8', 8, 12, 36)
        np.testing.assert_array_equal(decode(image)[3, 4], [index * 10, 20, 30])
        assert (info.height, info.width, info.distortion_model) == (8, 12, 'plumb_bob')
        np.testing.assert_array_equal(info.k, [10, 0, 6, 0, 10, 4, 0, 0, 1])
        np.testing.assert_array_equal(info.p, [10, 0, 6, 0, 0, 10, 4, 0, 0, 0, 1, 0])
        np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))
    grey = messages_on(tmp_path / 'bag', '/kitti/image_00/image_rect', Image)
    assert {image.encoding for image in grey} == {'mono8'}
    assert decode(grey[2])[0, 0].tolist() == [20, 20, 20]


def test_scans_are_clouds(tmp_path):
    kitti_to_bag(write_drive(tmp_path), tmp_path / 'bag')
    cloud = messages_on(tmp_path / 'bag', '/kitti/velo/points', PointCloud2)[3]
    assert [(field.name, field.offset, field.datatype) for field in cloud.fields] == [
        ('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 12, 7)]
    assert (cloud.header.frame_id, cloud.width, cloud.point_step) == ('velo_link', 2, 16)
    np.testing.assert_array_equal(
        np.frombuffer(cloud.data, '<f4').reshape(2, 4), [[10, 2, 1, 0.5], [3, 0, 0, 0.25]])


def test_the_car_drives_a_metre_and_a_bit_a_frame(tmp_path):
    kitti_to_bag(write_drive(tmp_path), tmp_path / 'bag')
    for index, message in enumerate(decoded(tmp_path / 'bag', '/kitti/oxts/odometry')):
        assert (message.header.frame_id, message.child_frame_id) == ('odom', 'base_link')
        place, motion = message.pose.pose, message.twist.twist
        assert place.position.x == pytest.approx(index * 1.1131949079, abs=1e-6)
        assert (place.position.y, place.position.z) == pytest.approx((0, 0), abs=1e-9)
        assert place.orientation.w == pytest.approx(1)
        assert (motion.linear.x, motion.linear.y) == pytest.approx((11.13, 0))
        assert motion.angular.z == 0.03
    moving = decoded(tmp_path / 'bag', '/tf')
    joints = {(each.header.frame_id, each.child_frame_id)
              for message in moving for each in message.transforms}
    assert joints == {('odom', 'base_link')}
    assert moving[2].transforms[0].transform.translation.x == pytest.approx(2.2263898, abs=1e-6)
    fix = decoded(tmp_path / 'bag', '/kitti/oxts/fix')[1]
    assert (fix.longitude, fix.altitude) == (1e-5, 100.0)
    assert fix.position_covariance[0] == pytest.approx(0.05 ** 2)
    inertial = decoded(tmp_path / 'bag', '/kitti/oxts/imu')[0]
    assert inertial.linear_acceleration.z == 9.81 and inertial.header.frame_id == 'imu_link'


def test_the_static_tree_takes_points_where_the_calibration_does(tmp_path):
    kitti_to_bag(write_drive(tmp_path), tmp_path / 'bag')
    information = check_bag(tmp_path / 'bag')
    profiles = {entry['topic_metadata']['name']: entry['topic_metadata']['offered_qos_profiles']
                for entry in information['topics_with_message_count']}
    assert profiles['/tf_static'][0]['durability'] == 'transient_local'
    assert profiles['/tf'][0]['durability'] == 'volatile'
    tree = {(each.header.frame_id, each.child_frame_id): matrix(each.transform)
            for each in decoded(tmp_path / 'bag', '/tf_static')[0].transforms}
    assert list(tree) == [
        ('base_link', 'imu_link'), ('imu_link', 'velo_link'),
        ('velo_link', 'camera_0_optical_frame'),
        ('camera_0_optical_frame', 'camera_2_optical_frame')]
    np.testing.assert_allclose(tree['base_link', 'imu_link'], np.eye(4))
    # the scanner lies at -R' T of "X_velo = R X_imu + T"
    np.testing.assert_allclose(tree['imu_link', 'velo_link'][:3, 3], [0.8, -0.3, 0.8])
    # (10, 2, 1) ahead of the scanner is (-2, -1, 10) + T = (-1.9, -0.8, 10.3) in the camera
    np.testing.assert_allclose(
        tree['velo_link', 'camera_0_optical_frame'] @ [-1.9, -0.8, 10.3, 1], [10, 2, 1, 1])
    # P_02 = K [I | t] with t = (0.06, 0, 0): camera 2 lies at -t
    np.testing.assert_allclose(
        tree['camera_0_optical_frame', 'camera_2_optical_frame'][:3, 3], [-0.06, 0, 0])


def test_images_can_stay_as_they_are(tmp_path):
    drive = write_drive(tmp_path)
    kitti_to_bag(drive, tmp_path / 'bag', cameras=[2], compressed=True)
    images = messages_on(
        tmp_path / 'bag', '/kitti/image_02/image_rect/compressed', CompressedImage)
    assert len(images) == 4 and images[0].format == 'png'
    file = drive / 'image_02' / 'data' / '0000000001.png'
    assert bytes(images[1].data) == file.read_bytes()
    assert decompress(images[1])[0, 0].tolist() == [10, 20, 30]


def test_scans_that_are_missing_shift_no_other(tmp_path):
    drive = write_drive(tmp_path, frames=6, cameras=(2,))
    times = drive / 'velodyne_points' / 'timestamps.txt'
    lines = times.read_text().splitlines()
    before = kitti_stamps(tmp_path / 'whole', drive)
    for number in (2, 3):
        (drive / 'velodyne_points' / 'data' / f'{number:010}.bin').unlink()
        lines[number] = ''
    times.write_text('\n'.join(lines) + '\n')
    assert kitti_stamps(tmp_path / 'bag', drive) == [
        before[number] for number in (0, 1, 4, 5)]


def kitti_stamps(bag, drive) -> list[int]:
    """Make a bag of a drive; return the times of its scans."""
    kitti_to_bag(drive, bag, report=lambda line: None)
    return [record.time for record in read_bag(bag) if record.topic == '/kitti/velo/points']


def test_what_the_drive_has_not_is_said_and_absent(tmp_path):
    drive = write_drive(tmp_path, cameras=(2,))
    for path in (drive / 'oxts' / 'data').iterdir():
        path.unlink()
    (drive / 'velodyne_points' / 'timestamps.txt').unlink()
    (drive.parent / 'calib_imu_to_velo.txt').unlink()
    (drive.parent / 'calib_velo_to_cam.txt').unlink()
    lines = []
    result = kitti_to_bag(drive, tmp_path / 'bag', report=lines.append)
    assert set(result['topics']) == {
        '/tf_static', '/kitti/velo/points', '/kitti/image_02/camera_info',
        '/kitti/image_02/image_rect'}
    for words in ('no /tf and no odometry', '4 of 4 scans get the stamp of the image',
                  'no transform from imu_link to velo_link',
                  'no transform from velo_link to camera_0'):
        assert sum(words in line for line in lines) == 1, (words, lines)
    check_bag(tmp_path / 'bag')


def test_broken_files_are_left_out_and_named(tmp_path):
    drive = write_drive(tmp_path)
    (drive / 'image_02' / 'data' / '0000000002.png').write_bytes(b'no image')
    (drive / 'velodyne_points' / 'data' / '0000000001.bin').write_bytes(b'12345')
    lines = []
    result = kitti_to_bag(drive, tmp_path / 'bag', report=lines.append)
    assert result['topics']['/kitti/image_02/image_rect'] == 3
    assert result['topics']['/kitti/velo/points'] == 3
    assert len(result['broken']) == 2
    assert '0000000001.bin' in lines[0] and '0000000002.png' in lines[1]
    check_bag(tmp_path / 'bag')


def test_what_cannot_become_a_bag_is_refused(tmp_path):
    drive = write_drive(tmp_path)
    with pytest.raises(FileNotFoundError, match='no KITTI raw drive'):
        kitti_to_bag(tmp_path / 'none', tmp_path / 'bag')
    with pytest.raises(FileNotFoundError, match='image_03'):
        kitti_to_bag(drive, tmp_path / 'bag', cameras=[3])
    with pytest.raises(ValueError, match="'rocksdb'.*sqlite3"):
        kitti_to_bag(drive, tmp_path / 'bag', 'rocksdb')
    (drive / 'oxts' / 'data' / '0000000001.txt').write_text(packet()[:20])
    with pytest.raises(ValueError, match='0000000001.txt has'):
        kitti_to_bag(drive, tmp_path / 'bag')
    assert not (tmp_path / 'bag').exists()
    (tmp_path / 'bag').mkdir()
    with pytest.raises(ValueError, match='bag.*already'):
        kitti_to_bag(write_drive(tmp_path / 'second'), tmp_path / 'bag')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_the_real_drive_becomes_a_bag(data_root, tmp_path, storage):
    lines = []
    result = kitti_to_bag(data_root / 'kitti', tmp_path / 'bag', storage, report=lines.append)
    assert result == {'broken': [], 'topics': {
        '/tf_static': 1, '/kitti/velo/points': 3, '/kitti/image_02/camera_info': 53,
        '/kitti/image_02/image_rect': 53}}
    assert any('no odometry' in line for line in lines)
    information = check_bag(tmp_path / 'bag')
    assert information['duration'] == {'nanoseconds': 5_200_000_000}
    image = messages_on(tmp_path / 'bag', '/kitti/image_02/image_rect', Image)[25]
    assert (image.height, image.width) == (375, 1242)
    assert stamp_nanoseconds(image.header) == 1317042150_000000000


def test_two_conversions_to_one_bag_are_refused(tmp_path):
    drive = write_drive(tmp_path)
    with output_lock(tmp_path / 'bag'), pytest.raises(ValueError, match='is being written by'):
        kitti_to_bag(drive, tmp_path / 'bag')
    kitti_to_bag(drive, tmp_path / 'bag')
