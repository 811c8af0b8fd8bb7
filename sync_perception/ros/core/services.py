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

"""Services that reject invalid requests, since an exception would end the executor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
import inspect
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.service import Service
from sync_perception.ros.core.log import SeldomLog

PARAMETER_TYPES = [kind.value for kind in Parameter.Type]
TRANSITIONS = ('configure', 'cleanup', 'activate', 'deactivate', 'shutdown')
"""Labels of the life-cycle transitions that clients can request."""
LONGEST_REASON = 500
"""Limit in characters, since external names may have any length."""


def guard_services(node: Node, log: SeldomLog) -> None:
    """
    Make all present services of a node reject requests for which their callback raises.

    This includes rclpy's own services for parameters and the life cycle, which raise on values
    outside of their enumerations. A rejection is logged, and the response contains the reason if
    it has a field for it.

    :param node: the node, whose service callbacks are replaced; they may be coroutines.
    :param log: log of the rejections.
    """
    for service in node.services:
        service.callback = Guard(service, log, node.has_parameter).answer


def run_after(service: Service, prepare: Callable[[Any], Awaitable[None]]) -> None:
    """
    Make a service await a coroutine before each request, without blocking the node.

    :param service: the service, whose callback is called after `prepare`.
    :param prepare: coroutine function of the request.
    """
    callback = service.callback

    async def answer(request: Any, response: Any) -> Any:
        await prepare(request)
        return callback(request, response)

    service.callback = answer
    # in the node's default group, all other callbacks would wait, too
    service.callback_group = ReentrantCallbackGroup()
    service.callback_group.add_entity(service)


class Guard:
    """
    Wrapper of a service callback that turns exceptions into rejections.

    :param service: the service, whose callback is wrapped.
    :param log: log of the rejections.
    :param is_declared: function that returns whether the node has a parameter of a name.
    """

    def __init__(
            self, service: Service, log: SeldomLog, is_declared: Callable[[str], bool]):
        self.service, self.kind, self.callback = service, service.srv_type, service.callback
        self.log, self.is_declared = log, is_declared

    async def answer(self, request: Any, response: Any) -> Any:
        """Execute or reject a request; non-atomic parameters are handled one by one."""
        if self.kind is not SetParameters:
            return await self._try(request, response)
        for parameter in request.parameters:
            single = await self._try(SetParameters.Request(parameters=[parameter]),
                                     SetParameters.Response())
            response.results += single.results
        return response

    async def _try(self, request: Any, response: Any) -> Any:
        try:
            if self.kind in (SetParameters, SetParametersAtomically):
                check_types(request)
                self._check_names(request)
            elif self.kind is ChangeState:
                check_label(request.transition.label)
            answer = self.callback(request, response)
            return await answer if inspect.isawaitable(answer) else answer
        except Exception as error:  # noqa: BLE001 - no error may end the node
            reason = str(error) if isinstance(error, ValueError) else (
                f'{type(error).__name__}: {error}')
            reason = reason[:LONGEST_REASON]
            name = self.service.service_name
            self.log.warn(f'request {name}', f'refused a request of {name}: {reason}')
            return self._refusal(request, reason)

    def _check_names(
            self, request: SetParameters.Request | SetParametersAtomically.Request) -> None:
        for parameter in request.parameters:
            if not self.is_declared(parameter.name):
                raise ValueError(f'there is no parameter {parameter.name!r:.80}')

    def _refusal(self, request: Any, reason: str) -> Any:
        """Return a response that reports failure, if it has fields for it."""
        result = SetParametersResult(successful=False, reason=reason)
        if self.kind is SetParameters:
            return self.kind.Response(results=[result] * len(request.parameters))
        if self.kind is SetParametersAtomically:
            return self.kind.Response(result=result)
        return self.kind.Response()


def check_label(label: str) -> None:
    """
    Check the label of a transition, since rcl would log an unknown one at full length.

    :param label: empty if the request names the transition by its number.
    :raises ValueError: if there is no such transition; the message lists the known ones.
    """
    if label and label not in TRANSITIONS:
        raise ValueError(
            f'got the transition {label!r:.80}, expected {", ".join(TRANSITIONS)}')


def check_types(request: SetParameters.Request | SetParametersAtomically.Request) -> None:
    """
    Check that the parameters in a request have known types.

    :raises ValueError: if a type is unknown; the message names the parameter and the type.
    """
    for parameter in request.parameters:
        if parameter.value.type not in PARAMETER_TYPES:
            raise ValueError(
                f'{parameter.name}: got a value of type {parameter.value.type}, expected '
                f'{min(PARAMETER_TYPES)} to {max(PARAMETER_TYPES)}')
