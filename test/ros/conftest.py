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


"""ROS for tests: a domain and a context of their own; without ROS they skip, saying so."""

from __future__ import annotations

import os

import pytest

try:
    import rclpy
except ImportError as error:
    MISSING = f'rclpy cannot be imported: {error}'
else:
    MISSING = ''

# Domains 1 to 101 have ports that no operating system gives away; runs beside each other differ
DOMAIN = 1 + os.getpid() % 101


class ModuleWithoutRos(pytest.Module):
    """Stands in for a test module that cannot even be imported."""

    def collect(self):
        """Skip the module, with the reason."""
        pytest.skip(MISSING)


def pytest_pycollect_makemodule(module_path, parent):
    """Skip every module of this folder where there is no ROS."""
    if MISSING:
        return ModuleWithoutRos.from_parent(parent, path=module_path)


@pytest.fixture(scope='session', autouse=True)
def ros_environment(tmp_path_factory):
    """Keep this process and those it starts to themselves, with room for large messages."""
    from sync_perception.resources import config_folder
    profile = str(config_folder() / 'fastdds_shm.xml')
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv('ROS_DOMAIN_ID', str(DOMAIN))
        environment.setenv('ROS_HOME', str(tmp_path_factory.mktemp('ros')))
        environment.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        environment.setenv('FASTDDS_DEFAULT_PROFILES_FILE', profile)
        environment.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', profile)
        yield


@pytest.fixture
def ros(ros_environment):
    """Bring ROS up for one test."""
    rclpy.init()
    yield rclpy
    rclpy.try_shutdown()


@pytest.fixture(scope='module')
def peer(ros_environment):
    """Return a camera and a consumer for the module, beside a node in a process of its own."""
    from signal_moments import Peer
    rclpy.init()
    made = Peer()
    yield made
    made.close()
    rclpy.try_shutdown()


@pytest.fixture
def bench(ros):
    """Return a bench for the perception node that is cleared away after the test."""
    from node_bench import Bench
    made = Bench()
    yield made
    made.close()


@pytest.fixture
def robot(request, ros):
    """Return a robot of the module's class, which is cleared away after the test."""
    made = request.module.Robot()
    yield made
    made.close()


@pytest.fixture
def calibration(tmp_path):
    """Write a calibration and return its path."""
    from calibration_files import CALIBRATION
    import yaml
    path = tmp_path / 'camera.yaml'
    path.write_text(yaml.safe_dump(CALIBRATION))
    return str(path)


@pytest.fixture
def graph(ros):
    """Serve nodes on a thread; return a function that adds one, and the waiting one."""
    from threading import Thread

    from conditions import PATIENCE, wait_until
    from rclpy.executors import SingleThreadedExecutor
    executor, nodes = SingleThreadedExecutor(), []
    thread = Thread(target=executor.spin, daemon=True)

    def add(node):
        nodes.append(node)
        executor.add_node(node)
        if not thread.is_alive():
            thread.start()
        return node

    yield add, wait_until
    executor.shutdown()
    thread.join(PATIENCE)
    for node in nodes:
        if hasattr(node, 'close'):
            node.close()
        node.destroy_node()
