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


"""The layouts of trajectory files give the poses that their data sets mean."""

from __future__ import annotations

from pathlib import Path
import shutil

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sync_perception.datasets import open_dataset
from sync_perception.files.poses import read_pose
from sync_perception.images.reading import write_image
from sync_perception.kitti.oxts import imu_T_camera
from sync_perception.mapping.pose_files import read_trajectory, write_tum
from sync_perception.mapping.trajectory import SECOND, Trajectory

MATRIX = '1 0 0 1 0 1 0 2 0 0 1 3'


def random_trajectory(count: int = 20) -> Trajectory:
    """Return poses at times since 1970."""
    random = np.random.default_rng(1)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=2).as_matrix()
    poses[:, :3, 3] = random.normal(size=(count, 3)) * 100
    return Trajectory(1_700_000_000_123_456_789 + np.arange(count) * 33_333_333, poses)


def test_tum_keeps_poses_and_nanoseconds(tmp_path):
    """What is written is read back, exact in time."""
    written = random_trajectory()
    write_tum(tmp_path / 'poses.tum', written)
    read = read_trajectory(tmp_path / 'poses.tum')
    assert read.stamps == written.stamps
    np.testing.assert_allclose(read.poses, written.poses, atol=1e-6)


def test_tum_agrees_with_scipy(tmp_path):
    """The quaternion is x y z w."""
    turn = Rotation.random(random_state=5)
    values = ' '.join(map(str, [1, 2, 3, *turn.as_quat()]))
    (tmp_path / 'poses.txt').write_text(f'# time x y z qx qy qz qw\n0.5 {values}\n')
    found = read_trajectory(tmp_path / 'poses.txt').at(500_000_000).world_T_camera
    np.testing.assert_allclose(found[:3, :3], turn.as_matrix(), atol=1e-12)
    np.testing.assert_array_equal(found[:3, 3], [1, 2, 3])


def test_kitti_rows_with_a_rate(tmp_path):
    """Rows of KITTI are frames at a rate, by default 10 per second."""
    (tmp_path / 'poses.txt').write_text(f'{MATRIX}\n{MATRIX}\n')
    assert read_trajectory(tmp_path / 'poses.txt').stamps == [0, 100_000_000]
    assert read_trajectory(tmp_path / 'poses.txt', rate=4).stamps == [0, 250_000_000]
    np.testing.assert_array_equal(
        read_trajectory(tmp_path / 'poses.txt').poses[1][:3, 3], [1, 2, 3])


def test_kitti_rows_with_times(tmp_path):
    """times.txt beside the poses holds their times."""
    (tmp_path / 'poses.txt').write_text(f'{MATRIX}\n{MATRIX}\n')
    (tmp_path / 'times.txt').write_text('0.000000e+00\n1.037359e-01\n')
    assert read_trajectory(tmp_path / 'poses.txt').stamps == [0, 103_735_900]
    (tmp_path / 'times.txt').write_text('0\n')
    with pytest.raises(ValueError, match='times.txt.*1.*2'):
        read_trajectory(tmp_path / 'poses.txt')


def test_kitti_sequence_moves_forward(data_root):
    """The recorded car drives along z of the camera."""
    poses = read_trajectory(data_root / 'kitti_odometry' / 'sequences' / '01' / 'poses.txt').poses
    assert len(poses) == 51
    assert poses[-1][2, 3] > 50


def test_packets_of_a_drive_give_the_poses_of_its_camera(tmp_path, data_root):
    """A drive of one image with two packets has a pose at the time of the image."""
    day = tmp_path / '2011_09_26'
    shutil.copytree(data_root / 'kitti' / '2011_09_26', day, symlinks=True, ignore=(
        lambda folder, names: [name for name in names if name.endswith('_sync')]))
    drive = day / '2011_09_26_drive_0001_sync'
    for folder in ('image_02/data', 'oxts/data'):
        (drive / folder).mkdir(parents=True)
    write_image(drive / 'image_02' / 'data' / f'{1:010}.png', np.zeros((375, 1242, 3), np.uint8))
    (drive / 'image_02' / 'timestamps.txt').write_text(
        '2011-09-26 13:02:25.0\n2011-09-26 13:02:25.1\n')
    for index in range(2):
        packet = ['49', str(8.4 + index * 1e-5), '115', *['0'] * 27]
        (drive / 'oxts' / 'data' / f'{index:010}.txt').write_text(' '.join(packet))
    [(stamp, pose)] = read_trajectory(drive)
    assert stamp % SECOND == SECOND // 10
    step = pose[:3, 3] - imu_T_camera(day, 2)[:3, 3]
    np.testing.assert_allclose(step, [0.730, 0, 0], atol=1e-3)  # metres to the east, the heading


def test_scenes_agree_with_their_data_set(data_root):
    """The folder of 7-Scenes is read as by the data set's reader."""
    trajectory = read_trajectory(data_root / 'sevenscenes', rate=30)
    path = data_root / 'sevenscenes' / 'frame-000020.pose.txt'
    found = trajectory.at(round(20 / 30 * 1e9)).world_T_camera
    np.testing.assert_allclose(found, read_pose(path), atol=1e-4)  # made orthogonal


def test_rendered_drives_agree_with_their_data_set(rendered_drive):
    """The poses of the synthetic drive are those of the data set's reader."""
    data = open_dataset('vkitti2', rendered_drive)
    trajectory = read_trajectory(rendered_drive / 'Scene01' / 'clone' / 'extrinsic.txt')
    for index, sample_id in enumerate(data.ids):
        np.testing.assert_allclose(
            trajectory.at(index * 100_000_000).world_T_camera, data.pose(sample_id), atol=1e-8)


@pytest.mark.parametrize(('text', 'message'), [
    ('', 'columns'), ('1 2 3\n', '3 columns'), (f'{MATRIX}\n1 2\n', "row 2 is '1 2'"),
    (MATRIX.replace('1', '2', 1), 'rigid'), ('0 0 0 0 0 0 0 3\n', 'quaternion'),
    ('x 0 0 0 0 0 0 1\n', 'row 1'), ('nan 0 0 0 0 0 0 1\n', 'nan')])
def test_malformed_files_are_refused(tmp_path, text, message):
    """The error names the file and the row."""
    path: Path = tmp_path / 'poses.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match=f'poses.txt.*{message}'):
        read_trajectory(path)


def test_missing_poses_are_named(tmp_path):
    """A wrong path or an empty folder says which layouts are known."""
    with pytest.raises(FileNotFoundError, match='nowhere.*TUM'):
        read_trajectory(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match='no poses in'):
        read_trajectory(tmp_path)
    with pytest.raises(ValueError, match='rate'):
        read_trajectory(tmp_path, rate=-1)
