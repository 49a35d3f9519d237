"""A stream against a whole-clip run for every segment: milliseconds per segment, ANN and SNN with S = 1, 2, 4.

.venv/bin/python benchmarks/streaming.py [RUN ...]

RUN: run directories of causal networks; without any, networks of AVE's size with fresh weights. Beside the stream, what
one has without it: for every segment, the network over the last `model.window` segments. Medians, in turns.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import torch

from snn_cace.analysis.anytime import simulation_steps, with_steps
from snn_cace.config import Experiment, read_config
from snn_cace.contracts import FeatureShape
from snn_cace.export.stream import Stream
from snn_cace.model import Network, build_network
from snn_cace.processes import flush_denormals
from snn_cace.provenance import processor
from snn_cace.training.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[1]
FRESH = {"ann": "configs/ave/ann.yaml", "snn": "configs/ave/snn.yaml"}
CAUSAL = {"model.causal": True, "model.slots.temporal_encoder.direction": "forward", "training.device": "cpu"}
SEGMENTS = 40


def networks(runs: list[str]) -> dict[str, tuple[Network, Experiment]]:
    if runs:
        found = [load_checkpoint(run) for run in runs]
        return {f"{one.experiment.name}, trained": (one.network, one.experiment) for one in found}
    shape = FeatureShape(512, 128, 28)
    fresh = {name: read_config(ROOT / file, Experiment, CAUSAL) for name, file in FRESH.items()}
    return {f"{name}, AVE's size, fresh": (build_network(e, shape).eval(), e) for name, e in fresh.items()}


@torch.no_grad()
def measure(network: Network, experiment: Experiment) -> tuple[float, float, float]:
    """Milliseconds per segment: of the stream's first ten segments, of its last ten, and of whole-clip runs."""
    shape, window = network.shape, experiment.model.window
    side = 7
    visual = torch.rand(SEGMENTS, side, side, shape.visual_channels)
    audio = torch.rand(SEGMENTS, shape.audio_channels)
    running = Stream(network, experiment)
    streamed, whole = [], []
    for t in range(SEGMENTS):
        streamed.append(running.step(visual[t], audio[t]).seconds)
    for t in range(window - 1, SEGMENTS):
        started = time.perf_counter()
        network(visual[None, t - window + 1 : t + 1], audio[None, t - window + 1 : t + 1])
        whole.append(time.perf_counter() - started)
    middle = SEGMENTS // 2
    parts = (streamed[window:middle], streamed[middle:], whole)
    first, last, runs = (1000 * statistics.median(times) for times in parts)
    return first, last, runs


def main(runs: list[str]) -> None:
    flush_denormals()
    print(f"{processor()}, {torch.get_num_threads()} threads, float32, medians in ms per segment")
    print("| network | stream, segments 10 to 19 | stream, 20 to 39 | whole-clip run | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for name, (network, experiment) in networks(runs).items():
        trained_with = max(simulation_steps(experiment).values(), default=0)
        for steps in [1, 2, 4] if trained_with else [0]:
            one = with_steps(network, experiment, steps) if steps else network
            measure(one, experiment)  # once without looking: libraries choose their ways
            first, last, whole = measure(one, experiment)
            label = f"{name}, S = {steps}" if steps else name
            print(f"| {label} | {first:.2f} | {last:.2f} | {whole:.2f} | {last / whole:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
