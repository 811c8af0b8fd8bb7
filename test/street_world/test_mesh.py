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


"""Primitive meshes against formulae and against Open3D."""

from __future__ import annotations

import numpy as np
import open3d as o3d
import pytest
from sync_perception.street_world.mesh import (
    box,
    disc,
    join,
    Kind,
    make,
    Material,
    sheet,
    sphere,
    tube,
)


def legacy(mesh) -> o3d.geometry.TriangleMesh:
    found = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices.astype(float)),
        o3d.utility.Vector3iVector(mesh.triangles))
    return found


def test_a_box_has_its_surface():
    mesh = box((1, 2, 3), (5, 6, 7), Kind.MISC)
    assert legacy(mesh).get_surface_area() == pytest.approx(2 * (2 + 3 + 6))
    np.testing.assert_allclose(mesh.vertices.mean(axis=0), [5, 6, 7], atol=1e-6)


def test_a_sphere_is_closed_and_round():
    vertices, triangles = sphere(24, 48)
    mesh = legacy(make(vertices, triangles, Kind.MISC))
    mesh.merge_close_vertices(1e-6)
    mesh.remove_degenerate_triangles()
    assert mesh.is_watertight()
    assert mesh.get_volume() == pytest.approx(4 / 3 * np.pi, rel=0.02)


@pytest.mark.parametrize('path', [
    [(0, 0, 0), (0, 0, 4)], [(1, 2, 0), (5, 2, 0)], [(0, 0, 0), (0, 3, 0)],
    [(0, 0, 0), (0, 0, 2), (2, 0, 4), (4, 0, 4)]])
def test_a_tube_encloses_its_path(path):
    mesh = legacy(tube(path, 0.1, Kind.POLE, sides=24))
    length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    assert mesh.get_surface_area() == pytest.approx(
        2 * np.pi * 0.1 * length + 2 * np.pi * 0.01, rel=0.05)
    assert np.isfinite(np.asarray(mesh.vertices)).all()


def test_a_disc_has_its_area():
    mesh = disc((1, 1, 1), (0, 1, 1), 2.0, Kind.MISC, Material.PLAIN, (1, 1, 1), sides=64)
    assert legacy(mesh).get_surface_area() == pytest.approx(4 * np.pi, rel=0.01)
    offsets = mesh.vertices - [1, 1, 1]
    np.testing.assert_allclose(offsets @ [0, 1, 1], 0, atol=1e-5)


def test_a_sheet_spreads_what_belongs_to_its_quadrilaterals():
    points = np.stack(np.meshgrid([0, 1], [0, 1, 2], [0.0], indexing='ij'), axis=-1)[:, :, 0]
    kinds = np.array([[Kind.ROAD, Kind.SIDEWALK]])
    mesh = sheet(points, kinds, Material.ASPHALT, np.array([[[0.1] * 3, [0.2] * 3]]))
    np.testing.assert_array_equal(mesh.kind, [0, 0, 1, 1])
    np.testing.assert_allclose(mesh.color[:, 0], [0.1, 0.1, 0.2, 0.2])
    middles = mesh.vertices[mesh.triangles].mean(axis=1)
    np.testing.assert_array_equal(middles[:, 1] > 1, [False, False, True, True])


def test_placing_turns_scales_and_moves_vertices_and_normals():
    mesh = make([(1, 0, 0), (0, 1, 0), (0, 0, 1)], [0, 1, 2], Kind.MISC,
                normals=[(1, 0, 0)] * 3)
    placed = mesh.placed((10, 20, 30), np.pi / 2, 2.0)
    np.testing.assert_allclose(placed.vertices, [(10, 22, 30), (8, 20, 30), (10, 20, 32)],
                               atol=1e-5)
    np.testing.assert_allclose(placed.normals, [(0, 1, 0)] * 3, atol=1e-6)


def test_joined_meshes_keep_their_triangles():
    parts = [box((1, 1, 1), (i, 0, 0), kind) for i, kind in enumerate((Kind.CAR, Kind.VAN))]
    whole = join(parts)
    np.testing.assert_array_equal(whole.kind, [Kind.CAR] * 12 + [Kind.VAN] * 12)
    np.testing.assert_allclose(whole.vertices[whole.triangles[12:]],
                               parts[1].vertices[parts[1].triangles])


def test_smoothed_normals_agree_with_open3ds():
    vertices, triangles = sphere(12, 20)
    mesh = make(vertices, triangles, Kind.CAR).smoothed()
    unique = np.linalg.norm(vertices[:, :2], axis=1) > 1e-6
    cosine = (mesh.normals * vertices).sum(axis=1)[unique]
    assert (np.abs(cosine) > 0.97).all()
    assert len(set(np.sign(cosine))) == 1
