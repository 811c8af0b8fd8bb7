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


"""Permission to load files that can execute code when they are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_ALLOWED = ContextVar('code allowed', default=False)


def allow_code(allow: bool) -> bool:
    """Allow or forbid loading files that can execute code, from now on; return the choice."""
    _ALLOWED.set(allow)
    return allow


@contextmanager
def code_allowed(allow: bool) -> Iterator[None]:
    """Allow or forbid loading files that can execute code, within the `with` block."""
    token = _ALLOWED.set(allow)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def check_code_allowed(path: str | Path) -> None:
    """
    Check that loading a file that can execute code is allowed.

    :raises ValueError: if it is not; the message explains how to allow it.
    """
    if not _ALLOWED.get():
        raise ValueError(
            f'{path}: a {Path(path).suffix} file can run code when it is loaded, so it is '
            'refused. If you trust its author, allow it by --allow-code, or for the node by the '
            'parameter allow_code:=true at its start. Folders with safetensors and .onnx files do '
            'not need this')
