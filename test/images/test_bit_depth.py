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

"""16-bit images that hold fewer bits, and those of thermal cameras."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.images.bit_depth import BitDepth

SIZE = (48, 64)


def scene(low: float, high: float, seed: int = 0) -> np.ndarray:
    """Return grey values of which most lie between two ends."""
    shares = np.random.default_rng(seed).random(SIZE)
    return np.rint(low + (high - low) * shares).astype(np.uint16)


def followed(frames: list[np.ndarray]) -> tuple[list[np.ndarray], list[str], BitDepth]:
    """Return the frames of one camera in 8 bits, and what was said of them."""
    lines: list[str] = []
    depth = BitDepth(report=lines.append)
    return [depth.to_8_bits(frame) for frame in frames], lines, depth


@pytest.mark.parametrize(('highest', 'bits'), [
    (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (16383, 14), (16500, 16)])
def test_the_fewest_bits_that_hold_all_values(highest, bits):
    frames, lines, depth = followed([scene(0, highest)] * 3)
    assert depth.bits == bits
    assert abs(int(frames[-1].max()) - 255 * highest / (2 ** bits - 1)) <= 2
    assert len(lines) == (bits < 16)


def test_a_camera_that_begins_in_the_dark_is_corrected_once():
    frames, lines, depth = followed([
        np.zeros(SIZE, np.uint16), scene(0, 700), scene(0, 4000), scene(0, 500), scene(0, 4000)])
    assert depth.bits == 12 and len(lines) == 2
    np.testing.assert_array_equal(frames[2], frames[4])
    assert frames[3].max() < 40  # a dark frame stays one


def test_given_bits_are_taken_and_saturate():
    depth = BitDepth(12, report=pytest.fail)
    values = np.array([[0, 2048, 4095, 5000]], np.uint16)
    assert depth.to_8_bits(values).tolist() == [[0, 128, 255, 255]]


def test_all_16_bits_are_scaled_as_they_are_without_a_word():
    frames, lines, _ = followed([scene(0, 65535)] * 2)
    assert lines == []
    np.testing.assert_array_equal(frames[0], np.rint(scene(0, 65535) / 257).astype(np.uint8))


@pytest.mark.parametrize(('low', 'high'), [
    (7000, 9600), (8000, 8300), (29000, 31000), (3000, 3500)])
def test_thermal_images_are_stretched_steadily_and_that_is_said_once(low, high):
    frames, lines, _ = followed([scene(low, high, seed) for seed in range(200)])
    assert len(lines) == 1 and 'stretched' in lines[0]
    contrast = [int(np.ptp(frame)) for frame in frames]
    assert min(contrast) > 100
    means = np.array([frame.mean() for frame in frames])
    assert 100 < means.mean() < 156
    assert np.abs(np.diff(means)).max() < 4  # the noise of the scenes' own means


def test_values_beyond_the_range_widen_it_at_once_and_it_narrows_unseen():
    hot = scene(7000, 9600)
    hot[:16] = 16000
    frames, lines, depth = followed([scene(7000, 9600), hot, *[scene(7000, 9600)] * 800])
    assert frames[1].max() < 255 or (frames[1][:16] > frames[1][16:].max()).all()
    assert len(lines) == 1
    changes = [abs(float(b.mean()) - float(a.mean())) for a, b in zip(frames[2:], frames[3:])]
    assert max(changes) < 2
    assert np.ptp(frames[-1]) > 140 > np.ptp(frames[2])


def test_a_camera_that_begins_in_front_of_a_wall_is_none_of_heat():
    frames, lines, depth = followed([scene(2500, 3000), scene(20, 4095)])
    assert not depth.range and depth.bits == 12
    assert len(lines) == 2
    np.testing.assert_array_equal(frames[1], BitDepth(12).to_8_bits(scene(20, 4095)))


def test_colour_is_never_stretched():
    color = np.dstack([scene(7000, 9600)] * 3)
    frames, lines, depth = followed([color])
    assert depth.bits == 14 and frames[0].max() < 160
