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

"""Thousands of broken messages: each gives a sound frame, or a reason in little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
import resource
import struct
import zlib

from broken_messages import (
    broken_calibration,
    broken_compressed_image,
    broken_raw_image,
    compressed,
    FRAME,
    noise,
    outcome,
    SOUND,
    sound_info,
)
import numpy as np
import pytest
from sync_perception.ros.io import image_messages
from sync_perception.ros.io.conversions import to_frame
from sync_perception.types import MalformedInput

Kind = Callable[[np.random.Generator], tuple]


def outcomes(kind: Kind, seed: int, count: int) -> Counter[str]:
    """Return what comes of so many broken messages."""
    rng = np.random.default_rng(seed)
    return Counter(outcome(*kind(rng)) for _ in range(count))


def test_broken_raw_images():
    """Of 4000, hundreds pass, and every reason to refuse occurs."""
    found = outcomes(broken_raw_image, 1, 4000)
    assert set(found) == {
        FRAME, 'encoding', 'image size', 'step', 'data length', 'camera_info size'}
    assert min(found.values()) > 40, found


def test_broken_calibrations():
    found = outcomes(broken_calibration, 2, 4000)
    assert set(found) == {FRAME, 'camera_info size', 'camera_info values', 'focal length'}
    assert min(found.values()) > 20, found


def test_broken_compressed_images(capfd):
    """Most are refused: the decoders' warnings count."""
    for data in SOUND:
        assert outcome(compressed(data), sound_info()) == FRAME
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = outcomes(broken_compressed_image, 4, 3000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert grown < 64 * 1024, f'{grown} KiB'
    assert set(found) == {FRAME, 'compressed data', 'camera_info size', 'image size'}
    assert min(found[FRAME], found['compressed data'], found['camera_info size']) > 10, found
    capfd.readouterr()  # what the decoders complain of


def test_noise_instead_of_a_picture(capfd):
    assert FRAME not in outcomes(noise, 5, 1200)
    capfd.readouterr()


def png_claiming(width: int, height: int) -> bytes:
    """Write a sound PNG header of a huge picture, and a few bytes of its pixels."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack('>I', len(body)) + kind + body + struct.pack(
            '>I', zlib.crc32(kind + body))
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', pixels) + chunk(
        b'IEND', b'')


def jpeg_claiming(width: int, height: int) -> bytes:
    """Write a JPEG whose frame header was given another size."""
    data = bytearray(SOUND[0])
    place = data.index(b'\xff\xc0') + 5
    data[place:place + 4] = struct.pack('>HH', height, width)
    return bytes(data)


@pytest.mark.parametrize('claim', [png_claiming, jpeg_claiming])
@pytest.mark.parametrize(('width', 'height'), [
    (60000, 60000), (30000, 30000), (65535, 65535), (65535, 1100), (8200, 8200)])
@pytest.mark.parametrize('agrees', [False, True])
def test_a_small_file_that_claims_a_huge_picture_is_not_decoded(
        claim, width, height, agrees, monkeypatch):
    """Whether or not the calibration claims the same."""
    def decoded(*_):
        raise AssertionError('the decoder was asked for a huge picture')

    monkeypatch.setattr(image_messages, 'decode_image', decoded)
    data, info = claim(width, height), sound_info()
    assert len(data) < 2000
    if agrees:
        info.width, info.height = width, height
    with pytest.raises(MalformedInput, match=f'{width}x{height}') as refusal:
        to_frame(compressed(data), info)
    assert refusal.value.reason == 'image size'
    assert outcome(compressed(data), info) == refusal.value.reason
