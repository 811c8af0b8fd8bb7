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


"""Random cars, vans, lorries, buses and two-wheelers from a few measurements."""

from __future__ import annotations

import numpy as np
from sync_perception.street_world.mesh import (
    box,
    disc,
    join,
    Kind,
    Material,
    Mesh,
    rectangle,
    sheet,
    tube,
)
from sync_perception.street_world.things.scenery import cloth_color

PAINTS = np.array([
    [0.02, 0.02, 0.025], [0.02, 0.02, 0.025], [0.05, 0.05, 0.055], [0.35, 0.36, 0.37],
    [0.45, 0.46, 0.47], [0.45, 0.46, 0.47], [0.18, 0.19, 0.2], [0.7, 0.7, 0.69],
    [0.75, 0.75, 0.74], [0.3, 0.02, 0.02], [0.45, 0.03, 0.03], [0.02, 0.05, 0.18],
    [0.04, 0.1, 0.3], [0.02, 0.09, 0.06], [0.25, 0.2, 0.12], [0.5, 0.38, 0.05],
    [0.12, 0.18, 0.25], [0.25, 0.06, 0.02]], np.float32)
GLASS = (0.02, 0.025, 0.03)
RUBBER = (0.015, 0.015, 0.015)
RIM = (0.4, 0.4, 0.41)
RED = (0.32, 0.015, 0.015)
CLEAR = (0.45, 0.46, 0.46)

# length, width, height, bonnet, windscreen run, rear run, boot (metres), share
CARS = {
    'hatchback': (3.9, 1.7, 1.48, 0.95, 0.75, 0.35, 0.12, 0.3),
    'saloon': (4.6, 1.78, 1.44, 1.15, 0.85, 0.75, 0.75, 0.22),
    'estate': (4.6, 1.78, 1.48, 1.15, 0.8, 0.45, 0.12, 0.2),
    'people carrier': (4.4, 1.8, 1.65, 0.8, 1.0, 0.25, 0.1, 0.14),
    'off-roader': (4.5, 1.86, 1.72, 1.15, 0.6, 0.3, 0.12, 0.14),
}


def _wheel(x: float, y: float, radius: float, width: float, kind: Kind) -> list[Mesh]:
    side = np.sign(y)
    inner = [x, y - side * width, radius]
    return [
        tube([inner, [x, y, radius]], radius, kind, Material.PLAIN, RUBBER, 14),
        disc([x, y + side * 0.006, radius], [0, side, 0], radius * 0.66, kind, Material.METAL,
             RIM, 10),
        disc([x, y + side * 0.012, radius], [0, side, 0], radius * 0.25, kind, Material.PLAIN,
             (0.1, 0.1, 0.1), 8)]


def _wheels(axles, half_width: float, radius: float, kind: Kind, arch: bool = True) -> list[Mesh]:
    parts = []
    for x in axles:
        for side in (1, -1):
            if arch:
                parts.append(disc([x, side * (half_width + 0.004), radius], [0, side, 0],
                                  radius * 1.17, kind, Material.PLAIN, (0.01, 0.01, 0.01), 14))
            parts += _wheel(x, side * (half_width + 0.015), radius, 0.2, kind)
    return parts


def _lights(length: float, half_width: float, low: float, high: float, kind: Kind) -> list[Mesh]:
    front, rear = length / 2, -length / 2
    parts = [
        box((0.03, 0.5, 0.11), (rear - 0.015, 0, (low + high) / 2 - 0.12), kind, Material.PLAIN,
            (0.7, 0.7, 0.66)),
        box((0.03, 0.5, 0.11), (front + 0.01, 0, 0.42), kind, Material.PLAIN, (0.7, 0.7, 0.66)),
        box((0.03, half_width * 0.9, 0.16), (front + 0.005, 0, 0.6), kind, Material.PLAIN,
            (0.02, 0.02, 0.02))]
    for side in (1, -1):
        parts.append(box((0.09, 0.2, (high - low) * 0.55), (
            rear + 0.03, side * (half_width - 0.12), high - (high - low) * 0.3), kind,
            Material.LAMP, RED))
        parts.append(box((0.12, 0.34, 0.15), (front - 0.05, side * (half_width - 0.2), 0.64),
                         kind, Material.GLASS, CLEAR))
    return parts


def car(rng: np.random.Generator, shape: str | None = None) -> Mesh:
    """
    Make a passenger car: body, cabin with windows and pillars, wheels, lamps, plates, mirrors.

    :return: a mesh that faces +x, its wheels on z = 0, of kind `CAR`.
    """
    if shape is None:
        shares = np.array([c[-1] for c in CARS.values()])
        shape = rng.choice(list(CARS), p=shares / shares.sum())
    scale = rng.uniform(0.94, 1.06, 7)
    length, width, height, bonnet, screen, tail, boot = np.array(CARS[shape][:7]) * scale
    paint = PAINTS[rng.integers(len(PAINTS))] * rng.uniform(0.8, 1.15)
    body = _body(length, width, height, bonnet, screen, tail, boot, paint, Kind.CAR,
                 rear_windows=True)
    return body


def van(rng: np.random.Generator) -> Mesh:
    """Make a van, of kind `VAN`, that faces +x with its wheels on z = 0."""
    length, width = rng.uniform(4.4, 5.6), rng.uniform(1.8, 2.0)
    paint = PAINTS[rng.integers(len(PAINTS))] if rng.random() < 0.5 else np.array([0.7] * 3)
    return _body(length, width, rng.uniform(1.85, 2.4), rng.uniform(0.5, 0.9),
                 rng.uniform(0.6, 0.9), 0.1, 0.05, paint, Kind.VAN,
                 rear_windows=rng.random() < 0.4)


def _body(length, width, height, bonnet, screen, tail, boot, paint, kind, rear_windows) -> Mesh:
    half, front, rear = width / 2, length / 2, -length / 2
    floor, radius = 0.2, 0.2 * height if height < 1.7 else 0.33
    belt = 0.62 * height if height < 1.8 else 0.52 * height
    roof_half = half * (0.76 if height < 1.8 else 0.88)
    nose = min(0.78, belt - 0.08)
    cabin_front, cabin_rear = front - bonnet, rear + boot
    roof_front, roof_rear = cabin_front - screen, cabin_rear + tail
    pillar = (roof_front + roof_rear) / 2 + 0.05
    # x, half width, belt height, cabin: 0 closed by the bonnet or boot, 1 full height
    stations = [
        (front, half * 0.82, nose - 0.12, 0), (front - 0.12, half * 0.94, nose, 0),
        (cabin_front, half, belt, 0), (roof_front, half, belt, 1),
        (pillar + 0.05, half, belt, 1), (pillar - 0.05, half, belt, 1),
        (roof_rear + 0.12, half, belt + 0.02, 1), (roof_rear, half, belt + 0.02, 1),
        (cabin_rear, half * 0.98, belt + 0.04, 0), (rear + 0.08, half * 0.95, belt - 0.02, 0),
        (rear, half * 0.88, belt - 0.12, 0)]
    rings = [_ring(x, w, b, full, floor, height, roof_half) for x, w, b, full in stations]
    material = np.full((len(stations) - 1, 16), Material.PAINT)
    color = np.broadcast_to(paint, (len(stations) - 1, 16, 3)).copy()
    glass = np.zeros(material.shape, bool)
    glass[2, 5:10] = True
    glass[2, [4, 10]] = True
    glass[3, [4, 10]] = True
    glass[5, [4, 10]] = rear_windows
    glass[7, 5:10] = rear_windows or height < 1.8
    material[glass], color[glass] = Material.GLASS, GLASS
    color[:, [0, 14, 15]] = 0.03
    material[:, [0, 14, 15]] = Material.PLAIN
    body = sheet(np.stack(rings), kind, material, color).smoothed()
    caps = [sheet(np.stack([np.full_like(r, 0) + r.mean(axis=0), r]), kind, Material.PAINT, paint)
            for r in (rings[0], rings[-1])]
    axles = (front - 0.19 * length, rear + 0.19 * length)
    mirrors = [box((0.12, 0.16, 0.12), (roof_front + 0.6 * screen, s * (half + 0.08), belt + 0.08),
                   kind, Material.PAINT, paint) for s in (1, -1)]
    return join([body, *caps, *mirrors, *_wheels(axles, half, radius, kind),
                 *_lights(length, half * 0.93, nose - 0.25, belt - 0.02, kind)])


def _ring(x, half, belt, full, floor, height, roof_half) -> np.ndarray:
    """Return one cross-section of a body, 17 points from the left sill over the roof and back."""
    top = height if full else belt + 0.05
    shoulder = half * 0.95
    upper = roof_half if full else half * 0.86
    crown = upper * 0.86
    edge = top - 0.07 if full else belt + 0.03
    side = [(half * 0.9, floor), (half, floor + 0.14), (half * 1.01, (floor + belt) / 2 + 0.05),
            (half * 0.98, belt), (shoulder, belt + 0.015), (upper, edge), (crown, top),
            (crown * 0.3, top + 0.03)]
    y, z = np.array(side).T
    y, z = np.concatenate([y, -y[::-1], y[:1]]), np.concatenate([z, z[::-1], z[:1]])
    return np.stack([np.full_like(y, x), y, z], axis=-1)


def lorry(rng: np.random.Generator) -> Mesh:
    """Make a lorry with a box, a tarpaulin or a flat bed, of kind `TRUCK`, facing +x."""
    kind, half = Kind.TRUCK, rng.uniform(1.15, 1.25)
    length, cab = rng.uniform(6.5, 12.0), rng.uniform(1.8, 2.3)
    height, top = rng.uniform(2.6, 3.1), rng.uniform(3.1, 3.9)
    front, rear = length / 2, -length / 2
    paint = PAINTS[rng.integers(len(PAINTS))]
    cargo = rng.choice([0.75, 0.6, 0.3]) * np.array([1, 1, 1]) if rng.random() < 0.6 else (
        PAINTS[rng.integers(len(PAINTS))])
    profile = [(0, 0.5), (0.0, 1.2), (0.12, height * 0.88), (0.35, height), (cab, height)]
    points = np.array([[[front - x, s * half * 0.97, z] for x, z in profile] for s in (1, -1)])
    material = np.array([[Material.PAINT, Material.GLASS, Material.PAINT, Material.PAINT]])
    color = np.array([[paint, GLASS, paint, paint]])
    parts = [sheet(points, kind, material, color)]
    bottom = np.array([[[front - x, s * half * 0.97, 0.5] for x, _ in profile] for s in (1, -1)])
    for i in range(2):
        parts.append(sheet(np.stack([bottom[i], points[i]]), kind, Material.PAINT, paint))
        side = 1 - 2 * i
        parts.append(rectangle(
            (front - 0.75, side * (half * 0.97 + 0.01), height * 0.72), (1, 0, 0), (0, 0, 1),
            (0.9, height * 0.28), kind, Material.GLASS, GLASS))
    back = front - cab - 0.15
    if rng.random() < 0.85:
        parts.append(box((back - rear, 2 * half, top - 1.05), (
            (back + rear) / 2, 0, (top + 1.05) / 2), kind, Material.PLASTER, cargo))
    else:
        parts.append(box((back - rear, 2 * half, 0.5), ((back + rear) / 2, 0, 1.25), kind,
                         Material.PLAIN, cargo * 0.5))
    parts.append(box((length - 0.6, 1.6, 0.4), (-0.1, 0, 0.75), kind, Material.PLAIN, (0.03,) * 3))
    parts.append(box((cab, 2 * half * 0.96, 0.3), (front - cab / 2, 0, 0.45), kind,
                     Material.PLAIN, (0.05,) * 3))
    axles = [front - 1.1, rear + 1.3] + ([rear + 2.5] if length > 8 else [])
    parts += _wheels(axles, half, 0.48, kind, arch=False)
    parts += _lights(length, half, 0.6, 1.0, kind)
    return join(parts)


def bus(rng: np.random.Generator) -> Mesh:
    """Make a city bus, of kind `BUS`, facing +x."""
    kind, half, length, height = Kind.BUS, 1.25, rng.uniform(9.0, 12.5), rng.uniform(2.9, 3.2)
    paint = PAINTS[rng.integers(7, len(PAINTS))]
    parts = [box((length, 2 * half, height - 0.35), (0, 0, (height + 0.35) / 2), kind,
                 Material.PAINT, paint)]
    bays = int(length // 1.5)
    for side in (1, -1):
        for i in range(bays):
            parts.append(rectangle(
                (length / 2 - (i + 0.5) * length / bays, side * (half + 0.01), 1.95), (1, 0, 0),
                (0, 0, 1), (length / bays - 0.15, 1.0), kind, Material.GLASS, GLASS))
        parts.append(rectangle((side * (length / 2 + 0.01), 0, 1.85), (0, 1, 0), (0, 0, 1),
                               (2.2, 1.3), kind, Material.GLASS, GLASS))
    parts += _wheels((length / 2 - 2.4, -length / 2 + 2.8), half, 0.48, kind)
    parts += _lights(length, half, 0.6, 1.1, kind)
    return join(parts)


def two_wheeler(rng: np.random.Generator, motor: bool, ridden: bool) -> Mesh:
    """
    Make a bicycle or a motorcycle, facing +x, with or without a rider.

    The machine is of kind `BICYCLE` or `MOTORCYCLE`, the person on it of kind `RIDER`.
    """
    kind = Kind.MOTORCYCLE if motor else Kind.BICYCLE
    paint = PAINTS[rng.integers(len(PAINTS))]
    radius, thick = (0.3, 0.06) if motor else (0.34, 0.022)
    parts = []
    for x in (0.55, -0.55):
        angle = np.linspace(0, 2 * np.pi, 15)
        rim = np.stack([x + radius * np.cos(angle), 0 * angle, radius + radius * np.sin(angle)],
                       axis=-1)
        parts.append(tube(rim, thick, kind, Material.PLAIN, RUBBER, 4, closed=False))
    saddle, bar, pedals = (-0.2, 0, 0.92), (0.42, 0, 1.0), (-0.05, 0, 0.32)
    pipe = 0.09 if motor else 0.022
    for a, b in ((saddle, pedals), (pedals, (0.38, 0, 0.8)), ((0.38, 0, 0.8), (-0.17, 0, 0.8)),
                 ((0.55, 0, radius), bar), ((-0.55, 0, radius), pedals),
                 ((-0.55, 0, radius), (-0.17, 0, 0.8))):
        parts.append(tube([a, b], pipe, kind, Material.PAINT, paint, 4))
    parts.append(tube([(0.42, -0.3, 1.02), (0.42, 0.3, 1.02)], 0.02, kind, color=RUBBER, sides=4))
    parts.append(box((0.3 if not motor else 0.7, 0.14 if not motor else 0.25, 0.07), saddle, kind,
                     color=RUBBER))
    if motor:
        parts.append(box((0.5, 0.3, 0.4), (0.05, 0, 0.6), kind, Material.PAINT, paint))
    if ridden:
        cloth, trousers = cloth_color(rng, 0.4), cloth_color(rng, 0.12)
        person = Kind.RIDER
        hip, neck = np.array([-0.2, 0, 1.0]), np.array([0.12, 0, 1.5])
        parts.append(tube([hip, (hip + neck) / 2, neck], [0.15, 0.19, 0.14], person,
                          Material.CLOTH, cloth, 8))
        for side in (1, -1):
            parts.append(tube([hip + [0, side * 0.1, 0], (0.2, side * 0.13, 0.75),
                               (0.02, side * 0.13, 0.35)], [0.09, 0.075, 0.05], person,
                              Material.CLOTH, trousers, 6))
            parts.append(tube([neck + [0, side * 0.18, -0.06], (0.2, side * 0.28, 1.2),
                               (0.42, side * 0.27, 1.05)], [0.06, 0.05, 0.04], person,
                              Material.CLOTH, cloth, 6))
        head = neck + [0.08, 0, 0.2]
        skin = np.array([0.45, 0.28, 0.2]) * rng.uniform(0.4, 1.2)
        hat = PAINTS[rng.integers(len(PAINTS))]
        parts.append(tube([head - [0, 0, 0.14], head - [0, 0, 0.05], head], [0.06, 0.1, 0.1],
                          person, color=skin, sides=8))
        parts.append(tube([head - [0, 0, 0.02], head + [0, 0, 0.06], head + [0, 0, 0.14]],
                          [0.12, 0.12, 0.05], person, color=hat, sides=8))
    return join(parts)
