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


"""Recipes: what to learn, as YAML files that may build on one another."""

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
    Read a recipe, changing what it extends.

    `extends: FILE`, or a list of files, names what it builds on, from its own folder.

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
    Return what a recipe extends, with its changes.

    :param own: what the recipe itself says.
    :param folder: in which it lies.
    :param descendants: the recipes that extend what it extends, nearest last.
    :raises FileNotFoundError: if it extends what is not there.
    :raises ValueError: if that is no mapping, or extends itself.
    """
    bases = own.get(BASES, [])
    recipe: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        recipe = changed(recipe, load_recipe(folder / base, descendants))
    return changed(recipe, {name: value for name, value in own.items() if name != BASES})


def check_numbers(value: Any, key: str) -> None:
    """
    Refuse NaN and infinite numbers, however deep, which no setting of a training can be.

    :param key: of the value, ending as the key of an entry begins.
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
    Return a recipe with changes: mappings are merged, all else is replaced.

    Where two mappings name different things (another `kind`, `architecture` or `class_path`), the
    later one stands alone: the former's settings are not the other thing's.
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
    """Say whether two mappings set up different things."""
    return any(name in later and name in former and former[name] != later[name]
               for name in ('kind', 'architecture', 'class_path'))


def gathered(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """
    Take the recipes, and what changes a network's parts or the data, out of a command line.

    The parser behind it replaces mappings of mappings as a whole: what is given of
    `model.arguments`, by a second recipe or by `--model.arguments.depth.size tiny`, would drop
    all that it does not name. And other data need other environment variables.

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
    """Make the mapping in which the last of some nested keys has a value, read as YAML."""
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
    Refuse a recipe whose environment variables are not all set.

    :raises ValueError: naming those that are missing.
    """
    wanted = {name for text in texts(recipe) for name in VARIABLE.findall(text)}
    missing = sorted(wanted - set(os.environ))
    if missing:
        raise ValueError(
            f'the recipe finds its data in {", ".join(missing)}: set it to the folder that holds '
            'them')


def check_known(where: str, names: Collection[str], known: Collection[str]) -> None:
    """
    Look names up.

    :param where: they stand, for the message.
    :raises ValueError: naming those that are unknown, and all that are known.
    """
    unknown = [str(name) for name in names if name not in known]
    if unknown:
        raise ValueError(
            f'{where}: expected some of {", ".join(map(str, known))}, got {", ".join(unknown)}')


def texts(value: Any) -> Iterator[str]:
    """Give all strings of a recipe, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a recipe with all of its strings, however deep, changed; keys stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: with_texts(inner, change) for key, inner in value.items()}
    return [with_texts(inner, change) for inner in value] if isinstance(value, list) else value
