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

"""From a frame to a prediction at the camera's size, in metres, on whatever device there is."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np
from sync_perception.models import hub
from sync_perception.models.hub import PerceptionModel
from sync_perception.models.interface import present_maps
from sync_perception.resources import default_model_folder
from sync_perception.runtime.backends import (
    Backend,
    choose_backend,
    choose_device,
    probe,
)
from sync_perception.runtime.postprocess import classify, resize_map
from sync_perception.runtime.preprocess import normalise, resize_image, seen_size
from sync_perception.types import DenseOutput, Frame, Prediction
import torch
from torch import Tensor

OUTPUTS = ('depth', 'labels', 'confidence', 'uncertainty', 'normals')
DEFAULT_OUTPUTS = frozenset({'depth', 'labels', 'confidence'})
SOURCES = {
    'depth': ('depth',), 'labels': ('logits',), 'confidence': ('logits',),
    'uncertainty': ('depth', 'log_variance'), 'normals': ('normals',)}


class Predictor:
    """
    A model, ready for frames of any size and camera.

    One predictor serves one thread at a time. The first frame of a new size is slower: the
    network is prepared for it.

    :param model_folder: config.json and model.safetensors, or a hub id; None is the default model.
    :param device: auto, cpu, cuda or cuda:N.
    :param half: run the network in the device's 16-bit format, where it has one.
    :param max_depth: metres beyond which depth is NaN; None is the end of the model's range.
    :raises FileNotFoundError: if there is no such model.
    :raises ValueError: if the model is malformed, the device is not there, or max_depth is not
        positive.
    """

    def __init__(
            self, model_folder: str | Path | None = None, device: str = 'auto',
            half: bool = False, max_depth: float | None = None):
        folder = default_model_folder() if model_folder is None else model_folder
        target = choose_device(device)
        self._set_up(hub.load(folder, target), str(folder), half, max_depth)

    @classmethod
    def from_model(
            cls, model: PerceptionModel, half: bool = False,
            max_depth: float | None = None) -> Predictor:
        """Serve a model that is already in memory, on the device where it is."""
        predictor = cls.__new__(cls)
        predictor._set_up(model.eval(), type(model).__name__, half, max_depth)
        return predictor

    def _set_up(
            self, model: PerceptionModel, name: str, half: bool,
            max_depth: float | None) -> None:
        self.config = model.config
        self.max_depth = float(self.config.depth_range[1] if max_depth is None else max_depth)
        if not self.max_depth > 0:
            raise ValueError(f'max_depth must be positive metres, got {max_depth}')
        self.model_name = name
        self.labels = model.labels
        self.device = model.device
        self.infinite_ids = np.flatnonzero(self.labels.infinite).tolist()
        self.backend: Backend = choose_backend(model, half)
        given = present_maps(self.backend(probe(model)))
        self.available = frozenset(
            output for output, maps in SOURCES.items() if given.keys() >= set(maps))

    def describe(self) -> dict[str, Any]:
        """Say what runs where: model, architecture, device, precision, backend."""
        name = str(self.device)
        if self.device.type == 'cuda':
            name = f'{name} ({torch.cuda.get_device_name(self.device)})'
        return {
            'model': self.model_name, 'architecture': self.config.architecture, 'device': name,
            'precision': self.backend.precision, 'backend': self.backend.name}

    def predict(self, frame: Frame, outputs: Set[str] | None = None) -> Prediction:
        """
        Predict the maps that are asked for; the others are None and cost nothing.

        :param frame: of any size.
        :param outputs: a subset of `available`; None for depth, labels and confidence, as far as
            the model gives them.
        :raises ValueError: if an output is unknown or the model does not give it.
        """
        if outputs is None:
            outputs = DEFAULT_OUTPUTS & self.available
        missing = set(outputs) - self.available
        if missing:
            raise ValueError(
                f'{self.model_name} does not give {sorted(missing)}, only '
                f'{sorted(self.available)}')
        if not outputs:
            return Prediction()
        return self.finish(self.backend(self.prepare(frame)), frame, outputs)

    def prepare(self, frame: Frame) -> Tensor:
        """Turn a frame into the network's input: (1, 3, h, w) on the device, channels-last."""
        size = seen_size(self.config, frame.size)
        image = torch.from_numpy(np.ascontiguousarray(resize_image(frame.image, size)))
        if self.device.type == 'cuda':
            image = image.pin_memory().to(self.device, non_blocking=True)
        return normalise(image[None], self.config.mean, self.config.std)

    @torch.inference_mode()
    def finish(
            self, output: DenseOutput, frame: Frame,
            outputs: Set[str] | None = None) -> Prediction:
        """
        Bring a network's output back to the camera: its size, its focal length, NaN, numpy.

        :param output: of `backend` for `prepare(frame)`.
        :param outputs: what to compute, as for `predict`.
        """
        if outputs is None:
            outputs = DEFAULT_OUTPUTS & self.available
        size = frame.size
        maps: dict[str, Tensor] = {}
        depth = labels = None
        if output.logits is not None and outputs & {'labels', 'confidence', 'depth'}:
            labels, maps['confidence'] = classify(output.logits, size)
            maps['labels'] = labels
        if outputs & {'depth', 'uncertainty'}:
            depth = resize_map(output.depth * self.metric_scale(frame), size)[0, 0]
            maps['depth'] = self._mask(depth, labels)
        if 'uncertainty' in outputs:
            deviation = resize_map(output.log_variance, size)[0, 0].mul(0.5).exp()
            maps['uncertainty'] = deviation * depth
        if 'normals' in outputs:
            normals = resize_map(output.normals, size)[0].permute(1, 2, 0)
            maps['normals'] = torch.nn.functional.normalize(normals, dim=-1)
        return Prediction(**{name: _to_numpy(maps[name]) for name in outputs})

    def metric_scale(self, frame: Frame) -> float:
        """
        Return metres per canonical metre: f / f_canonical at the network's input size.

        f is the horizontal focal length, scaled as the width is. It is 1 for a network that gives
        metres whatever the camera.
        """
        if self.config.canonical_focal is None:
            return 1.0
        width = seen_size(self.config, frame.size)[1]
        return float(frame.K[0, 0]) * width / frame.size[1] / self.config.canonical_focal

    def _mask(self, depth: Tensor, labels: Tensor | None) -> Tensor:
        """Write NaN where there is no surface within range; in place."""
        invalid = ~((depth > 0) & (depth <= self.max_depth))
        if labels is not None:
            for index in self.infinite_ids:
                invalid |= labels == index
        return depth.masked_fill_(invalid, float('nan'))


def _to_numpy(tensor: Tensor) -> np.ndarray:
    """Bring a map to the host, as an array of its own."""
    return tensor.contiguous().cpu().numpy()
