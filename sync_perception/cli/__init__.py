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

"""The command `sync_perception`; each verb imports what it needs only when it is called."""

from __future__ import annotations

import sys

from sync_perception.cli import bags, labels, learning, mapping, measures, models, running
import typer

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
    help='Metric depth, semantic labels and a semantic point cloud from each camera frame.')
for verbs in (running, mapping, measures, learning, models, bags):
    app.add_typer(verbs.app)
app.add_typer(labels.app, name='labels')

# what to install when a library is missing that only some verbs need
EXTRAS = {
    'open3d': 'synth', 'lightning': 'train', 'jsonargparse': 'train', 'torchmetrics': 'train',
    'kornia': 'train', 'h5py': 'train', 'scipy': 'train', 'tensorboard': 'train',
    'matplotlib': 'train', 'onnx': 'export', 'onnx_ir': 'export', 'rosbags': 'bags',
    'onnxruntime': 'export', 'onnxscript': 'export', 'openvino': 'openvino',
    'psutil': 'bench', 'rerun': 'view', 'rclpy': 'ros',
    'sensor_msgs': 'ros', 'std_msgs': 'ros', 'transformers': 'transformers'}
FAILURE = 1


def main() -> None:
    """Run the command; what the user can mend becomes one line on stderr and status 1."""
    try:
        app()
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or '').partition('.')[0])
        if extra is None:
            raise
        complain(f"{error}: pip install 'sync_perception[{extra}]'")
    except (ValueError, OSError) as error:
        complain(str(error))


def complain(message: str) -> None:
    """Print a message in one line and leave with the status of a failure."""
    print(f'sync_perception: {" ".join(message.split())}', file=sys.stderr)
    raise SystemExit(FAILURE)
