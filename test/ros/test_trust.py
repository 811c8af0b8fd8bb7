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


"""No peer can make the node run a file's code that was not allowed at its start."""

from __future__ import annotations

from lifecycle_msgs.msg import State, Transition
from rclpy.parameter import Parameter
from sync_perception.ros.node.model_loading import load_predictor


def test_a_file_that_can_run_code_is_refused(bench, tmp_path, capfd):
    """Not even after a peer tried to allow it; the node stays alive."""
    path = tmp_path / 'model.pt2'
    path.write_bytes(b'x')
    bench.start(load=load_predictor, autostart=False, device='cpu')
    allowed, model = bench.node.set_parameters([
        Parameter('allow_code', value=True), Parameter('model', value=str(path))])
    assert not allowed.successful and model.successful
    assert not bench.transition(Transition.TRANSITION_CONFIGURE)
    assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED
    [error] = [line for line in capfd.readouterr().err.splitlines() if 'cannot configure' in line]
    assert str(path) in error and 'allow_code' in error
