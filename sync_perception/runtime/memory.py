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

"""What is known as a device that ran out of memory, and what is said when nothing helped."""

from __future__ import annotations

import ctypes

import torch

PHRASES = (
    'out of memory',  # CUDA, also before it had an error class of its own
    "can't allocate memory",  # torch on a CPU
    'STATUS_ALLOC_FAILED',  # cuDNN, cuBLAS
    'Failed to allocate memory')  # onnxruntime

MIB = 2 ** 20


class OutOfMemoryError(MemoryError):
    """A frame for which the device has no memory, not even with a smaller network input."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a device's memory did not suffice."""
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or any(
        phrase in str(error) for phrase in PHRASES)


def cause_of(error: BaseException) -> str:
    """Return the line of an error's text that tells of the memory, else its class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if any(phrase in line for phrase in PHRASES)]
    return (telling or lines or [type(error).__name__])[0]


def free_memory(device: torch.device) -> None:
    """Give back what torch keeps of a device's memory without using it."""
    if device.type == 'cuda':
        torch.cuda.empty_cache()


def trim_heap() -> None:
    """Return to the system what the C library keeps of freed memory, where it is glibc."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)


def memory_of(device: torch.device) -> dict[str, str]:
    """Say how much of a GPU's memory torch uses and has used, and what is free; else nothing."""
    if device.type != 'cuda':
        return {}
    free, total = torch.cuda.mem_get_info(device)
    counts = {
        'used': torch.cuda.memory_allocated(device),
        'most': torch.cuda.max_memory_allocated(device), 'free': free, 'total': total}
    return {f'GPU memory {name} (MiB)': f'{count / MIB:.0f}' for name, count in counts.items()}


def in_pixels(size: tuple[int, int]) -> str:
    """Write a height and width as people do, such as 832x256: width first."""
    return f'{size[1]}x{size[0]}'
