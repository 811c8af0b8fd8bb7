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
Measure maps of rendered drives with exact geometry, labels and poses, and of real sequences.

Beside the semantic map a baseline is measured in the same run: the mean of the cloud points in
each voxel, with the majority of their labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
import time
from typing import Any

import cv2
import numpy as np
from scipy.spatial import cKDTree
from sync_perception.geometry import backproject, pixel_rays, transform
from sync_perception.labels import LabelSpace, VOID
from sync_perception.mapping.odometry import VisualOdometry
from sync_perception.mapping.offline.frame_sources import CameraArguments, SceneSource
from sync_perception.mapping.semantic_map.blocks import pack
from sync_perception.mapping.semantic_map.semantic_map import SemanticMap
from sync_perception.mapping.semantic_map.settings import MapSettings
from sync_perception.mapping.semantic_map.surface import surface_of
from sync_perception.mapping.temporal_predictor import TemporalPredictor
from sync_perception.mapping.trajectory import Located
from sync_perception.runtime.benchmark.reports import machine, write_report
from sync_perception.runtime.clean_depth import clean_depth
from sync_perception.runtime.mount_scale import Mount
from sync_perception.runtime.predictor import Predictor
from sync_perception.street_world import StreetWorld
from sync_perception.types import Frame, Prediction

SEED = 900_011
SIZE = (250, 828)
STRIDE = 2
RANGES = ((0, 10), (10, 30))
NEAR = 0.3
"""Metres from the true surface within which a point of the map counts as an answer."""
FEWEST = 200
"""Places of a class that its intersection over union needs, since that of a few is chance."""
SAMPLES = 4000
"""Pixels of each frame that are compared."""
NOISE = (0.05, np.radians(0.3))
"""Deviation of noisy poses: metres and radians, independent in each frame."""
LEAST_WEIGHTS = (0.1, 0.5)
CLEAN = (0.5, 0.4)
"""points.surface_distance and points.max_uncertainty of the clean clouds."""


@dataclass(frozen=True)
class Shot:
    """
    One frame of a drive with its truth.

    :param depth: float32 (H, W), exact metres along z; NaN where movable or sky.
    :param labels: uint8 (H, W), exact ids of the predictor's label space.
    :param pose: world_T_camera.
    """

    frame: Frame
    depth: np.ndarray
    labels: np.ndarray
    pose: np.ndarray


class BaselineMap:
    """
    Mean of the cloud's points in each voxel, with the majority of their labels.

    :param voxel: edge length of a voxel, metres.
    :param max_range: greatest depth of a point, metres.
    """

    def __init__(self, space: LabelSpace, voxel: float, max_range: float):
        self.space, self.voxel, self.max_range = space, voxel, max_range
        self.rows: dict[int, int] = {}
        self.sums = np.zeros((0, 3))
        self.counts = np.zeros((0, len(space) + 1), np.uint16)

    def integrate(self, frame: Frame, prediction: Prediction, pose: np.ndarray) -> None:
        """Add the points of a frame, except those that move and those too far away."""
        moving = np.append(self.space.dynamic, np.zeros(256 - len(self.space), bool))
        used = (prediction.depth <= self.max_range) & ~moving[prediction.labels]
        points = transform(backproject(
            prediction.depth, pixel_rays(frame.K, frame.size))[used].astype(np.float64), pose)
        keys, index = np.unique(
            pack(np.floor(points / self.voxel).astype(np.int64)), return_inverse=True)
        rows = np.array([self.rows.setdefault(key, len(self.rows)) for key in keys.tolist()])
        missing = len(self.rows) - len(self.sums)
        self.sums = np.concatenate([self.sums, np.zeros((missing, 3))])
        self.counts = np.concatenate(
            [self.counts, np.zeros((missing, self.counts.shape[1]), np.uint16)])
        labels = np.minimum(prediction.labels[used], len(self.space))
        np.add.at(self.sums, rows[index], points)
        np.add.at(self.counts, (rows[index], labels), 1)

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the points, (N, 3), and the label of each."""
        total = self.counts.sum(axis=1, dtype=np.int64)
        labels = self.counts[:, :-1].argmax(axis=1).astype(np.uint8)
        return self.sums / np.maximum(total, 1)[:, None], labels

    @property
    def memory(self) -> int:
        """Return the bytes of the arrays; the hash itself needs more."""
        return self.sums.nbytes + self.counts.nbytes


def drive(seed: int, frames: int, space: LabelSpace) -> Iterator[Shot]:
    """Yield the frames of a rendered drive."""
    if space.names != LabelSpace.load('driving').names:
        raise ValueError(f'expected a model with the label space driving, got {space.name}')
    world = StreetWorld(seed, SIZE, frames=200)
    moving = np.append(space.dynamic | space.infinite, np.zeros(256 - len(space), bool))
    for index in range(0, frames * STRIDE, STRIDE):
        rendered = world.render(index)
        still = np.isfinite(rendered.depth) & ~moving[rendered.labels]
        depth = np.where(still, rendered.depth, np.nan).astype(np.float32)
        yield Shot(rendered.frame, depth, rendered.labels, rendered.world_T_camera)


def noisy_poses(poses: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Return poses with independent errors of position and rotation."""
    result = []
    for pose in poses:
        error = np.eye(4)
        error[:3, :3] = cv2.Rodrigues(rng.normal(scale=NOISE[1], size=3))[0]
        error[:3, 3] = rng.normal(scale=NOISE[0], size=3)
        result.append(pose @ error)
    return result


def odometry_poses(shots: list[Shot], predictions: list[Prediction], space: LabelSpace
                   ) -> list[np.ndarray | None]:
    """Return the camera's own poses, in the world of the drive; None where there is none."""
    odometry = VisualOdometry(space, mount=Mount(1.65))
    found = [odometry.update(shot.frame, prediction).world_T_camera
             for shot, prediction in zip(shots, predictions)]
    return [None if pose is None else shots[0].pose @ pose for pose in found]


def run(make: Callable[[], Any], shots: list[Shot], predictions: list[Prediction],
        poses: list[np.ndarray | None]) -> tuple[Any, float]:
    """Return a map of the frames, and the processor time of each in milliseconds."""
    made, start = make(), time.process_time()
    for shot, prediction, pose in zip(shots, predictions, poses):
        if pose is not None:
            made.integrate(shot.frame, prediction, pose)
    return made, 1000 * (time.process_time() - start) / len(shots)


class Truth:
    """Exact surface points of a drive and their labels, as seen by its frames."""

    def __init__(self, shots: list[Shot], max_range: float, rng: np.random.Generator):
        points, labels, self.pixels = [], [], []
        for shot in shots:
            known = np.flatnonzero(shot.depth.ravel() <= max_range)
            self.pixels.append(rng.choice(known, min(SAMPLES, len(known)), replace=False))
            seen = transform(backproject(shot.depth, pixel_rays(shot.frame.K, SIZE)).astype(
                np.float64), shot.pose).reshape(-1, 3)
            points.append(seen[known])
            labels.append(shot.labels.ravel()[known])
        points, labels = np.concatenate(points), np.concatenate(labels)
        _, first = np.unique(pack(np.floor(points / 0.05).astype(np.int64)), return_index=True)
        self.points, self.labels = points[first], labels[first]
        self.tree = cKDTree(self.points)
        cameras = cKDTree(np.array([shot.pose[:3, 3] for shot in shots]))
        self.distance = cameras.query(self.points)[0]
        self.cameras = cameras

    def geometry(self, points: np.ndarray) -> dict[str, float]:
        """
        Return accuracy and completeness by the distance from the nearest camera.

        Accuracy is the median distance of the map's points from the surface, completeness the
        share of the surface that has a point of the map within 20 cm.
        """
        error = self.tree.query(points, distance_upper_bound=5)[0]
        away = self.cameras.query(points)[0]
        found = cKDTree(points).query(self.points, distance_upper_bound=1)[0]
        result = {}
        for low, high in RANGES:
            rows = (away >= low) & (away < high)
            name = f'{low}-{high} m'
            result[f'accuracy {name} [cm]'] = 100 * float(np.median(np.minimum(error[rows], 5)))
            result[f'within 20 cm {name}'] = float(np.mean(error[rows] < 0.2))
            rows = (self.distance >= low) & (self.distance < high)
            result[f'complete {name}'] = float(np.mean(found[rows] < 0.2))
        return result

    def labelling(self, points: np.ndarray, labels: np.ndarray, shots: list[Shot],
                  predictions: list[Prediction], poses: list[np.ndarray | None]
                  ) -> dict[str, float]:
        """
        Return the label accuracy of the map and of the frames' own clouds.

        Each is asked for the label at the exact place of a pixel. Those places count that have a
        point of both within NEAR.
        """
        tree = cKDTree(points)
        true, single, mapped, total = [], [], [], 0
        for shot, prediction, pose, pixels in zip(shots, predictions, poses, self.pixels):
            if pose is None:
                continue
            rays = pixel_rays(shot.frame.K, SIZE)
            wanted = transform(
                backproject(shot.depth, rays).astype(np.float64), shot.pose).reshape(-1, 3)[pixels]
            cloud = transform(backproject(prediction.depth, rays).astype(np.float64), pose)
            valid = np.isfinite(cloud).all(axis=2)
            own = cKDTree(cloud[valid]).query(wanted, distance_upper_bound=NEAR)[1]
            at = tree.query(wanted, distance_upper_bound=NEAR)[1]
            both = (own < valid.sum()) & (at < len(points))
            total += len(pixels)
            true.append(shot.labels.ravel()[pixels][both])
            single.append(prediction.labels[valid][own[both]])
            mapped.append(labels[at[both]])
        true, single, mapped = map(np.concatenate, (true, single, mapped))
        return {'compared': len(true) / total,
                'frame accuracy': accuracy(true, single), 'map accuracy': accuracy(true, mapped),
                'frame mIoU': mean_iou(true, single), 'map mIoU': mean_iou(true, mapped)}


def accuracy(true: np.ndarray, found: np.ndarray) -> float:
    """Return the share of right labels."""
    known = true != VOID
    return float(np.mean(true[known] == found[known]))


def mean_iou(true: np.ndarray, found: np.ndarray) -> float:
    """Return the mean intersection over union of the classes with FEWEST places in the truth."""
    known = true != VOID
    true, found = true[known], found[known]
    scores = []
    labels, counts = np.unique(true, return_counts=True)
    for label in labels[counts >= FEWEST]:
        both = np.sum((true == label) & (found == label))
        scores.append(both / np.sum((true == label) | (found == label)))
    return float(np.mean(scores)) if scores else float('nan')


def measure_drive(seed: int, frames: int, predictor: Predictor, settings: MapSettings
                  ) -> dict[str, dict[str, float]]:
    """Return the measures of a rendered drive, by what is fused."""
    space, rng = predictor.labels, np.random.default_rng(seed)
    shots = list(drive(seed, frames, space))
    predicted = [predictor.predict(shot.frame, predictor.available) for shot in shots]
    exact = [Prediction(shot.depth, shot.labels, np.full(SIZE, 0.95, np.float32),
                        0.005 * shot.depth) for shot in shots]
    truth = Truth(shots, settings.max_range, rng)
    temporal = TemporalPredictor(predictor, None)
    poses = [shot.pose for shot in shots]
    cases = {
        'exact depth and labels': (exact, poses),
        'exact depth, predicted labels': (
            [replace(each, depth=shot.depth, uncertainty=0.005 * shot.depth)
             for each, shot in zip(predicted, shots)], poses),
        'predicted depth, exact labels': (
            [replace(each, labels=shot.labels, confidence=None)
             for each, shot in zip(predicted, shots)], poses),
        'predicted': (predicted, poses),
        'predicted, cleaned': (
            [replace(each, depth=clean_depth(each.depth, shot.frame.K, CLEAN[0],
                                             each.uncertainty, CLEAN[1]))
             for each, shot in zip(predicted, shots)], poses),
        'predicted, fused over time': (
            [temporal.predict(shot.frame, predictor.available, Located(shot.pose))
             for shot in shots], poses),
        'predicted, noisy poses': (predicted, noisy_poses(poses, rng)),
        'predicted, odometry': (predicted, odometry_poses(shots, predicted, space))}
    results = {}
    for case, (predictions, own) in cases.items():
        baseline, cost = run(lambda: BaselineMap(space, settings.voxel, settings.max_range), shots,
                          predictions, own)
        results[f'{case}: baseline'] = measures(
            truth, *baseline.points(), shots, predictions, own, cost, baseline.memory)
        fused, cost = run(lambda: SemanticMap(space, settings), shots, predictions, own)
        for least in LEAST_WEIGHTS:
            surface = surface_of(fused, least)
            results[f'{case}: map, weight {least:g}'] = measures(
                truth, surface.points, surface.labels, shots, predictions, own, cost,
                fused.blocks.memory)
    return results


def measures(truth: Truth, points: np.ndarray, labels: np.ndarray, shots: list[Shot],
             predictions: list[Prediction], poses: list[np.ndarray | None], cost: float,
             memory: int) -> dict[str, float]:
    """Return all measures of one map."""
    return {**truth.geometry(points),
            **truth.labelling(points, labels, shots, predictions, poses),
            'points': len(points), 'ms per frame': cost, 'MB': memory / 1e6}


def measure_scene(folder: Path, voxel: float, max_range: float) -> dict[str, dict[str, float]]:
    """
    Return how far held-out frames of an RGB-D sequence lie from the map of the others.

    Every second frame is fused with the sensor's depth; no network takes part.
    """
    source = SceneSource(folder, CameraArguments())
    poses, space = source.trajectory(), LabelSpace.load('driving')
    settings = MapSettings(voxel=voxel, max_range=max_range, radius=2 * max_range,
                           relative_sigma=0.01)
    maps = {'baseline': BaselineMap(space, voxel, max_range), 'map': SemanticMap(space, settings)}
    costs, held = dict.fromkeys(maps, 0.0), []
    for index, frame in source.frames(0, 1):
        depth, pose = source.sensor_depth(index), poses.at(frame.stamp).world_T_camera
        if index % 2:
            points = backproject(depth, pixel_rays(frame.K, frame.size))[depth < max_range]
            held.append(transform(points[::37].astype(np.float64), pose))
            continue
        labels = np.full(frame.size, VOID, np.uint8)
        for name, made in maps.items():
            start = time.process_time()
            made.integrate(frame, Prediction(depth, labels), pose)
            costs[name] += 1000 * (time.process_time() - start)
    held = np.concatenate(held)
    results = {}
    for name, made in maps.items():
        points = made.points()[0] if name == 'baseline' else surface_of(made, 0.5).points
        distance = cKDTree(points).query(held, distance_upper_bound=1)[0]
        results[f'7-Scenes, sensor depth: {name}'] = {
            'median [cm]': 100 * float(np.median(distance)),
            '90 % [cm]': 100 * float(np.percentile(distance, 90)),
            'points': len(points), 'ms per frame': costs[name] / (len(poses) / 2)}
    return results


def mean_of(results: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the means over the drives."""
    return {case: {name: float(np.nanmean([each[case][name] for each in results]))
                   for name in results[0][case]} for case in results[0]}


def table(results: dict[str, dict[str, float]]) -> str:
    """Return the results as a table in Markdown."""
    names = list(next(iter(results.values())))
    lines = [' | '.join(['', 'case', *names, '']), '|---' * (len(names) + 1) + '|']
    for case, values in results.items():
        cells = [f'{values[name]:.0f}' if abs(values[name]) >= 100 else f'{values[name]:.3g}'
                 for name in names]
        lines.append(' | '.join(['', case, *cells, '']))
    return '\n'.join(line.strip(' ') for line in lines)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--drives', type=int, default=3)
    parser.add_argument('--frames', type=int, default=14)
    parser.add_argument('--voxel', type=float, default=0.15)
    parser.add_argument('--max-range', type=float, default=30.0)
    parser.add_argument('--model', default=None)
    parser.add_argument('--scene', type=Path, help='a sequence of 7-Scenes')
    parser.add_argument('--json', type=Path)
    options = parser.parse_args()
    results = {'machine': machine()}
    if options.scene:
        results['scene'] = measure_scene(options.scene, 0.04, 4.0)
        print(table(results['scene']))
    if options.drives:
        settings = MapSettings(voxel=options.voxel, max_range=options.max_range,
                               radius=4 / 3 * options.max_range)
        predictor = Predictor(options.model)
        drives = [measure_drive(SEED + index, options.frames, predictor, settings)
                  for index in range(options.drives)]
        results['drives'] = mean_of(drives)
        print(table(results['drives']))
    if options.json:
        write_report(results, options.json)


if __name__ == '__main__':
    main()
