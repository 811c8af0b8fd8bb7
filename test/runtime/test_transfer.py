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

"""Images up and maps down: the bytes, whose memory they are in, and the buffer that is kept."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.runtime.transfer import to_host, Upload
import torch

NEEDS_CUDA = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='this machine has no CUDA device')
DEVICES = ['cpu', pytest.param('cuda', marks=NEEDS_CUDA)]


def images(count: int, size=(4, 6), seed: int = 0) -> list[np.ndarray]:
    """Draw noise."""
    return list(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('count', [1, 3])
def test_images_arrive_as_they_are(device, count):
    upload = Upload(torch.device(device))
    for seed in range(4):
        sent = images(count, seed=seed)
        sent[0] = sent[0][:, ::-1]  # not contiguous
        found = upload(sent)
        assert found.device.type == device and found.dtype == torch.uint8
        np.testing.assert_array_equal(found.cpu().numpy(), np.stack(sent))


def test_on_a_cpu_a_single_image_is_not_copied():
    [image] = images(1)
    assert np.shares_memory(Upload(torch.device('cpu'))([image]).numpy(), image)


def test_the_buffer_grows_when_it_must_and_is_kept():
    upload = Upload(torch.device('cpu'))
    places = []
    for count, size in ((2, (4, 6)), (1, (4, 6)), (3, (8, 8)), (2, (4, 6))):
        sent = images(count, size)
        np.testing.assert_array_equal(upload.pack(sent).numpy(), np.stack(sent))
        places.append(upload.buffer.data_ptr())
    assert places[0] == places[1] and places[2] == places[3] and upload.buffer.numel() == 576


@pytest.mark.parametrize('device', DEVICES)
def test_maps_come_down_by_name_and_frame(device):
    first = {'depth': torch.arange(6.0, device=device).reshape(2, 3).T,
             'labels': torch.tensor([[1, 255]], dtype=torch.uint8, device=device)}
    found = to_host([first, {}, {'depth': torch.ones(1, 1, device=device)}])
    assert [set(own) for own in found] == [{'depth', 'labels'}, set(), {'depth'}]
    np.testing.assert_array_equal(found[0]['depth'], [[0, 3], [1, 4], [2, 5]])
    assert found[0]['depth'].flags.c_contiguous and found[0]['labels'].dtype == np.uint8


@pytest.mark.parametrize('device', DEVICES)
def test_maps_outlive_later_ones(device):
    kept = [to_host([{'depth': torch.full((64, 64), float(n), device=device)}])[0]['depth']
            for n in range(8)]
    assert [set(np.unique(depth)) for depth in kept] == [{float(n)} for n in range(8)]


@NEEDS_CUDA
def test_the_buffer_is_pinned_where_a_gpu_reads_it():
    upload = Upload(torch.device('cuda'))
    upload(images(2))
    assert upload.buffer.is_pinned()
