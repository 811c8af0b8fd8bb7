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

"""The verbs `labels` of the command `sync_perception`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help='Show label spaces, and export them for other '
                                             'software.')


@app.command('export')
def labels_export(
        space: Annotated[str, typer.Option(help='Name of a label space of the package, YAML file '
                                                'or model folder.')],
        consumer: Annotated[str, typer.Option(help='Software that reads them: hydra, kimera or '
                                                   'nav2.')],
        out: Annotated[Path, typer.Option(help='Output folder.')]) -> None:
    """Write the label files of SLAM and navigation software."""
    from sync_perception import label_exports
    written = label_exports.export_labels(label_exports.read_space(space), consumer, out)
    typer.echo('\n'.join([*map(str, written.files), *(f'note: {n}' for n in written.notes)]))


@app.command('show')
def labels_show(space: Annotated[str, typer.Argument(help='Name of a label space of the package, '
                                                          'YAML file or model folder.')]) -> None:
    """List the classes of a label space."""
    from sync_perception import label_exports
    typer.echo(label_exports.label_table(label_exports.read_space(space)))
