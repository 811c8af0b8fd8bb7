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

"""Predictor: from a frame to metric depth and labels at the camera's size, on any device."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence, Set
from dataclasses import replace
import logging
from pathlib import Path
from typing import Any

import numpy as np
from sync_perception.files.checks import first_line
from sync_perception.geometry import centred_pinhole
from sync_perception.models import hub
from sync_perception.models.interface import check_maps
from sync_perception.models.network_input import (
    camera_scale,
    in_pixels,
    input_size_of,
    normalise,
    resize_image,
    unusual_focal,
)
from sync_perception.resources import model_source
from sync_perception.runtime.backends import (
    Backend,
    BackendError,
    check_backend,
    check_precision,
    choose_backend,
    choose_device,
    openvino_device,
    probe_image,
)
from sync_perception.runtime.memory import (
    cause_of,
    free_memory,
    is_out_of_memory,
    memory_of,
    OutOfMemoryError,
    trim_heap,
)
from sync_perception.runtime.postprocess import classify, depth_deviation, mask_depth, resize_map
from sync_perception.runtime.transfer import to_host, Upload
from sync_perception.types import DenseOutput, Frame, Prediction
import torch
from torch import Tensor

LOGGER = logging.getLogger(__name__)
RECENT_SIZES = 8  # number of recent sizes; a frame of another size trims the heap
DEFAULT_OUTPUTS = frozenset({'depth', 'labels', 'confidence'})
MAPS_NEEDED = {
    'depth': ('depth',), 'labels': ('logits',), 'confidence': ('logits',),
    'uncertainty': ('depth', 'log_variance'), 'normals': ('normals',)}


class Predictor:
    """
    Model for inference on frames of any size and camera.

    A predictor serves one thread at a time. The first frame of a new size is slower, because the
    network is prepared for it.

    If the device runs out of memory, frames of a batch are processed one by one from then on. If a
    single frame does not fit either, the input area of the network is halved once and for all.

    :param model_folder: config.json and model.safetensors, a hub id, or the name of a shipped
        model; None is the default model.
    :param device: auto, cpu, cuda, cuda:N, openvino:GPU or openvino:NPU.
    :param half: selects the precision `half` if `precision` is auto.
    :param max_depth: metres beyond which depth is NaN; None is the end of the model's range.
    :param backend: torch, cuda_graph, openvino, onnxruntime, or auto for the fastest that agrees
        with torch.
    :param precision: float32; half for the device's 16-bit format, if it has one; int8 for the
        8-bit graph in the model's folder; auto for int8 if the model has such a graph and the
        processor is faster with it, otherwise float32.
    :raises FileNotFoundError: if there is no such model.
    :raises ValueError: if the model is malformed, the device or the backend is not available or
        cannot run the model, or max_depth is not positive.
    :ivar reduced: warning that the network's input was made smaller to save memory; otherwise ''.
    """

    def __init__(
            self, model_folder: str | Path | None = None, device: str = 'auto',
            half: bool = False, max_depth: float | None = None, backend: str = 'auto',
            precision: str = 'auto'):
        folder = model_source(model_folder)
        check_backend(backend)
        precision = 'half' if half and precision == 'auto' else precision
        check_precision(precision)
        model = hub.load(folder, choose_device(device))
        self.config = model.config
        self.reduced, self.one_by_one = '', False
        self.warm: set[tuple[int, int]] = set()
        self.recent_sizes: deque[tuple[int, int]] = deque(maxlen=RECENT_SIZES)
        self.max_depth = float(self.config.depth_range[1] if max_depth is None else max_depth)
        if not self.max_depth > 0:
            raise ValueError(f'max_depth must be positive metres, got {max_depth}')
        self.model_name = str(folder)
        self.labels = model.labels
        self.device = model.device
        self.infinite_ids = np.flatnonzero(self.labels.infinite).tolist()
        self.upload = Upload(self.device)
        image = probe_image(model)
        try:
            self.backend: Backend = choose_backend(
                model, precision, backend, openvino_device(device), self.model_name)
            given = self.backend(image).maps()
            check_maps(given, image, len(self.labels))
        except Exception as error:  # each library has its own exceptions
            if is_out_of_memory(error) or isinstance(error, BackendError):
                raise
            raise ValueError(f'{self.model_name} gives no valid output for an image: '
                             f'{first_line(error)}') from error
        self.available = frozenset(
            output for output, maps in MAPS_NEEDED.items() if given.keys() >= set(maps))

    def describe(self) -> dict[str, Any]:
        """Return the model, architecture, device, precision and backend."""
        name = self.backend.place()
        if self.device.type == 'cuda':
            name = f'{name} ({torch.cuda.get_device_name(self.device)})'
        return {
            'model': self.model_name, 'architecture': self.config.architecture, 'device': name,
            'precision': self.backend.precision, 'backend': self.backend.name}

    @property
    def relative(self) -> str:
        """Return a warning if depth is not metric, since training had no metric data; else ''."""
        return '' if self.config.metric else (
            'depth is relative: its unit and the scale of the cloud are unknown, because the '
            'training had no true depth, stereo pairs, poses or camera height')

    @property
    def takes_batches(self) -> bool:
        """Whether several frames are faster together than one by one."""
        return self.backend.batches and not self.one_by_one

    def memory(self) -> dict[str, str]:
        """Return the use of the GPU's memory; empty on a CPU."""
        return memory_of(self.device)

    def warm_up(self, size: tuple[int, int]) -> bool:
        """
        Prepare for images of a size, so that the first of them is as fast as the others.

        :param size: height and width of the images.
        :return: whether preparation was needed.
        :raises OutOfMemoryError: as `predict`.
        """
        input_size = input_size_of(self.config, size)
        if input_size in self.warm:
            return False
        K = centred_pinhole(max(size), size)
        self.predict(Frame(np.zeros((*size, 3), np.uint8), K), self.available)
        self.warm.add(input_size)
        return True

    def predict(self, frame: Frame, outputs: Set[str] | None = None) -> Prediction:
        """
        Return the requested maps of a frame; the others are None and cost nothing.

        :param frame: frame of any size.
        :param outputs: a subset of `available`; None for depth, labels and confidence, if the
            model provides them.
        :raises ValueError: if an output is unknown, or the model does not provide it.
        :raises OutOfMemoryError: if the device's memory is too small even for a smaller network
            input.
        """
        return self.predict_batch([frame], outputs)[0]

    def predict_batch(
            self, frames: Sequence[Frame],
            outputs: Set[str] | Sequence[Set[str] | None] | None = None) -> list[Prediction]:
        """
        Return the predictions of several frames; those of one network input size are batched.

        The results are the same as those of single calls. If the backend does not benefit from
        batches or does not support them, the frames are processed one by one.

        :param frames: frames of any sizes and cameras.
        :param outputs: as for `predict`, for all frames, or a sequence with one set per frame.
        :return: predictions in the order of the frames.
        :raises ValueError: if an output is unknown, the model does not provide it, or the number
            of sets differs from the number of frames.
        :raises OutOfMemoryError: as `predict`.
        """
        wanted = self._wanted(outputs, len(frames))
        predictions = [Prediction()] * len(frames)
        waiting = [index for index, names in enumerate(wanted) if names]
        config, input_sizes = self.config, self._input_sizes(frames)
        while waiting:
            if config is not self.config:  # memory ran out, and the input sizes were reduced
                config, input_sizes = self.config, self._input_sizes(frames)
            size = input_sizes[waiting[0]]
            group = [index for index in waiting if input_sizes[index] == size]
            group = group if self.takes_batches else group[:1]
            found = self._predict_or_shrink(
                [frames[index] for index in group], [wanted[index] for index in group], size)
            for index, prediction in zip(group, found):
                predictions[index] = prediction
                waiting.remove(index)
            self._note_size(size)
        return predictions

    def _input_sizes(self, frames: Sequence[Frame]) -> list[tuple[int, int]]:
        """Return the network input size of each frame."""
        return [input_size_of(self.config, frame.size) for frame in frames]

    def _note_size(self, size: tuple[int, int]) -> None:
        """
        Release freed heap memory on a CPU when images have a new size.

        Buffers of many sizes fragment the heap, so the process would grow with each new size.
        """
        if size not in self.recent_sizes:
            self.recent_sizes.append(size)
            if self.device.type == 'cpu':
                trim_heap()

    def prepare(self, *frames: Frame) -> Tensor:
        """
        Return the network's input for frames: (B, 3, h, w) on the device, channels-last.

        :param frames: frames with the same network input size.
        """
        return self._prepare(frames, input_size_of(self.config, frames[0].size))

    def _prepare(self, frames: Sequence[Frame], input_size: tuple[int, int]) -> Tensor:
        batch = self.upload([resize_image(frame.image, input_size) for frame in frames])
        return normalise(batch, self.config.mean, self.config.std)

    def finish(
            self, output: DenseOutput, frame: Frame,
            outputs: Set[str] | None = None) -> Prediction:
        """
        Convert a network's output to a prediction at the camera's size, in metres.

        :param output: output of `backend` for `prepare(frame)`.
        :param outputs: what to compute, as for `predict`.
        """
        [wanted] = self._wanted(outputs, 1)
        return self._finish(output, [frame], [wanted], input_size_of(self.config, frame.size))[0]

    def _wanted(
            self, outputs: Set[str] | Sequence[Set[str] | None] | None, count: int
            ) -> list[Set[str]]:
        """Return the requested outputs of each frame, checked against those of the model."""
        each = [outputs] * count if outputs is None or isinstance(outputs, Set) else list(outputs)
        if len(each) != count:
            raise ValueError(f'got the outputs of {len(each)} frames, expected those of {count}')
        each = [DEFAULT_OUTPUTS & self.available if names is None else names for names in each]
        missing = set().union(*each) - self.available
        if missing:
            raise ValueError(
                f'{self.model_name} does not give {sorted(missing)}, only '
                f'{sorted(self.available)}')
        return each

    def _predict_or_shrink(
            self, frames: Sequence[Frame], wanted: Sequence[Set[str]], input_size: tuple[int, int]
            ) -> list[Prediction]:
        """
        Predict frames of one network input size, with the out-of-memory handling of the class.

        :param input_size: height and width of the network's input.
        """
        try:
            return self._predict(frames, wanted, input_size)
        except Exception as error:  # each library has its own exception
            if not is_out_of_memory(error):
                raise
            cause = cause_of(error)
        # outside of the except clause, since the error refers to the maps of the failed call
        free_memory(self.device)
        if len(frames) == 1:
            return [self._predict_smaller(frames[0], wanted[0], input_size, cause)]
        self.one_by_one = True
        LOGGER.warning(
            '%s ran out of memory with a batch of %d frames: from now on they are processed one '
            'by one',
            self.device, len(frames))
        found = []
        for frame, names in zip(frames, wanted):
            # an earlier frame may have run out of memory again, which reduces the size
            own = input_size_of(self.config, frame.size)
            found += self._predict_or_shrink([frame], [names], own)
        return found

    def _predict_smaller(
            self, frame: Frame, wanted: Set[str], size: tuple[int, int], cause: str) -> Prediction:
        """
        Predict with half the network's input area, and keep this area if memory suffices.

        :param size: height and width of the network input that was too large.
        """
        full = self.config
        half = replace(full, input_pixels=size[0] * size[1] // 2)
        smaller = input_size_of(half, frame.size)
        trouble = f'{self.device} ran out of memory with the network at {in_pixels(size)} pixels'
        advice = (
            'free memory there, choose a smaller model or another device, or half precision (now '
            f'it is {self.backend.precision}); {cause}')
        if self.reduced or smaller == size:
            reason = 'already made smaller' if self.reduced else 'which this model cannot change'
            raise OutOfMemoryError(f'{trouble}, {reason}: {advice}')
        self.config = half
        try:
            [prediction] = self._predict([frame], [wanted], smaller)
        except Exception as error:
            self.config = full
            if not is_out_of_memory(error):
                raise
        else:
            self.reduced = f'{trouble}: from now on it runs at {in_pixels(smaller)}'
            LOGGER.warning(self.reduced)
            return prediction
        free_memory(self.device)
        raise OutOfMemoryError(f'{trouble}, and again at {in_pixels(smaller)}: {advice}')

    def _predict(
            self, frames: Sequence[Frame], wanted: Sequence[Set[str]], input_size: tuple[int, int]
            ) -> list[Prediction]:
        """Predict frames of one network input size in one call."""
        output = self.backend(self._prepare(frames, input_size))
        return self._finish(output, frames, wanted, input_size)

    @torch.inference_mode()
    def _finish(
            self, output: DenseOutput, frames: Sequence[Frame], wanted: Sequence[Set[str]],
            input_size: tuple[int, int]) -> list[Prediction]:
        """Convert the network's output for some frames to predictions at their cameras' sizes."""
        found = [
            self._camera_maps(output.sample(index), frame, names, input_size)
            for index, (frame, names) in enumerate(zip(frames, wanted))]
        return [Prediction(**own).blank(frame.void)
                for own, frame in zip(to_host(found), frames)]

    def _camera_maps(
            self, output: DenseOutput, frame: Frame, wanted: Set[str], input_size: tuple[int, int]
            ) -> dict[str, Tensor]:
        """
        Return the requested maps of one frame at its camera's size, on the device.

        :param output: network output with a batch size of 1.
        :param input_size: height and width of the network's input.
        """
        size = frame.size
        maps: dict[str, Tensor] = {}
        labels = None
        masked = wanted & {'depth', 'uncertainty'}
        if output.logits is not None and (
                wanted & {'labels', 'confidence'} or (masked and self.infinite_ids)):
            labels, maps['confidence'] = classify(output.logits, size)
            maps['labels'] = labels
        if masked:
            scale = camera_scale(self.config, frame.K, size, input_size)
            depth = resize_map(output.depth, size, scale)[0, 0]
            maps['depth'] = mask_depth(depth, labels, self.infinite_ids, self.max_depth)
        if 'uncertainty' in wanted:
            maps['uncertainty'] = depth_deviation(output.log_variance, maps['depth'])
        if 'normals' in wanted:
            normals = resize_map(output.normals, size)[0].permute(1, 2, 0)
            maps['normals'] = torch.nn.functional.normalize(normals, dim=-1)
        return {name: maps[name] for name in wanted}

    def focal_problem(self, frame: Frame) -> str:
        """Return a warning if the focal length is outside the training range; otherwise ''."""
        return unusual_focal(self.config, frame.K, frame.size) if (
            'depth' in self.available) else ''
