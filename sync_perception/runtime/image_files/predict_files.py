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

"""`sync_perception predict`: prediction of image files; writes pictures, raw maps and clouds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
import time
from typing import Any

from sync_perception.files.whole_files import write_json
from sync_perception.images.bit_depth import BitDepth
from sync_perception.images.frame_times import image_times
from sync_perception.images.headers import MAX_PIXELS
from sync_perception.runtime.content import missing_content
from sync_perception.runtime.image_files.image_reader import (
    ASSUMED_FIELD_OF_VIEW,
    CameraOptions,
    find_images,
    ImageReader,
)
from sync_perception.runtime.image_files.result_files import (
    CloudOptions,
    summarize_prediction,
    write_prediction,
)
from sync_perception.runtime.mount_scale import correct_scale, missing_maps, Mount
from sync_perception.runtime.predictor import Predictor
from sync_perception.runtime.predictor_options import PredictorOptions
from sync_perception.types import Frame


@dataclass(frozen=True)
class PredictFilesOptions:
    """
    Options of `predict_files`.

    :param predictor: which model to run, and how.
    :param camera: camera of the images.
    :param cloud: options of the clouds, which are also written as PLY; None to write none.
    :param significant_bits: bits that the camera uses of 16-bit pixels, 1 to 16; 0 to infer them
        from the values, assuming that all images are from one camera.
    :param max_pixels: larger images are skipped; None is the size of an 8K camera image.
    :param mount: mount of the camera, for correcting the depth scale of each image by the ground
        in it; None for no correction.
    """

    predictor: PredictorOptions = PredictorOptions()
    camera: CameraOptions = CameraOptions()
    cloud: CloudOptions | None = None
    significant_bits: int = 0
    max_pixels: int | None = None
    mount: Mount | None = None


def predict_files(
        images: Sequence[str | Path], out: str | Path,
        options: PredictFilesOptions = PredictFilesOptions(),
        report: Callable[[str], None] = print,
        fuse: Callable[[Predictor], Any] | None = None) -> dict[str, Any]:
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
    :param options: model, camera and results.
    :param report: receives lines for the user.
    :param fuse: wraps the predictor, for results that are fused over consecutive images.
    :raises FileNotFoundError: if there is no image.
    :raises ValueError: if the calibration or another option is invalid.
    """
    reader = ImageReader(
        options.camera, BitDepth(options.significant_bits, lambda text: report(
            f'{text} (--significant-bits)')), options.max_pixels or MAX_PIXELS)
    paths = find_images(images)
    predictor = options.predictor.load()
    if fuse is not None:
        predictor = fuse(predictor)
    missing = options.mount and missing_maps(predictor.available)
    if missing:
        raise ValueError(missing)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for warning in camera_warnings(reader, predictor):
        report(f'warning: {warning}')
    entries, failed = [], []
    for path, name, stamp in zip(paths, unique_names(paths), image_times(
            paths, options.camera.rate)):
        try:
            frame = reader.read(path, stamp)
        except (OSError, ValueError) as error:
            report(f'{path}: skipped: {error}')
            failed.append({'image': str(path), 'error': str(error)})
        else:
            entries.append(predict_image(path, frame, predictor, out / name, options, report))
    if fuse is not None:
        report(predictor.progress())
    summary = {
        **predictor.describe(), 'intrinsics_assumed': options.camera.unknown,
        'rectified': options.camera.rectify, 'mount': options.mount and asdict(options.mount),
        'label_space': predictor.labels.to_dict(), 'images': entries, 'failed': failed}
    write_json(out / 'summary.json', summary)
    return summary


def camera_warnings(reader: ImageReader, predictor: Predictor) -> Iterator[str]:
    """Yield warnings about unknown intrinsics or a calibration."""
    camera = reader.camera
    if camera.unknown:
        scaled = predictor.config.canonical_focal is not None
        yield (f'no calibration given (--fx or --camera-info): a horizontal field of view '
               f'of {ASSUMED_FIELD_OF_VIEW:g} degrees is assumed, '
               f'so the {"metres are" if scaled else "shape of the cloud is"} a guess')
    for warning in reader.warnings():
        yield f'{camera.camera_info}: {warning}'


def predict_image(
        path: Path, frame: Frame, predictor: Predictor, prefix: Path,
        options: PredictFilesOptions, report: Callable[[str], None]) -> dict[str, Any]:
    """
    Predict one image, write its files and report it.

    :param prefix: folder and start of the names of the files.
    :return: the image's entry in the summary.
    """
    start = time.perf_counter()
    prediction = predictor.predict(frame, predictor.available)
    scaled = correct_scale(prediction, frame, options.mount, predictor)
    seconds = time.perf_counter() - start
    far = min(80.0, predictor.max_depth / 2)  # few points are in the far half of the range
    files = write_prediction(frame, prediction, predictor.labels, prefix, options.cloud, far)
    empty = missing_content(prediction)
    if empty:
        report(f'warning: {path}: {empty}')
    report(f'{path} -> {prefix}_*: {seconds:.2f} s' + ''.join(
        f', {key.replace("_", " ")}: {value}' for key, value in scaled.items()))
    return {'image': str(path), 'seconds': round(seconds, 4), 'K': frame.K.tolist(),
            'files': files, **summarize_prediction(prediction, predictor.labels), **scaled}


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
