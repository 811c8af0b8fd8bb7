#!/usr/bin/env bash
# Measures everything on an NVIDIA GPU in less than ten minutes, and writes one JSON file with the
# GPU's name: latency with and without the cloud, six cameras, the training step, agreement with the
# CPU, and the tests that need a GPU.
#   benchmarks/gpu.sh [OPTIONS OF benchmarks/gpu.py]
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
[ -x "$python" ] || python=python3
name=$("$python" -c 'import torch; print(torch.cuda.get_device_name().lower().replace(" ", "_"))')
timeout 600 "$python" benchmarks/gpu.py --out "benchmarks/results/gpu_$name.json" "$@"
