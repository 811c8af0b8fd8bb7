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

"""Broken messages: images, compressed images and calibrations, spoiled at random."""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Callable

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from sync_perception.ros.io.conversions import to_frame
from sync_perception.ros.io.image_messages import LAYOUTS
from sync_perception.types import Frame, MalformedInput
from trial import Outcome, resident

SIZE = (12, 16)
FRAME = 'frame'
INTEGERS = (0, 1, 2, 3, 11, 12, 13, 15, 16, 17, 32, 47, 48, 49, 255, 2**16, 2**31 - 1, 2**32 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-3, 5e-324, 1e-310, 1e-300, 1e300, 1.7e308, -1e308,
          float('nan'), float('inf'), float('-inf'))
NAMES = ('', ' ', 'rgb8 ', 'RGB8', 'rgb8\n', 'bgr8\x00', 'größe', '彩色', '\u202ergb8', '8UC5',
         '16SC1', '32FC1', '64FC4', 'nv12', 'jpeg', '\n' * 40, 'x' * 100_000, *LAYOUTS)


def outcome(image: Image | CompressedImage, info: CameraInfo) -> str:
    """Convert messages; check what comes out and name it: `frame`, or the reason of a refusal."""
    try:
        frame = to_frame(image, info)
    except MalformedInput as error:
        refusal = error
    else:
        check_frame(frame, image)
        return FRAME
    told = str(refusal)
    assert refusal.reason.strip() and len(refusal.reason) < 40
    assert told.strip() and told.isprintable(), repr(told)
    assert len(told) < 2000, f'{len(told)} characters'
    return refusal.reason


def check_frame(frame: Frame, image: Image | CompressedImage) -> None:
    """Check that all that comes after can work on a frame."""
    assert frame.image.dtype == np.uint8 and frame.image.shape[2:] == (3,)
    if isinstance(image, Image):
        assert frame.size == (image.height, image.width)
    assert np.isfinite(frame.K).all() and frame.K[0, 0] > 0 and frame.K[1, 1] > 0
    # what becomes of the intrinsics next: viewing rays of every pixel
    assert np.isfinite(np.linalg.inv(frame.K)).all(), frame.K


def sound_info() -> CameraInfo:
    """Return a calibration of images of SIZE."""
    info = CameraInfo(height=SIZE[0], width=SIZE[1], distortion_model='plumb_bob')
    info.k = [20.0, 0.0, 8.0, 0.0, 21.0, 6.0, 0.0, 0.0, 1.0]
    info.p = [19.0, 0.0, 8.0, 0.0, 0.0, 20.0, 6.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def sound_image(rng: np.random.Generator) -> Image:
    """Return noise in any of the encodings, its rows perhaps padded."""
    encoding = str(rng.choice(list(LAYOUTS)))
    layout = LAYOUTS[encoding]
    row = SIZE[1] * layout.channels * np.dtype(layout.dtype).itemsize
    step = row + int(rng.choice([0, 0, 1, 7, 64]))
    return Image(
        height=SIZE[0], width=SIZE[1], encoding=encoding, step=step,
        is_bigendian=int(rng.integers(2)), data=array.array('B', rng.bytes(step * SIZE[0])))


def change_data(rng: np.random.Generator, image: Image) -> None:
    """Cut off, add or exchange bytes."""
    data = image.data
    kind = rng.integers(4)
    if kind == 0:
        image.data = data[:int(rng.integers(len(data) + 1))]
    elif kind == 1:
        image.data = data + array.array('B', rng.bytes(int(rng.integers(1, 99))))
    elif kind == 2:
        image.data = array.array('B')
    else:
        image.data = array.array('B', rng.bytes(len(data)))


def change_number(rng: np.random.Generator, image: Image) -> None:
    """Write another size or step."""
    name = str(rng.choice(['height', 'width', 'step']))
    value = int(rng.choice(INTEGERS))
    if rng.integers(2):
        value = max(0, getattr(image, name) + int(rng.integers(-3, 4)))
    setattr(image, name, value)


def change_shape(rng: np.random.Generator, image: Image) -> None:
    """Write sizes that fit the amount of data but not what OpenCV or the camera expects."""
    total = len(image.data)
    image.height = int(rng.choice([n for n in range(1, total + 1) if total % n == 0] or [0]))
    image.step = total // max(image.height, 1)
    image.width = int(rng.integers(image.step + 1))


def change_encoding(rng: np.random.Generator, image: Image) -> None:
    """Name another encoding, or what is none."""
    image.encoding = NAMES[rng.integers(len(NAMES))]


def change_order(rng: np.random.Generator, image: Image) -> None:
    """Write a byte order that is neither 0 nor 1."""
    image.is_bigendian = int(rng.integers(256))


CHANGES: list[Callable[[np.random.Generator, Image], None]] = [
    change_data, change_number, change_shape, change_encoding, change_order]


def follow(info: CameraInfo, image: Image) -> None:
    """Let the calibration agree with the image's size, so that the image itself is looked at."""
    info.height, info.width = image.height, image.width


def spoil_info(rng: np.random.Generator, info: CameraInfo) -> None:
    """Write one thing into a calibration that does not belong there."""
    kind = rng.integers(6)
    if kind < 2:
        matrix = info.k if kind else info.p
        for index in rng.choice(len(matrix), rng.integers(1, 4), replace=False):
            matrix[index] = FLOATS[rng.integers(len(FLOATS))]
    elif kind == 2:
        info.p, info.k = np.zeros(12), np.array([FLOATS[n] for n in rng.integers(14, size=9)])
    elif kind == 3:
        setattr(info, str(rng.choice(['height', 'width'])), int(rng.choice(INTEGERS)))
    elif kind == 4:
        info.binning_x, info.binning_y = (int(n) for n in rng.choice(INTEGERS, 2))
    else:
        offsets, extents = rng.choice(INTEGERS, 2), rng.choice([*INTEGERS, *SIZE * 3], 2)
        info.roi = RegionOfInterest(
            x_offset=int(offsets[0]), y_offset=int(offsets[1]), height=int(extents[0]),
            width=int(extents[1]), do_rectify=bool(rng.integers(2)))


def encoded_images() -> list[bytes]:
    """Return one picture in the kinds of JPEG and PNG that cameras and tools write."""
    rng = np.random.default_rng(3)
    picture = cv2.resize(rng.integers(0, 256, (3, 4, 3), np.uint8), SIZE[::-1])
    wide = picture.astype(np.uint16) * 257
    alpha = np.dstack([picture, picture[..., 0]])
    jpeg, png = cv2.IMWRITE_JPEG_PROGRESSIVE, cv2.IMWRITE_PNG_COMPRESSION
    kinds = [
        ('.jpg', picture, []), ('.jpg', picture, [jpeg, 1]), ('.jpg', picture[..., 0], []),
        ('.jpg', picture, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]), ('.png', picture, []),
        ('.png', picture, [png, 0]), ('.png', wide, []), ('.png', alpha, []),
        ('.png', picture[..., 0], []), ('.png', picture[..., 0] // 128 * 255,
                                        [cv2.IMWRITE_PNG_BILEVEL, 1])]
    return [cv2.imencode(*kind)[1].tobytes() for kind in kinds]


def spoil_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    """Flip bits, cut, repeat, insert or drop a stretch."""
    kind, spoiled = rng.integers(5), bytearray(data)
    start, length = int(rng.integers(len(data))), int(rng.integers(1, 40))
    if kind == 0:
        for position in rng.integers(len(data), size=rng.integers(1, 20)):
            spoiled[position] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del spoiled[start:]
    elif kind == 2:
        spoiled[start:start] = spoiled[start:start + length]
    elif kind == 3:
        spoiled[start:start] = rng.bytes(length)
    else:
        del spoiled[start:start + length]
    return bytes(spoiled)


def compressed(data: bytes, kind: str = 'jpeg') -> CompressedImage:
    """Return a message of some bytes."""
    return CompressedImage(format=kind, data=array.array('B', data))


def broken_raw_image(rng: np.random.Generator) -> tuple[Image, CameraInfo]:
    """Return an image with up to three faults, and a calibration that mostly fits its size."""
    image, info = sound_image(rng), sound_info()
    for change in rng.choice(np.array(CHANGES, object), rng.integers(4)):
        change(rng, image)
    if rng.integers(4):
        follow(info, image)
    return image, info


def broken_calibration(rng: np.random.Generator) -> tuple[Image, CameraInfo]:
    """Return a right image, and a calibration with up to three faults."""
    image, info = sound_image(rng), sound_info()
    for _ in range(rng.integers(1, 4)):
        spoil_info(rng, info)
    return image, info


def broken_compressed_image(rng: np.random.Generator) -> tuple[CompressedImage, CameraInfo]:
    """Return a JPEG or PNG with up to three faults, under any name, and its calibration."""
    data = SOUND[rng.integers(len(SOUND))]
    for _ in range(rng.integers(1, 4)):
        data = spoil_bytes(rng, data) or b'\0'
    return compressed(data, NAMES[rng.integers(len(NAMES))]), sound_info()


def noise(rng: np.random.Generator) -> tuple[CompressedImage, CameraInfo]:
    """Return a file of noise with the first bytes of a format, and a calibration."""
    data = STARTS[rng.integers(len(STARTS))] + rng.bytes(int(rng.integers(0, 200)))
    return compressed(data), sound_info()


SOUND = encoded_images()
STARTS = [
    b'', b'\xff\xd8', b'\xff\xd8\xff\xc0', b'\xff\xd8\xff\xe0\x00\x00',
    b'\x89PNG\r\n\x1a\n', b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR', b'GIF89a', b'BM',
    b'II*\0', b'RIFF\0\0\0\0WEBPVP8 ', b'P6\n99999 99999\n255\n', b'#?RADIANCE\n']
KINDS = (broken_raw_image, broken_calibration, broken_compressed_image, noise)
MOST_MIB = 64  # that the memory may grow: the decoders keep buffers


def fuzz(count: int) -> Outcome:
    """Make a frame of each of so many broken messages, or get the reason of its refusal."""
    rng = np.random.default_rng(0)
    found: Counter[str] = Counter()
    wrong: list[str] = []
    before = resident()
    for index in range(count):
        kind = KINDS[index % len(KINDS)]
        try:
            found[outcome(*kind(rng))] += 1
        except Exception as error:  # noqa: BLE001 - any exception is what this looks for
            wrong.append(f'message {index}, {kind.__name__}: {type(error).__name__}: {error}')
    grown, frames = resident() - before, found[FRAME]
    if grown > MOST_MIB:
        wrong.append(f'memory grew by {grown:.0f} MiB')
    return Outcome(
        count, wrong,
        f'{frames:,} sound frames, {count - frames - len(wrong):,} refusals with a reason of one '
        f'line; memory {grown:+.1f} MiB',
        {'frames': frames, 'grown_mib': round(grown, 1), 'refusals': dict(found)})


SOAK = {'fuzz': fuzz}
