"""A comparison of 24 runs killed with SIGKILL at random moments and started again: is its table the undisturbed one?

.venv/bin/python benchmarks/killed.py [TIMES]
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = "--seeds 0 1 2 --training.epochs 3 --data.avdigits.train_clips 180 --data.avdigits.val_clips 45"
SMALL += " --data.avdigits.test_clips 45 --device cpu"


def command(output: Path) -> list[str]:
    config = str(ROOT / "configs" / "ablation" / "avdigits-parts.yaml")
    return [sys.executable, "-m", "snn_cace", "compare", "--config", config, "--output", str(output), *SMALL.split()]


def table(output: Path) -> str:
    return (output / "runs.csv").read_text()


def main(times: int) -> None:
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as directory:
        whole, cut = Path(directory, "whole"), Path(directory, "cut")
        started = time.monotonic()
        subprocess.run(command(whole), check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        killed = []
        while len(killed) < times:
            process = subprocess.Popen(command(cut), stdout=subprocess.DEVNULL)
            wait = rng.uniform(0.5, 1.0) * (seconds / times + 5)
            try:
                process.wait(wait)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed.append(len(list(cut.rglob("seed-*/metrics.json"))))
        subprocess.run(command(cut), check=True, stdout=subprocess.DEVNULL)
        same = table(cut) == table(whole)
    print(f"24 runs, undisturbed {seconds:.0f} s; killed {len(killed)} times, with {killed} runs finished")
    print("the tables are the same, to the last digit" if same else "the tables DIFFER")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
