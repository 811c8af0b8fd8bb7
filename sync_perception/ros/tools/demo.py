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


"""`make demo`: runs a replay and the perception node as two processes, and monitors them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
import time
from typing import Annotated

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
import rclpy
from rich.console import Console
from rich.live import Live
from sync_perception.files.whole_files import write_json
from sync_perception.kitti.drive import KittiDrive
from sync_perception.ros.tools.demo_map import write_map
from sync_perception.ros.tools.processes import (
    ChildProcess,
    NODE_MODULES,
    START_LIMIT,
    use_quiet_domain,
)
from sync_perception.ros.tools.topic_watcher import Watcher, write_pictures
import typer

ANSWER_LIMIT = 20.0  # seconds without any message after which the demo ends
LAST_MESSAGES = 1.0  # the same limit once every image is answered
SYNTHETIC_FRAMES = 60


class DemoFailed(RuntimeError):
    """The demo failed; the message gives the reason."""


def bring_up(watcher: Watcher, perception: ChildProcess) -> None:
    """
    Configure and activate the perception node.

    :raises DemoFailed: if the node ends, does not respond, or rejects a transition.
    """
    client = watcher.node.create_client(ChangeState, 'perception/change_state')
    wait_until(client.service_is_ready, watcher, [perception], 'start')
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        answer = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        wait_until(answer.done, watcher, [perception], 'load its model')
        if not answer.result().success:
            raise DemoFailed(failure_message(perception, 'did not come up'))


def wait_until(condition: Callable[[], bool], watcher: Watcher, children: list[ChildProcess],
               what: str, limit: float = START_LIMIT) -> None:
    """
    Receive messages until a condition holds.

    :raises DemoFailed: if a child process ends before, or the limit is exceeded.
    """
    end = time.monotonic() + limit
    while not condition():
        watcher.spin(0.1)
        check_alive(children)
        if time.monotonic() > end:
            raise DemoFailed(failure_message(children[0], f'did not {what} within {limit:.0f} s'))


def check_alive(children: list[ChildProcess]) -> None:
    """Raise DemoFailed if one of the child processes has ended."""
    for child in children:
        if child.exit_code is not None:
            raise DemoFailed(failure_message(child, f'ended with status {child.exit_code}'))


def failure_message(child: ChildProcess, how: str) -> str:
    """Return what happened to a child process, with the end of its log."""
    return f'{child.name} {how}. The end of {child.log}:\n{child.last_lines()}'


def follow(watcher: Watcher, perception: ChildProcess, replay: ChildProcess, title: str,
           console: Console) -> None:
    """
    Show the progress until the replay has ended and every image is answered or dropped.

    :raises DemoFailed: if a process fails, or no image arrives.
    """
    progress = watcher.progress
    begun = time.monotonic()
    with Live(progress.table(title), console=console, refresh_per_second=8) as live:
        while True:
            watcher.spin(0.1)
            live.update(progress.table(title))
            check_alive([perception])
            if replay.exit_code not in (None, 0):
                check_alive([replay])
            times = [arrivals.times[-1] for arrivals in progress.topics.values()
                     if arrivals.times]
            quiet = time.monotonic() - max(times, default=begun)
            patience = ANSWER_LIMIT if progress.pending else LAST_MESSAGES
            if replay.exit_code == 0 and quiet > patience:
                break
            if quiet > START_LIMIT:
                raise DemoFailed(failure_message(replay, f'sent nothing for {START_LIMIT:.0f} s'))
    if not console.is_terminal:
        console.line()


@dataclass(frozen=True)
class Drive:
    """
    Drive that the demo replays.

    :param title: title for the user.
    :param parameters: parameters of the replay node, `name:=value`.
    :param count: number of frames.
    :param folder: folder of the KITTI drive; None for the synthetic one.
    """

    title: str
    parameters: list[str]
    count: int
    folder: Path | None = None


def choose_drive(kitti: Path | None, frames: int) -> Drive:
    """
    Return the given KITTI drive, or a synthetic street drive.

    :param frames: largest number of frames; 0 for the whole drive.
    :raises FileNotFoundError: if there is no such drive.
    """
    if kitti is None:
        return Drive(
            'Synthetic street world', ['source:=synthetic'], frames or SYNTHETIC_FRAMES)
    drive = KittiDrive(kitti)
    return Drive(
        f'KITTI drive {drive.name}', ['source:=kitti', f'path:={kitti.resolve()}'],
        min(frames or len(drive), len(drive)), kitti)


def run_demo(drive: Drive, out: Path, rate: float, pictures: int, model: str, device: str) -> None:
    """
    Replay a drive, show the progress, and write the results.

    One frame is sent before the drive, so that the node prepares its network for the image size.
    This takes seconds once, and would distort the latencies in the table.

    :raises DemoFailed: if a process fails or no frame is answered.
    """
    console = Console()
    logs = out / 'logs'
    logs.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob('panel_*.png'), *out.glob('cloud_*.png')]:
        old.unlink()
    use_quiet_domain()
    rclpy.init(args=[])
    with ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        watcher = Watcher()
        stack.callback(watcher.close)

        def start(name: str, node: str, parameters: list[str], log: str) -> ChildProcess:
            return stack.enter_context(ChildProcess(
                name, NODE_MODULES[node], ros_arguments(parameters),
                logs / f'{log}.log'))

        perception = start(
            'The perception node', 'perception',
            ['autostart:=false', f'model:={model}', f'device:={device}'], 'perception')
        first = start(
            'The replay of the first frame', 'replay',
            [*drive.parameters, 'count:=1', 'lockstep:=true',
             f'lockstep_timeout:={START_LIMIT}'], 'first_frame')
        with console.status('Starting the nodes, loading the model, preparing the network ...'):
            bring_up(watcher, perception)
            wait_until(lambda: first.exit_code is not None, watcher, [perception],
                       'answer the first frame')
            if first.exit_code:
                check_alive([first])
        watcher.begin(drive.count, pictures)
        replay = start(
            'The replay', 'replay',
            [*drive.parameters, f'rate:={rate}', f'count:={drive.count}'], 'replay')
        follow(watcher, perception, replay, drive.title, console)
        if not watcher.progress.answered:
            raise DemoFailed(failure_message(perception, 'answered no image'))
    with console.status('Drawing ...'):
        names = write_pictures(watcher, out)
    names += write_map(drive.folder, out, drive.count, model, device, console.print)
    summary = {
        'source': drive.title, 'rate_hz': rate, **watcher.progress.summary(), 'pictures': names}
    write_json(out / 'summary.json', summary)
    console.print(f'{len(names)} pictures and summary.json are in {out.resolve()}; those in map/ '
                  'show the map of the drive')


def ros_arguments(parameters: list[str]) -> list[str]:
    """Return `name:=value` as a ROS command line; an empty value keeps the default."""
    arguments = ['--ros-args']
    for parameter in parameters:
        if not parameter.endswith(':='):
            arguments += ['-p', parameter]
    return arguments


def main() -> None:
    """Run the demo from the command line."""
    def demo(
            kitti: Annotated[Path | None, typer.Option(
                help='Folder of a KITTI raw drive; without it, a synthetic street.')] = None,
            out: Annotated[Path, typer.Option(help='Folder for the results.')] = Path(
                'demo_output'),
            frames: Annotated[int, typer.Option(
                min=0, help='Frames to drive; 0 for the whole drive, or for '
                f'{SYNTHETIC_FRAMES} synthetic ones.')] = 0,
            rate: Annotated[float, typer.Option(
                min=0.1, help='Frames a second that the camera sends.')] = 10.0,
            pictures: Annotated[int, typer.Option(
                min=1, help='Frames of which pictures are written.')] = 4,
            model: Annotated[str, typer.Option(
                help='Folder of the model; the one of the package by default.')] = '',
            device: Annotated[str, typer.Option(help='auto, cpu, cuda or cuda:N.')] = 'auto',
            ) -> None:
        """Replay a drive over DDS and watch the perception node answer."""
        try:
            run_demo(choose_drive(kitti, frames), out, rate, pictures, model, device)
        except (DemoFailed, FileNotFoundError, ValueError) as error:
            typer.echo(f'demo: {error}', err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    typer.run(demo)


if __name__ == '__main__':
    main()
