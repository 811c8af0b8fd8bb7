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
Pairs of pretrained models, named by one string: `depth-anything-v2-small+segformer-b0`.

The name is a depth model, a + and a segmentation model; each is a short name of the tables below,
a hub id (owner/name) or a local folder. The pair is neither trained nor coupled: it returns the
depth of the one and the labels of the other. A relative depth model needs a scale (metres times
the unit of its inverse depth) after an @, optionally a shift after a comma
(`Intel/dpt-large@3000,0.5+segformer-b0`: depth = 3000 / (raw + 0.5)). A metric model whose config
does not state this needs `@metric`.

A joint model is named alone: `tipsv2-b14`, or its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TYPE_CHECKING

from sync_perception.files.whole_files import read_json
from sync_perception.labels import LabelSpace, PIVOT, VOID
from sync_perception.models.config import ModelConfig

if TYPE_CHECKING:
    from transformers import PretrainedConfig

DEPTH_MODELS = {
    **{f'depth-anything-v2-{size.lower()}':
       f'depth-anything/Depth-Anything-V2-Metric-Outdoor-{size}-hf'
       for size in ('Small', 'Base', 'Large')},
    **{f'depth-anything-v2-indoor-{size.lower()}':
       f'depth-anything/Depth-Anything-V2-Metric-Indoor-{size}-hf'
       for size in ('Small', 'Base', 'Large')},
    'dpt-large': 'Intel/dpt-large',
    'glpn-kitti': 'vinvino02/glpn-kitti',
    'glpn-nyu': 'vinvino02/glpn-nyu',
    'zoedepth-kitti': 'Intel/zoedepth-kitti',
    'zoedepth-nyu': 'Intel/zoedepth-nyu',
}
SEGMENTATION_MODELS = {
    **{f'segformer-b{size}': f'nvidia/segformer-b{size}-finetuned-cityscapes-1024-1024'
       for size in range(6)},
    'mask2former-swin-small': 'facebook/mask2former-swin-small-cityscapes-semantic',
    'mask2former-swin-large': 'facebook/mask2former-swin-large-cityscapes-semantic',
    'eomt-large': 'tue-mps/cityscapes_semantic_eomt_large_1024',
}
JOINT_MODELS = {f'tipsv2-{size}': f'google/tipsv2-{size}-dpt' for size in ('b14', 'l14', 'g14')}
SHORT_NAMES = {
    'depth': DEPTH_MODELS, 'segmentation': SEGMENTATION_MODELS, 'joint': JOINT_MODELS}

# Area of a 16:9 image whose shorter side is that of the depth model's own image processor; for
# GLPN, of a KITTI image. Segmentation models take any size, and miss small objects at smaller
# ones.
INPUT_PIXELS = {
    'depth_anything': 518 * 924,
    'dpt': 384 * 683,
    'zoedepth': 384 * 683,
    'glpn': 352 * 1216,
    'tipsv2_dpt': 448 * 796,
}
NEAREST = 0.1  # metres
FARTHEST = 200.0  # metres, for a model whose config does not state it


def names_pretrained(model: str | Path) -> bool:
    """
    Return whether a model name refers to pretrained models of the transformers library.

    An existing folder is never a pair, even with a + in its name: its config.json decides.
    """
    if not Path(model).is_dir():
        return '+' in str(model) or str(model) in JOINT_MODELS
    path = Path(model) / 'config.json'
    if not path.is_file():  # reading a pipe would block for ever
        return False
    try:
        description = read_json(path)
    except (OSError, ValueError):
        return False  # the reader of the file reports the error
    return isinstance(description, dict) and 'model_type' in description


def read_pretrained(name: str) -> ModelConfig:
    """
    Return the config of a pair of pretrained models, or of a joint one.

    Only the models' own configs are read; the config's arguments name the source of the weights.

    :param name: names of one or two models, as in the module's docstring.
    :raises ValueError: if a name is unknown, a model is for another task, its depth is relative,
        or it has too many classes.
    :raises FileNotFoundError: if a model is not there.
    :raises ConnectionError: if a model is to come from the hub, which cannot be reached.
    """
    if '+' in name and not Path(name).is_dir():
        return read_pair(name)
    return read_joint(name)


def read_joint(name: str) -> ModelConfig:
    """Return the config of a joint model."""
    from sync_perception.models.huggingface import base, joint  # slow, optional
    source = find_source(name, 'joint')
    description = base.read_library_config(source)
    if description['model_type'] not in joint.JOINT_TYPES:
        raise ValueError(
            f'{name} is a model of type {description["model_type"]!r}, which gives only one map: '
            'expected two models as DEPTH+SEGMENTATION, or a joint one')
    base.check_task(description, 'joint', source)
    config = base.to_config(description)
    return ModelConfig(
        architecture='transformers_joint', arguments={'pretrained': source},
        label_space=make_label_space(config.id2label, Path(name).name).to_dict(),
        depth_range=[NEAREST, config.max_depth], record={'joint': source},
        **unscaled_settings(config))


def read_pair(name: str) -> ModelConfig:
    """Return the config of a synchronised network with both couplings off."""
    from sync_perception.models.huggingface import base, depth  # slow, optional
    parts = name.split('+')
    if len(parts) != 2 or not all(parts):
        raise ValueError(
            f'{name!r}: expected a depth model, a + and a segmentation model, such as '
            'depth-anything-v2-small+segformer-b0')
    depth_name, options = split_options(parts[0])
    sources = {'depth': find_source(depth_name, 'depth'),
               'segmentation': find_source(parts[1], 'segmentation')}
    configs = {}
    for task, source in sources.items():
        description = base.read_library_config(source)
        base.check_task(description, task, source)
        configs[task] = base.to_config(description)
    depth.find_family(configs['depth'].to_dict(), sources['depth'])
    depth.check_scale(
        configs['depth'], parts[0].partition('@')[0], options.get('metric'), options.get('scale'))
    farthest = depth.farthest(configs['depth']) or FARTHEST
    return ModelConfig(
        architecture='sync',
        arguments={
            'depth': {
                'kind': 'transformers_depth', 'pretrained': sources['depth'], **options},
            'semantics': {
                'kind': 'transformers_segmentation', 'pretrained': sources['segmentation']},
            'depth_to_semantics': False, 'semantics_to_depth': False},
        label_space=make_label_space(
            configs['segmentation'].id2label, Path(parts[1]).name).to_dict(),
        depth_range=[NEAREST, farthest], record={'pair': name, **sources},
        **unscaled_settings(configs['depth']))


def unscaled_settings(config: PretrainedConfig) -> dict[str, Any]:
    """Return the settings for images in [0, 1], normalised by each model, and metric depth."""
    return {
        'input_pixels': INPUT_PIXELS[config.model_type], 'mean': [0.0] * 3, 'std': [1.0] * 3,
        'canonical_focal': None}


def split_options(name: str) -> tuple[str, dict[str, Any]]:
    """
    Split a depth model's name at the @ into name and options.

    :return: the name, and the depth branch's arguments: scale and shift, or metric.
    :raises ValueError: if the options are neither numbers nor `metric`.
    """
    if '@' not in name or Path(name).is_dir():
        return name, {}
    name, _, text = name.rpartition('@')
    if text == 'metric':
        return name, {'metric': True}
    try:
        numbers = [float(number) for number in text.split(',')]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2:
        raise ValueError(
            f'{name}@{text}: expected @SCALE, @SCALE,SHIFT or @metric after a depth model, for '
            'depth = SCALE / (raw + SHIFT)')
    return name, dict(zip(('scale', 'shift'), numbers))


def find_source(name: str, task: str) -> str:
    """
    Return the folder or hub id of a model name.

    :param task: a key of SHORT_NAMES.
    :raises ValueError: if the name is unknown; the message lists the short names.
    """
    # seconds, and an optional library
    from sync_perception.models.huggingface.base import expand
    known = SHORT_NAMES[task]
    source = expand(name)
    if Path(source).is_dir() or name not in known and '/' in source:
        return source
    if name in known:
        return known[name]
    other = next((task for task, names in SHORT_NAMES.items() if name in names), None)
    if other is not None:
        raise ValueError(
            f'{name} is a {other} model, expected a {task} model: expected the depth model before '
            'the +, the segmentation model after it, or a joint model without +')
    raise ValueError(
        f'no {task} model {name!r}: expected a folder, a hub id (owner/name) or one of '
        f'{", ".join(sorted(known))}')


def make_label_space(id2label: Mapping[int, str], name: str) -> LabelSpace:
    """
    Return the label space of a segmentation model's class names.

    :param id2label: class names by id, 0 to C - 1.
    :param name: name of the model, and of the label space unless its classes are Cityscapes'.
    :return: cityscapes19 if the class names match; else a space with the PASCAL VOC devkit's
        colours, which relates classes to those of `driving` by name.
    :raises ValueError: if there are more classes than ids.
    """
    names = [id2label[index] for index in range(len(id2label))]
    if len(names) >= VOID:
        raise ValueError(f'{name} has {len(names)} classes, expected at most {VOID - 1}')
    cityscapes = LabelSpace.load('cityscapes19')
    if [*map(spaced_name, names)] == [*map(spaced_name, cityscapes.names)]:
        return cityscapes
    pivot = LabelSpace.load(PIVOT)
    related = [
        [entry for entry in pivot.names if entry in map(spaced_name, own.split(','))]
        for own in names]
    classes = []
    for index, (own, members) in enumerate(zip(names, related)):
        entry = {
            'name': own if names.count(own) == 1 else f'{own} {index}',
            'color': voc_color(index + 1)}
        if members:
            known = pivot.index(members[0])
            entry.update(
                dynamic=bool(pivot.dynamic[known]), infinite=bool(pivot.infinite[known]))
        if any(related):
            entry[PIVOT] = members
        classes.append(entry)
    return LabelSpace.from_dict({'name': name, 'classes': classes})


def spaced_name(name: str) -> str:
    """Return a class name in lower case with single spaces: Traffic_Light is traffic light."""
    return ' '.join(name.lower().replace('_', ' ').replace('-', ' ').split())


def voc_color(index: int) -> list[int]:
    """
    Return a colour of the PASCAL VOC devkit's map: distinct for 0 (black) to 255.

    Bit 3 k + c of the index is bit 7 - k of channel c.
    """
    return [sum((index >> 3 * k + channel & 1) << 7 - k for k in range(8))
            for channel in range(3)]
