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


"""Changes from frame to frame: their size by hand, their gradients, and what is refused."""

from __future__ import annotations

import pytest
from sync_perception.training.losses.temporal import depth_change, label_change, mean_change
import torch

DOUBLE = {'dtype': torch.float64, 'requires_grad': True}


def test_labels_by_hand():
    """Certain of one class, then of another: 2; half and half, then certain: 0.5; the same: 0."""
    now = torch.tensor([[1.0, 0.5, 0.2], [0.0, 0.5, 0.8]]).reshape(1, 2, 1, 3)
    before = torch.tensor([[0.0, 1.0, 0.2], [1.0, 0.0, 0.8]]).reshape(1, 2, 1, 3)
    torch.testing.assert_close(
        label_change(now, before), torch.tensor([2.0, 0.5, 0.0]).reshape(1, 1, 1, 3))


def test_depth_by_hand():
    """Whatever the unit, and whichever comes first: 10 and 30 m differ by a half."""
    a, b = (torch.tensor(values).reshape(1, 1, 1, 3) for values in (
        [10.0, 30.0, 7.0], [30.0, 10.0, 7.0]))
    expected = torch.tensor([0.5, 0.5, 0.0]).reshape(1, 1, 1, 3)
    torch.testing.assert_close(depth_change(a, b), expected)
    torch.testing.assert_close(depth_change(3.6 * a, 3.6 * b), expected)


def test_what_is_not_valid_counts_as_unchanged():
    change = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 2, 2).requires_grad_()
    valid = torch.tensor([True, False, True, False]).reshape(1, 1, 2, 2)
    mean = mean_change(change, valid)
    assert mean.item() == 1.0
    mean.backward()
    torch.testing.assert_close(change.grad, valid.float() / 4)
    assert mean_change(change, torch.zeros_like(valid)).item() == 0


def test_gradients():
    torch.manual_seed(0)
    first, second = (torch.rand(2, 3, 4, 5, **DOUBLE) for _ in range(2))
    assert torch.autograd.gradcheck(label_change, (first, second))
    near, far = torch.rand(2, 1, 4, 5, **DOUBLE), torch.rand(2, 1, 4, 5, **DOUBLE)
    assert torch.autograd.gradcheck(lambda a, b: depth_change(a + 2, b + 4), (near, far))


@pytest.mark.parametrize(('loss', 'name'), [
    (label_change, 'probabilities'), (depth_change, 'depths'), (mean_change, 'change')])
def test_shapes_that_do_not_belong_together(loss, name):
    with pytest.raises(ValueError, match=rf'{name}.*\(1, 2, 3, 4\).*\(1, 2, 3, 5\)'):
        loss(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 5))
