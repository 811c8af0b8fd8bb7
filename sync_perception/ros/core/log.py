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

"""Rate-limited warnings."""

from __future__ import annotations

import time

from rclpy.impl.rcutils_logger import RcutilsLogger

PERIOD = 5.0
"""Least seconds between two lines of the same kind."""


class SeldomLog:
    """
    Logger that warns at most once per period about each kind of trouble; thread-safe.

    :param logger: logger of the node.
    :ivar last: time of the last line of each kind, seconds of the monotonic clock.
    """

    def __init__(self, logger: RcutilsLogger):
        self.logger = logger
        self.last: dict[str, float] = {}

    def warn(self, trouble: str, message: str, period: float = PERIOD) -> None:
        """
        Log a warning, unless one of the same kind was logged within the period.

        :param trouble: kind of the warning.
        :param period: seconds; infinity to log it only once.
        """
        now = time.monotonic()
        if trouble not in self.last or now - self.last[trouble] > period:
            self.last[trouble] = now
            self.logger.warning(message)
