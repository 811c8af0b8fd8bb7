#!/usr/bin/env bash
# Measures a model on every data set that the default model was trained on, on frames that its
# training never saw (kitti: on the drive that it did see), and writes results/<name>/*.json.
#   benchmarks/default_model.sh [MODEL_FOLDER [NAME]]
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH
model=${1:-sync_perception/weights/driving}
results=benchmarks/results/${2:-default_model}
data=${SYNC_PERCEPTION_DATA:-../shared/data}
mkdir -p "$results"

if [ ! -d runs/synthetic_val ]; then
  sync_perception synth --out runs/synthetic_val --worlds 10 --frames 5 --every 14 --seed 5000
fi
if [ ! -d runs/cameras_val ]; then
  sync_perception synth --vary-camera --out runs/cameras_val --worlds 20 --frames 2 --every 40 \
    --height 576 --width 1152 --seed 9000
fi
sync_perception evaluate --model "$model" --dataset vkitti2 --root runs/cameras_val --frames \
  --json "$results/vkitti2_cameras.json"
while read -r dataset root split; do
  sync_perception evaluate --model "$model" --dataset "$dataset" --root "$root" --split "$split" \
    --frames --json "$results/${dataset}_$split.json"
done <<END
kitti_depth $data/depth_selection val
kitti_semantics $data/kitti_semantics val
camvid $data/camvid val
idd_lite $data/idd_lite val
vkitti2 runs/synthetic_val all
kitti $data/kitti all
END
