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

"""The changelog is in the form that the release tools of ROS read."""

from __future__ import annotations

from pathlib import Path
import shutil

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.linter
def test_changelog(tmp_path):
    """What is forthcoming becomes the section of a release, with every item."""
    changelog = pytest.importorskip('catkin_pkg.changelog')
    versions = pytest.importorskip('catkin_pkg.package_version')
    package = pytest.importorskip('catkin_pkg.package').parse_package(str(ROOT / 'package.xml'))
    copy = shutil.copy(ROOT / 'CHANGELOG.rst', tmp_path)
    text = (ROOT / 'CHANGELOG.rst').read_text(encoding='utf-8')
    label = versions.get_forthcoming_label(text)
    assert label == 'Forthcoming'
    before = changelog.get_changelog_from_path(copy, package.name)
    versions.update_changelog_sections({package.name: (copy, before, label)}, package.version)
    released = changelog.get_changelog_from_path(copy, package.name)
    items = [str(item) for item in released.get_content_of_version(package.version)]
    assert items
    assert ''.join(items).count('* ') == text.count('\n* ')
