#!/usr/bin/env bash
# Everything that only a GPU can tell, with one command: its tests, then training steps, inference and LIF layers, then
# whole runs at AVE's size (4143 clips of which 3339 train, 200 epochs, evaluated at each), as it is and with CUDA graphs.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/gpu}
make install
.venv/bin/python -m pip install --quiet --constraint constraints.txt '.[gpu]' || echo "no NVML: joules are not measured"
.venv/bin/python -m pytest tests/test_cuda.py -p no:cacheprovider
[ -d "$out/data" ] || .venv/bin/snn-cace data synthetic "$out/data" --dtype float16
common=(--data "$out/data" --device cuda --precision tf32)
for compile in off reduce-overhead; do
	options=("${common[@]}" --training.compile "$compile")
	.venv/bin/snn-cace benchmark --config configs/compare/ave.yaml --batch 64 --output "$out/$compile" "${options[@]}"
	for name in ann snn-braincog snn; do
		.venv/bin/snn-cace train --config "configs/ave/$name.yaml" --training.epochs "${EPOCHS:-200}" \
			--output "$out/$compile/$name" "${options[@]}"
		grep -E '"(train_seconds|peak_memory_mb)"' "$out/$compile/$name/metrics.json"
	done
done
