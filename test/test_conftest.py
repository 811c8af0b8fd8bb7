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

"""What conftest.py gives all tests: they skip without the extras, and caplog hears loggers."""

from __future__ import annotations

from pathlib import Path
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

FILES = {
    'test_at_the_top.py': 'import kornia\n\ndef test_it():\n    pass\n',
    'test_behind_a_module.py': 'import needs_kornia\n\ndef test_it():\n    pass\n',
    'needs_kornia.py': 'from kornia.losses import ssim_loss\n',
    'test_inside.py': 'def test_it():\n    import kornia\n',
    'test_fixture.py': """import pytest

@pytest.fixture(scope='module')
def model():
    import kornia

def test_it(model):
    pass

def test_again(model):
    pass
""",
    'test_another_library.py': 'import no_such_library\n',
    'test_a_name_that_is_not_there.py': 'from pathlib import NoSuchName\n',
    # what the plugin launch_pytest does to new loggers
    'quiet_loggers.py': """import logging

class QuietLogger(logging.Logger):
    def __init__(self, name):
        super().__init__(name)
        self.propagate = False

logging.setLoggerClass(QuietLogger)
""",
    'test_log.py': """import logging

def test_it(caplog):
    logging.getLogger('new').warning('hear me')
    assert 'hear me' in caplog.text
""",
}


@pytest.fixture(scope='module')
def what_became(request, tmp_path_factory) -> dict[str, str]:
    """Run the files above where there is no kornia; return what became of each, by name."""
    folder = tmp_path_factory.mktemp('suite')
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / 'kornia.py').write_text(
        'raise ModuleNotFoundError("there is no kornia", name="kornia")\n')
    conftest = Path(__file__).with_name('conftest.py')
    (folder / 'conftest.py').write_text(conftest.read_text())
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-c', '/dev/null', '--rootdir', str(folder),
         '--junit-xml', str(folder / 'report.xml'), '--continue-on-collection-errors',
         '-p', 'no:cacheprovider', '-p', 'quiet_loggers', str(folder)],
        env={'PATH': '', 'PYTHONPATH': str(folder)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(folder / 'report.xml').iter('testcase'):
        module = re.search(r'test_\w+', case.get('classname') or case.get('name'))[0]
        result = next(iter(case), None)
        found[module] = found.get(module, '') + ('passed' if result is None else (
            f'{result.tag}: {result.get("message")} {result.text}'))
    return found


@pytest.mark.parametrize('module', [
    'test_at_the_top', 'test_behind_a_module', 'test_inside', 'test_fixture'])
def test_without_a_library_of_the_extras_tests_skip_with_the_reason(what_became, module):
    assert what_became[module].startswith('skipped')
    assert 'kornia' in what_became[module] and 'error' not in what_became[module]


@pytest.mark.parametrize('module', ['test_another_library', 'test_a_name_that_is_not_there'])
def test_other_imports_that_fail_are_errors(what_became, module):
    assert what_became[module].startswith('error')


def test_caplog_hears_new_loggers_whatever_class_a_plugin_has_set(what_became):
    assert what_became['test_log'] == 'passed'
