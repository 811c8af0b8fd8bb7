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

"""Statistics of the benchmarks' reports."""

from __future__ import annotations

from sync_perception.runtime.benchmark.reports import summarize_times


def test_percentiles():
    marks = summarize_times(list(range(1, 102)))
    assert (marks['p50'], marks['p95'], marks['p99']) == (51.0, 96.0, 100.0)
    assert marks['min'] == 1.0 and marks['mean'] == 51.0
