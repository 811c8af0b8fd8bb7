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

"""Check that an interrupted output is resumed with the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def changed_settings(former: Any, wanted: Any, key: str = '') -> list[str]:
    """
    Return the settings that differ, as dotted names with both values.

    :param former: settings of the interrupted output: nested dictionaries of plain values.
    :param wanted: present settings.
    """
    if former == wanted:
        return []
    if isinstance(former, dict) and isinstance(wanted, dict):
        return [line for name in {**former, **wanted} for line in changed_settings(
            former.get(name), wanted.get(name), f'{key}.{name}')]
    return [f'{key.lstrip(".")} was {former!r:.80}, is now {wanted!r:.80}']


def check_same_settings(
        folder: Path, former: dict[str, Any], wanted: dict[str, Any], advice: str) -> None:
    """
    Check that the settings of an interrupted output are the present ones.

    :param advice: advice for the user, for the message.
    :raises ValueError: if any setting differs; the message names each with both values.
    """
    changed = changed_settings(former, wanted)
    if changed:
        raise ValueError(
            f'{folder} was started with other settings: {"; ".join(changed)}: {advice}')
