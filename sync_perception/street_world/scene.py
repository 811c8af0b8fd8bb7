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


"""Ray-casting scene of a world, with the attributes of its triangles."""

from __future__ import annotations

import numpy as np
from sync_perception.street_world.mesh import join, Material, Mesh


class Scene:
    """
    Scene of static triangles and of triangles that are moved before every frame.

    Tables over all triangles T, static ones first: `material`, `kind` uint8 (T,),
    `part` int32 (T,) counting the meshes from 1, `looks` float32 (T, 9): the colour, and the
    texture coordinates of the three corners, `normals` float32 (T, 9): the shading normals of the
    three corners, and `flat` bool (T,) where there are none.

    :param still: static meshes.
    :param moving: meshes that `move` places.
    """

    def __init__(self, still: list[Mesh], moving: list[Mesh]):
        parts = still + moving
        everything = join(parts)
        self.part = np.repeat(
            np.arange(1, len(parts) + 1, dtype=np.int32), [len(p) for p in parts])
        self.material, self.kind = everything.material, everything.kind
        corners = everything.uv[everything.triangles].reshape(-1, 6)
        self.looks = np.concatenate([everything.color, corners], axis=1)
        self.normals = everything.normals[everything.triangles].reshape(-1, 9)
        self.flat = np.isnan(self.normals[:, 0])
        self.materials = [Material(m) for m in np.unique(self.material)]
        self.still = sum(len(p) for p in still)
        vertices = sum(len(p.vertices) for p in still)
        self.scenes = [_raycasting(everything.vertices[:vertices],
                                   everything.triangles[:self.still])]

    def move(self, moved: list[Mesh]) -> None:
        """Place the moving meshes, in the order of the constructor."""
        if not moved:
            return
        mesh = join(moved)
        self.scenes[1:] = [_raycasting(mesh.vertices, mesh.triangles)]
        self.normals[self.still:] = mesh.normals[mesh.triangles].reshape(-1, 9)

    def cast(self, rays: np.ndarray) -> tuple[np.ndarray, ...]:
        """
        Return the first hits of rays.

        :param rays: float32 (N, 6), origins and directions; a direction's length is the unit in
            which distances are measured.
        :return: distances float32 (N,), inf for the sky; triangles int64 (N,); barycentric
            coordinates float32 (N, 2); unit normals against the rays float32 (N, 3).
        """
        import open3d as o3d  # optional; its threads must start in the process that uses them
        tensor, found = o3d.core.Tensor.from_numpy(rays), None
        for scene, offset in zip(self.scenes, (0, self.still)):
            answer = scene.cast_rays(tensor)
            hit = [answer[name].numpy() for name in (
                't_hit', 'primitive_ids', 'primitive_uvs', 'primitive_normals')]
            hit[1] = hit[1].astype(np.int64) + offset
            if found is None:
                found = hit
                continue
            nearer = np.flatnonzero(hit[0] < found[0])
            for mine, theirs in zip(found, hit):
                mine[nearer] = theirs.take(nearer, axis=0)
        distance, triangle, corner, normal = found
        away = np.einsum('ij,ij->i', normal, rays[:, 3:]) > 0
        normal[away] *= -1
        return distance, triangle, corner, normal

    def occluded(self, rays: np.ndarray) -> np.ndarray:
        """Return whether rays, float32 (N, 6), hit anything: bool (N,)."""
        import open3d as o3d  # optional; its threads must start in the process that uses them
        tensor = o3d.core.Tensor.from_numpy(rays)
        answers = [scene.test_occlusions(tensor).numpy() for scene in self.scenes]
        return np.logical_or.reduce(answers)


def _raycasting(vertices: np.ndarray, triangles: np.ndarray):
    import open3d as o3d  # optional; its threads must start in the process that uses them
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(np.ascontiguousarray(vertices), triangles.astype(np.uint32))
    return scene
