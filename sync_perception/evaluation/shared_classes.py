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

"""Correspondence of a model's classes to those of a data set, for evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sync_perception.labels import candidates, correspondence, LabelSpace
import torch
from torch import Tensor


@dataclass(frozen=True)
class SharedClasses:
    """
    Groups of corresponding classes of a model and a data set.

    :param names: names of the groups, from the data set's classes.
    :param members: float32 (groups, model's classes), 1 if a class belongs to a group.
    :param candidates: bool (model's classes,), classes of the argmax: of a union, only the parts
        related to the data set.
    :param table: uint8 (256,), from the data set's ids to groups, 255 void.
    :param not_scored: classes of the data set without counterpart in the model.
    :param unmatched: classes of the model without counterpart in the data set.
    """

    names: tuple[str, ...]
    members: Tensor
    candidates: Tensor
    table: np.ndarray
    not_scored: tuple[str, ...]
    unmatched: tuple[str, ...]


def share_classes(model: LabelSpace, data: LabelSpace) -> SharedClasses:
    """
    Match two label spaces: classes that correspond, directly or transitively, form a group.

    A group's name is that of its data set classes, joined by `|`.

    :raises ValueError: if the spaces have no class in common.
    """
    related = correspondence(model, data)
    group_of = np.full(len(data), -1)
    members: list[np.ndarray] = []
    for start in np.flatnonzero(related.any(axis=0)):
        if group_of[start] >= 0:
            continue
        ours, theirs = related[:, start], np.zeros(len(data), bool)
        while not np.array_equal(theirs, related[ours].any(axis=0)):
            theirs = related[ours].any(axis=0)
            ours = related[:, theirs].any(axis=1)
        group_of[theirs] = len(members)
        members.append(ours)
    if not members:
        raise ValueError(f'label spaces {model.name!r} and {data.name!r} share no class')
    table = np.full(256, data.void, np.uint8)
    table[:len(data)][group_of >= 0] = group_of[group_of >= 0]
    return SharedClasses(
        names=tuple('|'.join(data.names[i] for i in np.flatnonzero(group_of == group))
                    for group in range(len(members))),
        members=torch.from_numpy(np.stack(members)).float(),
        candidates=torch.from_numpy(candidates(data, model)),
        table=table,
        not_scored=tuple(data.names[i] for i in np.flatnonzero(~related.any(axis=0))),
        unmatched=tuple(model.names[i] for i in np.flatnonzero(~related.any(axis=1))))
