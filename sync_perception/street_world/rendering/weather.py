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


"""Weather and camera response: sun, sky, clouds, fog, exposure, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from sync_perception.street_world.rendering import noise

WEATHERS = ('clear', 'overcast', 'fog', 'morning', 'sunset', 'rain')
SHARES = (0.56, 0.2, 0.05, 0.08, 0.06, 0.05)


@dataclass(frozen=True)
class Weather:
    """
    Light, fog and camera response of a scene.

    :param name: one of `WEATHERS`.
    :param sun: float32 (3,), unit vector towards the sun, world frame.
    :param sun_color: float32 (3,), linear irradiance; zero without direct sun.
    :param zenith: float32 (3,), radiance of the sky overhead.
    :param horizon: float32 (3,), radiance of the sky near the horizon.
    :param spread: half-angle of the light's cone in radians, soft shadows.
    :param shadow: share of the light from the sun's direction that an occluder takes away.
    :param fog: extinction per metre.
    :param clouds: share of the sky in clouds.
    :param wet: 0 dry to 1 wet roads.
    :param key: target of auto-exposure for the image's geometric mean, linear.
    :param contrast: exponent on the stored values.
    :param grain: standard deviation of the sensor's noise, as a share of full scale.
    :param tint: float32 (3,), error of the white balance.
    :param blur: standard deviation of the lens's blur, pixels of a 1242 pixel wide image.
    """

    name: str
    sun: np.ndarray
    sun_color: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    spread: float
    shadow: float
    fog: float
    clouds: float
    wet: float
    key: float
    contrast: float
    grain: float
    tint: np.ndarray
    blur: float

    @classmethod
    def draw(cls, seed: int, name: str | None = None) -> Weather:
        """
        Draw a random weather and camera response.

        :param name: one of `WEATHERS`; None draws one.
        :raises ValueError: if the weather is unknown.
        """
        rng = np.random.default_rng([seed, 23])
        drawn = str(rng.choice(WEATHERS, p=SHARES))
        name = drawn if name is None else name
        if name not in WEATHERS:
            raise ValueError(f'weather is one of {", ".join(WEATHERS)}, got {name!r}')
        low = name in ('morning', 'sunset')
        elevation = np.radians(rng.uniform(7, 18) if low else rng.uniform(25, 65))
        azimuth = rng.uniform(0, 2 * np.pi)
        sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                        np.sin(elevation)])
        warm = {'morning': (1.0, 0.82, 0.62), 'sunset': (1.0, 0.62, 0.34)}.get(
            name, (1.0, 0.94, 0.85))
        direct = {'clear': rng.uniform(2.2, 4.2), 'morning': 2.2, 'sunset': 2.0,
                  'overcast': 0.55, 'fog': 0.35, 'rain': 0.3}[name]
        blue = np.array([0.2, 0.42, 0.9]) * rng.uniform(0.6, 1.1)
        grey = np.array([0.75, 0.8, 0.86]) * rng.uniform(0.7, 1.1)
        dull = name in ('overcast', 'fog', 'rain')
        haze = {'fog': rng.uniform(0.008, 0.03), 'rain': rng.uniform(0.002, 0.006)}.get(
            name, rng.uniform(0.0001, 0.0014))
        return cls(
            name=name, sun=sun.astype(np.float32),
            sun_color=np.float32(np.array(warm) * direct),
            zenith=np.float32(grey if dull else blue),
            horizon=np.float32(grey * 1.15 if dull else np.array(
                [0.95, 0.98, 1.0]) * (0.5 + 0.5 * np.array(warm)) * rng.uniform(0.8, 1.3)),
            spread=0.6 if dull else 0.003,
            shadow=0.75 if dull else 1.0,
            fog=haze, clouds=1.0 if dull else rng.choice([0.0, rng.uniform(0, 0.7)]),
            wet=rng.uniform(0.5, 1) if name == 'rain' else 0.0,
            key=rng.uniform(0.1, 0.24), contrast=rng.uniform(0.85, 1.35),
            grain=rng.uniform(0.003, 0.014), tint=np.float32(rng.normal(1.0, 0.035, 3)),
            blur=rng.uniform(0.0, 0.75))

    def sky(self, directions: np.ndarray, seed: int) -> np.ndarray:
        """
        Return the sky's radiance.

        :param directions: float32 (N, 3), unit vectors, world frame.
        :param seed: random seed of the clouds.
        :return: float32 (N, 3), linear RGB.
        """
        up = np.maximum(directions[:, 2], 0.0)
        blend = np.exp(-up * 5.0)[:, None]
        color = self.zenith + (self.horizon - self.zenith) * blend
        toward = np.maximum(directions @ self.sun, 0.0)
        if self.shadow == 1.0:
            glow = np.float32(0.6) * toward ** 8 + 6 * np.exp(400 * (toward - 1))
            color += (glow * 0.35)[:, None] * self.sun_color
        if self.clouds > 0:
            values = noise.noise_table(3, 0.62)
            scale = 90.0 / (up + 0.12)
            cover = noise.look_up(values, directions[:, 0] * scale + 37 * (seed % 97),
                                  directions[:, 1] * scale)
            if self.shadow == 1.0:
                share = np.clip((cover - 1.2 + 2.2 * self.clouds) * 0.9, 0, 1) * 0.9
                white = self.horizon * 1.1 + 0.12 * self.sun_color
                color += share[:, None] * (white * (1 - 0.12 * cover[:, None]) - color)
            else:
                color *= (1 + 0.07 * cover)[:, None]
        return color

    def ambient(self, normal_z: np.ndarray) -> np.ndarray:
        """Return the diffuse light, float32 (N, 3), on surfaces with this z of their normal."""
        # Interreflection in street canyons halves the saturation of the sky's light.
        above = np.float32(0.28) * (self.zenith + self.zenith.mean()) + np.float32(
            0.3) * self.horizon
        below = 0.16 * (above + self.sun_color * max(float(self.sun[2]), 0.1))
        return below + (above - below) * (0.5 + 0.5 * normal_z)[:, None]

    def reflection(self, view: np.ndarray, normal: np.ndarray, sunlit: np.ndarray) -> np.ndarray:
        """
        Return the radiance of a mirror: the sky, a dark street below it, and the sun's glint.

        :param view: float32 (N, 3), unit, from the camera.
        :param normal: float32 (N, 3), unit.
        :param sunlit: float32 (N,), 1 where the sun is in sight.
        :return: float32 (N, 3), linear RGB.
        """
        bounced = view - 2 * np.einsum('ij,ij->i', view, normal)[:, None] * normal
        up = bounced[:, 2:]
        sky = self.zenith + (self.horizon - self.zenith) * np.exp(-5 * np.maximum(up, 0))
        street = np.float32(0.12) * (self.horizon + self.sun_color * np.float32(0.3))
        blend = np.clip(up * 2.5 - 0.1, 0, 1)
        glint = np.exp(300 * (bounced @ self.sun - 1)) * sunlit
        return street + (sky - street) * blend + (25 * glint)[:, None] * self.sun_color

    def expose(self, radiance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """
        Convert radiance to a camera image: auto-exposure, vignette, blur, noise.

        :param radiance: float32 (H, W, 3), linear RGB; overwritten.
        :return: uint8 (H, W, 3), RGB.
        """
        height, width = radiance.shape[:2]
        small = cv2.resize(radiance, (max(width // 8, 1), max(height // 8, 1)),
                           interpolation=cv2.INTER_NEAREST)
        level = np.exp(np.log(small.mean(axis=2) + 1e-3).mean())
        gain = self.key / max(float(level), 1e-3)
        radiance *= gain * self.tint
        sigma = self.blur * width / 1242
        if sigma > 0.25:
            radiance = cv2.GaussianBlur(radiance, (0, 0), sigma)
        table = self._response()
        np.multiply(radiance, 4095 / 1.6, out=radiance)
        np.clip(radiance, 0, 4095, out=radiance)
        values = table.take(radiance.astype(np.uint16))
        count = values.size
        start = int(rng.integers(noise.GRAIN))
        random = noise.grain()
        if count > noise.GRAIN:
            random, start = np.resize(random, count), 0
        values += random[start:start + count].reshape(values.shape) * (self.grain * 255)
        np.clip(values, 0, 255, out=values)
        return values.astype(np.uint8)

    def _response(self) -> np.ndarray:
        """Return the camera's response curve: 4096 steps of [0, 1.6] linear light to [0, 255]."""
        light = np.linspace(0, 1.6, 4096, dtype=np.float32)
        light = np.where(light > 0.7, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.35), light)
        gamma = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        curved = gamma ** self.contrast
        return (255 * np.clip(curved, 0, 1) + 0.5).astype(np.float32)
