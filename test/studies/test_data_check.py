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

"""The check of a data set: counts by hand, bad files by name, tables, JSON and the picture."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from sync_perception import cli
from sync_perception.cli import options
from sync_perception.datasets import DatasetOptions, DATASETS
from sync_perception.labels import LabelSpace
from sync_perception.studies.data_check import check_dataset, DEPTH_EDGES, print_check
from typer.testing import CliRunner

K = '{0} 0 32 0 {0} 20 0 0 1'


def write(path, array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


@pytest.fixture
def camvid(tmp_path):
    """Write three training frames and two of validation, one of which is cut off."""
    for split, index, labels in (('train', 0, (0, 3)), ('train', 1, (3, 3)), ('train', 2, (3, 11)),
                                 ('val', 0, (8, 8)), ('val', 1, (8, 8))):
        annotation = np.repeat(np.uint8([labels]), 40, axis=0).repeat(30, axis=1)
        write(tmp_path / split / f'{index}.png', np.zeros((40, 60, 3), np.uint8))
        write(tmp_path / f'{split}annot' / f'{index}.png', annotation)
    path = tmp_path / 'val' / '1.png'
    path.write_bytes(path.read_bytes()[:-20])
    return tmp_path


@pytest.fixture
def selection(tmp_path):
    """Write two frames with depth of two cameras, one of them all at 10 m."""
    for name, size, metres, focal in (('a', (40, 64), 10.0, 500.0), ('b', (50, 64), 20.0, 700.5)):
        stem = f'{name}_image_0000000000_image_02'
        depth = np.full(size, metres * 256, np.uint16)
        depth[size[0] // 2:] = 0 if name == 'b' else metres * 256
        write(tmp_path / 'image' / f'{stem}.png', np.zeros((*size, 3), np.uint8))
        write(tmp_path / 'groundtruth_depth' / f'{name}_groundtruth_depth_0000000000_image_02.png',
              depth)
        (tmp_path / 'intrinsics').mkdir(exist_ok=True)
        (tmp_path / 'intrinsics' / f'{stem}.txt').write_text(K.format(focal))
    return tmp_path


@pytest.mark.parametrize('workers', [0, 2])
def test_counts_of_a_labelled_set(camvid, workers):
    result = check_dataset(DatasetOptions('camvid', camvid), workers=workers)
    assert result['samples'] == 5
    assert result['splits']['train'] == 3 and result['splits']['val'] == 2
    assert 'no recording' in result['splits']['test']
    assert list(result['bad']) == ['val/1'] and 'truncated' in result['bad']['val/1']
    assert result['sizes'] == {'60x40': 4}
    assert result['shares']['labels'] == 1 and result['shares']['depth'] == 0
    labels = result['labels']
    assert labels['void'] == pytest.approx(1 / 8)
    assert labels['shares']['road'] == pytest.approx(4 / 7)
    assert labels['shares']['sky'] == pytest.approx(1 / 7)
    assert labels['images']['road'] == pytest.approx(3 / 4)
    assert labels['images']['car'] == pytest.approx(1 / 4)
    assert labels['shares']['tree'] == 0
    assert 'depth' not in result and 'expert_labels' not in result


def test_counts_of_a_set_with_depth(selection):
    result = check_dataset(DatasetOptions('kitti_depth', selection, 'kitti'))
    assert result['sizes'] == {'64x40': 1, '64x50': 1}
    assert result['focal_lengths'] == {'least': 500.0, 'median': 600.25, 'greatest': 700.5}
    depth = result['depth']
    pixels, unknown = 64 * 90, 64 * 25
    assert depth['known'] == pytest.approx(1 - unknown / pixels)
    assert depth['unknown'] == pytest.approx(unknown / pixels)
    counts = dict(zip(np.searchsorted(DEPTH_EDGES, (10.01, 20.0)) - 1, (64 * 40, 64 * 25)))
    assert {i: n for i, n in enumerate(depth['counts']) if n} == counts
    assert depth['metres']['median'] == pytest.approx(10, rel=0.06)
    assert depth['metres']['p95'] == pytest.approx(20, rel=0.06)


def test_real_depth_agrees_with_numpy(data_root):
    from sync_perception.datasets import open_dataset
    root = data_root / 'depth_selection'
    result = check_dataset(DatasetOptions('kitti_depth', root, 'val'))
    known = np.concatenate([sample.depth[np.isfinite(sample.depth)]
                            for sample in open_dataset('kitti_depth', root, 'val')])
    assert sum(result['depth']['counts']) == known.size
    for name, share in (('p5', 0.05), ('median', 0.5), ('p95', 0.95)):
        assert result['depth']['metres'][name] == pytest.approx(
            np.quantile(known, share), rel=0.03)


def test_json_and_picture_are_written(camvid, tmp_path):
    result = check_dataset(DatasetOptions('camvid', camvid, 'train'), tmp_path / 'out')
    assert json.loads((tmp_path / 'out' / 'check.json').read_text()) == result
    picture = cv2.imread(str(tmp_path / 'out' / 'check.png'))[..., ::-1]
    road, tree = (LabelSpace.load('camvid11').colors[i] for i in (3, 5))
    assert (picture == road).all(axis=-1).sum() > 2000
    assert not (picture == tree).all(axis=-1).any()  # no frame has a tree


def test_the_command_reports_and_leaves_with_the_status_of_bad_files(camvid, tmp_path):
    run = CliRunner().invoke(cli.app, [
        'data', 'check', '--dataset', 'camvid', '--root', str(camvid), '--out',
        str(tmp_path / 'out')])
    assert run.exit_code == 1
    assert '1 bad of 5' in run.output and 'val/1: ' in run.output
    assert 'road' in run.output and '57.143%' in run.output
    good = CliRunner().invoke(cli.app, [
        'data', 'check', '--dataset', 'camvid', '--root', str(camvid), '--split', 'train'])
    assert good.exit_code == 0


def test_arguments_come_as_yaml():
    pytest.importorskip('open3d')
    run = CliRunner().invoke(cli.app, [
        'data', 'check', '--dataset', 'synthetic', '--argument', 'length=2', '--argument',
        'size=[24, 32]'])
    assert run.exit_code == 0
    assert 'size 32x24' in run.output
    assert 'with neighbours' in run.output
    with pytest.raises(ValueError, match="NAME=VALUE, got 'length'"):
        options.named_values(['length'])
    assert options.named_values(['a=[1, 2]', 'b=x']) == {'a': [1, 2], 'b': 'x'}


def test_a_set_of_nothing_but_bad_files_is_reported(camvid, capsys):
    for path in camvid.glob('*annot/*'):
        path.unlink()
    result = check_dataset(DatasetOptions('camvid', camvid), camvid / 'out')
    assert len(result['bad']) == 5 and result['sizes'] == {}
    print_check(result)
    assert '5 bad of 5' in capsys.readouterr().out


def test_the_commands_name_every_data_set():
    named = options.DataSet.__metadata__[0].help.replace(' or ', ', ').rstrip('.').split(', ')
    assert sorted(named) == sorted(DATASETS)


def test_negative_workers_are_refused(camvid):
    with pytest.raises(ValueError, match='workers.*-1'):
        check_dataset(DatasetOptions('camvid', camvid), workers=-1)
