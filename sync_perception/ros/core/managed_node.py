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

"""Base of life-cycle nodes: parameters, transitions that may fail, diagnostics and services."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.timer import Timer
from sync_perception.ros.core import qos
from sync_perception.ros.core.log import SeldomLog
from sync_perception.ros.core.services import guard_services
from sync_perception.ros.health.report import message, Report, REPORT_PERIOD
from sync_perception.ros.parameters.server import ParameterServer


class ManagedNode(LifecycleNode, ABC):
    """
    Life-cycle node whose transitions fail with a logged reason, and that publishes diagnostics.

    A subclass implements `set_up` (configure), `start` (activate), `halt` (deactivate), `release`
    (clean up; also after a failed `set_up`) and `reports`, and calls `guard` when it has created
    its services. Its parameters include `autostart`.

    :param name: name of the node.
    :param kind: dataclass of its parameters.
    :param node_arguments: arguments of the LifecycleNode.
    :ivar problem: why the node could not be configured or activated, or empty.
    """

    def __init__(self, name: str, kind: type, **node_arguments: Any):
        super().__init__(name, **node_arguments)
        self.parameters = ParameterServer(self, kind)
        for unknown in self.parameters.unknown:
            self.get_logger().warning(f'there is no parameter {unknown}: it has no effect')
        self.log = SeldomLog(self.get_logger())
        self.problem = ''
        self.diagnostics_publisher = self.create_publisher(
            DiagnosticArray, '/diagnostics', qos.output())
        self.steady_timer(REPORT_PERIOD, self._publish_diagnostics)

    @abstractmethod
    def set_up(self) -> None:
        """Prepare what the node needs to work; may raise."""

    @abstractmethod
    def start(self) -> None:
        """Begin to work; may raise."""

    @abstractmethod
    def halt(self) -> None:
        """Stop working; called in any state."""

    @abstractmethod
    def release(self) -> None:
        """Release what `set_up` has prepared, also in part."""

    @abstractmethod
    def reports(self) -> list[Report]:
        """Return the reports for /diagnostics."""

    def steady_timer(self, period: float, callback: Callable[[], None]) -> Timer:
        """Create a timer of the steady clock, which also runs with use_sim_time but no /clock."""
        return self.create_timer(period, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def guard(self) -> None:
        """Make all present services reject requests for which their callback raises."""
        guard_services(self, self.log)

    async def autostart(self) -> None:
        """Configure and activate the node, if the parameter `autostart` is true."""
        if not self.parameters.values.autostart:
            self.get_logger().info(
                f'unconfigured, since autostart is false: waiting for a lifecycle manager, or for '
                f'ros2 lifecycle set {self.get_fully_qualified_name()} configure')
        elif self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Set the node up; on failure log the reason and stay as is."""
        try:
            if self.parameters.problems:
                raise ValueError('; '.join(self.parameters.problems.values()))
            self.set_up()
        except Exception as error:  # noqa: BLE001 - no error may end the node
            self.release()
            self.parameters.unlock()
            return self._failed('configure', error)
        self.problem = ''
        self.parameters.locked = True
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the node; on failure log the reason and stay inactive."""
        try:
            self.start()
        except Exception as error:  # noqa: BLE001 - such as an invalid QoS override
            self.halt()
            return self._failed('activate', error)
        self.problem = ''
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working."""
        self.halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release what was configured."""
        result = super().on_cleanup(state)
        self.close()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release all resources, from any state."""
        self.close()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Reset the node after a transition that raised an exception."""
        self.close()
        return super().on_error(state)

    def close(self) -> None:
        """Stop working and release all resources."""
        self.halt()
        self.release()
        self.parameters.unlock()

    def destroy_node(self) -> None:
        """Destroy the node, including the life-cycle services that rclpy does not remove."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    @property
    def state(self) -> str:
        """Return the life-cycle state."""
        return self._state_machine.current_state[1]

    def _failed(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        self.problem = f'cannot {transition}: {type(error).__name__}: {error}'
        if self.context.ok():  # otherwise the node is being stopped
            self.get_logger().error(self.problem)
        return TransitionCallbackReturn.FAILURE

    def _publish_diagnostics(self) -> None:
        self.diagnostics_publisher.publish(
            message(self.reports(), self.get_fully_qualified_name(), self.get_clock().now()))
