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


"""Table of the ready-made architectures with their tasks, costs and speed on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from sync_perception.files.pages import replace_part, split_page
from sync_perception.files.whole_files import write_json
from sync_perception.models.catalogue.ready_made import CATALOGUE, Entry, find_architecture
from sync_perception.models.catalogue.stored_costs import (
    Cost,
    COST_SIZES,
    store_costs,
    stored_costs,
)

if TYPE_CHECKING:  # importing torch takes seconds; only measurements need it
    from sync_perception.runtime.benchmark.network_timing import Times
    import torch

EXTRA = 'needs the extra `transformers`'
PART = 'architectures'
CONVENTION = ('1 GFLOP is 10^9 multiplications and additions of convolutions and matrix products, '
              'attention included: a multiply-add counts two')


@dataclass
class Row:
    """
    One architecture of the table.

    :param name: key in the catalogue.
    :param summary: short description.
    :param cost: None if its library is not installed.
    :param times: by (height, width); empty if it was not timed.
    """

    name: str
    summary: str
    cost: Cost | None = None
    times: dict[tuple[int, int], Times] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the row in plain types, with sizes such as `192x640`, height first."""
        row: dict[str, Any] = {'name': self.name, 'summary': self.summary}
        if self.cost is not None:
            row |= {
                'tasks': list(self.cost.tasks), 'parameters': self.cost.parameters,
                'flops': {label(size): flops for size, flops in self.cost.flops.items()}}
        if self.times:
            row['milliseconds'] = {label(size): asdict(t) for size, t in self.times.items()}
        return row

    def cells(self) -> list[str]:
        """Return name, tasks, parameters, operations and times as text; '' if unknown."""
        if self.cost is None:
            return [self.name, EXTRA, '', *([''] * 2 * len(COST_SIZES))]
        return [
            self.name, ', '.join(self.cost.tasks), f'{self.cost.parameters / 1e6:.2f}',
            *(f'{self.cost.flops[size] / 1e9:.1f}' for size in COST_SIZES),
            *(times_text(self.times.get(size)) for size in COST_SIZES)]


def measure_row(
        name: str, entry: Entry, device: torch.device | None, half: bool,
        counted: bool = False) -> Row:
    """
    Return the row of an architecture: its number of parameters and operations, and its times.

    :param device: device of the timing; None for no timing.
    :param counted: whether to recount the parameters and operations, and store the counts.
    """
    row = Row(name, entry.summary, stored_costs().get(name))
    if entry.needs_transformers and find_spec('transformers') is None:
        return row
    if counted or row.cost is None:
        # imports torch: seconds
        from sync_perception.models.catalogue.cost import measure_cost
        row.cost = measure_cost(entry.config(), COST_SIZES)
    if counted:
        store_costs({name: row.cost})
    if device is not None:
        # torch takes seconds
        from sync_perception.models import build_model
        from sync_perception.runtime.benchmark.network_timing import time_network
        import torch
        torch.manual_seed(0)
        row.times = time_network(build_model(entry.config()).eval().to(device), COST_SIZES, half)
    return row


def list_architectures(
        names: Sequence[str] = (), timed: bool = False, device: str = 'auto', half: bool = False,
        json_file: str | Path | None = None, markdown: str | Path | None = None,
        counted: bool = False) -> None:
    """
    Print the table row by row, and the recipes of the named architectures.

    :param names: keys of the catalogue; empty for all.
    :param timed: whether to measure the time per image.
    :param device: auto, cpu, cuda or cuda:N.
    :param half: whether the predictor runs in the device's 16-bit format.
    :param json_file: written after every row.
    :param markdown: page whose table, between two markers, is replaced at the end.
    :param counted: whether to recount the parameters and operations, and store the counts.
    :raises ValueError: for an unknown name or device, or a page without the markers.
    """
    chosen = {name: find_architecture(name) for name in names} or CATALOGUE
    target = None
    if timed:
        from sync_perception.runtime.backends import choose_device  # imports torch: seconds
        target = choose_device(device)
    if markdown is not None:
        split_page(markdown, PART)
    # the plain table does not name the machine
    here = describe_machine() if timed or json_file is not None or markdown is not None else None
    report = {'machine': here, 'device': str(target) if timed else None, 'half': half,
              'convention': CONVENTION,
              'image_sizes': [label(size) for size in COST_SIZES], 'rows': []}
    rows: list[Row] = []
    # recipes go to stdout and may be piped into a file, so the table goes to stderr
    with Live(console=Console(stderr=bool(names)), auto_refresh=False) as live:
        for name, entry in chosen.items():
            rows.append(measure_row(name, entry, target, half, counted))
            report['rows'].append(rows[-1].to_dict())
            live.update(architectures_table(rows, report), refresh=True)
            if json_file is not None:
                Path(json_file).parent.mkdir(parents=True, exist_ok=True)
                write_json(json_file, report)
    if markdown is not None:
        write_markdown(markdown, rows, report)
    for name in names:
        print(f'# {name}: {chosen[name].summary}\n{chosen[name].recipe()}', end='')


def describe_machine() -> dict[str, Any]:
    """Return a description of this machine and the versions of the libraries."""
    # imports torch: seconds
    from sync_perception.runtime.benchmark.reports import machine as describe
    return describe()


def architectures_table(rows: Sequence[Row], report: dict[str, Any]) -> Table:
    """Return the rows as a table for the terminal."""
    here = '' if report['device'] is None else f' on {architectures_setup(report)}'
    drawn = Table(title=f'Architectures{here}', caption=CONVENTION)
    for number, column in enumerate(columns(report)):
        figures = number >= 2  # on a narrow terminal, names may be cut off, but not figures
        drawn.add_column(
            column.replace(' ', '\n') if figures else column, overflow='fold',
            justify='right' if figures else 'left', no_wrap=figures)
    for row in rows:
        drawn.add_row(*row.cells()[:len(columns(report))])
    return drawn


def columns(report: dict[str, Any]) -> list[str]:
    """Return the column headings; times only if some were measured."""
    heads = ['name', 'gives', 'parameters (M)', *(f'GFLOPs {label(size)}' for size in COST_SIZES)]
    if report['device'] is not None:
        heads += [f'ms {label(size)}, eager / predictor' for size in COST_SIZES]
    return heads


def write_markdown(path: str | Path, rows: Sequence[Row], report: dict[str, Any]) -> None:
    """
    Replace the table of a page.

    :raises ValueError: if the page lacks the markers.
    """
    heads = ['name', 'what it is', *columns(report)[1:]]
    lines = [measured_where(report), '',
             f'| {" | ".join(heads)} |',
             '|' + '---|' * 3 + '---:|' * (len(heads) - 3)]
    for row in rows:
        name, *others = row.cells()[:len(heads) - 1]
        lines.append(f'| {" | ".join([f"`{name}`", row.summary, *others])} |')
    replace_part(path, PART, lines)


def measured_where(report: dict[str, Any]) -> str:
    """Return a line with the date, machine, library versions and load of the measurement."""
    where = report['machine']
    versions = f'torch {where["torch"]}, commit {where["commit"]}'
    if report['device'] is None:
        return f'Counted {where["time"][:10]} with {versions}; times were not measured.'
    return (f'Measured {where["time"][:10]} on {architectures_setup(report)}: {versions}, load '
            f'{where["load_average"][0]} before the run.')


def architectures_setup(report: dict[str, Any]) -> str:
    """Return the name of the machine and of its computing device."""
    if str(report['device']).startswith('cuda'):
        import torch  # takes seconds
        return torch.cuda.get_device_name(report['device'])
    threads = report['machine']['torch_threads']
    return f'{report["machine"]["processor"]}, {threads} thread{"s" * (threads > 1)}'


def times_text(times: Times | None) -> str:
    """Return the milliseconds of eager torch and of the predictor as text."""
    if times is None:
        return ''
    fast = '-' if times.predictor is None else f'{times.predictor:.0f}'
    return f'{times.eager:.0f} / {fast}'


def label(size: tuple[int, int]) -> str:
    """Return a size as text, height first."""
    return f'{size[0]}x{size[1]}'
