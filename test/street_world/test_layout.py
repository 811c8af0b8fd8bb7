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


"""Streets are what their styles say, and nobody drives into anybody."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.street_world.layout import StreetLayout, STYLES
from sync_perception.street_world.mesh import Kind


@pytest.fixture(scope='module')
def layouts() -> list[StreetLayout]:
    """Return some streets without their rays."""
    return [StreetLayout(seed, 30) for seed in range(12)]


def everything(layout: StreetLayout) -> list:
    return layout.site.meshes + [m.mesh for m in layout.movers]


def test_streets_differ_and_hold_every_kind_between_them(layouts):
    assert len({layout.style_name for layout in layouts}) >= 3
    lengths = {len(m) for layout in layouts for m in [layout.site.meshes[0]]}
    assert len(lengths) == len(layouts)
    kinds = {k for layout in layouts for m in everything(layout) for k in np.unique(m.kind)}
    assert {k.name for k in Kind if k not in kinds} <= {'SKY', 'BUS', 'MOTORCYCLE'}


def test_meshes_are_sound(layouts):
    for layout in layouts[:4]:
        for mesh in everything(layout):
            assert len(mesh) and mesh.triangles.min() >= 0
            assert mesh.triangles.max() < len(mesh.vertices)
            assert np.isfinite(mesh.vertices).all() and np.isfinite(mesh.uv).all()
            assert mesh.color.min() >= 0 and mesh.color.max() <= 1


def test_the_shares_of_the_styles_sum_to_one():
    assert sum(style.share for style in STYLES.values()) == pytest.approx(1)
    for style in STYLES.values():
        assert sum(style.plots.values()) == pytest.approx(1)


def test_vehicles_of_a_lane_keep_their_distance_and_clear_the_camera(layouts):
    for layout in layouts:
        vehicles = [m for m in layout.movers if abs(m.speed) > 2]
        for seconds in (0.0, 1.5, 2.9):
            ego = layout.speed * seconds
            spans = []
            for m in vehicles:
                s, half = layout.position(m, seconds), np.ptp(m.mesh.vertices[:, 0]) / 2
                spans.append((m.speed, m.q, s - half, s + half))
            for _, q, low, high in spans:
                if abs(q - layout.ego_q) < layout.lane / 2:
                    assert not low - 3 < ego < high + 3
            for lane in {span[0] for span in spans}:
                own = sorted(span[2:] for span in spans if span[0] == lane)
                assert all(a[1] < b[0] for a, b in zip(own, own[1:]))


def test_walkers_keep_to_the_side_of_the_carriageway(layouts):
    for layout in layouts:
        low, high = layout.section.carriageway
        for m in layout.movers:
            if abs(m.speed) < 2:
                assert m.q < low or m.q > high
