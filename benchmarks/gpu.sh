#!/usr/bin/env bash
# Everything that only a GPU can tell, with one command: its tests, then all measurements, then whole runs at AVE's size
# (4143 clips of which 3339 train, 200 epochs, evaluated at each), once as it is and once with CUDA graphs.
set -euo pipefail
cd "$(dirname "$0")/.."
make install
.venv/bin/python -m pip install --quiet --constraint constraints.txt '.[gpu]' || echo "no NVML: joules are not measured"
.venv/bin/python -m pytest tests/test_cuda.py -p no:cacheprovider
measure=(.venv/bin/snn-cace benchmark --device cuda --batch 64 --batches 16 32 64 128 --clips 512 1024 2048)
"${measure[@]}" --epochs "${EPOCHS:-200}" --compile --output "${1:-runs/gpu}/eager" --training.precision tf32
"${measure[@]}" --epochs "${EPOCHS:-200}" --output "${1:-runs/gpu}/graphs" --training.precision tf32 \
	--training.compile reduce-overhead
