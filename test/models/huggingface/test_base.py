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


"""Config, weights and normalisation of the transformers library's models."""

from __future__ import annotations

import json
import os
from pathlib import Path
import subprocess
import sys

import cv2
import huggingface_hub.constants
import numpy as np
import pytest
from sync_perception.models.huggingface import base
from tiny import IMAGENET, save_depth, save_segformer
import torch
from transformers import AutoModelForDepthEstimation


def load(folder: Path):
    """Load a depth model as the branches do."""
    return base.load_transformer(AutoModelForDepthEstimation, 'depth', None, str(folder))


@pytest.mark.parametrize(('processor', 'mean', 'std'), [
    # as Depth Anything's, GLPN's and an older ZoeDepth's files have it
    ({'do_normalize': True, 'do_rescale': True, 'image_mean': IMAGENET[0],
      'image_std': IMAGENET[1], 'rescale_factor': 0.00392156862745098}, *IMAGENET),
    ({'do_rescale': True, 'do_resize': True, 'size_divisor': 32}, IMAGENET[0], IMAGENET[1]),
    ({'do_normalize': False}, [0.0] * 3, [1.0] * 3),
    ({'image_mean': 0.5, 'image_std': 0.25}, [0.5] * 3, [0.25] * 3),
    ({'do_rescale': False, 'image_mean': [127.5] * 3, 'image_std': [255.0] * 3},
     [0.5] * 3, [1.0] * 3),
    (None, *IMAGENET),
])
def test_normalisation_is_the_processor_s(processor, mean, std, tmp_path):
    """In units of images in [0, 1]: what the processor does to bytes."""
    if processor is not None:
        (tmp_path / 'preprocessor_config.json').write_text(json.dumps(processor))
    found = base.read_normalisation(str(tmp_path), 'depth_anything')
    np.testing.assert_allclose(found, (mean, std), rtol=1e-6)


def test_a_kind_s_default_holds_where_nothing_is_said(tmp_path):
    """GLPN takes images in [0, 1], DPT in [-1, 1]."""
    (tmp_path / 'preprocessor_config.json').write_text('{"do_rescale": true}')
    assert base.read_normalisation(str(tmp_path), 'glpn') == ((0.0,) * 3, (1.0,) * 3)
    assert base.read_normalisation(str(tmp_path), 'dpt') == ((0.5,) * 3, (0.5,) * 3)


def test_half_precision_weights_are_read_as_float32(tmp_path):
    """Whatever the type that the folder was saved in."""
    save_depth(tmp_path, 'glpn').half().save_pretrained(tmp_path)
    assert json.loads((tmp_path / 'config.json').read_text())['dtype'] == 'float16'
    assert {weight.dtype for weight in load(tmp_path).parameters()} == {torch.float32}


def test_description_survives_json(tmp_path):
    """And says nothing of where it is from."""
    save_depth(tmp_path, 'depth_anything')
    description = base.plain_config(load(tmp_path).config)
    assert json.loads(json.dumps(description)) == description
    again = base.plain_config(base.to_config(description))
    assert again == description
    assert description['max_depth'] == 80
    assert description['backbone_config']['out_indices'] == [1, 2, 3, 4]
    assert not set(description) & {'architectures', 'dtype', '_name_or_path', 'id2label'}


def test_pickles_are_never_read(tmp_path):
    """A folder without safetensors is refused."""
    weights = save_depth(tmp_path, 'glpn').state_dict()
    (tmp_path / 'model.safetensors').unlink()
    torch.save(weights, tmp_path / 'pytorch_model.bin')
    with pytest.raises(FileNotFoundError, match='weights as safetensors'):
        load(tmp_path)
    (tmp_path / 'model.safetensors').write_bytes(b'no weights')
    with pytest.raises(FileNotFoundError, match='found none that can be'):
        load(tmp_path)


def test_foreign_weights_are_refused(tmp_path):
    """Of another width; the message names one of them."""
    save_depth(tmp_path, 'glpn')
    description = json.loads((tmp_path / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps({**description, 'decoder_hidden_size': 12}))
    with pytest.raises(ValueError, match=r'config.json.*decoder\.'):
        load(tmp_path)


def test_a_model_for_another_task_is_refused(tmp_path):
    """Saying what it is."""
    save_segformer(tmp_path, ['road', 'sky'])
    with pytest.raises(ValueError, match='segmentation.*depth'):
        load(tmp_path)


@pytest.mark.parametrize(('content', 'message'), [
    ('{"architecture": "sync"}', 'no model_type'), ('{', 'not JSON'),
    ('{"model_type": "nonesuch"}', "no model_type 'nonesuch'"),
    ('{"model_type": "glpn", "decoder_hidden_size": "wide"}', "no config of a 'glpn' model")])
def test_a_folder_that_is_no_model_is_refused(content, message, tmp_path):
    """Whatever its config.json is instead."""
    (tmp_path / 'config.json').write_text(content)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_a_model_that_is_not_there_is_refused(tmp_path, monkeypatch):
    """Neither as a folder nor, without internet, on the hub."""
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    with pytest.raises(FileNotFoundError, match='no such folder'):
        load(tmp_path / 'absent')
    with pytest.raises(FileNotFoundError, match='no config.json'):
        load(tmp_path)
    with pytest.raises(ConnectionError, match='config.json of nobody/here'):
        load('nobody/here')
    with pytest.raises(FileNotFoundError, match='not a name'):
        load('not a name')


def test_environment_variables_are_filled_in(tmp_path, monkeypatch):
    """In the path of pretrained weights."""
    save_depth(tmp_path / 'glpn', 'glpn')
    monkeypatch.setenv('MODELS', str(tmp_path))
    expected = load(tmp_path / 'glpn').state_dict()
    found = load(Path('$MODELS') / 'glpn').state_dict()
    assert all(torch.equal(found[name], values) for name, values in expected.items())


def test_resizing_to_the_patch_is_opencv_s():
    """To the nearest multiple, at least one, with the same field of view."""
    image = np.random.default_rng(0).random((3, 50, 71), np.float32)
    found = base.to_multiple(torch.from_numpy(image)[None], 14)[0].numpy()
    expected = cv2.resize(image.transpose(1, 2, 0), (70, 56), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-5)
    assert base.to_multiple(torch.zeros(1, 3, 3, 28), 14).shape == (1, 3, 14, 28)
    same = torch.zeros(1, 3, 28, 14)
    assert base.to_multiple(same, 14) is same


def test_fresh_weights_are_logged(tmp_path, caplog):
    """Those that may be new where they do not fit."""
    save_depth(tmp_path, 'glpn')
    base.load_transformer(
        AutoModelForDepthEstimation, 'depth', None, str(tmp_path), fresh=['decoder.', 'head.'],
        decoder_hidden_size=12)
    assert 'fresh weights' in caplog.text
    assert 'head.head.0.weight' in caplog.text


def test_the_networks_import_without_the_library():
    """Which takes seconds, and is an optional extra."""
    code = "import sys, sync_perception.models; assert 'transformers' not in sys.modules"
    root = Path(base.__file__).parents[3]
    subprocess.run(
        [sys.executable, '-c', code], check=True, env={**os.environ, 'PYTHONPATH': str(root)})
