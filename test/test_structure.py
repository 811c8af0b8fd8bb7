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


"""Which layer may import which, read from the source."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = 'sync_perception'
ROOT = Path(__file__).resolve().parents[1]
BASE = ('types', 'labels', 'label_exports', 'geometry', 'resources', 'machine', 'environment',
        'images', 'calibration', 'kitti', 'files')
ALLOWED = {
    **dict.fromkeys(BASE, BASE),
    'models': ('models', *BASE),
    'runtime': ('runtime', 'models', *BASE),
    'mapping': ('mapping', 'runtime', 'models', *BASE),
    'ros': ('ros', 'mapping', 'runtime', 'models', 'street_world', *BASE),
    'street_world': ('street_world', *BASE),
    'datasets': ('datasets', 'street_world', *BASE),
    'evaluation': ('evaluation', 'mapping', 'runtime', 'datasets', 'models', *BASE),
    'training': ('training', 'evaluation', 'datasets', 'models', *BASE),
    'studies': ('studies', 'training', 'evaluation', 'datasets', 'models', 'runtime', *BASE),
    'cli': ('cli', 'ros', 'mapping', 'studies', 'training', 'evaluation', 'street_world',
            'datasets', 'runtime', 'models', *BASE),
}
ROS_MODULES = ('rclpy', 'cv_bridge', 'launch', 'launch_ros', 'tf2_ros', 'message_filters')
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding='utf-8')
           for path in sorted((ROOT / PACKAGE).rglob('*.py'))}


def imported_names(source: str) -> Iterator[tuple[str, bool, int]]:
    """Yield what a module imports: dotted name, whether inside a function, line."""
    def visit(node: ast.AST, lazy: bool) -> Iterator[tuple[str, bool, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, lazy, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                stem = '.' * child.level + (child.module or '')
                yield from ((f'{stem}.{alias.name}', lazy, child.lineno) for alias in child.names)
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from visit(child, lazy or inside)
    yield from visit(ast.parse(source), False)


def within(name: str, folders: tuple[str, ...]) -> bool:
    """Tell whether a dotted name is one of the folders or lies in one."""
    return any(name == folder or name.startswith(f'{folder}.') for folder in folders)


def violations(source: str, module: str) -> list[str]:
    """
    List the imports that go against the directions.

    :param source: a module's text.
    :param module: its name within the package, such as `runtime.predictor`.
    """
    layer = module.partition('.')[0]
    found: list[str] = []
    for name, lazy, line in imported_names(source):
        top, _, target = name.partition('.')
        if name.startswith('.'):
            found.append(f'line {line}: {name} is relative')
        elif top == PACKAGE:
            if layer in ALLOWED:
                if not within(target, ALLOWED[layer]):
                    found.append(f'line {line}: {layer} must not import {target}')
                elif layer == 'cli' and not lazy and within(target, ('ros',)):
                    found.append(f'line {line}: {module} may import {target} in functions only')
        elif layer != 'ros' and (top in ROS_MODULES or top.endswith('_msgs')):
            found.append(f'line {line}: only {PACKAGE}.ros may import {top}')
    return found


def test_imports_follow_the_directions():
    """No module reaches into a layer that it must not know."""
    found = {path: violations(source, '.'.join(Path(path).with_suffix('').parts[1:]))
             for path, source in SOURCES.items()}
    assert {path: lines for path, lines in found.items() if lines} == {}


def unexplained(source: str) -> list[int]:
    """
    Return the lines of the imports within functions that no comment gives a reason for.

    The comment is on the import's line or on the line above; one comment serves for the imports
    that follow each other.
    """
    lines = source.splitlines()
    explained, found = set(), []
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree)
                 if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    imports = {node.lineno: node for function in functions for node in ast.walk(function)
               if isinstance(node, (ast.Import, ast.ImportFrom))}
    for line, node in sorted(imports.items()):
        above = lines[line - 2].strip()
        comment = lines[node.end_lineno - 1].partition('#')[2].strip()
        if (comment and not comment.startswith('noqa') or above.startswith('#')
                or line - 1 in explained):
            explained.add(node.end_lineno)
        else:
            found.append(line)
    return found


def test_imports_within_functions_have_a_reason():
    """
    An import is hidden in a function only for an optional or slow library, and a comment says so.

    The commands of `cli` import late as a whole, so that `--help` does not wait for torch.
    """
    found = {path: unexplained(source) for path, source in SOURCES.items()
             if not path.startswith(f'{PACKAGE}/cli/')}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(('source', 'lines'), [
    ('def f():\n    import torch', [2]),
    ('def f():\n    import torch  # noqa: F401', [2]),
    ('def f():\n    import torch  # takes seconds', []),
    ('def f():\n    # takes seconds\n    import torch\n    from torch import nn', []),
    ('def f():\n    import torch  # takes seconds\n    x = 1\n    import cv2', [4]),
    ('import torch', []),
])
def test_unexplained_imports_are_seen(source, lines):
    """Only an import within a function needs a comment."""
    assert unexplained(source) == lines


def test_every_layer_is_known():
    """A new module at the top must be given its place in the rules."""
    top = {path.stem for path in (ROOT / PACKAGE).glob('*.py')}
    layers = {path.parent.name for path in (ROOT / PACKAGE).glob('*/__init__.py')}
    assert (top | layers) - {'__init__'} == set(ALLOWED)


def import_graph() -> dict[str, set[str]]:
    """Return which of the package's modules each of them imports, also within functions."""
    names = {'.'.join(Path(path).with_suffix('').parts): source
             for path, source in SOURCES.items()}
    graph: dict[str, set[str]] = {}
    for module, source in names.items():
        imported = (name for name, _, _ in imported_names(source))
        candidates = {each for name in imported for each in (name, name.rpartition('.')[0])}
        graph[module] = {each for each in candidates if each in names}
    return graph


def test_no_modules_import_each_other_in_a_circle():
    """The modules can be put in an order in which each only imports those before it."""
    left = import_graph()
    while free := {module for module, needed in left.items() if not needed & left.keys()}:
        left = {module: needed for module, needed in left.items() if module not in free}
    assert not left


def test_no_folder_is_crowded():
    """A folder holds at most a dozen modules."""
    counts = Counter(str(Path(path).parent) for path in SOURCES
                     if Path(path).name != '__init__.py')
    assert {folder: count for folder, count in counts.items() if count > 12} == {}


def test_no_module_is_long():
    """A module has at most 400 lines."""
    lengths = {path: len(source.splitlines()) for path, source in SOURCES.items()}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_no_function_is_long():
    """A function has at most 60 lines; a command of `cli`, whose options are its help, 70."""
    found = {
        f'{path}:{node.lineno}': node.name for path, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno - node.lineno >= (70 if path.startswith(f'{PACKAGE}/cli/') else 60)}
    assert found == {}


def definitions(source: str) -> Iterator[tuple[str, bool]]:
    """Yield the public names that a module defines at its top, and whether each is a constant."""
    for node in ast.parse(source).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names, constant = [node.name], False
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            constant = True
        else:
            continue
        yield from ((name, constant) for name in names if not name.startswith('_'))


def test_a_name_means_one_thing():
    """
    No class, function or imported constant shares its name with another one.

    Constants that only their own module uses may, and so may a command of `cli` and the function
    that it calls.
    """
    imported = {name for source in SOURCES.values() for name, _, _ in imported_names(source)}
    places: dict[str, list[str]] = {}
    for path, source in SOURCES.items():
        module = '.'.join(Path(path).with_suffix('').parts)
        for name, constant in definitions(source):
            entry = path.startswith(f'{PACKAGE}/cli/') or name == 'main'
            if not (constant and f'{module}.{name}' not in imported or entry and not constant):
                places.setdefault(name, []).append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


@pytest.mark.parametrize(('module', 'source'), [
    ('models.unet', 'from sync_perception.runtime import predictor'),
    ('runtime.predictor', 'from sync_perception.training.losses import depth'),
    ('runtime.predictor', 'from sync_perception.mapping.trajectory import Trajectory'),
    ('mapping.trajectory', 'from sync_perception.datasets.sample import Sample'),
    ('mapping.trajectory', 'from nav_msgs.msg import Odometry'),
    ('runtime.predictor', 'def f():\n    import sync_perception.ros.node.node'),
    ('training.module', 'from sync_perception.runtime.predictor import Predictor'),
    ('training.module', 'from sync_perception.studies.shards import parse_shard'),
    ('street_world.world', 'from sync_perception.datasets.sample import Sample'),
    ('types', 'from sync_perception import models'),
    ('cli.running', 'from sync_perception.ros.tools import bench'),
    ('ros.node.node', 'def f():\n    from sync_perception.datasets import open_dataset'),
    ('runtime.pointcloud', 'if True:\n    import rclpy.node'),
    ('labels', 'from std_msgs.msg import String'),
    ('models.unet', 'from .blocks import BLOCKS'),
])
def test_breaches_are_seen(module, source):
    """Each of these breaks the rules."""
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(('module', 'source'), [
    ('training.module', 'from sync_perception.models.network_input import normalise'),
    ('training.module', 'from sync_perception.models import network_input'),
    ('ros.replay.shot_sources', 'def f():\n    from sync_perception.street_world import Street'),
    ('cli.running', 'def bench():\n    from sync_perception.ros.tools.bench import bench'),
    ('ros.node', 'from sensor_msgs.msg import Image'),
    ('runtime.predictor', 'import torch'),
])
def test_permitted_imports_pass(module, source):
    """Each of these is what the rules are for."""
    assert violations(source, module) == []
