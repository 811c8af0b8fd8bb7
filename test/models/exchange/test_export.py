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


"""Models as one file: what is written, what reads it back, and what is refused."""

from __future__ import annotations

from dataclasses import asdict, replace
import json
from pathlib import Path
import zipfile

from full_disk import full_disk
from loaded_models import predictor_of
import numpy as np
import onnx
import onnxruntime
import pytest
from sync_perception import cli
from sync_perception.datasets import DatasetOptions
from sync_perception.evaluation.evaluate import evaluate, EvaluationOptions
from sync_perception.files.trust import code_allowed
from sync_perception.labels import LabelSpace
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.models.exchange.export import export_model, parse_size
from sync_perception.models.exchange.exported import (
    CONFIG_KEY,
    OnnxModel,
    ProgramModel,
    traced_batch,
)
from sync_perception.models.network_input import camera_scale
from sync_perception.resources import default_model_folder
from sync_perception.runtime.backends import EagerBackend, OnnxBackend
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame
import torch
from typer.testing import CliRunner
from zoo import BRANCH_ZOO

pytestmark = pytest.mark.timeout(300)
SIZE = (64, 96)
KINDS = {'onnx': OnnxModel, 'pt2': ProgramModel}
TOLERANCE = {'onnx': 1e-4, 'pt2': 1e-5}


@pytest.fixture(scope='module', autouse=True)
def trusted():
    """Allow to load what this module writes."""
    with code_allowed(True):
        yield


@pytest.fixture(scope='module')
def model():
    """Build a small network that gives every map."""
    torch.manual_seed(0)
    branch = BRANCH_ZOO['mobile_unet']()  # of all kinds the soonest exported
    return build_model(ModelConfig(
        'sync', {'depth': branch, 'semantics': branch, 'uncertainty': True, 'normals': True},
        LabelSpace.load('driving').to_dict(), focal_range=[300.0, 400.0],
        record={'steps': 7})).eval()


@pytest.fixture(scope='module')
def files(model, tmp_path_factory) -> dict[str, Path]:
    """Export it both ways; the differences that the export itself found are small."""
    folder = tmp_path_factory.mktemp('exported')
    made = {kind: folder / 'new' / f'model.{kind}' for kind in KINDS}
    for kind, path in made.items():
        found = export_model(model, path, SIZE, opset=18 if kind == 'onnx' else None)
        assert list(found) == ['depth', 'logits', 'normals', 'log_variance']
        assert max(found.values()) < TOLERANCE[kind]
    assert {path.name for path in (folder / 'new').iterdir()} == {'model.onnx', 'model.pt2'}
    return made


@pytest.fixture(scope='module')
def loaded(files) -> dict:
    """Load both files."""
    return {kind: hub.load(path) for kind, path in files.items()}


@pytest.mark.parametrize('kind', KINDS)
def test_a_file_loads_like_a_folder(model, files, loaded, kind):
    """The same config but for the size, the same labels, the same maps for any batch."""
    loaded = loaded[kind]
    assert type(loaded) is KINDS[kind] and not loaded.one_at_a_time
    assert loaded.device == torch.device('cpu')
    assert loaded.labels.to_dict() == model.labels.to_dict()
    assert loaded.config == hub.read_config(files[kind])
    assert loaded.config == replace(model.config, input_size=list(SIZE))
    for batch in (1, 2, 5):
        image = torch.randn(batch, 3, *SIZE).to(memory_format=torch.channels_last)
        with torch.no_grad():
            expected, found = model(image).maps(), loaded(image).maps()
        assert list(found) == list(expected)
        for name, values in expected.items():
            torch.testing.assert_close(
                found[name], values, rtol=TOLERANCE[kind], atol=TOLERANCE[kind], msg=name)


def test_any_runtime_can_read_the_onnx_file(model, files):
    """Valid ONNX of the operators asked for, with named tensors; onnxruntime alone runs it."""
    proto = onnx.load(files['onnx'])
    onnx.checker.check_model(proto, full_check=True)
    assert {(entry.domain, entry.version) for entry in proto.opset_import} == {('', 18)}
    session = onnxruntime.InferenceSession(
        files['onnx'].read_bytes(), providers=['CPUExecutionProvider'])
    (entry,) = session.get_inputs()
    assert (entry.name, entry.shape, entry.type) == (
        'image', ['batch', 3, *SIZE], 'tensor(float)')
    outputs = session.get_outputs()
    assert [output.name for output in outputs] == ['depth', 'logits', 'normals', 'log_variance']
    assert all(output.shape[0] == 'batch' for output in outputs)
    image = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        expected = model(image)
    (depth,) = session.run(['depth'], {'image': image.numpy()})
    np.testing.assert_allclose(depth, expected.depth.numpy(), rtol=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_images_of_another_size_are_refused(loaded, kind):
    """The message says what the file takes."""
    with pytest.raises(ValueError, match=r'\(B, 3, 64, 96\), got \(1, 3, 96, 64\)'):
        loaded[kind](torch.zeros(1, 3, 96, 64))


@pytest.mark.parametrize('kind', KINDS)
def test_the_predictor_stretches_every_frame_to_the_files_size(model, files, kind, caplog):
    """Also a frame of another shape; metres follow the horizontal focal length."""
    rng = np.random.default_rng(0)
    frame = Frame(rng.integers(0, 256, (90, 90, 3), dtype=np.uint8),
                  np.array([[80.0, 0, 45], [0, 60.0, 45], [0, 0, 1]]))
    outputs = {'depth', 'labels', 'confidence', 'uncertainty', 'normals'}
    config, model.config = model.config, replace(model.config, input_size=list(SIZE))
    try:
        expected = predictor_of(model).predict(frame, outputs)
    finally:
        model.config = config
    named = {'onnx': 'onnxruntime', 'pt2': 'torch'}[kind]
    predictor = Predictor(files[kind], 'cpu', half=True, backend=named)
    assert 'keeps the precision' in caplog.text
    assert type(predictor.backend) is {'onnx': OnnxBackend, 'pt2': EagerBackend}[kind]
    assert predictor.describe()['precision'] == 'float32'
    assert predictor.available == outputs
    found = predictor.predict(frame, outputs)
    scale = camera_scale(predictor.config, frame.K, frame.size)
    assert scale == pytest.approx(80 * (96 / 90) / 375)
    np.testing.assert_allclose(found.depth, expected.depth, rtol=1e-3)
    np.testing.assert_allclose(found.uncertainty, expected.uncertainty, rtol=1e-3)
    np.testing.assert_allclose(found.normals, expected.normals, atol=1e-3)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-3)
    assert (found.labels == expected.labels).mean() > 0.999


def test_an_exported_file_is_not_exported_again(loaded, tmp_path):
    """There is no network in it any more."""
    with pytest.raises(ValueError, match='folder'):
        export_model(loaded['onnx'], tmp_path / 'again.onnx', SIZE)


@pytest.mark.parametrize(('name', 'arguments', 'message'), [
    ('model.onx', {}, r'ends in \.onnx or \.pt2, got .*model\.onx'),
    ('model.pt2', {'file_format': 'onnx'}, r'ends in \.onnx, got .*model\.pt2'),
    ('model.pt2', {'file_format': 'tflite'}, "one of onnx, pt2, got 'tflite'"),
    ('model.pt2', {'opset': 18}, 'got 18'),
    ('model.pt2', {'size': (0, 96)}, r'positive height and width, got \(0, 96\)'),
])
def test_mistakes_are_named_before_anything_is_written(model, tmp_path, name, arguments, message):
    """Format, ending, operators, size."""
    with pytest.raises(ValueError, match=message):
        export_model(model, tmp_path / name, **{'size': SIZE, **arguments})
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_height_x_width():
    """As in 192x640."""
    assert parse_size('192x640') == (192, 640)
    for text in ('192', '192x', '0x64', '192X640', '-1x5', '192x640x3'):
        with pytest.raises(ValueError, match='HEIGHTxWIDTH'):
            parse_size(text)


def write_onnx(path: Path, metadata: dict[str, str]) -> None:
    """Write an ONNX file that returns its input, with some metadata."""
    image = onnx.helper.make_tensor_value_info('image', onnx.TensorProto.FLOAT, [1])
    depth = onnx.helper.make_tensor_value_info('depth', onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node('Identity', ['image'], ['depth'])], 'identity', [image], [depth])
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid('', 18)], ir_version=10)
    onnx.helper.set_model_props(proto, metadata)
    onnx.save(proto, path)


def write_zip(path: Path, metadata: dict[str, str]) -> None:
    """Write an archive of the layout of a .pt2 file, without a program."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('model/version', '1')
        for name, text in metadata.items():
            archive.writestr(f'model/extra/{name}', text)


def test_the_command_writes_a_file_for_kittis_shape(small_model, tmp_path):
    """Without a size it takes what the model's area gives for 1242x375; it says what it did."""
    out = tmp_path / 'small.pt2'
    result = CliRunner().invoke(
        cli.app, ['export', '--model', str(small_model), '--out', str(out)])
    assert result.exit_code == 0, result.output
    assert 'images of 32x128 (height x width), maps depth, logits' in result.output
    assert hub.read_config(out).input_size == [32, 128]


SPACE = LabelSpace.load('driving').to_dict()


@pytest.mark.parametrize(('text', 'message'), [
    (None, 'has no config of sync_perception'),
    ('{', 'is not JSON'),
    ('{"layers": 3}', "unknown keys .'layers'."),
    (json.dumps({'architecture': 'sync', 'arguments': {}, 'label_space': SPACE}),
     'has no input size, got None'),
])
@pytest.mark.parametrize(('kind', 'write'), [('onnx', write_onnx), ('pt2', write_zip)])
def test_files_of_other_projects_are_refused(tmp_path, kind, write, text, message):
    """One message that names the file and what it lacks, before anything runs."""
    path = tmp_path / f'foreign.{kind}'
    write(path, {} if text is None else {CONFIG_KEY: text})
    for read in (hub.read_config, hub.load):
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(('kind', 'message'), [
    ('onnx', 'not an ONNX file'), ('pt2', r'not a \.pt2 file')])
def test_files_that_are_something_else_are_refused(tmp_path, kind, message):
    """A text under that name; nothing at all."""
    path = tmp_path / f'model.{kind}'
    for read in (hub.read_config, hub.load):
        with pytest.raises(FileNotFoundError, match=f'model.{kind}'):
            read(path)
    path.write_text('a text')
    for read in (hub.read_config, hub.load):
        with pytest.raises(ValueError, match=message):
            read(path)


def test_a_program_that_torch_does_not_understand_is_refused(files, tmp_path):
    """The config is there, the program is not."""
    path = tmp_path / 'broken.pt2'
    with zipfile.ZipFile(files['pt2']) as archive:
        name = next(name for name in archive.namelist() if name.endswith(CONFIG_KEY))
        write_zip(path, {CONFIG_KEY: archive.read(name).decode()})
    with pytest.raises(ValueError, match=r'broken\.pt2'):
        hub.load(path)


@pytest.mark.parametrize('kind', KINDS)
def test_a_full_disk_leaves_no_file(tmp_path, kind):
    """One error with the file's name: torch alone would end the process."""
    model = build_model(ModelConfig(
        'sync', {'depth': {'kind': 'unet', 'dim': 8, 'multipliers': [1]}, 'semantics': None},
        LabelSpace.load('driving').to_dict())).eval()
    with full_disk(), pytest.raises(OSError, match=rf'model\.{kind}.*GB'):
        export_model(model, tmp_path / f'model.{kind}', SIZE)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope='module')
def default_files(tmp_path_factory) -> dict[str, Path]:
    """Export the default model both ways, for frames of KITTI's shape."""
    folder = tmp_path_factory.mktemp('default')
    model = hub.load(default_model_folder())
    for kind in KINDS:
        export_model(model, folder / f'model.{kind}', (224, 736))
    stretched = folder / 'folder'
    model.config.input_size = [224, 736]
    hub.save(model, stretched)
    return {'folder': stretched, **{kind: folder / f'model.{kind}' for kind in KINDS}}


def link_some(source: Path, target: Path, names: list[str]) -> Path:
    """Make a data set's folder of a few of its files."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(source / name)
    return target


@pytest.mark.exhaustive  # a small network's files give its maps in the tests above
def test_metrics_agree_on_real_streets(default_files, data_root, tmp_path):
    """The mIoU on CamVid and the abs rel on KITTI, measured as a user does, to 1e-3."""
    camvid, kitti = data_root / 'camvid', data_root / 'depth_selection' / 'val_selection_cropped'
    photographs = sorted((camvid / 'val').iterdir())[::50]
    labelled = link_some(camvid, tmp_path / 'camvid', [
        name for path in photographs
        for name in (f'val/{path.name}', f'valannot/{path.stem}.png')])
    images = [path for path in sorted((kitti / 'image').iterdir())
              if not path.name.startswith('ddad')][:2]
    measured = link_some(kitti, tmp_path / 'kitti', [
        name for path in images for name in (
            f'image/{path.name}', f'intrinsics/{path.stem}.txt',
            f'groundtruth_depth/{path.stem.replace("_image_", "_groundtruth_depth_", 1)}.png')])
    scores = {}
    for kind, model in default_files.items():
        semantics = evaluate(
            model, DatasetOptions('camvid', labelled, 'val'), EvaluationOptions(device='cpu'))
        depth = evaluate(
            model, DatasetOptions('kitti_depth', measured), EvaluationOptions(device='cpu'))
        assert (semantics['frames'], depth['frames']) == (len(photographs), 2)
        scores[kind] = np.array([semantics['miou'], depth['abs_rel']])
    assert 0.3 < scores['folder'][0] < 1
    assert 0 < scores['folder'][1] < 0.3
    for kind in KINDS:
        np.testing.assert_allclose(scores[kind], scores['folder'], atol=1e-3, rtol=0)


def test_files_that_others_wrote_for_one_image(model, tmp_path):
    """Their batch is a constant: several images would be refused, so they come one by one."""
    network, image = torch.nn.Conv2d(3, 1, 1).eval(), torch.zeros(1, 3, *SIZE)
    program = torch.export.export(network, (image,))
    assert traced_batch(program) == 1
    config = json.dumps(asdict(replace(model.config, input_size=list(SIZE))))
    torch.export.save(program, tmp_path / 'one.pt2', extra_files={CONFIG_KEY: config})
    written = torch.onnx.export(
        program, dynamo=True, optimize=False, verbose=False, input_names=['image'],
        output_names=['depth'])
    written.model.metadata_props[CONFIG_KEY] = config
    written.save(tmp_path / 'one.onnx')
    assert hub.load(tmp_path / 'one.pt2').one_at_a_time
    single = hub.load(tmp_path / 'one.onnx')
    assert single.one_at_a_time and not OnnxBackend(single).batches
    frames = [Frame(np.full((*SIZE, 3), grey, np.uint8), np.diag([400.0, 400, 1]))
              for grey in (0, 200)]
    predictor = Predictor(tmp_path / 'one.onnx', device='cpu', max_depth=1e6)
    for frame, found in zip(frames, predictor.predict_batch(frames)):
        np.testing.assert_array_equal(found.depth, predictor.predict(frame).depth)
