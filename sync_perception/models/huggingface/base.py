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


"""Base class and loading of branches whose networks come from the transformers library."""

from __future__ import annotations

from collections.abc import Sequence
import json
import logging
import os
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from sync_perception.files.checks import mapping
from sync_perception.files.whole_files import read_json
from sync_perception.models.interface import IMAGENET_NORMALISATION, without_pretrained
from sync_perception.models.resizing import resize_bilinear
from sync_perception.models.storage.hub_files import find_file
from sync_perception.models.sync import Branch
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, PretrainedConfig, PreTrainedModel

LOGGER = logging.getLogger(__name__)

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
HALF: Normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
UNCHANGED: Normalisation = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

# defaults of the library's image processors, for folders without preprocessor_config.json
NORMALISATIONS = {'glpn': UNCHANGED, 'dpt': HALF, 'zoedepth': HALF, 'tipsv2_dpt': UNCHANGED}

# suffixes of a task's class names in `architectures`
TASKS = {
    'depth': ('ForDepthEstimation',),
    'segmentation': ('ForSemanticSegmentation', 'ForUniversalSegmentation'),
    'joint': ('ForDensePrediction',),
}

# config entries that do not describe the network
IRRELEVANT = {
    '_name_or_path', 'architectures', 'chunk_size_feed_forward', 'dtype', 'id2label',
    'is_encoder_decoder', 'label2id', 'output_attentions', 'output_hidden_states', 'problem_type',
    'return_dict', 'torch_dtype', 'transformers_version'}


class TransformersBranch(Branch):
    """
    A branch whose network comes from the transformers library.

    A subclass calls `load_transformer`, stores the pretrained feature extractor as `encoder` and
    the rest under other names (`decoder`), and sets `config` and `normalisation`.

    :ivar config: the library's config of the network, in plain types.
    """

    config: dict[str, Any]
    normalisation: Normalisation

    def resolved_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with explicit config and normalisation instead of a source."""
        mean, std = self.normalisation
        return {
            **without_pretrained(arguments),
            'config': self.config, 'mean': list(mean), 'std': list(std)}


def load_transformer(
        auto_model: type, task: str | None, config: dict[str, Any] | None, pretrained: str | None,
        fresh: Sequence[str] = (), **changes: Any) -> PreTrainedModel:
    """
    Build a model of the library, with random weights or with those of a folder or hub id.

    :param auto_model: the library's class for the task, such as AutoModelForDepthEstimation, or
        for one model type.
    :param task: task that the weights must have been trained for, a key of TASKS; None for any.
    :param config: the library's config, with its model_type; exclusive with pretrained.
    :param pretrained: folder or hub id with config.json and safetensors weights; environment
        variables are expanded.
    :param fresh: name prefixes of weights that are initialised randomly if they do not fit.
    :param changes: entries that replace those of the config, such as num_labels.
    :return: the model in float32.
    :raises ValueError: unless exactly one source is given, of this task, whose weights fit.
    :raises FileNotFoundError: if the model does not exist or has no safetensors weights.
    :raises ConnectionError: if the model is on the hub, which cannot be reached.
    """
    check_source(config, pretrained)
    if pretrained is not None:
        model = read_transformer(auto_model, task, expand(pretrained), fresh, **changes)
    elif issubclass(auto_model, PreTrainedModel):
        model = auto_model(to_config(config, **changes)).float()
    else:
        model = auto_model.from_config(to_config(config, **changes), dtype=torch.float32)
    for part in model.modules():
        if isinstance(part, PreTrainedModel):
            part.loss_function = None  # tracing reads every property, and this one would warn
    return model


def read_transformer(
        auto_model: type, task: str | None, source: str, fresh: Sequence[str], **changes: Any
        ) -> PreTrainedModel:
    """Build a model with the weights of a folder or hub id; see load_transformer."""
    description = read_library_config(source)
    if task is not None:
        check_task(description, task, source)
    try:
        model, report = auto_model.from_pretrained(
            source, config=to_config(description, **changes), dtype=torch.float32,
            use_safetensors=True, trust_remote_code=False, ignore_mismatched_sizes=True,
            output_loading_info=True)
    except (OSError, SafetensorError) as error:
        raise FileNotFoundError(
            f'{source}: expected weights as safetensors, since pickles are never read, and found '
            f'none that can be: {error}') from error
    absent = sorted({*report['missing_keys'], *(name for name, *_ in report['mismatched_keys'])})
    foreign = [name for name in absent if not name.startswith(tuple(fresh))]
    if foreign:
        raise ValueError(
            f'{source}: the weights do not fit its config.json: {len(foreign)} weights of the '
            f'model are missing or have another shape, the first is {foreign[0]}')
    if absent:
        LOGGER.warning('%s: fresh weights for %s', source, ', '.join(absent))
    return model


def check_source(config: dict[str, Any] | None, pretrained: str | None) -> None:
    """
    Check that a model has exactly one source.

    :raises ValueError: unless exactly one is given.
    """
    if (config is None) == (pretrained is None):
        raise ValueError(
            f'expected either config or pretrained, got config {config}, pretrained {pretrained}')


def to_config(description: dict[str, Any], **changes: Any) -> PretrainedConfig:
    """
    Return the library's config object of a description in plain types.

    :raises ValueError: if the model_type is unknown or the library rejects an entry.
    """
    kind = description.get('model_type')
    if kind not in CONFIG_MAPPING:
        raise ValueError(f'the transformers library knows no model_type {kind!r}')
    try:
        return CONFIG_MAPPING[kind].from_dict({**description, **changes})
    except (StrictDataclassError, TypeError, KeyError) as error:
        raise ValueError(f'no config of a {kind!r} model: {error}') from error


def plain_config(config: PretrainedConfig) -> dict[str, Any]:
    """Return a config in plain types, without the entries that do not describe the network."""
    def strip(values: Any) -> Any:
        if isinstance(values, dict):
            return {key: strip(entry) for key, entry in values.items() if key not in IRRELEVANT}
        return values

    return strip(json.loads(config.to_json_string(use_diff=False)))


def expand(source: str) -> str:
    """Expand the environment variables and the home folder of a path."""
    return os.path.expanduser(os.path.expandvars(str(source)))


def read_library_config(source: str) -> dict[str, Any]:
    """
    Read the library's config.json of a folder or hub id.

    :raises FileNotFoundError: if there is none.
    :raises ConnectionError: if it is to come from the hub, which cannot be reached.
    :raises ValueError: if it is not a model of the transformers library.
    """
    description = read_model_file(source, 'config.json')
    if description is None:
        raise FileNotFoundError(f'{source}: no config.json')
    if 'model_type' not in description:
        raise ValueError(f'{source}: its config.json has no model_type, so it is not a model of '
                         'the transformers library')
    return description


def read_normalisation(source: str | None, model_type: str) -> Normalisation:
    """
    Read the normalisation of a model's images, for images in [0, 1].

    :param source: folder or hub id, whose preprocessor_config.json is read; without one, the
        library's default for the model type applies.
    :param model_type: the library's name of the model type.
    :return: mean and std per channel.
    """
    processor = None if source is None else read_model_file(source, 'preprocessor_config.json')
    processor = processor or {}
    mean, std = NORMALISATIONS.get(model_type, IMAGENET_NORMALISATION)
    normalises = (mean, std) != UNCHANGED or 'image_mean' in processor
    if processor.get('do_normalize', normalises):
        mean = per_channel(processor.get('image_mean', mean))
        std = per_channel(processor.get('image_std', std))
    else:
        mean, std = UNCHANGED
    # value that the processor gives a white pixel
    white = 255 * processor.get('rescale_factor', 1 / 255) \
        if processor.get('do_rescale', True) else 255
    if abs(white - 1) < 1e-6:
        return mean, std
    return tuple(m / white for m in mean), tuple(s / white for s in std)


def per_channel(values: float | Sequence[float]) -> tuple[float, ...]:
    """Return one value per channel, repeating a single number."""
    return (values,) * 3 if isinstance(values, (int, float)) else tuple(values)


def choose_normalisation(
        mean: Sequence[float] | None, std: Sequence[float] | None, pretrained: str | None,
        model_type: str) -> Normalisation:
    """
    Return the normalisation that the arguments give, else that of the pretrained model.

    :raises ValueError: if only one of mean and std is given.
    """
    if (mean is None) != (std is None):
        raise ValueError(f'expected mean and std or neither, got mean {mean}, std {std}')
    if mean is not None and std is not None:
        return tuple(mean), tuple(std)
    return read_normalisation(None if pretrained is None else expand(pretrained), model_type)


def check_task(description: dict[str, Any], expected: str, source: str) -> None:
    """
    Check that a model was trained for the expected task.

    :param description: the library's config.json.
    :param expected: a key of TASKS.
    :param source: the model's source, for the message.
    :raises ValueError: naming the model's actual task.
    """
    names = description.get('architectures') or []
    if not names or any(name.endswith(TASKS[expected]) for name in names):
        return
    found = next(
        (f'a {task} model' for task, endings in TASKS.items() if names[0].endswith(endings)),
        f'a {names[0]}')
    raise ValueError(f'{source} is {found} ({names[0]}), expected a {expected} model')


def read_model_file(source: str, name: str) -> dict[str, Any] | None:
    """
    Read a JSON file of a folder or hub id.

    :return: its content; None if the model has no such file.
    :raises FileNotFoundError: if there is no such folder or model.
    :raises ConnectionError: if the hub cannot be reached.
    :raises ValueError: if the file is not JSON.
    """
    path = find_file(source, name)
    if path is None:
        return None
    description = read_json(path)
    mapping(description, str(path))
    return description


def to_multiple(image_b3hw: Tensor, multiple: int) -> Tensor:
    """
    Resize images to the nearest multiple of a model's patch size.

    :param image_b3hw: (B, 3, h, w).
    :param multiple: divisor of both sides of the result, which are at least this.
    :return: the images, bilinearly resized, with the same field of view.
    """
    size = [max(1, round(int(side) / multiple)) * multiple for side in image_b3hw.shape[-2:]]
    if size == list(image_b3hw.shape[-2:]):
        return image_b3hw
    return resize_bilinear(image_b3hw, size)
