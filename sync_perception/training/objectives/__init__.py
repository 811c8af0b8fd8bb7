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

"""Training objectives, one per file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, make_dataclass

from sync_perception.training.objectives.consistency import Consistency
from sync_perception.training.objectives.objective import Objective
from sync_perception.training.objectives.self_supervised import SelfSupervised
from sync_perception.training.objectives.semi_supervised import SemiSupervised
from sync_perception.training.objectives.supervised import Supervised
from sync_perception.training.objectives.temporal import TemporalConsistency

OBJECTIVES: dict[str, type[Objective]] = {
    'semi_supervised': SemiSupervised,  # before the network processes the batch itself
    'supervised': Supervised,
    'consistency': Consistency,
    'self_supervised': SelfSupervised,
    # after all passes with a gradient; uses self_supervised's poses
    'temporal': TemporalConsistency,
}
"""Objectives by their names in recipes, in the order of computation in a step."""


def configuration(objectives: Mapping[str, type[Objective]]) -> type:
    """
    Return the dataclass of a training's objectives: one field each, None if not used.

    :param objectives: objectives by name, like OBJECTIVES.
    """
    fields = [
        (name, kind.Config | None,
         field(default_factory=kind.Config) if kind.DEFAULT else field(default=None))
        for name, kind in objectives.items()]
    made = make_dataclass('Objectives', fields, frozen=True)
    made.__module__ = __name__
    summaries = (f':param {name}: {kind.__doc__.strip().splitlines()[0]}'
                 for name, kind in objectives.items())
    made.__doc__ = '\n'.join(('Objectives that the training minimises; null disables '
                              'one.', '', *summaries))
    return made


Objectives = configuration(OBJECTIVES)
