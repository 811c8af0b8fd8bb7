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


"""Sharding of work among several processes."""

from __future__ import annotations

import os
import re


def parse_shard(shard: str | None) -> tuple[int, int]:
    """
    Return the index and number of shards of this process.

    :param shard: `i/n`, i from 1; None for torchrun's RANK and WORLD_SIZE, else 1/1.
    :raises ValueError: for an invalid shard.
    """
    if shard is None:
        return int(os.environ.get('RANK', 0)) + 1, int(os.environ.get('WORLD_SIZE', 1))
    match = re.fullmatch(r'(\d+)/(\d+)', shard)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f'shard: expected i/n with i from 1 to n, such as 1/4, got {shard!r}')
    return int(match[1]), int(match[2])
