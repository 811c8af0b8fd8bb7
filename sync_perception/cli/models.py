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

"""The verbs of the command `sync_perception` that turn models into others, and list them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sync_perception.cli.options import (
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
EXPORT_SIZE = (375, 1242)


@app.command()
def models(
        names: Annotated[list[str] | None, typer.Argument(
            help='Architectures whose recipes are printed; by default all are listed.')] = None,
        time: Annotated[bool, typer.Option(
            '--time', help='Measure the time for an image on this machine; for all architectures '
                           'this takes a quarter of an hour.')] = False,
        count: Annotated[bool, typer.Option(
            '--count', help='Count parameters and operations again and store them in the package, '
                            'as for a new or changed architecture.')] = False,
        device: Device = 'auto',
        half: Annotated[bool, typer.Option(
            help="Time the predictor in the device's 16-bit format.")] = False,
        json: Annotated[Path | None, typer.Option(help='JSON file for the results.')] = None,
        markdown: Annotated[Path | None, typer.Option(
            help='Markdown page in which the table is replaced.')] = None,
        ) -> None:
    """List ready-made architectures: what they give, cost and take; print their recipes."""
    from sync_perception.runtime.benchmark.architectures import list_architectures
    list_architectures(
        names or (), timed=time, device=device, half=half, json_file=json, markdown=markdown,
        counted=count)


@app.command()
def import_weights(
        checkpoint: Annotated[Path, typer.Argument(
            help='.ckpt, .pth, .pt or .safetensors; no code in it is run.')],
        architecture: Annotated[str, typer.Option(help='Architecture of the checkpoint: '
                                                       'refinenet.')],
        out: Annotated[Path, typer.Option(help='Folder to write; it must be new or empty.')],
        label_space: Annotated[str | None, typer.Option(
            help='Label spaces of the checkpoint: names or YAML files, joined by +; by default '
                 'derived from the number of classes: nyud40, kitti6, or nyud40+kitti6.')] = None,
        label_part: Annotated[str | None, typer.Option(
            help='Label space that the model gives, if there are several.')] = None,
        focal: Annotated[float | None, typer.Option(
            min=1, help='Focal length in pixels, at the input size, of the camera to which the '
                        'depth of the network belongs; without it, depth is not scaled by the '
                        'focal length.')] = None,
        input_pixels: Annotated[int | None, typer.Option(
            min=1, help='Input size of the network, in pixels of the whole image.')] = None,
        max_depth: Annotated[float | None, typer.Option(
            min=1, help='Largest valid depth in metres.')] = None,
        ) -> None:
    """Turn a published checkpoint into a model folder."""
    from sync_perception.models.exchange import import_weights as importing
    config = importing.import_weights(checkpoint, architecture, out, importing.ImportOptions(
        label_space, label_part, focal, input_pixels, max_depth))
    classes = len(config.label_space['classes'])
    typer.echo(f'{out}: {architecture}, {classes} classes of {config.label_space["name"]}')


@app.command()
def export(
        out: Annotated[Path, typer.Option(help='File to write; ends in .onnx or .pt2.')],
        model: ModelName = None,
        format: Annotated[str | None, typer.Option(  # noqa: A002
            help='onnx or pt2; by default from the ending of the file.')] = None,
        size: Annotated[str | None, typer.Option(
            help='Input size of the network as HEIGHTxWIDTH, such as 192x640; by default the one '
                 'for images of 375x1242, as in KITTI.')] = None,
        opset: Annotated[int | None, typer.Option(
            min=18, help="Version of ONNX's operators; torch's choice by default.")] = None,
        ) -> None:
    """Write a model as one file that runs without this package's networks."""
    from sync_perception.models import hub
    from sync_perception.models.exchange import export as exporting
    from sync_perception.models.network_input import network_size
    from sync_perception.resources import model_source
    loaded = hub.load(model_source(model))
    seen = exporting.parse_size(size) if size else network_size(
        EXPORT_SIZE, loaded.config.input_pixels, loaded.config.input_multiple)
    differences = exporting.export_model(loaded, out, seen, format, opset)
    worst = max(differences, key=differences.get)
    typer.echo(
        f'{out}: {out.stat().st_size / 1e6:.1f} MB, images of {seen[0]}x{seen[1]} (height x '
        f'width), maps {", ".join(differences)}; off by at most {differences[worst]:.1e} of the '
        f'range, in {worst}')


@app.command()
def calibrate(
        model: Annotated[Path, typer.Argument(help='Model folder; its config.json is written.')],
        dataset: DataSet,
        root: Root = None,
        split: Split = 'val',
        argument: DatasetArguments = None,
        images: Annotated[int, typer.Option(min=2, help='Greatest number of frames.')] = 100,
        ) -> None:
    """Fit a model's confidences and uncertainties to frames kept out of its training."""
    from sync_perception.studies.calibrate import calibrate as fit
    result = fit(model, dataset, root, split, named_values(argument), images)
    typer.echo(f'{model}: finish {result["finish"]}')
    for name, value in result['before'].items():
        typer.echo(f'{name}: {value:.4f} -> {result["after"][name]:.4f}')


@app.command()
def quantise(
        model: Annotated[Path, typer.Argument(help='Model folder; the graph is written into it.')],
        source: Annotated[list[str], typer.Option(
            help='Data set for calibration (split train) and for measuring the accuracy (split '
                 'val), as NAME=ROOT; repeat it for several.')],
        images: Annotated[int, typer.Option(min=1, help='Number of calibration images.')] = 50,
        judged: Annotated[int, typer.Option(
            min=1, help='Largest number of images of each data set for measuring the '
                        'accuracy.')] = 100,
        max_miou_loss: Annotated[float, typer.Option(
            min=0, help='Largest allowed loss of mIoU on each data set.')] = 0.01,
        max_abs_rel_loss: Annotated[float, typer.Option(
            min=0, help='Largest allowed increase of abs rel on each data set.')] = 0.005,
        ) -> None:
    """Write an 8-bit graph of a model for OpenVINO, if it keeps the accuracy."""
    from sync_perception.studies import quantise as quantising
    data = [quantising.QuantisationData(name, str(root))
            for name, root in named_values(source).items()]
    result = quantising.quantise(
        model, data, images, judged, quantising.AccuracyLimits(max_miou_loss, max_abs_rel_loss))
    typer.echo(f'{model}: {quantising.quantise_summary(result)}')
