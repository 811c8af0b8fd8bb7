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


"""Plants, people and street furniture."""

from __future__ import annotations

import numpy as np
from sync_perception.street_world.mesh import (
    box,
    disc,
    join,
    Kind,
    make,
    Material,
    Mesh,
    rectangle,
    sphere,
    tube,
)

BARK = (0.09, 0.07, 0.05)
GALVANISED = (0.28, 0.29, 0.3)


def blob(rng: np.random.Generator, center, radii, kind: Kind, color, rings: int = 7,
         lumps: float = 0.16) -> Mesh:
    """Make a lumpy ellipsoid of leaves."""
    unit, triangles = sphere(rings, rings + 3)
    waves = rng.normal(size=(6, 3)) * 3.0
    bumps = np.sin(unit @ waves.T + rng.uniform(0, 6.28, 6)).sum(axis=1) / 6 ** 0.5
    vertices = unit * (1 + lumps * bumps[:, None]) * radii + np.asarray(center)
    tint = color * rng.uniform(0.85, 1.15, (len(triangles), 1))
    return make(vertices, triangles, kind, Material.LEAVES, tint, normals=unit)


def leaves(rng: np.random.Generator, center, radii, count: int, size: float, kind: Kind,
           color) -> Mesh:
    """Scatter leaf clusters, small triangles, in the outer shell of an ellipsoid."""
    outward = rng.normal(size=(count, 3))
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    middle = outward * radii * rng.uniform(0.84, 1.12, (count, 1)) + np.asarray(center)
    spread = rng.normal(size=(count, 3, 3))
    spread /= np.linalg.norm(spread, axis=2, keepdims=True)
    spread *= size * rng.uniform(0.5, 1.2, (count, 1, 1))
    vertices = (middle[:, None] + spread).reshape(-1, 3)
    shading = outward + rng.normal(scale=0.45, size=(count, 3))
    shading /= np.linalg.norm(shading, axis=1, keepdims=True)
    tint = color * rng.uniform(0.6, 1.35, (count, 1))
    return make(vertices, np.arange(3 * count).reshape(-1, 3), kind, Material.LEAVES, tint,
                normals=np.repeat(shading, 3, axis=0))


def foliage_color(rng: np.random.Generator) -> np.ndarray:
    """Draw a plant's colour: mostly greens, some autumn browns and reds."""
    green = np.array([0.085, 0.125, 0.03]) * rng.uniform(0.5, 1.5)
    green[0] *= rng.uniform(0.6, 1.6)
    if rng.random() < 0.08:
        return np.array([0.19, 0.095, 0.03]) * rng.uniform(0.6, 1.3)
    return green


def tree(rng: np.random.Generator) -> tuple[Mesh, Mesh]:
    """
    Make a tree and a coarse copy for the distance, their feet at the origin, of kind `TREE`.

    Most are broadleaved with a bare trunk; some are conifers or poplars.
    """
    draw = broadleaf if rng.random() < 0.74 else conifer
    seed = rng.integers(1 << 32)
    return draw(np.random.default_rng(seed)), draw(np.random.default_rng(seed), coarse=True)


def broadleaf(rng: np.random.Generator, coarse: bool = False) -> Mesh:
    """Make a broadleaved tree with a bare trunk; `coarse` ones have fewer triangles."""
    height, clear = rng.uniform(5.5, 13.0), rng.uniform(1.8, 3.0)
    spread = rng.uniform(0.26, 0.42) * height
    thick = 0.016 * height * rng.uniform(0.8, 1.6)
    color, size = foliage_color(rng), rng.uniform(0.13, 0.2)
    lean = rng.normal(scale=0.25, size=2)
    fork = np.array([lean[0], lean[1], clear])
    top = fork * [1.5, 1.5, 0] + [0, 0, height * 0.75]
    parts = [tube([(0, 0, -0.3), (0, 0, 0.15), fork * [0.5, 0.5, 0.6], fork, top],
                  [thick * 1.5, thick * 1.15, thick, thick * 0.85, thick * 0.2], Kind.TREE,
                  Material.BARK, BARK, 5 if coarse else 8)]
    middle = np.array([lean[0] * 1.3, lean[1] * 1.3, (height + clear) / 2 + 0.2])
    half = (height - clear) / 2
    lumps = int(rng.integers(8, 14))
    for i in range(lumps):
        # A golden-angle spiral over the crown leaves no side bare.
        level = 1.7 * (i + 0.5) / lumps - 0.85
        turn = 2.4 * i + rng.uniform(-0.5, 0.5)
        reach = spread * 0.6 * np.sqrt(1 - 0.9 * level ** 2) * rng.uniform(0.7, 1.15)
        at = middle + [reach * np.cos(turn), reach * np.sin(turn), level * half]
        radii = np.array([1, 1, 0.85]) * spread * rng.uniform(0.38, 0.58)
        if not coarse and i % 2:
            parts.append(tube([fork * 0.95, (fork + at) / 2 + [0, 0, 0.2], at],
                              [thick * 0.5, thick * 0.35, thick * 0.12], Kind.TREE,
                              Material.BARK, BARK, 4))
        parts.append(blob(rng, at, radii * 0.88, Kind.TREE, color * 0.75,
                          rings=4 if coarse else 6, lumps=0.2))
        count = 30 if coarse else 170
        parts.append(leaves(rng, at, radii, count, size * (2.2 if coarse else 1), Kind.TREE,
                            color * rng.uniform(0.85, 1.2)))
    return join(parts)


def conifer(rng: np.random.Generator, coarse: bool = False) -> Mesh:
    """Make a conifer or a poplar, green nearly to the ground; `coarse` has fewer triangles."""
    height, foot = rng.uniform(5, 14), rng.uniform(0.2, 1.2)
    width = height * rng.uniform(0.11, 0.2)
    color = foliage_color(rng) * [0.7, 0.8, 1.0]
    parts = [tube([(0, 0, -0.3), (0, 0, height * 0.9)], [0.018 * height, 0.03], Kind.TREE,
                  Material.BARK, BARK, 6)]
    tiers = 9
    taper = rng.uniform(0.6, 1.1)
    for i in range(tiers):
        level = i / (tiers - 1)
        radius = width * (1 - level) ** taper + 0.15
        at = (0, 0, foot + level * (height - foot - 0.4) + 0.3 * radius)
        radii = np.array([radius, radius, max(0.75 * (height - foot) / tiers, 0.35)])
        parts.append(blob(rng, at, radii * 0.85, Kind.TREE, color * 0.75, rings=4, lumps=0.2))
        count = 25 if coarse else 130
        parts.append(leaves(rng, at, radii * 1.05, count, 0.33 if coarse else 0.15, Kind.TREE,
                            color))
    return join(parts)


def bush(rng: np.random.Generator, width: float = 0.0, height: float = 0.0) -> Mesh:
    """Make a bush of several lumps, of kind `VEGETATION`."""
    width = width or rng.uniform(0.8, 2.5)
    height = height or width * rng.uniform(0.6, 1.3)
    color = foliage_color(rng)
    parts = []
    for _ in range(rng.integers(2, 4)):
        at = np.array([*rng.normal(scale=0.3 * width, size=2), height * rng.uniform(0.25, 0.5)])
        radii = np.array([width * 0.5, width * 0.5, height * 0.55]) * rng.uniform(0.7, 1.1, 3)
        parts.append(blob(rng, at, radii * 0.88, Kind.VEGETATION, color * 0.75, rings=5))
        parts.append(leaves(rng, at, radii, 150, 0.09, Kind.VEGETATION, color))
    return join(parts)


def hedge(rng: np.random.Generator, length: float, height: float, thick: float) -> Mesh:
    """Make a clipped hedge along +x from the origin, of kind `VEGETATION`."""
    color = foliage_color(rng)
    count = int(length * height * 26)
    core = box((length, thick, height), (length / 2, 0, height / 2), Kind.VEGETATION,
               Material.LEAVES, color * 0.85)
    middle = rng.uniform([0, -thick / 2, 0], [length, thick / 2, height], (count, 3))
    face = rng.integers(0, 3, count)
    middle[face == 0, 1] = -thick / 2
    middle[face == 1, 1] = thick / 2
    middle[face == 2, 2] = height
    outward = np.zeros((count, 3))
    outward[face == 0, 1], outward[face == 1, 1], outward[face == 2, 2] = -1, 1, 1
    spread = rng.normal(scale=0.07, size=(count, 3, 3))
    shading = outward + rng.normal(scale=0.4, size=(count, 3))
    shading /= np.linalg.norm(shading, axis=1, keepdims=True)
    tint = color * rng.uniform(0.6, 1.35, (count, 1))
    fringe = make((middle[:, None] + spread).reshape(-1, 3), np.arange(3 * count),
                  Kind.VEGETATION, Material.LEAVES, tint,
                  normals=np.repeat(shading, 3, axis=0))
    return join([core, fringe])


def cloth_color(rng: np.random.Generator, brightest: float) -> np.ndarray:
    """Draw the colour of clothes: mostly dull, sometimes loud."""
    grey = brightest * rng.random() ** 2 + 0.01
    color = grey * rng.uniform(0.3, 1.7, 3)
    loud = 1.0 if rng.random() < 0.15 else 0.35
    return np.clip(grey + (color - grey) * loud, 0.005, 0.8)


def pedestrian(rng: np.random.Generator) -> Mesh:
    """Make a walking or standing person, facing +x, of kind `PERSON`."""
    kind, size = Kind.PERSON, rng.uniform(0.9, 1.06)
    stride = rng.uniform(0.0, 0.3)
    top, legs = cloth_color(rng, 0.4), cloth_color(rng, 0.12)
    if rng.random() < 0.5:
        top = np.full(3, rng.choice([0.02, 0.06, 0.3, 0.6]))
    skin = np.array([0.45, 0.28, 0.2]) * rng.uniform(0.35, 1.2)
    hair = np.array([0.05, 0.03, 0.02]) * rng.uniform(0.4, 6)
    parts = [tube([(0, 0, 0.88), (0.01, 0, 1.1), (0.01, 0, 1.38), (0, 0, 1.47)],
                  [0.155, 0.15, 0.19, 0.09], kind, Material.CLOTH, top, 9)]
    for side in (1, -1):
        foot = stride * side
        parts.append(tube([(0, side * 0.09, 0.95), (foot * 0.55 + 0.03, side * 0.1, 0.5),
                           (foot, side * 0.1, 0.06)], [0.1, 0.075, 0.055], kind, Material.CLOTH,
                          legs, 7))
        parts.append(box((0.26, 0.09, 0.08), (foot + 0.06, side * 0.1, 0.04), kind, color=legs
                         * 0.3))
        hand = -0.8 * foot
        parts.append(tube([(0, side * 0.19, 1.4), (hand * 0.5 - 0.03, side * 0.25, 1.13),
                           (hand + 0.08, side * 0.24, 0.86)], [0.065, 0.05, 0.04], kind,
                          Material.CLOTH, top, 6))
    parts.append(tube([(0.02, 0, 1.44), (0.03, 0, 1.54), (0.03, 0, 1.66)], [0.06, 0.085, 0.09],
                      kind, color=skin, sides=8))
    parts.append(tube([(0.01, 0, 1.62), (0, 0, 1.7), (0, 0, 1.77)], [0.1, 0.1, 0.04], kind,
                      color=hair, sides=8))
    if rng.random() < 0.35:
        parts.append(box((0.14, 0.3, 0.4), (-0.2, 0, 1.2), kind, Material.CLOTH,
                         rng.uniform(0.02, 0.4, 3)))
    mesh = join(parts)
    return mesh.placed((0, 0, 0), 0.0, size)


def street_lamp(rng: np.random.Generator) -> Mesh:
    """Make a lamp post whose arm reaches along +x, of kind `POLE`."""
    height, arm = rng.uniform(4.5, 9.5), rng.uniform(0.0, 2.2)
    color = np.array(GALVANISED) * rng.uniform(0.25, 1.2)
    parts = [tube([(0, 0, 0), (0, 0, 1.1), (0, 0, 1.15), (0, 0, height)],
                  [0.1, 0.1, 0.065, 0.05], Kind.POLE, Material.METAL, color, 8)]
    if arm > 0.5:
        parts.append(tube([(0, 0, height - 0.02), (arm * 0.4, 0, height + 0.25),
                           (arm, 0, height + 0.3)], 0.035, Kind.POLE, Material.METAL, color, 6))
        parts.append(box((0.7, 0.26, 0.12), (arm + 0.2, 0, height + 0.27), Kind.POLE,
                         Material.METAL, (0.3, 0.3, 0.3)))
    else:
        parts.append(tube([(0, 0, height), (0, 0, height + 0.2), (0, 0, height + 0.5)],
                          [0.08, 0.2, 0.1], Kind.POLE, color=(0.5, 0.5, 0.48), sides=8))
    return join(parts)


def mast(rng: np.random.Generator) -> Mesh:
    """Make a plain mast for wires, of kind `POLE`."""
    height = rng.uniform(6.5, 10)
    wooden = rng.random() < 0.4
    color = (0.1, 0.075, 0.05) if wooden else np.array(GALVANISED) * rng.uniform(0.3, 1)
    return tube([(0, 0, 0), (0, 0, height)], [0.13, 0.09], Kind.POLE,
                Material.BARK if wooden else Material.METAL, color, 8)


def traffic_sign(rng: np.random.Generator) -> Mesh:
    """Make a sign that faces +x on its post, of kinds `TRAFFIC_SIGN` and `POLE`."""
    kind, height = Kind.TRAFFIC_SIGN, rng.uniform(2.0, 2.7)
    parts = [tube([(0, 0, 0), (0, 0, height + 0.25)], 0.035, Kind.POLE, Material.METAL,
                  GALVANISED, 6)]
    red, white, blue = (0.42, 0.02, 0.02), (0.75, 0.75, 0.75), (0.02, 0.09, 0.38)
    shape = rng.integers(0, 6)
    at, right, up = np.array([0.045, 0, height]), (0, 1, 0), (0, 0, 1)
    size = rng.uniform(0.28, 0.42)
    if shape <= 1:
        outer, inner = (red, white) if rng.random() < 0.6 else (blue, blue)
        parts += [disc(at, (1, 0, 0), size, kind, Material.PLAIN, outer, 16),
                  disc(at + [0.006, 0, 0], (1, 0, 0), size * 0.75, kind, Material.SIGN, inner,
                       16)]
    elif shape == 2:
        flip = rng.choice([-1, 1])
        corner = np.array([[0, -1, -0.6], [0, 1, -0.6], [0, 0, 1.1]]) * [1, 1, flip] * size * 1.1
        parts += [make(at + corner, [0, 1, 2], kind, Material.PLAIN, red),
                  make(at + [0.006, 0, 0] + corner * 0.72, [0, 1, 2], kind, Material.SIGN, white)]
    elif shape == 3:
        yellow = (0.75, 0.5, 0.03)
        turned = np.array([[0, 1, 0], [0, 0, 1], [0, -1, 0], [0, 0, -1]]) * size * 1.2
        parts += [make(at + turned, [0, 1, 2, 0, 2, 3], kind, Material.PLAIN, white),
                  make(at + [0.006, 0, 0] + turned * 0.78, [0, 1, 2, 0, 2, 3], kind,
                       Material.PLAIN, yellow)]
    elif shape == 4:
        parts.append(rectangle(at, right, up, (size * 1.9, size * 1.9), kind, Material.SIGN, blue))
    else:
        color = [blue, white, (0.7, 0.5, 0.05), (0.03, 0.2, 0.08)][rng.integers(4)]
        parts.append(rectangle(at + [0, 0, 0.2], right, up, (rng.uniform(0.8, 1.8), rng.uniform(
            0.3, 0.9)), kind, Material.SIGN, color))
    back = [m.placed((-0.02, 0, 0)) for m in parts[1:2]]
    for mesh in back:
        mesh.color[:] = 0.22
        mesh.material[:] = Material.METAL
    return join(parts + back)


def traffic_light(rng: np.random.Generator) -> Mesh:
    """Make a traffic light that faces +x, of kinds `TRAFFIC_LIGHT` and `POLE`."""
    color = np.array(GALVANISED) * rng.uniform(0.2, 1)
    overhang = rng.uniform(2.5, 4.5) if rng.random() < 0.35 else 0.0
    height = 5.6 if overhang else 3.3
    parts = [tube([(0, 0, 0), (0, 0, height)], 0.075, Kind.POLE, Material.METAL, color, 8)]
    heads = [(0.12, 0, 2.75)]
    if overhang:
        parts.append(tube([(0, 0, height - 0.1), (0, overhang, height)], 0.05, Kind.POLE,
                          Material.METAL, color, 6))
        heads.append((0.1, overhang, height - 0.2))
    state = rng.integers(0, 3)
    bulbs = [(0.9, 0.05, 0.03), (0.9, 0.5, 0.05), (0.05, 0.8, 0.35)]
    for x, y, z in heads:
        parts.append(box((0.22, 0.32, 0.95), (x, y, z), Kind.TRAFFIC_LIGHT, color=(0.02,) * 3))
        for i, bulb in enumerate(bulbs):
            lit = i == state
            parts.append(disc((x + 0.12, y, z + 0.3 * (1 - i)), (1, 0, 0), 0.11,
                              Kind.TRAFFIC_LIGHT, Material.LAMP if lit else Material.PLAIN,
                              bulb if lit else np.array(bulb) * 0.08, 10))
    return join(parts)


def bollard() -> Mesh:
    """Make a delineator post with its reflector band, of kind `POLE`."""
    parts = [box((0.1, 0.12, 0.9), (0, 0, 0.45), Kind.POLE, color=(0.65, 0.65, 0.65)),
             box((0.104, 0.124, 0.2), (0, 0, 0.78), Kind.POLE, color=(0.03, 0.03, 0.03))]
    return join(parts)


def bin_or_cabinet(rng: np.random.Generator) -> Mesh:
    """Make a dustbin or a switch cabinet, of kind `MISC`."""
    size = rng.uniform([0.4, 0.5, 0.9], [0.7, 1.2, 1.4])
    color = [(0.04, 0.05, 0.04), (0.02, 0.1, 0.03), (0.25, 0.25, 0.22), (0.3, 0.2, 0.02),
             (0.02, 0.05, 0.15)][rng.integers(5)]
    return box(size, (0, 0, size[2] / 2), Kind.MISC, Material.PLASTER, color)
