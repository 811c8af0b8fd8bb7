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

"""Images to the device and maps back: on a GPU through pinned memory, waiting once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Upload:
    """
    Brings images to a device; to a GPU through one pinned buffer, kept from call to call.

    :param device: where the images go.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.buffer = torch.empty(0, dtype=torch.uint8)
        self.sent: torch.cuda.Event | None = None

    def __call__(self, images: Sequence[np.ndarray]) -> Tensor:
        """
        Return the images as one batch on the device.

        :param images: each uint8 (h, w, 3), all of one size.
        :return: uint8 (B, h, w, 3). On a CPU that of a single image shares its memory.
        """
        if self.device.type != 'cuda':
            alone = len(images) == 1
            return torch.from_numpy(
                np.ascontiguousarray(images[0])[None] if alone else np.stack(images))
        if self.sent is not None:
            self.sent.synchronize()  # the copy before may still read the buffer
        batch = self.pack(images).to(self.device, non_blocking=True)
        self.sent = torch.cuda.current_stream(self.device).record_event()
        return batch

    def pack(self, images: Sequence[np.ndarray]) -> Tensor:
        """Write the images into the buffer, which grows if it must: uint8 (B, h, w, 3)."""
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
    Bring maps to the host as arrays; all copies are under way before the first is waited for.

    A GPU's copies go to pinned memory of their own, which torch gives out again only when the
    array is gone. Maps on a CPU are not copied.

    :param maps: by name, one dictionary a frame.
    """
    under_way = [
        {name: values.contiguous().to('cpu', non_blocking=True) for name, values in own.items()}
        for own in maps]
    for device in {values.device for own in maps for values in own.values()}:
        if device.type == 'cuda':
            torch.cuda.current_stream(device).synchronize()
    return [{name: values.numpy() for name, values in own.items()} for own in under_way]
