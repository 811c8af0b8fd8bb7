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
"""The network is prepared for the cameras' images before the first of them comes."""

from __future__ import annotations

from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from node_bench import K, KnownPredictor, PATIENCE, RELIABLE, SIZE
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo
from sync_perception.ros.io.camera_info import pinhole_camera_info
from sync_perception.ros.node.warm_up import KnownSizes, sizes_file, warm_up_predictor


class Log:
    """Keeps what is logged."""

    def __init__(self):
        self.infos, self.warnings = [], []
        self.logger = SimpleNamespace(info=self.infos.append)

    def warn(self, trouble: str, message: str) -> None:
        """Keep a warning."""
        self.warnings.append(message)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Keep what is remembered to one test."""
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    return tmp_path


def test_a_size_is_new_once_and_belongs_to_the_region_and_binning():
    known = KnownSizes('/node', Log())
    info = pinhole_camera_info(K, (480, 640))
    assert known.note('left', info, 10 ** 6) == (480, 640)
    assert known.note('left', info, 10 ** 6) is None
    info.roi.height, info.roi.width, info.binning_x, info.binning_y = 400, 600, 2, 4
    assert known.note('left', info, 10 ** 6) == (100, 300)
    predictor = KnownPredictor()
    known.warm_up(predictor, ['left', 'right'])
    assert predictor.warmed == [(100, 300)]


def test_the_next_run_knows_what_the_last_one_saw():
    known, other = KnownSizes('/robot/perception', Log()), KnownSizes('/other', Log())
    for each, size in ((known, (480, 640)), (other, (96, 128))):
        each.note('left', pinhole_camera_info(K, size), 10 ** 6)
        each.remember()
    again = KnownSizes('/robot/perception', Log())
    assert again.sizes == {'left': (480, 640)}
    assert again.note('left', pinhole_camera_info(K, (480, 640)), 10 ** 6) is None
    assert KnownSizes('/third', Log()).sizes == {}


@pytest.mark.parametrize('text', [
    '', '[]', '{"/node": 1}', '{"/node": {"": [0, 5]}}', '{"/node": {"": "ab"}}',
    '{"/node": {"": [1e9, 1e9]}}', '{"/node": {"": [1, null]}}', '\\x00'])
def test_a_broken_memory_is_as_good_as_none(text):
    sizes_file().parent.mkdir()
    sizes_file().write_text(text)
    known = KnownSizes('/node', Log())
    assert known.sizes == {}
    known.note('', pinhole_camera_info(K, SIZE), 10 ** 6)
    known.remember()
    assert KnownSizes('/node', Log()).sizes == {'': SIZE}


def test_a_memory_that_cannot_be_written_is_a_warning(home):
    (home / 'sync_perception').write_text('in the way')
    log = Log()
    known = KnownSizes('/node', log)
    known.remember()
    assert 'image_sizes.json' in log.warnings[0]


def test_a_node_that_starts_again_is_warm_before_any_message_comes(bench):
    known = KnownSizes('/perception', Log())
    known.note('', pinhole_camera_info(K, SIZE), 10 ** 6)
    known.remember()
    bench.start(listen=('depth',))
    assert bench.predictor.warmed == [SIZE]
    bench.send_info(1)
    bench.send_image(1)
    bench.wait(lambda: bench.received['depth'])
    assert bench.predictor.warmed == [SIZE]


@pytest.mark.parametrize('info', [
    CameraInfo(), pinhole_camera_info(K, (1, 4096)), pinhole_camera_info(K, (2000, 2000))])
def test_nothing_is_prepared_for_images_that_would_be_refused(info):
    assert KnownSizes('/node', Log()).note('', info, 10 ** 6) is None


def test_what_goes_wrong_is_said_and_survived():
    log, predictor = Log(), KnownPredictor()
    warm_up_predictor(predictor, SIZE, log)
    assert '32x24' in log.infos[0]

    def fail(size):
        raise MemoryError('2 GB')
    predictor.warm_up = fail
    warm_up_predictor(predictor, SIZE, log)
    assert '32x24' in log.warnings[0] and '2 GB' in log.warnings[0]


def test_the_first_camera_info_warms_the_network_up_and_images_meanwhile_are_counted(bench):
    read = []
    bench.others.create_subscription(
        DiagnosticArray, '/diagnostics', lambda array: read.append(array.status), RELIABLE)
    bench.start(listen=('depth',))
    bench.predictor.go_warm.clear()
    bench.send_info(1)
    assert bench.predictor.warming.wait(PATIENCE)
    for stamp in (1, 2, 3):
        bench.send_image(stamp)
        bench.wait(lambda stamp=stamp: bench.counters.received == stamp)
    bench.wait(lambda: read and 'warming up for images of 32x24' in read[-1][0].message)
    assert read[-1][0].level == DiagnosticStatus.OK
    values = {pair.key: pair.value for pair in read[-1][1].values}
    assert (values['images while warming up'], values['images dropped']) == ('2', '0')
    bench.predictor.go_warm.set()
    bench.wait(lambda: bench.received['depth'])
    assert [message.header.stamp.nanosec for message in bench.received['depth']] == [3]
    bench.send_info(4)
    bench.send_image(4)
    bench.wait(lambda: bench.counters.published == 2)
    assert bench.predictor.warmed == [SIZE]


def test_what_is_loaded_later_is_warmed_up_before_it_serves(bench):
    models = {'': bench.predictor, 'other': KnownPredictor()}
    bench.start(load=lambda parameters: models[parameters.model], listen=('depth',))
    bench.send_info(1)
    bench.wait(lambda: bench.predictor.warmed == [SIZE])
    assert bench.node.set_parameters([Parameter('model', value='other')])[0].successful
    assert models['other'].warmed == [SIZE]
    for transition in ('DEACTIVATE', 'CLEANUP', 'CONFIGURE'):
        assert bench.transition(getattr(Transition, f'TRANSITION_{transition}'))
    assert models['other'].warmed == [SIZE, SIZE]
