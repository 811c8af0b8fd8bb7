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


"""Runs a node until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.task import Future


def spin(node: Node, until: Future | None = None) -> None:
    """
    Serve a node's callbacks until a signal or a shutdown ends the context, or a future is done.

    With the default executor, not rclpy's experimental EventsExecutor: that one is entered from
    the middleware's threads, and as of rclpy 7.1 it hung for ever when another thread, such as
    the node's worker, published or shut down at the same moment (each held what the other waited
    for, the interpreter's lock and the executor's).

    :param node: the node.
    :param until: ends the spinning when it is done; its exception is raised.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if until is None:
            executor.spin()
        else:
            executor.spin_until_future_complete(until)
            if until.done():
                until.result()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.remove_node(node)
        executor.shutdown()


def run(make_node: Callable[[], Node], arguments: list[str] | None) -> int:
    """
    Run a node as a process of its own.

    :param make_node: called when ROS is up; the node has a method `close`, which is called before
        it is destroyed, and may have a future `done` that ends the process.
    :param arguments: command line; None for the process's.
    :return: the exit status: 1, after a clear line in the log, where the node refuses its input.
    """
    rclpy.init(args=arguments)
    try:
        node = make_node()
        try:
            spin(node, getattr(node, 'done', None))
        finally:
            node.close()
            node.destroy_node()
    except KeyboardInterrupt:
        pass  # asked to stop while it was still starting
    except Exception as error:
        if not rclpy.ok():
            return 0  # likewise: the signal took ROS away from under it
        if not isinstance(error, (ValueError, OSError)):
            raise
        get_logger('sync_perception').fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()
    return 0
