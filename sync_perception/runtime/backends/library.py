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

"""Import and use of OpenVINO without its side effects: telemetry, log lines, signal stacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import ctypes
import logging
import sys
from types import ModuleType

REPORTER = 'openvino_telemetry'


def load_openvino() -> ModuleType:
    """
    Return the OpenVINO module, imported without telemetry.

    On import and on conversion OpenVINO reports its use to a server, unless its telemetry package
    cannot be imported.

    :raises ModuleNotFoundError: if OpenVINO is not installed.
    """
    sys.modules.setdefault(REPORTER, None)
    import openvino  # optional
    return openvino


@contextmanager
def quiet_conversion() -> Iterator[None]:
    """Suppress the traceback that the conversion logs for each operator that torch renamed."""
    def is_needed(record: logging.LogRecord) -> bool:
        return 'not found in decomp table' not in str(record.msg)

    root, traces = logging.getLogger(), logging.getLogger('torch.__trace')
    root.addFilter(is_needed)
    level = traces.level
    traces.setLevel(logging.CRITICAL)  # it logs every step with its stack, for torch's developers
    try:
        yield
    finally:
        root.removeFilter(is_needed)
        traces.setLevel(level)


class SignalStack(ctypes.Structure):
    """The structure stack_t of sigaltstack(2), as Linux has it."""

    _fields_ = (('ss_sp', ctypes.c_void_p), ('ss_flags', ctypes.c_int),
                ('ss_size', ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """
    Restore the signal stack of this thread at the end.

    On processors with AMX, OpenVINO gives the thread that loads its plugins another signal stack,
    and frees it when they are unloaded. The next signal that Python handles would then
    end the process with a segmentation fault.
    """
    if sys.platform != 'linux':
        yield
        return
    library, former = ctypes.CDLL(None), SignalStack()
    library.sigaltstack(None, ctypes.byref(former))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(former), None)
