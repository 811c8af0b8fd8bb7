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


"""Rows of numbers become poses only if they are rigid transforms."""

from __future__ import annotations

import numpy as np
import pytest
from sync_perception.files.poses import parse_pose


@pytest.mark.parametrize('change', [
    {'scale': 2.0}, {'mirror': True}, {'last': 0.5}, {'hole': np.nan}])
def test_what_is_no_pose_is_refused(change):
    """Scaled, mirrored, projective and unfinished matrices are no rigid transforms."""
    pose = np.eye(4)
    np.testing.assert_array_equal(parse_pose(pose.ravel(), 'x'), pose)
    pose[0, 0] *= -1 if 'mirror' in change else change.get('scale', 1)
    pose[3, 3] = change.get('last', 1)
    pose[0, 3] = change.get('hole', 0)
    with pytest.raises(ValueError, match='poses.txt'):
        parse_pose(pose.ravel(), 'poses.txt')
