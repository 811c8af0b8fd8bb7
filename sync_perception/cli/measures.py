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

"""The verbs of the command `sync_perception` that evaluate a model on a data set, or check one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sync_perception.cli.options import (
    AllowCode,
    DataSet,
    DatasetArguments,
    Device,
    ModelName,
    named_values,
    Root,
    Split,
)
import typer

app = typer.Typer()
data = typer.Typer(no_args_is_help=True, help='Check data sets.')
app.add_typer(data, name='data')


@app.command()
def evaluate(
        dataset: DataSet,
        root: Root = None,
        split: Split = 'all',
        argument: DatasetArguments = None,
        model: ModelName = None,
        allow_code: AllowCode = False,
        device: Device = 'auto',
        pooled: Annotated[bool, typer.Option(
            help='Pool depth errors over all pixels instead of averaging over frames.')] = False,
        median_scaling: Annotated[bool, typer.Option(
            help="Scale each depth map by its frame's median first.")] = False,
        max_depth: Annotated[float | None, typer.Option(
            help='Limit in metres of the true depth that is evaluated; by default that of the '
                 'data set: 10 for NYU Depth v2, otherwise 80.')] = None,
        skip_bad: Annotated[bool, typer.Option(
            help='Log and count samples that cannot be read, instead of stopping.')] = False,
        video: Annotated[bool, typer.Option(
            help='Also measure temporal consistency: compare depth and labels of each frame with '
                 'those of the previous frame, warped to it.')] = False,
        temporal: Annotated[str, typer.Option(
            help='off, or fuse: measure results that are fused over consecutive frames by the '
                 'poses of the data set.')] = 'off',
        frames: Annotated[bool, typer.Option(help="List the frames' ids in the JSON.")] = False,
        json: Annotated[Path | None, typer.Option(help='JSON file for the results.')] = None,
        ) -> None:
    """Measure a model on a data set by the field's protocols."""
    from sync_perception.datasets import DatasetOptions
    from sync_perception.evaluation import evaluate as evaluating
    options = evaluating.EvaluationOptions(
        device, pooled, median_scaling, max_depth, frames, skip_bad, video=video,
        temporal=temporal)
    evaluating.print_evaluation(evaluating.evaluate(
        model, DatasetOptions(dataset, root, split, named_values(argument)), options), json)


@app.command()
def select(
        dataset: DataSet,
        out: Annotated[Path, typer.Option(help='File to write, ending in .json.')],
        budget: Annotated[str, typer.Option(
            help='Rising numbers of images; after each, a new student is trained.')] = '25,50,100',
        strategy: Annotated[str, typer.Option(
            help='random, diversity, uncertainty or both.')] = 'both',
        seed: Annotated[int, typer.Option(help='Seed of all random choices.')] = 0,
        model: ModelName = None,
        allow_code: AllowCode = False,
        root: Root = None,
        split: Split = 'train',
        argument: DatasetArguments = None,
        cache: Annotated[Path | None, typer.Option(
            help='Folder for features and rounds, from which an interrupted run resumes; by '
                 'default next to the file.')] = None,
        level: Annotated[int, typer.Option(
            help='Level of the features, from fine to coarse; -1 is the coarsest.')] = -1,
        student_steps: Annotated[int, typer.Option(
            min=1, help='Number of training steps of the student in each round.')] = 400,
        page: Annotated[bool, typer.Option(
            help='Also write an HTML page of the chosen images.')] = True,
        device: Device = 'auto',
        ) -> None:
    """Choose the images of a data set to label; the file is a split that all verbs read."""
    from sync_perception.datasets import DatasetOptions
    from sync_perception.studies.selection import select as selecting
    plan = selecting.Plan(
        selecting.parse_budgets(budget), strategy, seed,
        selecting.StudentSettings(steps=student_steps))
    chosen = selecting.select(
        model, DatasetOptions(dataset, root, split, named_values(argument)), out, plan, cache,
        level, device, page)
    typer.echo(f'{out}: {len(chosen.ids)} images in the order of choice'
               + (f'; {out.with_suffix(".html")} shows them' if page else ''))


@app.command()
def report(
        dataset: DataSet,
        out: Annotated[Path, typer.Option(help='Folder for index.html and report.json.')],
        model: ModelName = None,
        allow_code: AllowCode = False,
        root: Root = None,
        split: Split = 'all',
        argument: DatasetArguments = None,
        limit: Annotated[int | None, typer.Option(
            min=1, help='Number of frames to evaluate, spread evenly over the split; by default '
                        'all.')] = None,
        worst: Annotated[int, typer.Option(
            min=0, help='Number of worst frames to show for each task.')] = 4,
        best: Annotated[int, typer.Option(min=0, help='Number of best frames to show for each '
                                                      'task.')] = 2,
        skip_bad: Annotated[bool, typer.Option(
            help='Log and count samples that cannot be read, instead of stopping.')] = False,
        device: Device = 'auto',
        ) -> None:
    """Measure a model and write a page: tables, classes, confusions, errors, frames."""
    from sync_perception.datasets import DatasetOptions
    from sync_perception.evaluation.evaluate import EvaluationOptions
    from sync_perception.evaluation.html_report.report import write_html_report as write_report
    page = write_report(
        model, DatasetOptions(dataset, root, split, named_values(argument)), out,
        EvaluationOptions(device, skip_bad=skip_bad, limit=limit), worst, best)
    typer.echo(f'The report is {page}')


@data.command('check')
def data_check(
        dataset: DataSet,
        root: Root = None,
        split: Split = 'all',
        argument: DatasetArguments = None,
        out: Annotated[Path | None, typer.Option(
            help='Folder for check.json and the picture check.png.')] = None,
        workers: Annotated[int, typer.Option(
            min=0, help='Number of processes that read; 0 to read in the main process.')] = 0,
        ) -> None:
    """Read a whole copy of a data set; report what it holds and which files are bad."""
    from sync_perception.datasets import DatasetOptions
    from sync_perception.studies import data_check as checking
    result = checking.check_dataset(
        DatasetOptions(dataset, root, split, named_values(argument)), out, workers)
    checking.print_check(result)
    if result['bad']:
        raise typer.Exit(1)
