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


"""Every encoding against rosbags.image or by hand, raw and compressed; what is refused."""

from __future__ import annotations

import array

import cv2
from image_samples import message, SIZE, smooth_image
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from sync_perception.images.bit_depth import BitDepth
from sync_perception.ros.io.image_messages import decode, decompress, LAYOUTS, PLANAR
from sync_perception.types import MalformedInput


def mosaic(rgb: np.ndarray, pattern: str) -> np.ndarray:
    """Keep of each pixel the colour that a sensor with this 2x2 pattern sees."""
    raw = np.empty(rgb.shape[:2], rgb.dtype)
    for position, color in enumerate(pattern):
        row, column = divmod(position, 2)
        raw[row::2, column::2] = rgb[row::2, column::2, 'rgb'.index(color)]
    return raw


def yuv422(rgb: np.ndarray, luma_first: bool) -> np.ndarray:
    """Convert to BT.601 video range YUV, two pixels sharing their chroma: (H, W, 2)."""
    r, g, b = (rgb[..., c].astype(float) for c in range(3))
    y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    chroma = np.empty(y.shape)
    chroma[:, 0::2] = (u[:, 0::2] + u[:, 1::2]) / 2
    chroma[:, 1::2] = (v[:, 0::2] + v[:, 1::2]) / 2
    pair = (y, chroma) if luma_first else (chroma, y)
    return np.rint(np.stack(pair, axis=-1)).astype(np.uint8)


def encoded(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """Encode uint8 RGB by hand."""
    if '16' in encoding:
        rgb, encoding = rgb.astype(np.uint16) * 257, encoding.replace('16', '8')
    alpha = np.full((*rgb.shape[:2], 1), 77, rgb.dtype)
    if encoding.startswith('bayer'):
        return mosaic(rgb, encoding[6:10])
    return {
        'rgb8': lambda: rgb,
        'bgr8': lambda: rgb[..., ::-1],
        '8UC3': lambda: rgb[..., ::-1],
        'rgba8': lambda: np.concatenate([rgb, alpha], axis=-1),
        'bgra8': lambda: np.concatenate([rgb[..., ::-1], alpha], axis=-1),
        '8UC4': lambda: np.concatenate([rgb[..., ::-1], alpha], axis=-1),
        'mono8': lambda: rgb[..., 1],
        '8UC1': lambda: rgb[..., 1],
        'yuv422': lambda: yuv422(rgb, luma_first=False),
        'uyvy': lambda: yuv422(rgb, luma_first=False),
        'yuv422_yuy2': lambda: yuv422(rgb, luma_first=True),
        'yuyv': lambda: yuv422(rgb, luma_first=True),
    }[encoding]()


def tolerance(encoding: str) -> int:
    """Return the grey levels that an encoding may cost on the smooth image."""
    if encoding.startswith(('yuv', 'yuyv', 'uyvy')):
        return 4  # chroma is shared by two pixels, and rounded
    return 4 if encoding.startswith('bayer') else 0


@pytest.mark.parametrize('encoding', LAYOUTS)
def test_every_encoding_becomes_the_picture_it_was_made_of(encoding):
    rgb = smooth_image()
    decoded = decode(message(encoded(rgb, encoding), encoding))
    assert decoded.dtype == np.uint8 and decoded.shape == rgb.shape
    if 'mono' in encoding or encoding in ('8UC1', '16UC1'):
        rgb = np.repeat(rgb[..., 1:2], 3, axis=-1)
    # OpenCV repeats the second to last row and column where demosaicing has no neighbours
    error = np.abs(decoded.astype(int) - rgb)[1:-1, 1:-1].max()
    assert error <= tolerance(encoding)


@pytest.mark.parametrize('encoding', [name for name in LAYOUTS if 'UC' not in name])
def test_every_named_encoding_agrees_with_rosbags(encoding):
    reference = pytest.importorskip('rosbags.image', reason='rosbags-image is not installed')
    pixels = np.random.default_rng(3).integers(
        0, 256, encoded(smooth_image(), encoding).shape, np.uint8)
    if encoding.endswith('16'):
        pixels = pixels.astype(np.uint16) * 257
    original = message(pixels, encoding)
    expected = reference.message_to_cvimage(original, 'rgb8')
    difference = np.abs(decode(original).astype(int) - expected)
    assert difference.max() <= (1 if encoding.endswith('16') else 0)  # rosbags truncates


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('encoding', LAYOUTS)
def test_padded_rows_and_either_byte_order_change_nothing(encoding, big):
    pixels = encoded(smooth_image(), encoding)
    expected = decode(message(pixels, encoding))
    for padding in (1, 2, 14, 64):
        decoded = decode(message(pixels, encoding, padding, big))
        np.testing.assert_array_equal(decoded, expected)
        assert decoded.flags.c_contiguous


def test_an_unpadded_rgb8_image_is_not_copied():
    original = message(smooth_image(), 'rgb8')
    assert np.shares_memory(decode(original), np.frombuffer(original.data, np.uint8))


def test_sixteen_bits_keep_their_eight_most_significant_ones():
    pixels = np.array([[0, 257, 65535], [128, 129, 32896]], np.uint16)
    grey = decode(message(pixels, 'mono16'))[..., 0]
    np.testing.assert_array_equal(grey, [[0, 1, 255], [0, 1, 128]])


def test_every_encoding_of_the_contract_is_known():
    contract = ['bgr8', 'rgb8', 'bgra8', 'rgba8', 'mono8', '8UC1', '8UC3', '8UC4', 'yuv422',
                'yuv422_yuy2', 'bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8', 'bayer_grbg8']
    assert set(contract) <= set(LAYOUTS)


def planes(rgb: np.ndarray, encoding: str, padding: int = 0) -> bytes:
    """Encode in BT.601 video range YUV by hand, plane by plane, each row padded."""
    luma_chroma = yuv422(rgb, luma_first=True)
    y, u, v = luma_chroma[..., 0], luma_chroma[:, 0::2, 1], luma_chroma[:, 1::2, 1]
    fill = np.random.default_rng(7)

    def rows(plane: np.ndarray, pad: int) -> bytes:
        return b''.join(row.tobytes() + fill.bytes(pad) for row in plane)

    if encoding in ('nv24', 'nv42'):
        u, v = np.repeat(u, 2, axis=1), np.repeat(v, 2, axis=1)
    else:
        u, v = u[::2], v[::2]
    u, v = (v, u) if encoding in ('nv21', 'nv42', 'yv12') else (u, v)
    if encoding.startswith('nv'):
        wide = padding * (2 if encoding in ('nv24', 'nv42') else 1)
        colors = rows(np.stack([u, v], axis=-1).reshape(len(u), -1), wide)
    else:
        colors = rows(u, padding // 2) + rows(v, padding // 2)
    return rows(y, padding) + colors


def planar_message(encoding: str, padding: int = 0) -> Image:
    """Return the smooth image with its colours in planes of their own."""
    data = array.array('B', planes(smooth_image(), encoding, padding))
    return Image(height=SIZE[0], width=SIZE[1], step=SIZE[1] + padding, encoding=encoding,
                 data=data)


@pytest.mark.parametrize('padding', [0, 16])
@pytest.mark.parametrize('encoding', PLANAR)
def test_colours_in_planes_become_the_picture_they_were_made_of(encoding, padding):
    decoded = decode(planar_message(encoding, padding))
    assert decoded.dtype == np.uint8 and decoded.shape == (*SIZE, 3)
    # colours are shared by four pixels, and brightness is rounded
    assert np.abs(decoded.astype(int) - smooth_image())[1:-1, 1:-1].max() <= 7


@pytest.mark.parametrize('encoding', PLANAR)
def test_a_step_of_all_planes_together_is_understood(encoding):
    """Some drivers keep to: length = step x height."""
    expected = decode(planar_message(encoding))
    image = planar_message(encoding)
    image.step = len(image.data) // image.height
    np.testing.assert_array_equal(decode(image), expected)


@pytest.mark.parametrize(('change', 'reason'), [
    ({'width': 47}, 'image size'), ({'height': 31}, 'image size'), ({'step': 47}, 'step'),
    ({'data': array.array('B', bytes(100))}, 'data length'), ({'step': 50}, 'data length'),
    ({'step': 0}, 'step')])
@pytest.mark.parametrize('encoding', ['nv12', 'nv24', 'i420'])
def test_planes_that_do_not_fit_are_refused(encoding, change, reason):
    image = planar_message(encoding)
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(MalformedInput, match='expected') as refusal:
        decode(image)
    assert refusal.value.reason == reason


FEWER_BITS = [
    name for name, layout in LAYOUTS.items() if layout.dtype == np.uint16]


@pytest.mark.parametrize('bits', [10, 12, 14])
@pytest.mark.parametrize('encoding', FEWER_BITS)
def test_fewer_bits_look_like_all_of_them(encoding, bits):
    """The brightest pixel of the picture says how many there are; that is reported once."""
    full = encoded(smooth_image(), encoding)
    full[0, 0] = 65535
    lines = []
    depth = BitDepth(report=lines.append)
    expected = decode(message(full, encoding))
    for found in (depth, depth, BitDepth(bits)):
        image = message(full >> (16 - bits), encoding)
        assert np.abs(decode(image, found).astype(int) - expected).max() <= 1
    assert len(lines) == 1 and str(bits) in lines[0]


def compressed(pixels: np.ndarray, kind: str, name: str) -> CompressedImage:
    """Encode pixels as OpenCV has them."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, 95] if kind == '.jpg' else []
    data = cv2.imencode(kind, pixels, settings)[1].tobytes()
    return CompressedImage(format=name, data=array.array('B', data))


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize(('kind', 'bits'), [('.png', 8), ('.jpg', 8), ('.png', 16)])
def test_a_compressed_mosaic_has_the_colours_of_the_raw_one(pattern, kind, bits):
    encoding = f'bayer_{pattern}{bits}'
    raw = encoded(smooth_image(), encoding)
    image = compressed(raw, kind, f'{encoding}; {kind[1:].replace("jpg", "jpeg")} compressed ')
    difference = np.abs(decompress(image).astype(int) - decode(message(raw, encoding)))
    assert difference.max() <= (12 if kind == '.jpg' else 0)
    assert np.ptp(decompress(image), axis=-1).max() > 50  # colourful


@pytest.mark.parametrize(('name', 'exchanged'), [
    ('rgb8; jpeg compressed bgr8', False), ('bgr8; png compressed bgr8', False),
    ('png', False), ('', False), ('bgr8', False), ('rgb16; png compressed bgr16', False),
    ('yuv422; jpeg compressed bgr8', False), ('rgb8; png compressed rgb8', True),
    ('bgr8; png compressed ', True)])
def test_colours_are_in_the_order_that_image_transport_reads(name, exchanged):
    """Its subscriber takes what was not compressed as bgr for rgb, whatever the file means."""
    found = decompress(compressed(smooth_image()[..., ::-1], '.png', name))
    np.testing.assert_array_equal(found[..., ::-1] if exchanged else found, smooth_image())


def test_a_mosaic_that_was_stored_in_colour_is_taken_as_it_is():
    image = compressed(smooth_image()[..., ::-1], '.png', 'bayer_rggb8; png compressed bgr8')
    np.testing.assert_array_equal(decompress(image), smooth_image())


def test_compressed_images_of_16_bits_hold_fewer_as_raw_ones_do():
    grey = smooth_image()[..., 1].astype(np.uint16) * 257
    grey[0, 0] = 65535
    image = compressed(grey >> 4, '.png', 'mono16; png compressed ')
    error = decompress(image, BitDepth()).astype(int) - decode(message(grey, 'mono16'))
    assert np.abs(error).max() <= 1
    assert decompress(image).max() == 16  # unless its camera is known, all bits count


def test_the_orientation_of_a_compressed_image_is_ignored():
    """The calibration in camera_info belongs to the pixels as they are stored."""
    image = compressed(smooth_image(), '.jpg', 'jpeg')
    expected = decompress(image)
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    segment = b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif
    image.data = image.data[:2] + array.array('B', segment) + image.data[2:]
    np.testing.assert_array_equal(decompress(image), expected)


def photograph(size: tuple[int, int] = (480, 640)) -> np.ndarray:
    """Return a picture with detail in every block, as photographs have."""
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (size[0] // 4, size[1] // 4, 3), np.uint8), size[::-1])


@pytest.mark.parametrize('kind', ['.jpg', '.png'])
@pytest.mark.parametrize('hole', ['zeros', 'left out', 'noise'])
def test_an_image_with_a_hole_inside_is_refused(kind, hole, capfd):
    """The hole is that of a lost packet; one of few bytes can pass in a JPEG, which has no sum."""
    pytest.importorskip('simplejpeg', reason='simplejpeg is not installed')
    image = compressed(photograph(), kind, kind[1:])
    whole, length = bytes(image.data), 1400
    for place in range(len(whole) // 4, len(whole) * 3 // 4, len(whole) // 40):
        inside = {'zeros': bytes(length), 'left out': b'',
                  'noise': np.random.default_rng(place).bytes(length)}[hole]
        image.data = array.array('B', whole[:place] + inside + whole[place + length:])
        with pytest.raises(MalformedInput, match='expected') as refusal:
            decompress(image)
        assert refusal.value.reason == 'compressed data'
    assert capfd.readouterr().err == ''  # no decoder writes past the log


@pytest.mark.parametrize(('width', 'height'), [
    (4096, 1), (65536, 1), (1, 4096), (8192, 8192), (40000, 1000)])
def test_what_cannot_be_a_cameras_image_is_refused(width, height):
    image = Image(height=height, width=width, step=width, encoding='mono8')
    image.data = array.array('B', bytes(1)) * (width * height)
    with pytest.raises(MalformedInput, match=f'{width}x{height}.*expected') as refusal:
        decode(image)
    assert refusal.value.reason == 'image size'


def test_more_pixels_than_allowed_are_refused():
    image = message(smooth_image(), 'rgb8')
    assert decode(image, max_pixels=SIZE[0] * SIZE[1]).shape == (*SIZE, 3)
    with pytest.raises(MalformedInput, match='max_pixels'):
        decode(image, max_pixels=SIZE[0] * SIZE[1] - 1)
    small = compressed(smooth_image(), '.png', 'png')
    with pytest.raises(MalformedInput, match='max_pixels'):
        decompress(small, max_pixels=SIZE[0] * SIZE[1] - 1)
