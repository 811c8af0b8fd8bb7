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

"""Prediction of image files without ROS; writes pictures, raw maps and clouds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
import math
from pathlib import Path
import time
from typing import Any

import cv2
import numpy as np
from sync_perception.calibration.camera_calibration import Calibration, read_calibration
from sync_perception.calibration.plausibility import contradictions, distortion_doubt
from sync_perception.calibration.rectification import Rectifier
from sync_perception.files.ply import VERTEX, write_vertices
from sync_perception.files.whole_files import write_json
from sync_perception.images.bit_depth import BitDepth
from sync_perception.images.frame_times import image_times
from sync_perception.images.headers import MAX_PIXELS
from sync_perception.images.orientation import turn_calibration
from sync_perception.images.reading import (
    IMAGE_SUFFIXES,
    images_by_stem,
    read_upright,
    write_image,
)
from sync_perception.labels import LabelSpace
from sync_perception.runtime.clean_depth import clean_depth
from sync_perception.runtime.content import missing_content
from sync_perception.runtime.mount_scale import missing_maps, Mount, MountScale, wheel_ground
from sync_perception.runtime.pictures.visualize import cloud_view, panel
from sync_perception.runtime.pointcloud import point_cloud
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame, Prediction

ASSUMED_FIELD_OF_VIEW = 70.0
"""Horizontal field of view in degrees, assumed for an unknown camera."""
DEPTH_SCALE = 256
"""Scale of KITTI's depth PNG: metres times 256, 0 invalid."""


def predict_files(
        images: Sequence[str | Path], out: str | Path, model: str | Path | None = None,
        device: str = 'auto', half: bool = False, fx: float | None = None,
        camera_info: str | Path | None = None, rectify: bool = False,
        max_depth: float | None = None, cloud: bool = False, significant_bits: int = 0,
        max_pixels: int | None = None, mount: Mount | None = None,
        report: Callable[[str], None] = print, backend: str = 'auto',
        precision: str = 'auto', rate: float | None = None,
        fuse: Callable[[Predictor], Any] | None = None, surface_distance: float = 0.0,
        max_uncertainty: float = 0.0) -> dict[str, Any]:
    """
    Predict images and write a panel, a view of the cloud, depth, labels and colours of each.

    The files are `NAME_panel.png`, `NAME_cloud.png`, `NAME_depth.png` (uint16, metres x 256, 0
    invalid), `NAME_labels.png` (ids, 255 void), `NAME_color.png`, on request `NAME_cloud.ply`, and
    if the model predicts them `NAME_uncertainty.png` (uint16, metres x 256, 0 invalid) and
    `NAME_normals.png` (red, green, blue for x, y, z; -1 is 0 and 1 is 255). `summary.json` is also
    returned. Maps that the model does not predict are not written. Unreadable images are reported
    and skipped.

    :param images: image files, or folders of them.
    :param out: output folder, created if missing.
    :param model: model folder or hub id; None is the default model.
    :param device: auto, cpu, cuda or cuda:N.
    :param half: run the network in the device's 16-bit format.
    :param fx: focal length in pixels of the images; square pixels, centred principal point.
    :param camera_info: calibration YAML as written by camera_calibration, instead of fx.
    :param rectify: rectify the images by camera_info first; the results are for the rectified
        images.
    :param max_depth: metres beyond which depth is invalid.
    :param cloud: also write the cloud as PLY.
    :param significant_bits: bits that the camera uses of 16-bit pixels, 1 to 16; 0 to infer them
        from the values, assuming that all images are from one camera.
    :param max_pixels: larger images are skipped; None is the size of an 8K camera image.
    :param mount: mount of the camera, for correcting the depth scale of each image by the ground
        in it; None for no correction.
    :param report: receives lines for the user.
    :param backend: auto, torch, cuda_graph, openvino or onnxruntime.
    :param precision: auto, float32, half or int8.
    :param rate: frames per second of the images, from which they get their stamps; None for 10.
    :param fuse: wraps the predictor, for results that are fused over consecutive images.
    :param surface_distance: metres; removes hanging points from the cloud, see `clean_depth`.
    :param max_uncertainty: share of the depth; removes uncertain points from the cloud.
    :raises FileNotFoundError: if there is no image.
    :raises ValueError: if the calibration or another argument is invalid.
    """
    if fx is not None and camera_info is not None:
        raise ValueError('give fx or camera_info, not both')
    if rectify and camera_info is None:
        raise ValueError('rectify needs camera_info, the calibration to rectify by, got none')
    if fx is not None and not (math.isfinite(fx) and fx > 0):
        raise ValueError(f'fx must be a positive number of pixels, got {fx}')
    calibration = None if camera_info is None else read_calibration(camera_info)
    rectifier = Rectifier() if rectify else None
    paths = find_images(images)
    predictor = Predictor(model, device, half, max_depth, backend, precision)
    if fuse is not None:
        predictor = fuse(predictor)
    missing = mount and missing_maps(predictor.available)
    if missing:
        raise ValueError(missing)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if fx is None and calibration is None:
        scaled = predictor.config.canonical_focal is not None
        report(
            f'warning: no calibration given (--fx or --camera-info): a horizontal field of view '
            f'of {ASSUMED_FIELD_OF_VIEW:g} degrees is assumed, '
            f'so the {"metres are" if scaled else "shape of the cloud is"} a guess')
    bit_depth = BitDepth(significant_bits, lambda text: report(f'{text} (--significant-bits)'))
    doubts = () if calibration is None else (
        distortion_doubt(calibration, rectify), contradictions(calibration))
    for doubt in filter(None, doubts):
        report(f'warning: {camera_info}: {doubt}')
    entries, failed = [], []
    for path, name, stamp in zip(paths, unique_names(paths), image_times(paths, rate)):
        try:
            frame = replace(read_frame(
                path, fx, calibration, bit_depth, max_pixels or MAX_PIXELS, rectifier),
                stamp=stamp)
        except (OSError, ValueError) as error:
            report(f'{path}: skipped: {error}')
            failed.append({'image': str(path), 'error': str(error)})
            continue
        start = time.perf_counter()
        prediction = predictor.predict(frame, predictor.available)
        scaled = correct_scale(prediction, frame, mount, predictor)
        seconds = time.perf_counter() - start
        files = write_prediction(frame, prediction, predictor.labels, out / name, cloud,
                                 surface_distance, max_uncertainty)
        entries.append({
            'image': str(path), 'seconds': round(seconds, 4), 'K': frame.K.tolist(),
            'files': files, **summarize(prediction, predictor.labels), **scaled})
        empty = missing_content(prediction)
        if empty:
            report(f'warning: {path}: {empty}')
        report(f'{path} -> {out / name}_*: {seconds:.2f} s' + ''.join(
            f', {key.replace("_", " ")}: {value}' for key, value in scaled.items()))
    if fuse is not None:
        report(predictor.progress())
    summary = {
        **predictor.describe(), 'intrinsics_assumed': fx is None and calibration is None,
        'rectified': rectify, 'mount': mount and asdict(mount),
        'label_space': predictor.labels.to_dict(), 'images': entries,
        'failed': failed}
    write_json(out / 'summary.json', summary)
    return summary


def correct_scale(
        prediction: Prediction, frame: Frame, mount: Mount | None, predictor: Predictor
        ) -> dict[str, Any]:
    """
    Correct the depth scale of one image by the ground in it, in place.

    :return: `mount_scale`, the factor, and `mount_doubt`, why the ground was rejected.
    """
    if mount is None:
        return {}
    scale = MountScale(mount, wheel_ground(predictor.labels))
    scale.correct(prediction, frame.K, predictor.max_depth)
    found = {'mount_scale': round(scale.factor, 4)}
    return {**found, 'mount_doubt': scale.doubt} if scale.doubt else found


def find_images(images: Sequence[str | Path]) -> list[Path]:
    """
    Return the image files; a folder stands for its images, as listed by `images_by_stem`.

    :raises FileNotFoundError: if a path does not exist, or a folder contains no image.
    """
    paths: list[Path] = []
    for path in map(Path, images):
        if not path.exists():
            raise FileNotFoundError(f'no image or folder {path}')
        found = [path]
        if path.is_dir():
            found = [*images_by_stem(path).values()]
        if not found:
            raise FileNotFoundError(f'no image ({", ".join(IMAGE_SUFFIXES)}) in {path}')
        paths += found
    return paths


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a result name for each image: its stem, numbered if images share it."""
    names: list[str] = []
    for path in paths:
        name, number = path.stem, 1
        while name in names:
            number += 1
            name = f'{path.stem}_{number}'
        names.append(name)
    return names


def read_frame(
        path: Path, fx: float | None, calibration: Calibration | None, bit_depth: BitDepth,
        max_pixels: int, rectifier: Rectifier | None = None) -> Frame:
    """
    Read an image upright, with its intrinsics in the same orientation, and rectify it.

    :param rectifier: None for images that need no rectification.
    :raises ValueError: if the image cannot be read, or the calibration is unusable or for another
        size.
    """
    image, orientation, stored = read_upright(path, bit_depth, max_pixels)
    if calibration is None:
        return Frame(image, intrinsics(image.shape[:2], fx))
    calibration = turn_calibration(calibration, stored, orientation)
    frame = Frame(image, calibration.intrinsics)
    return frame if rectifier is None else rectifier(frame, calibration)


def intrinsics(size: tuple[int, int], fx: float | None = None) -> np.ndarray:
    """
    Return the intrinsics of an image without calibration.

    :param size: height and width of the image.
    :param fx: focal length in pixels; None for `ASSUMED_FIELD_OF_VIEW`.
    """
    height, width = size
    if fx is None:
        fx = width / 2 / math.tan(math.radians(ASSUMED_FIELD_OF_VIEW) / 2)
    return np.array([[fx, 0, (width - 1) / 2], [0, fx, (height - 1) / 2], [0, 0, 1]], np.float64)


def write_prediction(
        frame: Frame, prediction: Prediction, space: LabelSpace, prefix: Path,
        cloud: bool = False, surface_distance: float = 0.0, max_uncertainty: float = 0.0
        ) -> list[str]:
    """
    Write all maps and pictures of one frame to files that start with a prefix.

    :return: names of the files.
    """
    pictures = {'panel': panel(frame, prediction, space)}
    if prediction.depth is not None:
        pictures['depth'] = encode_depth(prediction.depth)
    if prediction.uncertainty is not None:
        pictures['uncertainty'] = encode_depth(prediction.uncertainty)
    if prediction.normals is not None:
        pictures['normals'] = encode_normals(prediction.normals)
    if prediction.labels is not None:
        pictures['labels'] = prediction.labels
        pictures['color'] = space.colorize(prediction.labels)
    if prediction.depth is not None and prediction.labels is not None:
        pictures['cloud'] = cloud_view(frame, prediction, space)
    files = []
    for kind, picture in pictures.items():
        files.append(f'{prefix.name}_{kind}.png')
        bgr = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        write_image(prefix.parent / files[-1], bgr)
    if cloud and prediction.depth is not None:
        files.append(f'{prefix.name}_cloud.ply')
        cleaned = replace(prediction, depth=clean_depth(
            prediction.depth, frame.K, surface_distance, prediction.uncertainty, max_uncertainty))
        points = point_cloud(frame, cleaned, space, organized=False)
        write_ply(points, prefix.parent / files[-1])
    return files


def encode_depth(depth: np.ndarray) -> np.ndarray:
    """Return float32 (H, W) metres, NaN invalid, as KITTI's uint16: metres x 256, 0 invalid."""
    valid = np.isfinite(depth) & (depth > 0)
    coded = np.rint(np.where(valid, depth, 0) * DEPTH_SCALE).clip(valid, 65535)
    return coded.astype(np.uint16)


def encode_normals(normals: np.ndarray) -> np.ndarray:
    """Return float32 (H, W, 3) unit vectors as a uint8 RGB image; -1 is 0 and 1 is 255."""
    return np.rint((normals + 1) * 127.5).clip(0, 255).astype(np.uint8)


def write_ply(points: np.ndarray, path: Path) -> None:
    """
    Write a cloud as binary PLY with colour, label and confidence.

    :param points: (N,), dtype `pointcloud.POINT`.
    """
    vertices = np.empty(len(points), VERTEX)
    for name in ('x', 'y', 'z', 'label', 'confidence'):
        vertices[name] = points[name]
    for name, shift in (('red', 16), ('green', 8), ('blue', 0)):
        vertices[name] = points['rgb'] >> shift & 0xFF
    write_vertices(path, vertices)


def summarize(prediction: Prediction, space: LabelSpace) -> dict[str, Any]:
    """Return statistics of a prediction: depth in metres, and the fraction of each class."""
    summary: dict[str, Any] = {}
    if prediction.depth is not None:
        valid = prediction.depth[np.isfinite(prediction.depth)]
        summary['depth'] = {'valid': round(valid.size / prediction.depth.size, 4)}
        if valid.size:
            low, median, high = np.percentile(valid, [1, 50, 99])
            summary['depth'] |= {
                'p1': round(float(low), 3), 'median': round(float(median), 3),
                'p99': round(float(high), 3)}
    if prediction.labels is not None:
        shares = np.bincount(prediction.labels.ravel(), minlength=256) / prediction.labels.size
        summary['classes'] = {
            name: round(float(share), 4)
            for name, share in zip(space.names, shares) if share > 0}
    if prediction.confidence is not None:
        summary['mean_confidence'] = round(float(prediction.confidence.mean()), 4)
    return summary
