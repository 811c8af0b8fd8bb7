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

"""Entry point of the replay node; signals are handled before slow imports."""

from __future__ import annotations

from sync_perception.ros.core.middleware import use_shared_memory
from sync_perception.ros.core.stopping import leave, StopRequest


def main(arguments: list[str] | None = None) -> None:
    """Run the replay node and end the process with status 0, or 1 on an error."""
    stop = StopRequest()
    use_shared_memory()
    # rclpy takes a while, and signals and shared memory are set up before it
    from sync_perception.ros.core import executor
    from sync_perception.ros.replay.publisher import ReplayNode
    leave(executor.run_node(ReplayNode, arguments, stop))


if __name__ == '__main__':
    main()
