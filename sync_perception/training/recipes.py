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


"""Recipes: YAML files of trainings, which can extend one another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import deepcopy
import math
import os
from pathlib import Path
import re
from typing import Any

from sync_perception.files.checks import mapping, refuse, several, text
from sync_perception.files.whole_files import read_yaml
import yaml

BASES = 'extends'
FREE_FORM = ('--model.arguments.', '--model.initial.')
DATA = ('--data.sources', '--data.val_sources')
VARIABLE = re.compile(r'\$\{(\w+)\}')


def load_recipe(path: str | Path, descendants: tuple[Path, ...] = ()) -> dict[str, Any]:
    """
    Read a recipe, merged with the recipes that it extends.

    `extends: FILE`, or a list of files, names the base recipes, relative to its own folder.

    :param descendants: the recipes that extend this one, nearest last.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: if it is no mapping, or extends itself.
    """
    path = Path(path).resolve()
    if path in descendants:
        chain = ' extends '.join(file.name for file in (*descendants, path))
        raise ValueError(f'a recipe cannot extend itself: {chain}')
    if not path.is_file():
        wanted = f', which {descendants[-1]} extends' if descendants else ''
        raise FileNotFoundError(f'no recipe {path}{wanted}')
    own = read_yaml(path)
    mapping(own, str(path))
    bases = own.get(BASES, [])
    several(text())([bases] if isinstance(bases, str) else bases, f'{path}: {BASES}')
    check_numbers(own, f'{path}: ')
    return extended(own, path.parent, (*descendants, path))


def extended(
        own: dict[str, Any], folder: Path, descendants: tuple[Path, ...] = ()) -> dict[str, Any]:
    """
    Return a recipe merged with the recipes that it extends.

    :param own: the recipe's own content.
    :param folder: the recipe's folder.
    :param descendants: the recipes that extend its base recipes, nearest last.
    :raises FileNotFoundError: if a base recipe does not exist.
    :raises ValueError: if a base recipe is not a mapping, or extends itself.
    """
    bases = own.get(BASES, [])
    recipe: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        recipe = changed(recipe, load_recipe(folder / base, descendants))
    return changed(recipe, {name: value for name, value in own.items() if name != BASES})


def check_numbers(value: Any, key: str) -> None:
    """
    Check recursively that all numbers are finite.

    :param key: key of the value, as a prefix of the keys of its entries.
    :raises ValueError: naming the key.
    """
    entries: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    elif isinstance(value, float) and not math.isfinite(value):
        refuse(key.removesuffix('.'), 'a finite number', value)
    for name, entry in entries:
        check_numbers(entry, f'{key}{name}.')


def changed(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """
    Return a recipe with changes: mappings are merged, other values replaced.

    If two mappings differ in `kind`, `architecture` or `class_path`, the later one replaces the
    former, whose settings do not apply to it.
    """
    result = deepcopy(base)
    for key, value in change.items():
        former = result.get(key)
        if isinstance(former, dict) and isinstance(value, dict) and not renamed(former, value):
            result[key] = changed(former, value)
        else:
            result[key] = deepcopy(value)
    return result


def renamed(former: dict[str, Any], later: dict[str, Any]) -> bool:
    """Return whether two mappings configure different kinds of objects."""
    return any(name in later and name in former and former[name] != later[name]
               for name in ('kind', 'architecture', 'class_path'))


def gathered(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """
    Extract the recipes and the changes of networks and data from a command line.

    The parser would replace nested mappings as a whole: a change of `model.arguments`, by a second
    recipe or by `--model.arguments.depth.size tiny`, would drop all other entries. Also, other
    data need other environment variables.

    :return: one recipe of all `--config`, FREE_FORM and DATA, and the other arguments.
    """
    recipe: dict[str, Any] = {}
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        name, given, value = word.partition('=')
        is_recipe = name in ('--config', '-c')
        if not is_recipe and not name.startswith(FREE_FORM) and name not in DATA:
            others.append(word)
            continue
        value = value if given else next(words, '')
        if is_recipe:
            recipe = changed(recipe, load_recipe(value))
        else:
            recipe = changed(recipe, nested(name.removeprefix('--').split('.'), value))
    return recipe, others


def nested(names: Sequence[str], value: str) -> dict[str, Any]:
    """Return the nested mapping of a sequence of keys to a value, parsed as YAML."""
    try:
        tree: Any = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(
            f'--{".".join(names)}: expected a value in YAML, got {value!r}') from error
    for name in reversed(names):
        tree = {name: tree}
    return tree


def check_variables(recipe: dict[str, Any]) -> None:
    """
    Check that all environment variables of a recipe are set.

    :raises ValueError: naming the missing ones.
    """
    wanted = {name for text in texts(recipe) for name in VARIABLE.findall(text)}
    missing = sorted(wanted - set(os.environ))
    if missing:
        raise ValueError(
            f'the recipe reads its data from {", ".join(missing)}: set it to the folder that '
            'holds them')


def check_known(where: str, names: Collection[str], known: Collection[str]) -> None:
    """
    Check that names are known.

    :param where: their location, for the message.
    :raises ValueError: naming the unknown and all known names.
    """
    unknown = [str(name) for name in names if name not in known]
    if unknown:
        raise ValueError(
            f'{where}: expected some of {", ".join(map(str, known))}, got {", ".join(unknown)}')


def texts(value: Any) -> Iterator[str]:
    """Yield all strings of a recipe recursively."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a recipe with a function applied to all strings, except keys."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: with_texts(inner, change) for key, inner in value.items()}
    return [with_texts(inner, change) for inner in value] if isinstance(value, list) else value
