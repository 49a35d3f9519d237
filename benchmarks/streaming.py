"""A streamed segment: by PyTorch, by ONNX Runtime, beside a whole-clip run and beside its matrix products alone.

.venv/bin/python benchmarks/streaming.py [RUN ...]

RUN: run directories of causal networks; without any, networks of AVE's size with fresh weights: an ANN, `snn-guided`
and its controls. Whole clip: what one has without a stream, for every segment the network over the last
`model.window`. Products: every matrix product and LSTM of a segment, one after another, which read each weight once.
Compiled: torch.compile on one segment of an ANN that keeps nothing. Milliseconds, medians, in turns of five in a row,
as a stream runs: after a call, threads of PyTorch spin for a while.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from products import Recorded

from neurons import fold
from snn_cace.analysis.stopwatch import side_by_side
from snn_cace.config import Experiment, read_config
from snn_cace.contracts import FeatureShape
from snn_cace.export.step import OnnxStep
from snn_cace.export.stream import Stream
from snn_cace.model import Network, build_network
from snn_cace.processes import flush_denormals
from snn_cace.provenance import processor
from snn_cace.training.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[1]
CAUSAL = {"model.causal": True, "training.device": "cpu"}
FORWARD = {"model.slots.temporal_encoder.direction": "forward"}
CONTROLLED = ("visual_projection", "temporal_encoder", "feed_forward")
WAYS = ("PyTorch", "ONNX Runtime", "whole clip", "products", "compiled")
SEGMENTS, REPEATS, IN_A_ROW = 40, 31, 5


def networks(runs: list[str]) -> dict[str, tuple[Network, Experiment]]:
    """The networks of run directories; without any, of AVE's size, having seen some clips."""
    if runs:
        found = [load_checkpoint(run) for run in runs]
        return {f"{one.experiment.name}, trained": (one.network, one.experiment) for one in found}
    guided = ROOT / "configs/ave/snn-guided.yaml"
    experiments = {"ann": read_config(ROOT / "configs/ave/ann.yaml", Experiment, CAUSAL)}
    for kind in ("rectified", "quantised"):
        changes = {f"model.slots.{slot}.block": kind for slot in CONTROLLED}
        experiments[f"snn-guided-{kind}"] = read_config(guided, Experiment, CAUSAL | FORWARD | changes)
    experiments["snn-guided"] = read_config(guided, Experiment, CAUSAL | FORWARD)
    found = {}
    for name, experiment in experiments.items():
        torch.manual_seed(0)
        network = build_network(experiment, FeatureShape(512, 128, 28)).train()
        for _ in range(10):
            with torch.no_grad():
                network(torch.relu(torch.randn(8, 10, 7, 7, 512)), torch.rand(8, 10, 128))
        found[f"{name}, AVE's size, fresh"] = network.eval(), experiment
    return found


@torch.no_grad()
def measure(network: Network, experiment: Experiment) -> dict[str, float]:
    """Milliseconds a segment, each way."""
    shape, window = network.shape, experiment.model.window
    visual = torch.relu(torch.randn(SEGMENTS, 7, 7, shape.visual_channels))
    audio = torch.rand(SEGMENTS, shape.audio_channels)
    streams = {"PyTorch": Stream(network, experiment), "ONNX Runtime": Stream(network, experiment, make_step=OnnxStep)}
    runs: dict[str, Callable[[], Any]] = {}
    for name, stream in streams.items():
        places = count()
        runs[name] = lambda stream=stream, places=places: stream.step(visual[(t := next(places) % SEGMENTS)], audio[t])
        for _ in range(window):
            runs[name]()
    clip, one = (visual[None, :window], audio[None, :window]), (visual[None, :1], audio[None, :1])
    runs["whole clip"] = lambda: network(*clip)
    with Recorded() as recorded:
        streams["PyTorch"].step(visual[0], audio[0])
    runs["products"] = recorded.again
    if all(slot.is_dense for slot in experiment.model.slots.every().values()):
        compiled = torch.compile(fold(network))
        runs["compiled"] = lambda: compiled(*one)
    turns = {name: partial(in_a_row, run) for name, run in runs.items()}
    rows = side_by_side(turns, torch.device("cpu"), REPEATS)
    return {name: 1000 * row["seconds"] / IN_A_ROW for name, row in rows.items()}


def in_a_row(run: Callable[[], Any]) -> None:
    for _ in range(IN_A_ROW):
        run()


def main(runs: list[str]) -> None:
    flush_denormals()
    print(f"{processor()}, {torch.get_num_threads()} threads, float32, PyTorch {torch.__version__}")
    print("| network | " + " | ".join(WAYS) + " | ONNX Runtime / products |")
    print("| --- |" + " --- |" * (len(WAYS) + 1))
    for name, (network, experiment) in networks(runs).items():
        times = measure(network, experiment)
        cells = " | ".join(f"{times[way]:.2f}" if way in times else "-" for way in WAYS)
        print(f"| {name} | {cells} | {times['ONNX Runtime'] / times['products']:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
