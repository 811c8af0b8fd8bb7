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


"""Light and camera response: bounds, monotonicity and what each weather is."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.street_world.rendering import noise
from sync_perception.street_world.rendering.weather import Weather, WEATHERS


@pytest.mark.parametrize('name', WEATHERS)
def test_a_weather_is_drawn_by_its_name_and_seed(name):
    a, b, other = Weather.draw(1, name), Weather.draw(1, name), Weather.draw(2, name)
    assert a.name == name and np.linalg.norm(a.sun) == pytest.approx(1) and a.sun[2] > 0.1
    np.testing.assert_array_equal(a.sun, b.sun)
    assert (a.sun != other.sun).any()


def test_all_weathers_come_up():
    assert {Weather.draw(seed).name for seed in range(120)} == set(WEATHERS)


def test_fog_is_the_densest():
    assert Weather.draw(3, 'fog').fog > Weather.draw(3, 'rain').fog > Weather.draw(3).fog


def test_exposure_brings_any_light_to_the_same_level():
    weather = Weather.draw(5, 'clear')
    scene = np.random.default_rng(0).uniform(0.1, 0.6, (40, 60, 3)).astype(np.float32)
    dim, bright = (weather.expose(scene * gain, np.random.default_rng(1)) for gain in (0.1, 30))
    assert np.abs(dim.astype(int) - bright).max() <= 3
    assert 20 < dim.mean() < 200


def test_the_response_is_monotonic_and_the_noise_as_strong_as_said():
    weather = Weather.draw(5, 'clear')
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 16, (75, 100)).repeat(4, axis=0).repeat(4, axis=1)
    scene = np.geomspace(0.02, 2, 16, dtype=np.float32)[levels][..., None].repeat(3, axis=2)
    seen = weather.expose(scene, rng).mean(axis=2)
    means = [seen[levels == level].mean() for level in range(16)]
    assert (np.diff(means) > -0.5).all() and means[-1] - means[0] > 100
    flat = np.full((200, 300, 3), 0.2, np.float32)
    image = weather.expose(flat, np.random.default_rng(0)).astype(np.float64)
    measured = image.std(axis=(0, 1)).mean() / 255
    assert measured == pytest.approx(weather.grain, rel=0.1)


def test_the_sky_is_brightest_around_the_sun():
    weather = Weather.draw(8, 'clear')
    away = -weather.sun * [1, 1, -1]
    toward, opposite = (weather.sky(np.float32([d]), 0).sum() for d in (weather.sun, away))
    assert toward > 1.5 * opposite


def test_noise_tiles_and_is_normalised():
    values = noise.noise_table(1, 0.8)
    assert values.mean() == pytest.approx(0, abs=1e-4) and values.std() == pytest.approx(1)
    square = values.reshape(noise.SIZE, noise.SIZE)
    inside = np.abs(np.diff(square, axis=0)).mean()
    seam = np.abs(square[0] - square[-1]).mean()
    assert seam < 1.3 * inside
    u = np.float32([3.2, -5.5, 2000.9])
    np.testing.assert_array_equal(noise.look_up(values, u, u),
                                  [square[3, 3], square[-6, -6], square[976, 976]])
