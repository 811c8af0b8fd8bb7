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

"""Transfer of images to the device and of maps to the host; pinned memory for a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Upload:
    """
    Upload of images to a device; for a GPU through one pinned buffer that is reused.

    :param device: target device.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.buffer = torch.empty(0, dtype=torch.uint8)
        self.sent: torch.cuda.Event | None = None

    def __call__(self, images: Sequence[np.ndarray]) -> Tensor:
        """
        Return the images as one batch on the device.

        :param images: each uint8 (h, w, 3), all of one size.
        :return: uint8 (B, h, w, 3). On a CPU, a batch of one image shares the image's memory.
        """
        if self.device.type != 'cuda':
            alone = len(images) == 1
            return torch.from_numpy(
                np.ascontiguousarray(images[0])[None] if alone else np.stack(images))
        if self.sent is not None:
            self.sent.synchronize()  # the previous copy may still read the buffer
        batch = self.pack(images).to(self.device, non_blocking=True)
        self.sent = torch.cuda.current_stream(self.device).record_event()
        return batch

    def pack(self, images: Sequence[np.ndarray]) -> Tensor:
        """Write the images to the buffer, which grows if needed; return uint8 (B, h, w, 3)."""
        shape = (len(images), *images[0].shape)
        size = int(np.prod(shape))
        if self.buffer.numel() < size:
            pinned = self.device.type == 'cuda'
            self.buffer = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
        batch = self.buffer[:size].view(shape)
        np.stack(images, out=batch.numpy())
        return batch


def to_host(maps: Sequence[dict[str, Tensor]]) -> list[dict[str, np.ndarray]]:
    """
    Return maps as arrays on the host; all copies run asynchronously and are awaited once.

    Copies from a GPU use pinned memory, which torch reuses only after the array is released. Maps
    on a CPU are not copied.

    :param maps: maps by name, one dictionary per frame.
    """
    under_way = [
        {name: values.contiguous().to('cpu', non_blocking=True) for name, values in own.items()}
        for own in maps]
    for device in {values.device for own in maps for values in own.values()}:
        if device.type == 'cuda':
            torch.cuda.current_stream(device).synchronize()
    return [{name: values.numpy() for name, values in own.items()} for own in under_way]
