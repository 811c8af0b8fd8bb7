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

"""Choosing images to label: rounds, budgets, interruptions, the file and the page."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal

import cv2
from forked import fork
import numpy as np
import pytest
from sync_perception.cli import app
from sync_perception.datasets import DatasetOptions, open_dataset
from sync_perception.datasets.camvid import CamVid
from sync_perception.datasets.derived.selection_files import read_selection, Selection
from sync_perception.models import build_model, hub, ModelConfig
from sync_perception.studies.selection import select as selecting
from sync_perception.studies.selection.select import Plan, select, StudentSettings
from typer.testing import CliRunner

IMAGES = 12
STUDENT = StudentSettings(steps=2, batch=2)
PLAN = Plan((3, 5, 8), 'both', 4, STUDENT)
LEVEL = 0  # random weights leave little of an image at the coarser ones


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Write CamVid of twelve pictures of noise, each of another brightness and grain."""
    root, rng = tmp_path_factory.mktemp('camvid'), np.random.default_rng(1)
    for folder in ('train', 'trainannot'):
        (root / folder).mkdir()
    for number in range(IMAGES):
        small = rng.integers(0, 256, (2 + number, 3 + number, 3), dtype=np.uint8)
        image = cv2.resize(small, (48, 32), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(root / 'train' / f'frame_{number:02}.png'), image)
        cv2.imwrite(str(root / 'trainannot' / f'frame_{number:02}.png'),
                    np.zeros((32, 48), np.uint8))
    return root


@pytest.fixture(scope='module')
def whole(images, small_model, tmp_path_factory):
    """Return a selection that was not interrupted, and its file."""
    out = tmp_path_factory.mktemp('selection') / 'selection.json'
    return select(small_model, DatasetOptions('camvid', images), out, PLAN, level=LEVEL), out


def chosen_by(strategy, small_model, images, out, budgets=(4, 6), seed=4):
    """Return the ids that a strategy chooses, without a page."""
    plan = Plan(budgets, strategy, seed, STUDENT)
    return select(
        small_model, DatasetOptions('camvid', images), out / 'one.json', plan, level=LEVEL,
        page=False).ids


def test_the_file_is_a_split(whole, images):
    """It holds what was chosen in order, and the data set reads it."""
    selection, out = whole
    assert Selection.read(out) == selection
    assert read_selection(out, 5) == list(selection.ids[:5])
    assert len(set(selection.ids)) == 8 and selection.budgets == (3, 5, 8)
    data = open_dataset('camvid', images, f'{out}:5')
    assert sorted(data.ids) == sorted(selection.ids[:5])
    assert data[0].labels is not None


def test_scores_are_distance_and_uncertainty(whole):
    """The first image has none, the first round no uncertainty, later ones the sum of both."""
    selection, _ = whole
    distances = selection.record['distances']
    errors = selection.record['uncertainties']
    assert selection.scores[0] is None and errors[:3] == [None] * 3
    assert selection.scores[1:3] == tuple(distances[1:3])
    for score, distance, error in list(zip(selection.scores, distances, errors))[3:]:
        assert distance > 0 and error > 0
        assert score == pytest.approx(distance + error, abs=2e-4)


def test_the_same_seed_chooses_the_same(whole, images, small_model, tmp_path):
    """Students too are the same; another seed starts from another image."""
    again = select(
        small_model, DatasetOptions('camvid', images), tmp_path / 's.json', PLAN, level=LEVEL,
        page=False)
    assert again == whole[0]
    other = Plan(PLAN.budgets, PLAN.strategy, 5, STUDENT)
    cache = whole[1].with_suffix('.cache')
    second = select(
        small_model, DatasetOptions('camvid', images), tmp_path / 't.json', other, cache=cache,
        level=LEVEL, page=False)
    assert second.ids != again.ids


def test_strategies_share_what_they_have_in_common(images, small_model, tmp_path):
    """One first image; diversity until there is a student; chance needs no model."""
    random = chosen_by('random', 'no model', images, tmp_path)
    diverse = chosen_by('diversity', small_model, images, tmp_path)
    both = chosen_by('both', small_model, images, tmp_path)
    uncertain = chosen_by('uncertainty', small_model, images, tmp_path)
    assert {ids[0] for ids in (random, diverse, both, uncertain)} == {random[0]}
    assert both[:4] == diverse[:4] and uncertain[:4] == random[:4]
    assert diverse[:4] != random[:4]
    assert not (tmp_path / 'one.html').exists()


def killed_at(calls, owner, name, model, images, out):
    """Select until a function was called so many times; the next call kills the process."""
    original, left = getattr(owner, name), [calls]

    def mortal(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(owner, name, mortal)
    select(model, DatasetOptions('camvid', images), out, PLAN, level=LEVEL, page=False)


@pytest.mark.parametrize(('owner', 'name', 'calls', 'left'), [
    (CamVid, 'read', 7, (IMAGES - 7, 7, 2)), (selecting.Choice, 'pick', 5, (0, 2, 0)),
    (selecting, 'uncertainties', 1, (0, 3, 1))])
def test_a_killed_run_goes_on(
        whole, images, small_model, tmp_path, monkeypatch, owner, name, calls, left):
    """Nothing that was finished is done again, and the choice is that of an unbroken run."""
    out = tmp_path / 'selection.json'
    process = fork(killed_at, calls, owner, name, small_model, images, out)
    process.join()
    assert process.exitcode == -signal.SIGKILL and not out.exists()
    counts = {'read': 0, 'pick': 0, 'uncertainties': 0}
    for place, what in ((CamVid, 'read'), (selecting.Choice, 'pick'),
                        (selecting, 'uncertainties')):
        count_calls(monkeypatch, place, what, counts)
    again = select(
        small_model, DatasetOptions('camvid', images), out, PLAN, level=LEVEL, page=False)
    assert again == whole[0]
    assert tuple(counts.values()) == left


def count_calls(monkeypatch, owner, name, counts):
    """Count the calls of a function from now on."""
    original = getattr(owner, name)

    def counted(*arguments, **options):
        counts[name] += 1
        return original(*arguments, **options)
    monkeypatch.setattr(owner, name, counted)


def test_unreadable_images_are_left_out(images, small_model, tmp_path, caplog):
    """They are named, and count neither as candidates nor towards the budget."""
    root = tmp_path / 'broken'
    for folder in ('train', 'trainannot'):
        (root / folder).mkdir(parents=True)
        for file in (images / folder).iterdir():
            (root / folder / file.name).write_bytes(file.read_bytes())
    broken = root / 'train' / 'frame_03.png'
    broken.write_bytes(broken.read_bytes()[:40])
    chosen = chosen_by('diversity', small_model, root, tmp_path, (IMAGES - 1,))
    assert len(chosen) == IMAGES - 1 and not any('frame_03' in name for name in chosen)
    assert 'frame_03' in caplog.text
    with pytest.raises(ValueError, match='12 .*11 images'):
        chosen_by('diversity', small_model, root, tmp_path, (IMAGES,))


def test_the_page_shows_the_images_in_order(whole, images):
    """The photographs themselves, each with its id and its score, in their rounds."""
    selection, out = whole
    page = out.with_suffix('.html').read_text()
    shown = re.findall(r'<b>(\d+)</b><span class="id">([^<]+)</span>', page)
    assert shown == [(str(place), name) for place, name in enumerate(selection.ids, start=1)]
    assert page.count('<h2>Round') == 3 and 'http' not in page
    assert f'score {selection.scores[4]:.1f}' in page
    sources = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(sources) == 8
    data = open_dataset('camvid', images, 'train')
    originals = np.stack([sample.image.astype(int) for sample in data])
    for name, source in zip(selection.ids, sources):
        drawn = cv2.imdecode(np.frombuffer(base64.b64decode(source), np.uint8), -1)[..., ::-1]
        differences = np.abs(originals - drawn).mean(axis=(1, 2, 3))
        assert data.ids[differences.argmin()] == name


@pytest.mark.parametrize(('changes', 'message'), [
    ({'budgets': (13,)}, 'budget of 13 is larger than the set of 12 images'),
    ({'budgets': (5, 5)}, 'budgets of at least 1 that rise, such as .* got 5,5'),
    ({'budgets': (0, 5)}, 'budgets of at least 1'), ({'budgets': ()}, 'budgets of at least 1'),
    ({'strategy': 'hope'}, "'hope'.* random, diversity, uncertainty, both"),
])
def test_plans_that_cannot_be_are_refused(changes, message, images, small_model, tmp_path):
    """One message each, before anything is computed."""
    values = {'budgets': (2, 4), 'student': STUDENT, **changes}
    with pytest.raises(ValueError, match=message):
        select(small_model, DatasetOptions('camvid', images), tmp_path / 's.json', Plan(**values))
    assert not list(tmp_path.iterdir())


def test_a_model_without_depth_is_refused(images, small_model, tmp_path):
    """So is a level that it does not have, and another selection's cache."""
    config = hub.read_config(small_model)
    config.arguments = {**config.arguments, 'depth': None}
    hub.save(build_model(ModelConfig(**vars(config))), tmp_path / 'model')
    plan = Plan((2, 4), 'diversity')
    with pytest.raises(ValueError, match='SyncNet'):
        select(tmp_path / 'model', DatasetOptions('camvid', images), tmp_path / 's.json', plan)
    with pytest.raises(ValueError, match='5.*-5.*4.*5'):
        select(small_model, DatasetOptions('camvid', images), tmp_path / 's.json', plan, level=5)
    with pytest.raises(ValueError, match='selection.txt'):
        select(small_model, DatasetOptions('camvid', images), tmp_path / 'selection.txt', plan)
    select(
        small_model, DatasetOptions('camvid', images), tmp_path / 's.json', plan, level=LEVEL,
        page=False)
    with pytest.raises(ValueError, match='s.json'):
        select(
            small_model, DatasetOptions('camvid', images, f'{tmp_path}/s.json:3'),
            tmp_path / 's.json', Plan((2,)))
    with pytest.raises(ValueError, match='level was 0, is now 1'):
        select(small_model, DatasetOptions('camvid', images), tmp_path / 's.json', plan, level=1)
    shutil.copytree(images, tmp_path / 'elsewhere')
    with pytest.raises(ValueError, match='root was .*camvid'):
        select(
            small_model, DatasetOptions('camvid', tmp_path / 'elsewhere'), tmp_path / 's.json',
            plan, level=LEVEL)


def test_features_that_are_all_the_same_are_refused(images, small_model, tmp_path):
    """As of a data set of one picture, or of a network that was never trained."""
    root, first = tmp_path / 'same', next((images / 'train').iterdir())
    for folder in ('train', 'trainannot'):
        (root / folder).mkdir(parents=True)
        for number in range(3):
            file = root / folder / f'{number}.png'
            file.write_bytes((images / folder / first.name).read_bytes())
    with pytest.raises(ValueError, match='features'):
        chosen_by('diversity', small_model, root, tmp_path, (2,))


@pytest.mark.parametrize('steps', [0, -3])
def test_students_that_learn_nothing_are_refused(steps):
    """Rates and batches likewise."""
    with pytest.raises(ValueError, match=f'0.*{steps}'):
        StudentSettings(steps=steps)


def test_the_command_selects(images, small_model, tmp_path):
    """With its options in their places."""
    out = tmp_path / 'few.json'
    result = CliRunner().invoke(app, [
        'select', '--dataset', 'camvid', '--root', str(images), '--model', str(small_model),
        '--out', str(out), '--budget', '2,3', '--strategy', 'diversity', '--seed', '4', '--level',
        '0', '--cache', str(tmp_path / 'found'), '--no-page'])
    assert result.exit_code == 0 and f'{out}: 3 images' in result.output.replace('\n', '')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['few.json', 'found']
    assert tuple(read_selection(out)) == chosen_by(
        'diversity', small_model, images, tmp_path, (2, 3))


def test_budgets_are_read():
    """As a user writes them."""
    assert selecting.parse_budgets('25,50, 100') == (25, 50, 100)
    with pytest.raises(ValueError, match="'25;50'"):
        selecting.parse_budgets('25;50')
