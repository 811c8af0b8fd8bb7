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

"""What is logged again, and what is not."""

from __future__ import annotations

from types import SimpleNamespace

from sync_perception.ros.core.log import SeldomLog


def test_each_trouble_is_logged_once_in_its_period():
    lines: list[str] = []
    log = SeldomLog(SimpleNamespace(warning=lines.append))
    for _ in range(2):
        log.warn('one', 'first')
        log.warn('two', 'second', period=float('inf'))
        log.warn('three', 'third', period=-1.0)
    assert sorted(lines) == ['first', 'second', 'third', 'third']
