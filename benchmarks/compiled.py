"""A network as itself and through torch.compile, at AVE's sizes: milliseconds of one clip and of a batch, in turns with
the matrix product that gives the machine's rate.

.venv/bin/python benchmarks/compiled.py [CONFIG ...]

CONFIG: experiments; without any, the ANN and both SNNs of configs/ave. Fresh weights of seed 0, random features. Each
network is compiled anew for each size of batch; how long that takes is printed too.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from neurons import processor
from snn_cace.analysis.stopwatch import Run
from snn_cace.benchmark.machine import Sizes, beside_products, beside_rates, matmul_flops
from snn_cace.benchmark.steps import clips, infer
from snn_cace.config import Experiment, read_config
from snn_cace.model import build_network
from snn_cace.processes import ready_to_compute
from snn_cace.training.evaluation import compiled_for_inference

CONFIGS = [Path(__file__).parents[1] / f"configs/ave/{name}.yaml" for name in ("ann", "snn-braincog", "snn")]
BATCHES = (1, 8)


def main(configs: list[Path]) -> None:
    ready_to_compute()
    device, sizes = torch.device("cpu"), Sizes()
    print(f"{processor()}, {torch.get_num_threads()} threads, float32, medians (quartiles)")
    columns = ["network", "clips", "itself, ms", "times its products", "compiled, ms", "times its products"]
    columns += ["compiled / itself", "logits differ by at most", "compiling, s"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for config in configs:
        experiment = read_config(config, Experiment)
        torch.manual_seed(0)
        network = build_network(experiment, sizes.shape).eval()
        torch.compiler.reset()  # at most eight compilations of one function are kept
        ways = {"itself": network, "compiled": compiled_for_inference(network)}
        for batch in BATCHES:
            features = clips(sizes, batch, device)
            runs: dict[str, Run] = {name: partial(infer, way, features, "32") for name, way in ways.items()}
            started = time.perf_counter()
            runs["compiled"]()
            compiling = time.perf_counter() - started
            flops = matmul_flops(runs["itself"])
            rows, rates = beside_rates(runs, device)
            itself, compiled = (beside_products(rows[name], flops, rates["float32"]) for name in ways)
            cells = [
                f"{1000 * row['seconds']:.1f} ({1000 * row['quartile_1']:.1f} to {1000 * row['quartile_3']:.1f}) | "
                f"{row['times_matmul']:.2f}"
                for row in (itself, compiled)
            ]
            ratio = compiled["seconds"] / itself["seconds"]
            with torch.no_grad():
                said = [way(features["visual"], features["audio"]).event_logits for way in ways.values()]
            difference = float((said[0] - said[1]).abs().max())
            cells += [f"{ratio:.2f}", f"{difference:.0e}", f"{compiling:.0f}"]
            print(f"| {experiment.name} | {batch} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as empty:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty  # not what earlier runs have compiled
        main([Path(name) for name in sys.argv[1:]] or CONFIGS)
