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

"""The command `sync_perception`. Each verb imports its room when it is called, not before."""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Annotated

from sync_perception import cli_bags, cli_measures
from sync_perception.cli_options import Argument, DataSet, Device, Model, named_values, Root, Split
import typer

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
    help='Metric depth, semantic labels and a semantic point cloud from each camera frame.')
data = typer.Typer(no_args_is_help=True, help='Look after data sets.')
app.add_typer(data, name='data')
labels = typer.Typer(no_args_is_help=True, help='Look at label spaces; write them for others.')
app.add_typer(labels, name='labels')
app.add_typer(cli_bags.app)
app.add_typer(cli_measures.app)

# what to install when a library is missing that only some verbs need
EXTRAS = {
    'open3d': 'synth', 'lightning': 'train', 'jsonargparse': 'train', 'torchmetrics': 'train',
    'kornia': 'train', 'h5py': 'train', 'scipy': 'train', 'tensorboard': 'train',
    'matplotlib': 'train', 'onnx': 'export', 'onnx_ir': 'export', 'rosbags': 'bags',
    'onnxruntime': 'export', 'onnxscript': 'export', 'psutil': 'bench', 'rclpy': 'ros',
    'sensor_msgs': 'ros', 'std_msgs': 'ros', 'transformers': 'transformers'}
USAGE_ERROR = 2
KITTI_SIZE = (375, 1242)


@app.command()
def predict(
        images: Annotated[list[Path], typer.Argument(help='Image files, or folders of them.')],
        out: Annotated[Path, typer.Option(help='Folder for the results.')],
        model: Model = None,
        device: Device = 'auto',
        half: Annotated[bool, typer.Option(
            help="Run the network in the device's 16-bit format.")] = False,
        fx: Annotated[float | None, typer.Option(
            help='Focal length of the images in pixels; without it or --camera-info, metres '
            'are a guess.')] = None,
        camera_info: Annotated[Path | None, typer.Option(
            help='Calibration YAML, as camera_calibration writes it.')] = None,
        max_depth: Annotated[float | None, typer.Option(
            help='Metres beyond which depth is invalid; by default the range of the '
            'model.')] = None,
        cloud: Annotated[bool, typer.Option(help='Also write the cloud as PLY.')] = False,
        ) -> None:
    """Predict depth and labels of images, and draw them; needs no ROS."""
    from sync_perception.runtime.predict import predict_files
    summary = predict_files(
        images, out, model=model, device=device, half=half, fx=fx, camera_info=camera_info,
        max_depth=max_depth, cloud=cloud, report=typer.echo)
    if summary['failed']:
        raise typer.Exit(1)


@app.command()
def synth(
        out: Annotated[Path, typer.Option(help='Folder to write into.')],
        worlds: Annotated[int, typer.Option(help='Streets.')] = 5,
        frames: Annotated[int, typer.Option(help='Frames of each street, at 10 Hz.')] = 50,
        height: Annotated[int, typer.Option(help='Of the images, pixels.')] = 375,
        width: Annotated[int, typer.Option(help='Of the images, pixels.')] = 1242,
        seed: Annotated[int, typer.Option(help="The first street's seed.")] = 0,
        variant: Annotated[list[str] | None, typer.Option(
            help='Weather or viewing angle as in Virtual KITTI 2, such as fog or 15-deg-left; '
            'repeat it for several.')] = None,
        stereo: Annotated[bool, typer.Option(help='Also write the right camera.')] = False,
        every: Annotated[int, typer.Option(
            help='Keep only every n-th moment of the drive.')] = 1,
        ) -> None:
    """Render synthetic streets in the layout of Virtual KITTI 2."""
    from sync_perception.training.data.synthetic import write_vkitti2
    folder = write_vkitti2(
        out, worlds=worlds, frames=frames, height=height, width=width, seed=seed,
        variants=variant or ['clone'], stereo=stereo, every=every)
    typer.echo(f'{worlds} streets are in {folder}')


@app.command(
    add_help_option=False,
    context_settings={'allow_extra_args': True, 'ignore_unknown_options': True})
def train(context: typer.Context) -> None:
    """Train by a recipe: train --config config/train/driving_small.yaml; --help lists all."""
    from sync_perception.training.train import train as fit
    fit(context.args)


@data.command('check')
def data_check(
        dataset: DataSet,
        root: Root = None,
        split: Split = 'all',
        argument: Argument = None,
        out: Annotated[Path | None, typer.Option(
            help='Folder for check.json and the picture check.png.')] = None,
        workers: Annotated[int, typer.Option(
            min=0, help='Processes that read; 0 reads in this one.')] = 0,
        ) -> None:
    """Read a whole copy of a data set; report what it holds and which files are bad."""
    from sync_perception.training import data_check as checking
    result = checking.check(dataset, root, split, out, workers, named_values(argument))
    checking.report(result)
    if result['bad']:
        raise typer.Exit(1)


@app.command()
def pseudo_label(
        dataset: DataSet,
        out: Annotated[Path, typer.Option(help='Folder to write into, or to go on with.')],
        teacher: Model = None,
        root: Root = None,
        split: Split = 'all',
        argument: Argument = None,
        min_confidence: Annotated[float, typer.Option(
            help='Labels of a lower probability become void.')] = 0.0,
        agreement: Annotated[bool, typer.Option(
            help='Leave out pixels whose label and depth contradict each other: ground that is '
            'not near the ground plane, sky below the horizon.')] = False,
        near_sky: Annotated[float | None, typer.Option(
            help='With --agreement: metres below which sky contradicts its depth, for a teacher '
            'whose depth knows the sky (one that learned from laser scans does not).')] = None,
        soft: Annotated[int, typer.Option(
            help='Also store the probabilities of so many of the most probable classes, 2 to 4, '
            'for `arguments: {soft: true}` of a source; 0 for none.')] = 0,
        overwrite: Annotated[bool, typer.Option(help='Write what is there again.')] = False,
        shard: Annotated[str | None, typer.Option(
            help="i/n: the i-th of n processes that share the work; by default torchrun's "
            'RANK and WORLD_SIZE say so.')] = None,
        device: Device = 'auto',
        ) -> None:
    """Let an expert annotate a data set's images; `pseudo_labelled` reads what it writes."""
    from sync_perception.training import pseudo_labels as labelling
    result = labelling.pseudo_label(
        teacher, dataset, root, out, split, min_confidence=min_confidence, agreement=agreement,
        near_sky=near_sky, overwrite=overwrite, shard=shard, device=device,
        arguments=named_values(argument), soft=soft)
    typer.echo(labelling.summary(result))
    if result['bad']:
        raise typer.Exit(1)


@app.command()
def report(
        dataset: DataSet,
        out: Annotated[Path, typer.Option(help='Folder for index.html and report.json.')],
        model: Model = None,
        root: Root = None,
        split: Split = 'all',
        argument: Argument = None,
        limit: Annotated[int | None, typer.Option(
            min=1, help='Measure only so many frames, spread evenly over the split.')] = None,
        worst: Annotated[int, typer.Option(
            min=0, help='Worst frames to show, of each task.')] = 4,
        best: Annotated[int, typer.Option(min=0, help='Best frames to show.')] = 2,
        skip_bad: Annotated[bool, typer.Option(
            help='Log and count samples that cannot be read, instead of stopping.')] = False,
        device: Device = 'auto',
        ) -> None:
    """Measure a model and write a page: tables, classes, confusions, errors, frames."""
    from sync_perception.training.report import report as write_report
    page = write_report(
        model, dataset, root, out, split, limit=limit, worst=worst, best=best, device=device,
        skip_bad=skip_bad, arguments=named_values(argument))
    typer.echo(f'The report is {page}')


@app.command()
def ablate(
        config: Annotated[Path, typer.Option(
            help='What is trained, measured and compared, such as config/train/ablation.yaml.')],
        only: Annotated[list[str] | None, typer.Option(
            help='A variant to run, instead of all; repeat it for several.')] = None,
        shard: Annotated[str | None, typer.Option(
            help='i/n: the i-th of n processes that share the runs.')] = None,
        page_only: Annotated[bool, typer.Option(
            '--page-only', help='Write the page from the runs that there are.')] = False,
        ) -> None:
    """Train variants with several seeds each; write a page that says what makes a difference."""
    from sync_perception.training import ablation
    result = ablation.ablate(config, only or (), shard, page_only)
    typer.echo(ablation.summary(result))
    if result['failed']:
        raise typer.Exit(1)


@app.command()
def bench(
        json: Annotated[Path | None, typer.Option(help='Write the results here too.')] = None,
        model: Model = None,
        device: Device = 'auto',
        half: Annotated[bool, typer.Option(
            help="Run the network in the device's 16-bit format.")] = False,
        frames: Annotated[int, typer.Option(min=1, help='Frames that are timed.')] = 100,
        width: Annotated[int, typer.Option(min=1, help='Of the frames, pixels.')] = 1242,
        height: Annotated[int, typer.Option(min=1, help='Of the frames, pixels.')] = 375,
        image: Annotated[Path | None, typer.Option(
            help='A photograph to use, resized; otherwise a drawn street.')] = None,
        ros: Annotated[bool, typer.Option(
            '--ros', help='Measure latency and processor time over DDS instead, between '
            'processes, beside a node that only copies the image and one that gives the same '
            'outputs the usual way.')] = False,
        rate: Annotated[float, typer.Option(
            min=0.1, help='With --ros: images a second.')] = 5.0,
        ) -> None:
    """Time every stage from message to messages on this machine."""
    if ros:
        from sync_perception.ros.bench_dds import bench_dds
        from sync_perception.ros.bench_turns import BenchFailed
        try:
            bench_dds(
                json=json, model=model, device=device, half=half, frames=frames, width=width,
                height=height, image=image, rate=rate)
        except BenchFailed as error:
            typer.echo(f'sync_perception: {error}', err=True)
            raise typer.Exit(1) from error
        return
    from sync_perception.ros.bench import bench as time_stages
    time_stages(
        json=json, model=model, device=device, half=half, frames=frames, width=width,
        height=height, image=image)


@app.command()
def import_weights(
        checkpoint: Annotated[Path, typer.Argument(
            help='.ckpt, .pth, .pt or .safetensors; no code in it is run.')],
        architecture: Annotated[str, typer.Option(help='What it is a checkpoint of: refinenet.')],
        out: Annotated[Path, typer.Option(help='Folder to write; it must be new or empty.')],
        label_space: Annotated[str | None, typer.Option(
            help='Names or YAML files, several joined by +; by default known from the number of '
            'classes: nyud40, kitti6, or nyud40+kitti6.')] = None,
        label_part: Annotated[str | None, typer.Option(
            help='Of several joined by +, the one whose classes the model shall give.')] = None,
        focal: Annotated[float | None, typer.Option(
            min=1, help='Focal length of the camera whose metres the network learned, pixels at '
            'its input size; without it, metres are as the network gives them.')] = None,
        input_pixels: Annotated[int | None, typer.Option(
            min=1, help='Area at which the network will see images.')] = None,
        max_depth: Annotated[float | None, typer.Option(
            min=1, help='Metres up to which its depth is believed.')] = None,
        ) -> None:
    """Turn a published checkpoint into a model folder."""
    from sync_perception.models import import_weights as importing
    config = importing.import_weights(checkpoint, architecture, out, importing.ImportOptions(
        label_space, label_part, focal, input_pixels, max_depth))
    classes = len(config.label_space['classes'])
    typer.echo(f'{out}: {architecture}, {classes} classes of {config.label_space["name"]}')


@app.command()
def export(
        out: Annotated[Path, typer.Option(help='File to write; ends in .onnx or .pt2.')],
        model: Model = None,
        format: Annotated[str | None, typer.Option(  # noqa: A002
            help='onnx or pt2; by default after the ending of the file.')] = None,
        size: Annotated[str | None, typer.Option(
            help='HEIGHTxWIDTH at which the network sees images, such as 192x640; by default '
            "what suits KITTI's 375x1242.")] = None,
        opset: Annotated[int | None, typer.Option(
            min=18, help="Version of ONNX's operators; torch's choice by default.")] = None,
        ) -> None:
    """Write a model as one file that runs without this package's networks."""
    from sync_perception.models import export as exporting
    from sync_perception.models import hub
    from sync_perception.resources import default_model_folder
    from sync_perception.runtime.preprocess import network_size
    loaded = hub.load(model or default_model_folder())
    seen = exporting.parse_size(size) if size else network_size(
        KITTI_SIZE, loaded.config.input_pixels)
    differences = exporting.export_model(loaded, out, seen, format, opset)
    worst = max(differences, key=differences.get)
    typer.echo(
        f'{out}: {out.stat().st_size / 1e6:.1f} MB, images of {seen[0]}x{seen[1]} (height x '
        f'width), maps {", ".join(differences)}; off by at most {differences[worst]:.1e} of the '
        f'range, in {worst}')


@app.command()
def models(
        names: Annotated[list[str] | None, typer.Argument(
            help='Architectures of the list, whose recipes are printed; all by default.')] = None,
        time: Annotated[bool, typer.Option(
            help='Measure how long an image takes on this machine; for all it takes a '
            'quarter of an hour.')] = True,
        device: Device = 'auto',
        half: Annotated[bool, typer.Option(
            help="Time the predictor in the device's 16-bit format.")] = False,
        json: Annotated[Path | None, typer.Option(help='Write the results here too.')] = None,
        markdown: Annotated[Path | None, typer.Option(
            help='A page in which to replace the table.')] = None,
        ) -> None:
    """List ready-made architectures: what they give, cost and take; print their recipes."""
    from sync_perception.runtime.architectures import list_architectures
    list_architectures(
        names or (), timed=time, device=device, half=half, json_file=json, markdown=markdown)


@labels.command('export')
def labels_export(
        space: Annotated[str, typer.Option(help='Shipped name, YAML file or model folder.')],
        consumer: Annotated[str, typer.Option(help='Who reads them: hydra, kimera or nav2.')],
        out: Annotated[Path, typer.Option(help='Folder to write into.')]) -> None:
    """Write the label files of SLAM and navigation software."""
    from sync_perception import label_exports
    written = label_exports.export_labels(label_exports.read_space(space), consumer, out)
    typer.echo('\n'.join([*map(str, written.files), *(f'note: {n}' for n in written.notes)]))


@labels.command('show')
def labels_show(space: Annotated[str, typer.Argument(help='As in labels export.')]) -> None:
    """List the classes of a label space."""
    from sync_perception import label_exports
    typer.echo(label_exports.table(label_exports.read_space(space)))


def main() -> None:
    """Run the command; what the user can mend becomes one line on stderr and status 2."""
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
    """Print a message in one line and leave with the status of a usage error."""
    print(f'sync_perception: {" ".join(message.split())}', file=sys.stderr)
    raise SystemExit(USAGE_ERROR)


if __name__ == '__main__':
    main()
