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

"""Settings that differ are named; equal ones pass."""

from __future__ import annotations

import pytest
from sync_perception.files.resume import changed_settings, check_same_settings


def test_settings_that_differ_are_named():
    former = {'a': {'b': 1, 'c': [1]}, 'd': 2}
    assert changed_settings(former, {'a': {'b': 1, 'c': [2]}, 'e': 3}) == [
        'a.c was [1], is now [2]', 'd was 2, is now None', 'e was None, is now 3']
    assert changed_settings({'a': 1}, {'a': 1}) == []


def test_other_settings_are_refused_with_the_folder_and_the_advice(tmp_path):
    check_same_settings(tmp_path, {'model': 'a'}, {'model': 'a'}, 'unused')
    with pytest.raises(ValueError, match=f'{tmp_path}'):
        check_same_settings(tmp_path, {'model': 'a'}, {'model': 'b'}, 'remove it')
