"""Short runs, one per core: how much of the cores' time is training, one after another?

.venv/bin/python benchmarks/occupancy.py [RUNS]

Training is what metrics.json calls train_seconds: epochs and their validation. While runs run, all else is lost:
starting and ending processes, importing, reading clips, evaluating finished networks, waiting for the last run. The
command measures every run afterwards (operations, energy, attention), and makes table and report: the second figure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from snn_cace.provenance import processor, usable_cores

ROOT = Path(__file__).parents[1]
ROWS = 8
SHORT = "--training.epochs 6 --data.avdigits.train_clips 450 --data.avdigits.val_clips 90 --data.avdigits.test_clips 90"


def main(runs: int) -> None:
    config = str(ROOT / "configs" / "ablation" / "avdigits-psi.yaml")
    seeds = [str(seed) for seed in range(max(1, runs // ROWS))]
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "snn_cace", "compare", "--config", config, "--output", directory]
        command += [*SHORT.split(), "--device", "cpu", "--seeds", *seeds]
        started = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.monotonic() - started
        ended = list(Path(directory).rglob("seed-*/metrics.json"))
        found = [json.loads(file.read_text()) for file in ended]
        first = min(file.with_name("config.yaml").stat().st_mtime for file in ended)
        training = max(file.stat().st_mtime for file in ended) - first
    trained = sum(metrics["train_seconds"] for metrics in found)
    cores = usable_cores()
    print(f"{processor()}, {cores} cores: {len(found)} runs in {wall:.0f} s")
    print(f"{trained / len(found):.1f} s of training a run; {trained / (cores * training):.3f} of the cores' time")
    print(f"with measurements, table and report: {trained / (cores * wall):.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
