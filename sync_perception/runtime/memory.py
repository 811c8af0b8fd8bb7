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

"""Detection of out-of-memory errors of any backend, and control of memory use."""

from __future__ import annotations

import ctypes

import torch

PHRASES = (
    'out of memory',  # CUDA, also in torch versions without a separate error class
    "can't allocate memory",  # torch on a CPU
    'STATUS_ALLOC_FAILED',  # cuDNN, cuBLAS
    'Failed to allocate memory')  # onnxruntime

MIB = 2 ** 20


class OutOfMemoryError(MemoryError):
    """The device has too little memory for a frame, even with a smaller network input."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a device ran out of memory."""
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or any(
        phrase in str(error) for phrase in PHRASES)


def cause_of(error: BaseException) -> str:
    """Return the line of an error message about memory, or otherwise the error's class name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if any(phrase in line for phrase in PHRASES)]
    return (telling or lines or [type(error).__name__])[0]


def free_memory(device: torch.device) -> None:
    """Release the device memory that torch has cached but does not use."""
    if device.type == 'cuda':
        torch.cuda.empty_cache()


def trim_heap() -> None:
    """Return freed memory from the C library to the system; only glibc supports this."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)


def memory_of(device: torch.device) -> dict[str, str]:
    """Return the memory of a GPU that torch uses, its peak and what is free; empty on a CPU."""
    if device.type != 'cuda':
        return {}
    free, total = torch.cuda.mem_get_info(device)
    counts = {
        'used': torch.cuda.memory_allocated(device),
        'most': torch.cuda.max_memory_allocated(device), 'free': free, 'total': total}
    return {f'GPU memory {name} (MiB)': f'{count / MIB:.0f}' for name, count in counts.items()}


