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

"""`sync_perception train`: train by a recipe, with Lightning's command line."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
from typing import Any, Literal, NoReturn
import warnings

from jsonargparse import Namespace
import lightning
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from sync_perception.files.checks import first_line, mapping, text
from sync_perception.training.contrastive import ContrastiveLearning
from sync_perception.training.feeding.contrastive_pairs import PairData
from sync_perception.training.feeding.mixture import MixtureData
from sync_perception.training.loop.checkpoints import WholeCheckpoints
from sync_perception.training.module import SynchronisedLearning
from sync_perception.training.recipes import check_variables, gathered
import yaml

LEARNINGS: dict[str, tuple[type[lightning.LightningModule], type[lightning.LightningDataModule]]]
LEARNINGS = {
    'synchronised': (SynchronisedLearning, MixtureData),
    'contrastive': (ContrastiveLearning, PairData)}
"""Module and data module by a recipe's `learning`."""
SETTING_ERRORS = (
    TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RuntimeError,
    MisconfigurationException)
"""Errors that constructors raise for inconsistent settings of the right types."""
UNION = 'Does not validate against any of the Union subtypes'
ALTERNATIVES = (
    UNION, 'Subtypes:', 'Errors:', 'Problem with given class_path',
    "Expected a <class 'NoneType'>", "Given value type: <class 'dict'>",
    "Given value type: <class 'jsonargparse", 'Given value: {', 'Given value: Namespace(',
    'Given value: NestedArg(')
UNHELPFUL = (
    # the arguments come from this package's own command, not around it
    "LightningCLI's args parameter",
    # a recipe without `val_sources` is not measured
    'You defined a `validation_step` but have no `val_dataloader`',
    'Total length of `list` across ranks is zero',
    # of libraries among themselves
    r'`isinstance\(treespec, LeafSpec\)` is deprecated',
    'Precision .* is not supported by the model summary',
    # the order continues by `MixtureData.state_dict`, which Lightning does not look for
    "You're resuming from a checkpoint that ended before the epoch ended")


class TrainingCLI(LightningCLI):
    """LightningCLI with logs and checkpoints in the root folder, where `last` looks."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the argument `learning`."""
        parser.add_argument(
            '--learning', type=Literal[tuple(LEARNINGS)], default='synchronised',
            help='Kind of training.')

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Create a parser that raises errors, without printing its usage."""
        parser = super().init_parser(**kwargs)
        parser.error = refuse_setting
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """
        Parse the command line.

        :raises ValueError: if a key is unknown; the parser alone ignores `unknown: {}`.
        """
        super().parse_arguments(parser, args)
        if '--config' in args:
            recipe = yaml.safe_load(args[args.index('--config') + 1])
            refuse_unknown(recipe, self.config.fit)

    def _parse_ckpt_path(self) -> None:
        """Ignore the settings in a checkpoint, as for `last`; Lightning would use them."""

    def instantiate_classes(self) -> None:
        """
        Build the trainer, the module and the data.

        :raises ValueError: if a setting of the right type is invalid.
        """
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise ValueError(reason(str(error))) from error
        except SETTING_ERRORS as error:
            raise ValueError(
                f'cannot run the recipe: {type(error).__name__}: {first_line(error)}'
                ) from error

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """
        Build the trainer.

        :raises ValueError: if the root folder contains another training.
        """
        config = self.config_init.fit
        root = Path(config.trainer.default_root_dir or '.')
        last = root / 'checkpoints' / 'last.ckpt'
        if last.is_file() and not config.ckpt_path:
            raise ValueError(
                f'{root} already contains a training: continue it with --ckpt_path last, or set '
                'another folder with --trainer.default_root_dir')
        if config.trainer.logger is None:
            kwargs['logger'] = TensorBoardLogger(
                root, name='', version='', default_hp_metric=False)
        plugins = config.trainer.plugins or []
        kwargs['plugins'] = [
            WholeCheckpoints(), *(plugins if isinstance(plugins, list) else [plugins])]
        return super().instantiate_trainer(**kwargs)


def refuse_setting(message: str, error: Exception | None = None) -> NoReturn:
    """Raise a parser's error: the key, the expected and the given value."""
    raise ValueError(' '.join(reason(message).split())) from error


def reason(message: str) -> str:
    """
    Return a parser's error message without its parts for the alternatives of optional settings.

    For a key that accepts settings or null, the parser also reports that the value is not null,
    and repeats the value.
    """
    if UNION not in message:
        return message
    lines = (line.strip().removeprefix('- ') for line in message.splitlines())
    return '\n'.join(line for line in lines if not line.startswith(ALTERNATIVES))


def refuse_unknown(given: dict[str, Any], parsed: Namespace, key: str = '') -> None:
    """
    Check that the parser knows all keys of a recipe.

    :param given: the recipe.
    :param parsed: the parsed recipe.
    :param key: key of the recipe in a larger one, as a prefix of the keys of its entries.
    :raises ValueError: naming the unknown key, and the known ones.
    """
    for name, value in given.items():
        if name not in parsed:
            raise ValueError(
                f'{key}{name}: unknown, expected some of {", ".join(vars(parsed))}')
        inner = parsed[name]
        if isinstance(value, dict) and isinstance(inner, Namespace) and 'class_path' not in value:
            refuse_unknown(value, inner, f'{key}{name}.')


def train(arguments: Sequence[str]) -> LightningCLI:
    """
    Train by a recipe.

    :param arguments: arguments of LightningCLI's `fit`: --config FILE, --trainer.max_steps N, ...
    :return: the finished command line, with its trainer and model.
    :raises FileNotFoundError: if a recipe does not exist.
    :raises ValueError: if a recipe is invalid or needs an unset environment variable, if its root
        folder contains another training, or if a loss is not finite.
    """
    recipe, others = gathered(arguments)
    learning = chosen_learning(recipe)
    for name in ('model', 'data', 'trainer'):
        mapping(recipe.get(name, {}), name)
    check_variables(recipe)
    for message in UNHELPFUL:
        warnings.filterwarnings('ignore', message=message)
    # concerns two libraries, not users
    os.environ.setdefault('JSONARGPARSE_DEPRECATION_WARNINGS', 'off')
    # pass the merged recipe to the parser as a single text
    whole = ['--config', yaml.safe_dump(recipe, sort_keys=False)] if recipe else []
    try:
        return TrainingCLI(
            *LEARNINGS[learning], args=['fit', *whole, *others], seed_everything_default=0,
            save_config_kwargs={'overwrite': True})
    except RuntimeError as error:
        if 'loading state_dict' not in str(error):
            raise
        raise ValueError(
            'the checkpoint is of another network than that of the recipe: '
            f'{" ".join(str(error).split())[:300]}') from error


def chosen_learning(recipe: dict[str, Any]) -> str:
    """
    Return a recipe's `learning`, before its parser exists.

    :raises ValueError: if it is unknown.
    """
    name = recipe.get('learning', 'synchronised')
    text(LEARNINGS)(name, 'learning')
    return name
