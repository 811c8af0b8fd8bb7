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


"""Files that can run code are loaded only where that is allowed."""

from __future__ import annotations

import sys

import pytest
from sync_perception import cli
from sync_perception.files.trust import allow_code, check_code_allowed, code_allowed


@pytest.fixture(autouse=True)
def forbidden():
    """Leave nothing allowed behind."""
    allow_code(False)
    yield
    allow_code(False)


def test_nothing_is_allowed_until_it_is():
    """The refusal names the file and both ways to allow it."""
    with pytest.raises(ValueError, match=r'model\.pt2.*allow_code:=true'):
        check_code_allowed('model.pt2')
    with code_allowed(True):
        check_code_allowed('model.pt2')
        with code_allowed(False), pytest.raises(ValueError, match='model.pt2'):
            check_code_allowed('model.pt2')
    with pytest.raises(ValueError, match='model.pt2'):
        check_code_allowed('model.pt2')


@pytest.mark.parametrize(('words', 'reason'), [
    ([], '--allow-code'), (['--allow-code'], 'torch.export')])
@pytest.mark.parametrize('verb', ['predict', 'evaluate'])
def test_verbs_refuse_them_by_default(tmp_path, monkeypatch, capsys, verb, words, reason):
    """Allowed, the file is looked at, and found to be none."""
    path = tmp_path / 'model.pt2'
    path.write_bytes(b'x')
    (tmp_path / 'image.png').write_bytes(b'')
    rest = {'predict': [str(tmp_path / 'image.png'), '--out', str(tmp_path / 'out')],
            'evaluate': ['--dataset', 'synthetic']}[verb]
    monkeypatch.setattr(
        sys, 'argv', ['sync_perception', verb, *rest, '--model', str(path), *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    message = capsys.readouterr().err
    assert left.value.code == 1 and str(path) in message and reason in message
