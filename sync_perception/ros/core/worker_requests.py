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

"""Requests of services that the worker's thread answers, without blocking the executor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from sync_perception.ros.core.executor import Turn
from sync_perception.ros.core.worker import Worker


class WorkerRequests:
    """
    One request at a time, executed on the worker's thread between two frames.

    :param node: node whose executor is woken at the end of a request.
    """

    def __init__(self, node: Node):
        self.pending: Future | None = None
        self.done = node.create_guard_condition(lambda: None)

    async def run(self, worker: Worker | None, request: Callable[[], str]) -> str:
        """
        Execute a function on a worker's thread.

        :param worker: the worker; None if the node is not configured.
        :return: what the function returns.
        :raises ValueError: if the node is not configured, or another request is being answered.
        :raises Exception: any error of the function.
        """
        if worker is None:
            raise ValueError('the node is not configured, so it has no map')
        if self.pending is not None:
            raise ValueError('another request is being answered, try again when it is done')
        outcome = self.pending = Future()
        worker.run(lambda: self._answer(outcome, request), queue=1)
        try:
            while not outcome.done():
                if not worker.running:
                    raise ValueError('the node was stopped before the request was answered')
                # resumed whenever the executor has work, and when the request is answered
                await Turn()
        finally:
            self.pending = None
        return outcome.result()

    def _answer(self, outcome: Future, request: Callable[[], str]) -> None:
        try:
            outcome.set_result(request())
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            outcome.set_exception(error)
        try:
            self.done.trigger()
        except InvalidHandle:
            pass  # the node is gone
