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


"""The mean teacher: its first steps by hand, what it averages, what a checkpoint keeps."""

from __future__ import annotations

import pytest
from sync_perception.training.objectives.mean_teacher import MeanTeacher, teacher_share
from sync_perception.types import DenseOutput
import torch
from torch import nn


class Student(nn.Module):
    """A weight, and a batch norm with its statistics."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(8.0))
        self.norm = nn.BatchNorm2d(1)

    def forward(self, images):
        """Multiply."""
        return DenseOutput(logits=self.norm(images) * self.weight)


def test_the_first_ten_steps_by_hand():
    """
    The share is 0, 1/2, 2/3, ..., 9/10: the teacher is the mean of the students so far.

    Students 1, 3, 2, 6, 3, 9, 4, 12, 5, 15 have the means 1, 2, 2, 3, 3, 4, 4, 5, 5, 6.
    """
    student = Student()
    teacher = MeanTeacher(student, 0.99)
    assert teacher.network.weight.item() == 8  # the untrained student, before its first step
    students, means = [1, 3, 2, 6, 3, 9, 4, 12, 5, 15], [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    for step, (value, mean) in enumerate(zip(students, means), start=1):
        student.weight.data.fill_(value)
        teacher.follow(student, step)
        assert teacher.network.weight.item() == pytest.approx(mean, rel=1e-6)


def test_the_share_rises_to_the_decay():
    assert [teacher_share(t, 0.99) for t in range(4)] == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4])
    assert teacher_share(98, 0.99) == pytest.approx(1 - 1 / 99)
    assert [teacher_share(t, 0.99) for t in (99, 100, 10**6)] == pytest.approx([0.99] * 3)
    assert teacher_share(9, 0.5) == 0.5


def test_beyond_a_hundred_steps_a_hundredth_of_the_student_comes_in():
    student = Student()
    teacher = MeanTeacher(student, 0.99)
    student.weight.data.fill_(0.0)
    for step in range(1, 101):
        teacher.follow(student, step)
    student.weight.data.fill_(1.0)
    teacher.follow(student, 101)
    teacher.follow(student, 102)
    assert teacher.network.weight.item() == pytest.approx(1 - 0.99 ** 2)


def test_a_step_counts_once_however_many_batches_it_has():
    student = Student()
    teacher = MeanTeacher(student, 0.99)
    student.weight.data.fill_(4.0)
    teacher.follow(student, 0)
    assert teacher.updates == 0 and teacher.network.weight.item() == 8
    for value in (4.0, 6.0):
        student.weight.data.fill_(value)
        teacher.follow(student, 1)
    assert teacher.updates == 1 and teacher.network.weight.item() == 4


def test_statistics_are_averaged_and_the_teacher_neither_learns_nor_uses_the_batch():
    student = Student()
    teacher = MeanTeacher(student, 0.99)
    student.train()
    for step, mean in enumerate((1.0, 2.0, 6.0), start=1):
        student.norm.running_mean.fill_(mean)
        student.norm.num_batches_tracked.fill_(step)
        teacher.follow(student, step)
    assert teacher.network.norm.running_mean.item() == pytest.approx(3)
    assert teacher.network.norm.num_batches_tracked.item() == 3
    assert student.training and not teacher.network.training
    image = torch.randn(4, 1, 2, 2)
    answer = teacher(image).logits
    assert not answer.requires_grad
    torch.testing.assert_close(answer[:1], teacher(image[:1]).logits)
    assert teacher.network.norm.running_mean.item() == pytest.approx(3)


def test_it_goes_on_from_its_state():
    student = Student()
    first, second = MeanTeacher(student, 0.99), MeanTeacher(Student(), 0.99)
    for step in range(1, 4):
        student.weight.data.add_(0.7)
        first.follow(student, step)
    second.load_state_dict(first.state_dict())
    for step in range(3, 6):
        student.weight.data.mul_(1.3)
        for teacher in (first, second):
            teacher.follow(student, step)
    assert torch.equal(first.network.weight, second.network.weight)
    assert first.updates == second.updates == 5
