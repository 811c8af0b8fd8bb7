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

"""
Recordings for Rerun: camera, depth, labels, cloud, map and trajectory on one time line.

Rerun (https://rerun.io) is an optional library, `pip install 'sync_perception[view]'`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sync_perception.labels import LabelSpace, VOID
from sync_perception.mapping.offline.pictures import surface_paint
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.surface import Surface, surface_of
from sync_perception.mapping.trajectory import SECOND
from sync_perception.runtime.pointcloud import point_cloud
from sync_perception.types import Frame, Prediction

CAMERA, CLOUD, MAP, TRAJECTORY = 'world/camera', 'world/cloud', 'world/map', 'world/trajectory'
JPEG_QUALITY = 85
STRIDE = 3
"""Rows and columns between the points of a frame's cloud."""
MAP_EVERY = 10
"""Frames after which the map is logged again."""
TIME, FRAME = 'time', 'frame'


class RerunRecording:
    """
    Recording of a run for Rerun, to a file or to the viewer.

    :param space: label space of the predictions.
    :param path: file to write (.rrd); None to open the viewer.
    :param up: vertical axis of the world frame.
    :raises ModuleNotFoundError: if rerun-sdk is not installed.
    """

    def __init__(self, space: LabelSpace, path: Path | None = None,
                 up: tuple[float, float, float] = (0.0, -1.0, 0.0)):
        import rerun  # an optional library
        self.rerun, self.space = rerun, space
        self.stream = rerun.RecordingStream('sync_perception')
        if path is None:
            self.stream.spawn(default_blueprint=self._blueprint())
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.stream.save(path, default_blueprint=self._blueprint())
        classes = [rerun.AnnotationInfo(index, name, color.tolist())
                   for index, (name, color) in enumerate(zip(space.names, space.colors))]
        self.stream.log('/', rerun.AnnotationContext(
            [*classes, rerun.AnnotationInfo(VOID, 'void', (0, 0, 0))]), static=True)
        self.stream.log('world', _view_coordinates(rerun, up), static=True)
        self.path: list[np.ndarray] = []

    def frame(self, frame: Frame, prediction: Prediction, world_T_camera: np.ndarray | None = None
              ) -> None:
        """
        Log a frame with its maps; with a pose also its cloud and the camera's path.

        :param world_T_camera: float64 (4, 4); None for a single frame, whose world is the camera.
        """
        rr, stream = self.rerun, self.stream
        stream.set_time(TIME, duration=frame.stamp / SECOND)
        stream.set_time(FRAME, sequence=len(self.path))
        pose = np.eye(4) if world_T_camera is None else world_T_camera
        self.path.append(pose[:3, 3])
        stream.log(CAMERA, rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        height, width = frame.size
        stream.log(CAMERA, rr.Pinhole(
            image_from_camera=frame.K, width=width, height=height, image_plane_distance=1.0))
        coded = cv2.imencode('.jpg', cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR),
                             [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        stream.log(f'{CAMERA}/image', rr.EncodedImage(
            contents=coded.tobytes(), media_type='image/jpeg'))
        if prediction.labels is not None:
            stream.log(f'{CAMERA}/labels', rr.SegmentationImage(prediction.labels, opacity=0.5))
        if prediction.depth is None:
            return
        # half the size of float32, and without its own cloud beside ours
        stream.log(f'{CAMERA}/depth', rr.DepthImage(
            np.nan_to_num(prediction.depth).astype(np.float16), meter=1.0))
        points = point_cloud(frame, prediction, self.space, stride=STRIDE, organized=False)
        places = np.stack([points['x'], points['y'], points['z']], axis=-1)
        stream.log(CLOUD, rr.Points3D(
            places @ pose[:3, :3].T + pose[:3, 3],
            colors=_unpacked(points['rgb']), radii=rr.Radius.ui_points(1.5)))
        if len(self.path) > 1:
            stream.log(TRAJECTORY, rr.LineStrips3D([np.array(self.path)], colors=(255, 200, 0)))

    def surface(self, surface: Surface) -> None:
        """Log the surface of a map at the present time, in colours of the camera and of labels."""
        for name, colors in (('color', surface.colors),
                             ('labels', surface_paint(surface, self.space))):
            self.stream.log(f'{MAP}/{name}', self.rerun.Mesh3D(
                vertex_positions=surface.points, vertex_normals=surface.normals,
                vertex_colors=colors, triangle_indices=surface.triangles()))

    def close(self) -> None:
        """Write what is left."""
        self.stream.flush()
        self.stream.disconnect()

    def _blueprint(self) -> Any:
        import rerun.blueprint as rrb  # an optional library
        return rrb.Blueprint(
            rrb.Horizontal(
                rrb.Spatial3DView(origin='world', contents=[
                    '+ $origin/**', f'- /{CAMERA}/labels', f'- /{CAMERA}/depth',
                    f'- /{MAP}/color'], name='map'),
                rrb.Vertical(
                    rrb.Spatial2DView(origin=CAMERA, contents=['+ $origin/image'], name='camera'),
                    rrb.Spatial2DView(origin=CAMERA, contents=[
                        '+ $origin/image', '+ $origin/labels'], name='labels'),
                    rrb.Spatial2DView(origin=CAMERA, contents=['+ $origin/depth'], name='depth')),
                column_shares=[3, 2]),
            rrb.TimePanel(state='collapsed'))


class RunRecorder:
    """
    Observer of a run that records each frame, and the map every `every` frames.

    :param every: frames after which the map is recorded again.
    """

    def __init__(self, recording: RerunRecording, every: int = MAP_EVERY):
        self.recording, self.every, self.count = recording, every, 0

    def __call__(self, frame: Frame, prediction: Prediction, world_T_camera: np.ndarray,
                 semantic_map: SemanticMap) -> None:
        """Record a fused frame."""
        self.recording.frame(frame, prediction, world_T_camera)
        if self.count % self.every == 0:
            self.recording.surface(surface_of(semantic_map))
        self.count += 1


def _unpacked(rgb: np.ndarray) -> np.ndarray:
    """Return packed colours, 0x00RRGGBB, as uint8 (N, 3)."""
    return np.stack([rgb >> shift & 0xFF for shift in (16, 8, 0)], axis=-1).astype(np.uint8)


def _view_coordinates(rerun: Any, up: tuple[float, float, float]) -> Any:
    """Return the world's axes: which of them points up."""
    axis = int(np.argmax(np.abs(up)))
    name = f'RIGHT_HAND_{"XYZ"[axis]}_{"UP" if up[axis] > 0 else "DOWN"}'
    return getattr(rerun.ViewCoordinates, name)
