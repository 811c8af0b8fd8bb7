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

"""The verbs of the command `sync_perception` that make training data and train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sync_perception.cli import options
import typer

app = typer.Typer()


@app.command()
def synth(
        out: Annotated[Path, typer.Option(help='Output folder.')],
        worlds: Annotated[int, typer.Option(help='Streets.')] = 5,
        frames: Annotated[int, typer.Option(help='Number of frames of each street, at 10 '
                                                 'Hz.')] = 50,
        height: Annotated[int, typer.Option(help='Height of the images in pixels.')] = 375,
        width: Annotated[int, typer.Option(help='Width of the images in pixels.')] = 1242,
        seed: Annotated[int, typer.Option(help='Seed of the first street.')] = 0,
        variant: Annotated[list[str] | None, typer.Option(
            help='Weather or viewing angle as in Virtual KITTI 2, such as fog or 15-deg-left; '
            'repeat it for several.')] = None,
        stereo: Annotated[bool, typer.Option(help='Also write the right camera.')] = False,
        every: Annotated[int, typer.Option(
            help='Keep only every n-th frame of the drive.')] = 1,
        vary_camera: Annotated[bool, typer.Option(
            help="Draw focal length, height, tilt and direction of every street's camera; "
                 "otherwise all have Virtual KITTI's.")] = False,
        ) -> None:
    """Render synthetic streets in the layout of Virtual KITTI 2."""
    from sync_perception.street_world import write_vkitti2
    folder = write_vkitti2(
        out, worlds=worlds, frames=frames, height=height, width=width, seed=seed,
        variants=variant or ['clone'], stereo=stereo, every=every, vary_camera=vary_camera)
    typer.echo(f'{worlds} streets are in {folder}')


@app.command()
def pseudo_label(
        dataset: options.DataSet,
        out: Annotated[Path, typer.Option(help='Output folder; an interrupted run is resumed.')],
        teacher: options.ModelName = None,
        allow_code: options.AllowCode = False,
        root: options.Root = None,
        split: options.Split = 'all',
        argument: options.DatasetArguments = None,
        min_confidence: Annotated[float, typer.Option(
            help='Probability below which labels become void.')] = 0.0,
        agreement: Annotated[bool, typer.Option(
            help='Exclude pixels whose label and depth contradict each other: ground that is not '
                 'near the ground plane, sky below the horizon.')] = False,
        near_sky: Annotated[float | None, typer.Option(
            help='With --agreement: depth in metres below which sky is a contradiction, for a '
                 'teacher that was trained with depth in the sky (laser scans have '
                 'none).')] = None,
        soft: Annotated[int, typer.Option(
            help='Number of most probable classes, 2 to 4, whose probabilities are stored as '
                 'well, for `arguments: {soft: true}` of a source; 0 for none.')] = 0,
        scale: Annotated[list[float] | None, typer.Option(
            help='Image scale, relative to the input size of the model, at which class '
                 'probabilities are computed; repeat it to average over several.')] = None,
        flip: Annotated[bool, typer.Option(
            help='Also average with the class probabilities of the mirrored image.')] = False,
        overwrite: Annotated[bool, typer.Option(help='Overwrite existing files.')] = False,
        shard: Annotated[str | None, typer.Option(
            help='i/n: the i-th of n processes that share the work; by default from RANK and '
                 'WORLD_SIZE of torchrun.')] = None,
        device: options.Device = 'auto',
        ) -> None:
    """Annotate a data set's images by a teacher model; `pseudo_labelled` reads the result."""
    from sync_perception.datasets import DatasetOptions
    from sync_perception.studies import pseudo_labels as labelling
    from sync_perception.studies.teacher import TeacherOptions
    result = labelling.pseudo_label(
        teacher, DatasetOptions(dataset, root, split, options.named_values(argument)), out,
        TeacherOptions(min_confidence, agreement, near_sky, soft, tuple(scale or [1.0]), flip),
        overwrite, shard, device)
    typer.echo(labelling.pseudo_label_summary(result))
    if result['bad']:
        raise typer.Exit(1)


@app.command(
    add_help_option=False,
    context_settings={'allow_extra_args': True, 'ignore_unknown_options': True})
def train(context: typer.Context) -> None:
    """Train by a recipe: train --config config/train/driving_small.yaml; --help lists all."""
    from sync_perception.training.train import train as fit
    fit(context.args)


@app.command()
def ablate(
        config: Annotated[Path, typer.Option(
            help='YAML file with the variants, data sets and comparisons, such as '
                 'config/train/ablation.yaml.')],
        only: Annotated[list[str] | None, typer.Option(
            help='Variant to run instead of all; repeat it for several.')] = None,
        shard: Annotated[str | None, typer.Option(
            help='i/n: the i-th of n processes that share the runs.')] = None,
        page_only: Annotated[bool, typer.Option(
            '--page-only', help='Only write the page, from the runs that are done.')] = False,
        ) -> None:
    """Train variants with several seeds each; write a page with the effect of each variant."""
    from sync_perception.studies.ablation import ablate as ablation
    result = ablation.ablate(config, only or (), shard, page_only)
    typer.echo(ablation.ablation_summary(result))
    if result['failed']:
        raise typer.Exit(1)
