#!/usr/bin/env bash
# The training step of ANN and SNN at AVE's size, batch 8, and an epoch of 64 clips with data loading, of another
# revision beside this checkout's, in turns: benchmarks/against.sh REVISION [TURNS]. Prints the medians of each turn.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD other=$(mktemp -d)
trap 'git worktree remove --force "$other"' EXIT
git worktree add --quiet --detach "$other" "$1"
step='
import statistics, tempfile, time
from pathlib import Path
import torch
from snn_cace.benchmark.machine import Sizes
from snn_cace.benchmark.steps import Epoch, step_of, write_clips
from snn_cace.config import Experiment, read_config
torch.set_flush_denormal(True)
try:
    from snn_cace.processes import ready_to_compute
    ready_to_compute()
except ImportError:
    pass
cpu = torch.device("cpu")

def seconds(run, repeats, warm_up):
    spent = []
    for _ in range(warm_up + repeats):
        started = time.perf_counter()
        run()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent[warm_up:])

for name in ("ann", "snn"):
    experiment = read_config(f"configs/ave/{name}.yaml", Experiment)
    step = 1000 * seconds(step_of(experiment, Sizes(), 8, cpu), 7, 3)
    with tempfile.TemporaryDirectory() as directory:
        write_clips(Path(directory), Sizes(), 64)
        epoch = seconds(Epoch(experiment, Sizes(), directory, 8, cpu), 2, 1)
    print(f"{name} step {step:.0f} ms, epoch {epoch:.2f} s", end="  ")
'
for _ in $(seq "${2:-3}"); do
	for tree in "$other" "$here"; do
		(cd "$tree" && PYTHONPATH=$tree "$here/.venv/bin/python" -c "$step" 2>/dev/null)
		[ "$tree" = "$here" ] && echo "this checkout" || echo "$1"
	done
done
