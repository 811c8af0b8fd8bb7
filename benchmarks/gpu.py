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

"""
Measure everything on a GPU, and write one JSON file; benchmarks/gpu.sh limits the time.

Latency is measured from an image in host memory to maps in host memory, with and without the
cloud. The training step is measured without data loading and augmentation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

import numpy as np
from sync_perception.machine import processor_name
from sync_perception.models import hub
from sync_perception.models.network_input import input_size_of
from sync_perception.resources import default_model_folder
from sync_perception.runtime.benchmark.bench_frames import drawn_street, intrinsics_like_kitti
from sync_perception.runtime.benchmark.reports import machine, summarize_times, write_report
from sync_perception.runtime.pointcloud import point_cloud
from sync_perception.runtime.predictor import Predictor
from sync_perception.types import Frame
import torch

CAMERAS = 6
TESTS = ('test/runtime', 'test/training')
TEST_SECONDS = 240


def main() -> int:
    """Measure, write the file, and return 1 if a test failed."""
    options = parse()
    device = torch.device(options.device)
    report: dict[str, Any] = {
        'gpu': torch.cuda.get_device_name(device) if device.type == 'cuda' else None,
        'device': str(device), 'processor': processor_name(), 'machine': machine(),
        'model': str(options.model), 'image_size': [options.height, options.width]}
    frames = cameras((options.height, options.width))
    report['predictors'] = {}
    for backend in ('torch', 'cuda_graph') if device.type == 'cuda' else ('torch',):
        for precision in ('float32', 'half'):
            name = f'{backend} {precision}'
            report['predictors'][name] = measure_predictor(options, backend, precision, frames)
            print(name, report['predictors'][name], flush=True)
    report['training'] = {
        str(size): measure_training(options, device, size) for size in options.batch}
    print('training', report['training'], flush=True)
    report['tests'] = run_tests() if options.tests else None
    write_report(report, options.out)
    print(options.out)
    return int(bool(report['tests']) and report['tests']['status'] != 0)


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--model', type=Path, default=default_model_folder())
    parser.add_argument('--out', type=Path, default=Path('benchmarks/results/gpu.json'))
    parser.add_argument('--frames', type=int, default=200, help='timed frames')
    parser.add_argument('--width', type=int, default=1242)
    parser.add_argument('--height', type=int, default=375)
    parser.add_argument('--batch', type=int, nargs='+', default=[1, 8, 32],
                        help='batch sizes of the training step')
    parser.add_argument('--steps', type=int, default=20, help='timed training steps')
    parser.add_argument('--no-tests', dest='tests', action='store_false')
    return parser.parse_args()


def cameras(size: tuple[int, int]) -> list[Frame]:
    """Return a frame of each camera."""
    K = intrinsics_like_kitti(size)
    street = drawn_street(size)
    return [Frame(np.ascontiguousarray(np.roll(street, 50 * index, axis=1)), K)
            for index in range(CAMERAS)]


def measure_predictor(options: argparse.Namespace, backend: str, precision: str,
                      frames: list[Frame]) -> dict[str, Any]:
    """Return latencies of a backend, and how far its maps are from those of the CPU."""
    predictor = Predictor(options.model, options.device, backend=backend, precision=precision)
    shape = frames[0].size
    cloud = np.zeros(shape[0] * shape[1] * 32, np.uint8)

    def with_cloud() -> None:
        point_cloud(frames[0], predictor.predict(frames[0]), predictor.labels, out=cloud)

    found, expected = predictor.predict(frames[0]), Predictor(
        options.model, 'cpu', backend='torch', precision='float32').predict(frames[0])
    both = np.isfinite(found.depth) & np.isfinite(expected.depth)
    return {
        **predictor.describe(), 'network_size': input_size_of(predictor.config, shape),
        'maps_milliseconds': timed(lambda: predictor.predict(frames[0]), options.frames),
        'maps_and_cloud_milliseconds': timed(with_cloud, options.frames),
        'six_cameras_milliseconds': timed(
            lambda: predictor.predict_batch(frames), max(1, options.frames // CAMERAS)),
        'same_labels_as_cpu': float((found.labels == expected.labels).mean()),
        'depth_off_from_cpu': float(
            np.median(np.abs(found.depth[both] / expected.depth[both] - 1))),
        **predictor.memory()}


def timed(run: Callable[[], Any], count: int) -> dict[str, float]:
    """Return a summary of the milliseconds of a function that ends on the host."""
    for _ in range(5):
        run()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return summarize_times(times)


def measure_training(options: argparse.Namespace, device: torch.device, batch: int
                     ) -> dict[str, Any]:
    """Return the samples per second of forward and backward pass and update, in 16 bits."""
    model = hub.load(options.model, device).train()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-5)
    height, width = input_size_of(model.config, (options.height, options.width))
    images = torch.randn(batch, 3, height, width, device=device).contiguous(
        memory_format=torch.channels_last)
    target = torch.randint(len(model.labels), (batch,), device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            output = model(images)
            logits = output.logits.flatten(2).float()
            loss = output.depth.float().mean() + torch.nn.functional.cross_entropy(
                logits, target[:, None].expand(-1, logits.shape[2]))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)

    try:
        times = timed(step, options.steps)
    except torch.cuda.OutOfMemoryError as error:
        return {'error': str(error).splitlines()[0]}
    return {'samples_per_second': round(1000 * batch / times['p50'], 2), 'step': times}


def run_tests() -> dict[str, Any]:
    """Run the tests that need a GPU; return the status and the last line."""
    try:
        done = subprocess.run(
            [sys.executable, '-m', 'pytest', '-q', '-k', 'cuda or gpu', *TESTS],
            capture_output=True, text=True, timeout=TEST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {'status': None, 'last_line': f'not done after {TEST_SECONDS} s'}
    return {'status': done.returncode, 'last_line': done.stdout.strip().splitlines()[-1]}


if __name__ == '__main__':
    sys.exit(main())
