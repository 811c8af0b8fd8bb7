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


"""Launch tests run where ROS 2's launch system and the built package are; else they skip."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
import os
from pathlib import Path

import pytest

PACKAGE = 'sync_perception'
LAUNCH_FILES = Path(__file__).resolve().parents[2] / 'launch'
# other domains than those of the tests beside this folder
DOMAIN = 1 + (os.getpid() + 50) % 101


def missing() -> str:
    """Say what the launch tests lack here, if anything."""
    lacking = [name for name in ('rclpy', 'launch', 'launch_ros', 'launch_pytest')
               if find_spec(name) is None or find_spec(name).origin is None]
    if lacking:
        return f'{", ".join(lacking)} come with a ROS 2 installation'
    from ament_index_python.packages import get_package_prefix, PackageNotFoundError
    try:
        get_package_prefix(PACKAGE)
    except PackageNotFoundError:
        return f'{PACKAGE} is not built and sourced (colcon build; . install/setup.bash)'
    return ''


class ModuleWithoutLaunch(pytest.Module):
    """Stands in for a test module that cannot run."""

    def collect(self):
        """Skip the module, with the reason."""
        pytest.skip(missing())


def pytest_pycollect_makemodule(module_path, parent):
    """Skip every module of this folder where something is missing."""
    if missing():
        return ModuleWithoutLaunch.from_parent(parent, path=module_path)


@pytest.fixture(scope='session', autouse=True)
def ros_environment():
    """Keep this process and those it starts to themselves."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv('ROS_DOMAIN_ID', str(DOMAIN))
        environment.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        yield


def included(name: str, **arguments):
    """Return the action that includes one of the launch files with these arguments."""
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(LAUNCH_FILES / name)),
        launch_arguments=[(key, str(value)) for key, value in arguments.items()])


@pytest.fixture(scope='session')
def include():
    """Return the function that includes a launch file."""
    return included


class StandInPackages:
    """Installs ROS packages for a test that consist of programs which the test writes."""

    def __init__(self, prefix: Path, monkeypatch: pytest.MonkeyPatch):
        self.prefix = prefix
        monkeypatch.setenv('AMENT_PREFIX_PATH', str(prefix), prepend=os.pathsep)

    def __call__(self, package: str, **programs: str) -> None:
        """
        Install a package.

        :param programs: shell scripts by the name of their executable.
        """
        marker = self.prefix / 'share' / 'ament_index' / 'resource_index' / 'packages' / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        for name, script in programs.items():
            program = self.prefix / 'lib' / package / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(f'#!/bin/sh\n{script}\n')
            program.chmod(0o755)

    @staticmethod
    def installed(package: str) -> bool:
        """Tell whether there is such a package."""
        from ament_index_python.packages import get_package_prefix, PackageNotFoundError
        try:
            get_package_prefix(package)
        except PackageNotFoundError:
            return False
        return True


@pytest.fixture
def stand_in_package(tmp_path, monkeypatch) -> StandInPackages:
    """Return the function that installs a package for this test."""
    return StandInPackages(tmp_path / 'prefix', monkeypatch)


@dataclass
class Run:
    """
    How a launch went.

    :param status: of the launch itself.
    :param ends: exit status of each process.
    :param parameters: that the launch gave each node.
    :param output: all that they printed.
    :param reasons: why the launch was shut down.
    """

    status: int = -1
    ends: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, dict] = field(default_factory=dict)
    output: str = ''
    reasons: list[str] = field(default_factory=list)


@pytest.fixture
def run(include):
    """Return the function that launches a launch file to its end, by default the replay."""
    # these come with a ROS 2 installation
    from launch import LaunchDescription, LaunchService
    from launch.actions import RegisterEventHandler, Shutdown
    from launch.event_handlers import OnProcessExit, OnProcessIO, OnProcessStart, OnShutdown
    import yaml

    def launch(file: str = 'kitti_replay.launch.py', **arguments) -> Run:
        result = Run()

        def started(event, context) -> None:
            files = [word for flag, word in zip(event.cmd, event.cmd[1:])
                     if flag == '--params-file']
            values = result.parameters[event.process_name.rsplit('-', 1)[0]] = {}
            for file in files:
                node, = yaml.safe_load(Path(file).read_text()).values()
                values.update(node['ros__parameters'])

        def ended(event, context) -> Shutdown | None:
            name = event.process_name.rsplit('-', 1)[0]
            result.ends[name] = event.returncode
            goes_on = name == 'replay_node' and arguments.get('shutdown') == 'False'
            return Shutdown(reason='the test has seen the replay end') if goes_on else None

        def printed(event) -> None:
            result.output += event.text.decode()

        service = LaunchService()
        service.include_launch_description(LaunchDescription([
            RegisterEventHandler(OnProcessStart(on_start=started)),
            RegisterEventHandler(OnProcessExit(on_exit=ended)),
            RegisterEventHandler(OnProcessIO(on_stdout=printed, on_stderr=printed)),
            RegisterEventHandler(OnShutdown(
                on_shutdown=lambda event, context: result.reasons.append(event.reason))),
            include(file, **arguments)]))
        result.status = service.run()
        return result
    return launch
