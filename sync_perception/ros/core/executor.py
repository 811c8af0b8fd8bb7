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


"""Run a node until a stop is requested."""

from __future__ import annotations

from collections.abc import Callable, Generator
import traceback

import rclpy
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sync_perception.ros.core.stopping import StopRequest


def spin(node: Node, stop: StopRequest) -> None:
    """
    Execute a node's callbacks until a stop is requested, ROS is shut down, or its work is done.

    This uses the default executor, not rclpy's experimental EventsExecutor, which is called from
    the middleware's threads. As of rclpy 7.1 it deadlocks when another thread, such as the node's
    worker, publishes or shuts down at the same time (interpreter lock against executor lock).

    :param node: the node. Its coroutine function `autostart`, if it has one, runs first. Its
        future `done`, if it has one, ends the spinning, and its exception is raised.
    :param stop: request that ends the spinning.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    done = getattr(node, 'done', None)
    condition = node.create_guard_condition(lambda: None)

    def wake() -> None:
        try:
            condition.trigger()
        except InvalidHandle:
            pass  # the node has already ended

    stop.serve(wake)
    if hasattr(node, 'autostart'):
        executor.create_task(node.autostart)
    try:
        while node.context.ok() and not stop.requested.is_set():
            if done is not None and done.done():
                done.result()
                return
            executor.spin_once()
    except ExternalShutdownException:
        pass
    finally:
        executor.remove_node(node)
        executor.shutdown()


def run_node(make_node: Callable[[], Node], arguments: list[str] | None, stop: StopRequest) -> int:
    """
    Run a node as the main node of the process.

    :param make_node: called after ROS is initialised. The node has a method `close`, which is
        called before it is destroyed; `spin` lists its optional attributes.
    :param arguments: command line; None for that of the process.
    :param stop: stop request, created at the start of the process.
    :return: the exit status; 1 if the node rejects its input, which is logged.
    """
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    stop.serve(lambda: None)  # from here on, resources must be released in order
    node = None
    try:
        node = make_node()
        spin(node, stop)
    except (ValueError, OSError) as error:
        get_logger('sync_perception').fatal(str(error))
        return 1
    except Exception:  # noqa: BLE001 - a bug; the process ends without Python's own traceback
        traceback.print_exc()
        return 1
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


class Turn:
    """Awaitable that yields to the executor once."""

    def __await__(self) -> Generator[None, None, None]:
        """Yield once."""
        yield
