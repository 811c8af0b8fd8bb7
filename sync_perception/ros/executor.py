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

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future


def make_executor() -> Executor:
    """Return the events executor, which costs the least, where this rclpy has one."""
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


def spin(node: Node, until: Future | None = None) -> None:
    """
    Serve a node's callbacks until a signal or a shutdown ends the context, or a future is done.

    :param node: the node.
    :param until: ends the spinning when it is done; its exception is raised.
    """
    executor = make_executor()
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


def run(make_node, arguments: list[str] | None) -> None:
    """
    Run a node as a process of its own.

    :param make_node: called without arguments when ROS is up; the node may have a future `done`
        that ends the process, and a method `close` that is called before it is destroyed.
    :param arguments: command line; None for the process's.
    """
    rclpy.init(args=arguments)
    try:
        node = make_node()
        try:
            spin(node, getattr(node, 'done', None))
        finally:
            node.close()
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
