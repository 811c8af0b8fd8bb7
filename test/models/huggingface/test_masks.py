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


"""Queries read as a semantic map: by hand, and where nothing claims a pixel."""

from __future__ import annotations

import math

import pytest
from sync_perception.models.huggingface.masks import FLOOR, semantic_logits
import torch


def test_two_queries_by_hand():
    """One pixel, two classes: each query's class probability times its mask's."""
    classes = torch.tensor([[[0.0, 0.0, 0.0], [math.log(2), 0.0, -math.inf]]])
    masks = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1)
    # query 0: a third each, mask 1/2; query 1: two thirds and a third, mask 3/4
    expected = [1 / 3 / 2 + 2 / 3 * 3 / 4, 1 / 3 / 2 + 1 / 3 * 3 / 4]
    found = semantic_logits(classes, masks).exp().flatten().tolist()
    assert found == pytest.approx(expected, abs=1e-6)


def test_its_derivative_by_hand():
    """Of ln(p sigmoid(m)) for one query: 1 - sigmoid(m) by the mask."""
    classes = torch.tensor([[[1.0, -1.0, 0.5]]])
    masks = torch.tensor([-2.0, 0.0, 3.0, 6.0]).reshape(1, 1, 2, 2).requires_grad_()
    semantic_logits(classes, masks)[:, 0].sum().backward()
    torch.testing.assert_close(masks.grad, 1 - masks.detach().sigmoid(), rtol=1e-3, atol=1e-6)


def test_where_no_query_claims_a_pixel_all_classes_are_at_the_floor():
    """Finite, as is the gradient."""
    classes = torch.zeros(1, 3, 4, requires_grad=True)
    masks = torch.full((1, 3, 2, 2), -1e4, requires_grad=True)
    logits = semantic_logits(classes, masks)
    assert logits.flatten().tolist() == pytest.approx([math.log(FLOOR)] * 12)
    logits.sum().backward()
    assert classes.grad.isfinite().all()
    assert masks.grad.isfinite().all()
