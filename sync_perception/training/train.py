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

"""`sync_perception train`: Lightning's command line over the module and the mixture."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import warnings

from lightning.pytorch.cli import LightningCLI
from sync_perception.training.data.mixture import MixtureData
from sync_perception.training.module import SynchronisedLearning

DATA_VARIABLE = 'SYNC_PERCEPTION_DATA'


def train(arguments: Sequence[str]) -> LightningCLI:
    """
    Train what a recipe describes.

    :param arguments: as for LightningCLI's `fit`: --config FILE, --trainer.max_steps N, ...
    :return: the finished command line, with its trainer and model.
    :raises ValueError: if the recipe needs the data's folder and the environment does not say it.
    """
    recipes = [Path(argument) for argument in arguments if argument.endswith(('.yaml', '.yml'))]
    if DATA_VARIABLE not in os.environ and any(
            DATA_VARIABLE in recipe.read_text() for recipe in recipes if recipe.is_file()):
        raise ValueError(
            f'the recipe finds its data in {DATA_VARIABLE}: set it to the folder that holds them')
    # the arguments come from this package's own command, not around it
    warnings.filterwarnings('ignore', message="LightningCLI's args parameter")
    return LightningCLI(
        SynchronisedLearning, MixtureData, args=['fit', *arguments],
        seed_everything_default=0, save_config_kwargs={'overwrite': True})
