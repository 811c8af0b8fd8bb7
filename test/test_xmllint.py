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


"""Checks package.xml by its schema and by its meaning."""

from __future__ import annotations

from pathlib import Path
import shutil
import subprocess

import pytest

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / 'package.xml'
SCHEMA = 'http://download.ros.org/schema/package_format3.xsd'


@pytest.mark.linter
@pytest.mark.xmllint
def test_xmllint():
    """The manifest follows the schema that it names."""
    linter = pytest.importorskip('ament_xmllint.main', reason='ament_xmllint is not installed')
    xmllint = shutil.which('xmllint')
    if xmllint is None:
        pytest.skip('xmllint is not installed (Debian: libxml2-utils)')
    fetched = subprocess.run(
        [xmllint, '--noout', SCHEMA], capture_output=True, timeout=60, check=False)
    if fetched.returncode:
        pytest.skip(f'{SCHEMA} cannot be reached')
    assert linter.main(argv=[str(MANIFEST)]) == 0


@pytest.mark.linter
def test_manifest():
    """The build tools read the manifest without a complaint, and as what it is."""
    catkin_package = pytest.importorskip('catkin_pkg.package')
    warnings: list[str] = []
    package = catkin_package.parse_package(str(MANIFEST), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    assert package.get_build_type() == 'ament_python'
    assert f"version='{package.version}'" in (ROOT / 'setup.py').read_text(encoding='utf-8')
