#!/usr/bin/env bash
# The training step of ANN and SNN at AVE's size, batch 8, of another revision beside this checkout's, in turns:
# benchmarks/against.sh REVISION [TURNS]. Prints the median milliseconds of each turn.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD other=$(mktemp -d)
trap 'git worktree remove --force "$other"' EXIT
git worktree add --quiet --detach "$other" "$1"
step='
import statistics, time
import torch
from snn_cace.benchmark.machine import Sizes
from snn_cace.benchmark.steps import step_of
from snn_cace.config import Experiment, read_config
torch.set_flush_denormal(True)
try:
    from snn_cace.processes import ready_to_compute
    ready_to_compute()
except ImportError:
    pass
for name in ("ann", "snn"):
    experiment = read_config(f"configs/ave/{name}.yaml", Experiment)
    step, spent = step_of(experiment, Sizes(), 8, torch.device("cpu")), []
    for _ in range(10):
        started = time.perf_counter()
        step()
        spent.append(time.perf_counter() - started)
    print(f"{name} {1000 * statistics.median(spent[3:]):.0f} ms", end="  ")
'
for _ in $(seq "${2:-3}"); do
	for tree in "$other" "$here"; do
		(cd "$tree" && PYTHONPATH=$tree "$here/.venv/bin/python" -c "$step" 2>/dev/null)
		[ "$tree" = "$here" ] && echo "this checkout" || echo "$1"
	done
done
