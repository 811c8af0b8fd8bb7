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


"""Files are whole or not there; small descriptions are read or refused by name."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

from full_disk import full_disk
from mutations import FILES
import pytest
from sync_perception.files.whole_files import (
    read_json,
    read_yaml,
    replacing,
    write_bytes,
    write_json,
    write_text,
)


def test_files_are_written(tmp_path):
    """Bytes, text and JSON; folders are made; nothing else is left."""
    write_bytes(tmp_path / 'a' / 'b', b'1')
    write_text(tmp_path / 'a' / 'c', 'ä\n')
    write_json(tmp_path / 'a' / 'd', {'x': 1})
    assert (tmp_path / 'a' / 'c').read_bytes() == 'ä\n'.encode()
    assert read_json(tmp_path / 'a' / 'd') == {'x': 1}
    assert sorted(os.listdir(tmp_path / 'a')) == ['b', 'c', 'd']


def test_a_failure_leaves_the_former_file(tmp_path):
    """Neither half of the new one, nor anything beside."""
    path = tmp_path / 'file'
    write_text(path, 'former')

    def fail() -> None:
        with replacing(path) as beside:
            beside.write_text('half')
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == 'former' and os.listdir(tmp_path) == ['file']


def test_a_full_disk_is_named(tmp_path):
    """The message names the file and the space; what was there stays."""
    path = tmp_path / 'file'
    write_text(path, 'former')
    with full_disk(), pytest.raises(OSError, match='file:.*GB') as full:
        write_bytes(path, bytes(10 ** 6))
    assert full.value.errno == errno.EFBIG
    assert str(path) in str(full.value) and '\n' not in str(full.value)
    assert path.read_text() == 'former' and os.listdir(tmp_path) == ['file']


def test_a_folder_that_is_a_file_is_named(tmp_path):
    """What stands in the way is an OSError of one line, too."""
    (tmp_path / 'folder').write_text('')
    with pytest.raises(OSError, match='cannot write .*folder/file'):
        write_text(tmp_path / 'folder' / 'file', 'x')


def test_a_kill_leaves_the_former_file(tmp_path):
    """At any moment: the former text or the new one."""
    path = tmp_path / 'file'
    write_text(path, 'former')
    done = subprocess.run(
        [sys.executable, '-c', 'import os, signal, sys\n'
         'from sync_perception.files.whole_files import replacing\n'
         'with replacing(sys.argv[1]) as beside:\n'
         '    beside.write_text("half")\n'
         '    os.kill(os.getpid(), signal.SIGKILL)\n', str(path)], timeout=60)
    assert done.returncode < 0 and path.read_text() == 'former'


def test_a_link_stays_a_link(tmp_path):
    """The file that it names is replaced."""
    write_text(tmp_path / 'file', 'former')
    (tmp_path / 'link').symlink_to(tmp_path / 'file')
    write_text(tmp_path / 'link', 'new')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'file').read_text() == 'new'


def test_devices_are_written_to():
    """Results to the standard output are no file to replace."""
    done = subprocess.run(
        [sys.executable, '-c', 'from sync_perception.files.whole_files import write_json\n'
         'write_json("/dev/stdout", {"a": 1})'], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == {'a': 1}


@pytest.mark.parametrize('name', sorted(set(FILES) - {'a number', 'a list', 'null', 'a text'}))
def test_what_is_no_description_is_refused_by_name(tmp_path, name):
    """In one line, whatever it is."""
    path = tmp_path / 'file'
    path.write_bytes(FILES[name])
    with pytest.raises(ValueError, match=str(path)) as refused:
        read_json(path)
    assert '\n' not in str(refused.value)


def test_pipes_and_folders_are_refused(tmp_path):
    """A pipe would be waited for."""
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path / 'pipe', tmp_path):
        with pytest.raises(ValueError, match='expected a file'):
            read_json(path)
    with pytest.raises(FileNotFoundError, match='nothing'):
        read_yaml(tmp_path / 'nothing')


@pytest.mark.parametrize('text', [
    '!!python/object/apply:os.system [echo]', 'a: [', 'a: b: c', '\t- x', '2024-13-45: 1'])
def test_yaml_that_is_broken_or_makes_objects_is_refused(tmp_path, text):
    path = tmp_path / 'file.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match='file.yaml is not YAML') as refused:
        read_yaml(path)
    assert '\n' not in str(refused.value)
