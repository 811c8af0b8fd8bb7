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


"""Published checkpoints become model folders that compute the same, or one clear error."""

from __future__ import annotations

import sys

import cv2
from mutations import FILES
import numpy as np
from published_refinenet import published_network, random_state
import pytest
from safetensors.torch import save_file
from sync_perception import cli
from sync_perception.datasets.nyuv2.raw import read_normals
from sync_perception.labels import LabelSpace
from sync_perception.models import hub
from sync_perception.models.exchange.import_weights import (
    import_weights,
    ImportOptions,
    NORMAL_AXES,
)
from sync_perception.models.exchange.published_checkpoints import read_checkpoint
from sync_perception.models.unet.resnet import read_weights
import torch
from typer.testing import CliRunner


@pytest.fixture(scope='module')
def states():
    """Make random checkpoints by their number of classes, made once."""
    made = {}

    def make(classes, normals=False):
        if (classes, normals) not in made:
            made[classes, normals] = random_state(classes, normals)
        return dict(made[classes, normals])
    return make


@pytest.mark.parametrize('classes, size', [
    (6, (64, 96)), (6, (125, 417)), (40, (50, 71)), (46, (33, 65)), (40, (96, 64))])
def test_the_folder_computes_what_the_checkpoint_did(states, tmp_path, classes, size):
    """Raw depth and scores, whatever the size: nothing is padded, clamped or scaled."""
    state = states(classes)
    torch.save({'epoch': 3, 'state_dict': state}, tmp_path / 'net.ckpt')
    import_weights(tmp_path / 'net.ckpt', 'refinenet', tmp_path / 'folder')
    model = hub.load(tmp_path / 'folder')
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output, expected = model(image), published_network(state, image)
    assert expected['depth'].std() > 0.1 and expected['depth'].min() < 0
    torch.testing.assert_close(output.depth, expected['depth'], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.logits, expected['segm'], atol=1e-5, rtol=1e-5)
    assert output.normals is None and output.log_variance is None


def test_normals_come_as_unit_vectors_in_the_optical_frame(states, tmp_path):
    """Published are right, forward, down; see the next test for how that is known."""
    state = states(40, True)
    torch.save(state, tmp_path / 'three.pth')
    config = import_weights(tmp_path / 'three.pth', 'refinenet', tmp_path / 'folder')
    assert config.arguments['normals'] is True
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        normals = hub.load(tmp_path / 'folder')(image).normals
        right, forward, down = published_network(state, image)['normal'].unbind(dim=1)
    length = torch.stack([right, forward, down]).norm(dim=0)
    torch.testing.assert_close(
        normals, torch.stack([right, down, forward], dim=1) / length[:, None],
        atol=1e-5, rtol=1e-5)


def test_the_axes_of_published_normals_are_those_of_a_real_room(data_root):
    """The published drawing of normals, undone on a picture of true ones."""
    path = data_root / 'nyuv2' / 'norm_gt_000433.png'
    red, green, blue = (cv2.imread(str(path))[..., ::-1] / 255).transpose(2, 0, 1)
    # as the published examples draw them: (n0 + 1) / 2, (n1 + 1) / 2, (1 - n2) / 2
    raw = np.stack([2 * red - 1, 2 * green - 1, 1 - 2 * blue])
    true = read_normals(path, red.shape)
    cosine = np.einsum('chw,hwc->hw', raw[NORMAL_AXES], true)
    assert np.isfinite(cosine).mean() > 0.5
    assert np.nanmin(cosine) > 0.85  # 1 but for rounding and lengths


def test_what_the_config_says(states, tmp_path):
    torch.save(states(6), tmp_path / 'net.pt')
    config = import_weights(tmp_path / 'net.pt', 'refinenet', tmp_path / 'usual')
    assert config.label_space == LabelSpace.load('kitti6').to_dict()
    assert config.canonical_focal is None
    assert config.arguments == {'depth_form': 'metres', 'normals': False}
    assert (config.mean, config.std) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert config.depth_range[1] == 80 and config.input_pixels == 1242 * 375
    assert 'net.pt' in (tmp_path / 'usual' / 'README.md').read_text()
    own = import_weights(tmp_path / 'net.pt', 'refinenet', tmp_path / 'own', ImportOptions(
        focal=721.5, input_pixels=1000, max_depth=60.0))
    assert own.canonical_focal == 721.5 and own.input_pixels == 1000
    assert own.depth_range[1] == 60
    assert hub.read_config(tmp_path / 'own') == own


def test_one_head_over_two_data_sets_may_speak_one_of_them(states, tmp_path):
    torch.save(states(46), tmp_path / 'net.ckpt')
    both = import_weights(tmp_path / 'net.ckpt', 'refinenet', tmp_path / 'both')
    assert both.label_space == LabelSpace.load('nyud40+kitti6').to_dict()
    import_weights(tmp_path / 'net.ckpt', 'refinenet', tmp_path / 'streets', ImportOptions(
        label_part='kitti6'))
    image = torch.randn(1, 3, 64, 64)
    streets = hub.load(tmp_path / 'streets')
    assert streets.labels.names == LabelSpace.load('kitti6').names
    with torch.no_grad():
        assert torch.equal(
            streets(image).logits, hub.load(tmp_path / 'both')(image).logits[:, 40:])
    with pytest.raises(ValueError, match="'camvid11'.*nyud40, kitti6"):
        import_weights(tmp_path / 'net.ckpt', 'refinenet', tmp_path / 'x', ImportOptions(
            label_part='camvid11'))


def counted(state):
    """Add the counters that newer versions of PyTorch keep in every batch norm."""
    return state | {name.replace('running_var', 'num_batches_tracked'): torch.tensor(7)
                    for name in state if name.endswith('running_var')}


@pytest.mark.parametrize('name, content', [
    ('bare.pth', lambda state: state),
    ('nested.pt', lambda state: {'state_dict': state, 'best_val': np.float64(0.4)}),
    ('parallel.ckpt', lambda state: {'state_dict': {f'module.{k}': v for k, v in state.items()}}),
    ('counted.ckpt', counted),
    ('half.ckpt', lambda state: {k: v.half() for k, v in state.items()}),
])
def test_forms_of_checkpoints(states, tmp_path, name, content):
    torch.save(content(states(6)), tmp_path / name)
    import_weights(tmp_path / name, 'refinenet', tmp_path / 'folder')
    weight = hub.load(tmp_path / 'folder').network.encoder.stem[0].weight
    torch.testing.assert_close(weight, states(6)['layer1.0.weight'], atol=1e-3, rtol=1e-3)


def test_old_and_new_file_formats(states, tmp_path):
    torch.save({'state_dict': states(6)}, tmp_path / 'old.ckpt',
               _use_new_zipfile_serialization=False)
    save_file(states(6), tmp_path / 'new.safetensors')
    for name in ('old.ckpt', 'new.safetensors'):
        import_weights(tmp_path / name, 'refinenet', tmp_path / name.partition('.')[0])
    old, new = (hub.load(tmp_path / name).state_dict() for name in ('old', 'new'))
    assert all(torch.equal(old[name], new[name]) for name in old)


def without(state, *names):
    """Leave entries out."""
    return {name: values for name, values in state.items() if name not in names}


@pytest.mark.parametrize('change, messages', [
    (lambda s: without(s, 'conv3.weight', 'layer4.2.output.1.1.running_var'),
     ['missing: layer4.2.output.1.1.running_var, conv3.weight']),
    (lambda s: s | {'aux.weight': torch.ones(1)}, ['not expected: aux.weight']),
    (lambda s: s | {'depth.weight': torch.ones(2, 256, 3, 3)},
     [r'of another shape: depth.weight \(2, 256, 3, 3\) instead of \(1, 256, 3, 3\)']),
    (lambda s: without(s, 'pre_depth.weight') | {'epoch': 4, 'segm.bias': torch.ones(5)},
     ['missing: pre_depth.weight', 'not expected: epoch', r'segm.bias \(5,\) instead of \(6,\)']),
    (lambda s: without(s, 'segm.weight'), ['missing: segm.weight']),
    (lambda s: {'conv1.weight': torch.ones(64, 3, 7, 7), 'fc.bias': torch.ones(1000)},
     ['missing: layer1.0.weight', r'and \d+ more', 'not expected: conv1.weight, fc.bias']),
    (lambda s: without(s, 'segm.weight', 'segm.bias') | {
        'segm.weight': torch.ones(7, 256, 3, 3), 'segm.bias': torch.ones(7)},
     ['7 classes.*--label-space']),
    (lambda s: {'state_dict': {}}, ['expected a dictionary of tensors']),
    (lambda s: [1, 2], ['expected a dictionary of tensors, got list']),
])
def test_other_checkpoints_are_refused_in_one_error(states, tmp_path, change, messages):
    """It names all that differs, and nothing is written."""
    torch.save(change(states(6)), tmp_path / 'net.ckpt')
    for message in messages:
        with pytest.raises(ValueError, match=message):
            import_weights(tmp_path / 'net.ckpt', 'refinenet', tmp_path / 'folder')
    assert [path.name for path in tmp_path.iterdir()] == ['net.ckpt']


class Intruder:
    """What would run code when unpickled without care."""

    def __reduce__(self):
        """Ask for a call on loading."""
        return print, ('intruded',)


def test_code_in_a_checkpoint_is_not_run(states, tmp_path, capsys):
    torch.save({'state_dict': states(6), 'extra': Intruder()}, tmp_path / 'net.ckpt')
    with pytest.raises(ValueError, match='GLOBAL'):
        import_weights(tmp_path / 'net.ckpt', 'refinenet', tmp_path / 'folder')
    assert 'intruded' not in capsys.readouterr().out


def test_files_that_are_none(tmp_path):
    (tmp_path / 'empty.ckpt').write_bytes(b'')
    (tmp_path / 'text.pth').write_text('not weights')
    (tmp_path / 'text.safetensors').write_text('not weights')
    for name in ('empty.ckpt', 'text.pth', 'text.safetensors'):
        with pytest.raises(ValueError, match=f'{name} cannot be read'):
            import_weights(tmp_path / name, 'refinenet', tmp_path / 'folder')
    (tmp_path / 'net.onnx').write_bytes(b'')
    with pytest.raises(ValueError, match='ending in .ckpt'):
        import_weights(tmp_path / 'net.onnx', 'refinenet', tmp_path / 'folder')
    with pytest.raises(FileNotFoundError, match='none.ckpt'):
        import_weights(tmp_path / 'none.ckpt', 'refinenet', tmp_path / 'folder')


def test_wrong_options_are_refused(states, tmp_path):
    torch.save(states(6), tmp_path / 'net.ckpt')
    with pytest.raises(ValueError, match="'resnet'"):
        import_weights(tmp_path / 'net.ckpt', 'resnet', tmp_path / 'folder')
    with pytest.raises(ValueError, match="6.*'camvid11'.*11"):
        import_weights(tmp_path / 'net.ckpt', 'refinenet', tmp_path / 'folder', ImportOptions(
            label_space='camvid11'))
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'mine').touch()
    with pytest.raises(ValueError, match='full already exists'):
        import_weights(tmp_path / 'net.ckpt', 'refinenet', tmp_path / 'full')


def test_the_command_writes_a_folder_that_loads(states, tmp_path):
    torch.save(states(6), tmp_path / 'net.ckpt')
    (tmp_path / 'folder').mkdir()
    result = CliRunner().invoke(cli.app, [
        'import-weights', str(tmp_path / 'net.ckpt'), '--architecture', 'refinenet',
        '--out', str(tmp_path / 'folder'), '--label-space', 'idd7+kitti6'])
    assert isinstance(result.exception, ValueError)
    assert "6 classes, label space 'idd7+kitti6' has 13" in str(result.exception)
    result = CliRunner().invoke(cli.app, [
        'import-weights', str(tmp_path / 'net.ckpt'), '--architecture', 'refinenet',
        '--out', str(tmp_path / 'folder'), '--focal', '721.5'])
    assert result.exit_code == 0, result.output
    assert '6 classes of kitti6' in result.output
    assert hub.load(tmp_path / 'folder').config.canonical_focal == 721.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ['folder', 'net.ckpt']


@pytest.mark.parametrize('ending', ['ckpt', 'pth', 'safetensors'])
@pytest.mark.parametrize('name', FILES)
def test_files_that_are_no_checkpoints_are_refused_in_one_line(tmp_path, name, ending):
    """No traceback of torch, and no "Aborted." for an empty one."""
    path = tmp_path / f'broken.{ending}'
    path.write_bytes(FILES[name])
    for read in (read_checkpoint, lambda path: read_weights(str(path))):
        if path.suffix == '.ckpt' and read is not read_checkpoint:
            continue
        with pytest.raises(ValueError, match=f'broken.{ending}') as refused:
            read(path)
        assert '\n' not in str(refused.value)


def test_a_cut_checkpoint_ends_with_one_line(tmp_path, monkeypatch, capsys):
    """The command names the file; status 1."""
    path = tmp_path / 'cut.ckpt'
    torch.save({'state_dict': {'a': torch.zeros(1000)}}, path)
    for size in (0, 10, path.stat().st_size // 2, path.stat().st_size - 10):
        path.write_bytes(path.read_bytes()[:size])
        monkeypatch.setattr(sys, 'argv', [
            'sync_perception', 'import-weights', str(path), '--architecture', 'refinenet',
            '--out', str(tmp_path / 'out')])
        with pytest.raises(SystemExit) as left:
            cli.main()
        message = capsys.readouterr().err
        assert left.value.code == 1 and message.count('\n') == 1 and str(path) in message
        torch.save({'state_dict': {'a': torch.zeros(1000)}}, path)
