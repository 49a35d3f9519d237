"""Measured time against firing rate: linear layers that skip zeros, then whole networks, beside compiled dense ones.

.venv/bin/python benchmarks/rate.py OUTPUT [RUN ...]

Prints tables and writes OUTPUT, a figure. The layers have the sizes of AVE's network and random inputs; a share p of
them is not zero, as where neurons fire in S steps with a rate of 1 - (1 - p)^(1/S). The networks of AVE's size have
fresh weights that have seen random clips, and a threshold that sets their firing rate; RUN are run directories, whose
networks run on clips of their own test split. ONNX Runtime's int8 is its dynamic quantisation. Medians of runs in
turns, on as many threads as PyTorch has.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from neurons import EventDriven, RateMonitor, fold
from snn_cace.analysis.stopwatch import side_by_side
from snn_cace.config import Experiment, read_config
from snn_cace.contracts import FeatureShape
from snn_cace.data.batches import ClipData
from snn_cace.export.onnx import session, silent, write_onnx
from snn_cace.files import replacing
from snn_cace.model import build_network
from snn_cace.processes import flush_denormals
from snn_cace.provenance import processor
from snn_cace.runtime import feature_dtype
from snn_cace.training.checkpoints import load_checkpoint

matplotlib.use("agg")
ROOT, CPU = Path(__file__).parents[1], torch.device("cpu")
LAYERS = {
    "guidance's value, 1 segment": (49, 512, 512),
    "guidance's value, 1 clip": (490, 512, 512),
    "guidance's value, 8 clips": (3920, 512, 512),
    "feed-forward, 1 segment": (1, 1024, 256),
    "feed-forward, 1 clip": (10, 1024, 256),
}
"""Rows, inputs and outputs of layers of AVE's size."""
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
AVE = FeatureShape(512, 128, 28)
THRESHOLDS = (0.25, 0.5, 1.0, 2.0)
CASES = {"1 segment": (1, 1), "1 clip": (1, 10), "8 clips": (8, 10)}
SEEN = 40
"""Batches that a fresh network has seen in training mode."""
SLOTS = ("visual_projection", "temporal_encoder", "feed_forward")


def milliseconds(runs: dict[str, Callable[[], Any]], repeats: int = 15) -> dict[str, float]:
    with torch.no_grad():
        rows = side_by_side(runs, CPU, repeats)
    return {name: 1000 * row["seconds"] for name, row in rows.items()}


def layers() -> dict[str, list[float]]:
    """By layer, the time of skipping zeros over that of the dense product, at each of `SHARES`."""
    print("\n| layer | dense, ms | " + " | ".join(f"{share:.0%}" for share in SHARES) + " | crossover |")
    print("| --- |" + " --- |" * (len(SHARES) + 2))
    found = {}
    for name, (rows, inputs, outputs) in LAYERS.items():
        layer, ratios, dense = nn.Linear(inputs, outputs), list[float](), 0.0
        skipping = EventDriven(layer, always=True)
        for share in SHARES:
            values = (torch.rand(rows, inputs) < share).float()
            runs = {
                "dense": partial(F.linear, values, layer.weight, layer.bias),
                "event": partial(skipping.product, layer, values),
            }
            times = milliseconds(runs, 51)
            dense = times["dense"]
            ratios.append(times["event"] / dense)
        crossing = np.interp(1, ratios, SHARES) if ratios[-1] > 1 else np.nan
        cells = " | ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {name} | {dense:.3f} | {cells} | {f'{crossing:.2f}' if ratios[-1] > 1 else 'none'} |", flush=True)
        found[name] = ratios
    return found


def bounds(rows: int, inputs: int, outputs: int) -> list[float]:
    """At each of `SHARES`, additions at the rate that MKL's products reach, or weights read as fast as they are copied;
    over the time of the dense product.
    """
    a, kept, values = torch.randn(1024, 1024), torch.randn(outputs, inputs), torch.randn(rows, inputs)
    times = milliseconds({"square": lambda: a @ a, "copy": kept.clone, "dense": lambda: F.linear(values, kept)})
    rate, speed = 1024**3 / times["square"], 2 * kept.numel() / times["copy"]
    sizes = [(share * rows * kept.numel(), min(1.0, rows * share) * kept.numel()) for share in SHARES]
    return [max(products / rate, read / speed) / times["dense"] for products, read in sizes]


def firing_rate(network: nn.Module, clips: tuple[torch.Tensor, ...]) -> float | None:
    with torch.no_grad(), RateMonitor(network) as monitor:
        network(*clips)
    return monitor.firing_rate if monitor.spikes else None


def in_onnx(network: Any, visual: torch.Tensor) -> dict[str, Any]:
    """Sessions of ONNX Runtime that run a network on clips as these, in float32 and in int8."""
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory() as directory, silent():
        plain, small = Path(directory) / "network.onnx", Path(directory) / "int8.onnx"
        write_onnx(network, plain, visual.shape[1:])
        quantize_dynamic(plain, small)
        return {"ONNX": session(plain), "ONNX int8": session(small)}


def measure(
    name: str, network: Any, clips: tuple[torch.Tensor, ...], sessions: dict[str, Any], compile_it: bool
) -> dict[str, float]:
    """Milliseconds of every way to run a network on clips, printed as a row."""
    folded = fold(network.eval())
    mode = EventDriven(folded)
    rate = firing_rate(folded, clips)
    runs: dict[str, Callable[[], Any]] = {"dense": lambda: folded(*clips)}
    if compile_it:
        compiled = torch.compile(folded)
        runs["compiled"] = lambda: compiled(*clips)

    def skip() -> None:
        with mode:
            folded(*clips)

    given = dict(zip(("visual", "audio"), (x.numpy() for x in clips), strict=True))
    runs["skips zeros"] = skip
    runs |= {way: partial(one.run, None, given) for way, one in sessions.items()}
    times = milliseconds(runs)
    ways = ("dense", "skips zeros", "compiled", "ONNX", "ONNX int8")
    cells = " | ".join(f"{times[way]:.2f}" if way in times else "-" for way in ways)
    print(f"| {name} | {'-' if rate is None else f'{rate:.3f}'} | {cells} |", flush=True)
    return times | {"rate": rate or 0.0}


def ave_networks() -> dict[str, Any]:
    """Networks of AVE's size with fresh weights, which have seen some clips: norms and roundings know their values."""
    guided = ROOT / "configs/ave/snn-guided.yaml"
    experiments = {"ann": read_config(ROOT / "configs/ave/ann.yaml", Experiment)}
    for kind in ("rectified", "quantised"):
        changes = {f"model.slots.{slot}.block": kind for slot in SLOTS}
        experiments[f"snn-guided-{kind}"] = read_config(guided, Experiment, changes)
    for threshold in THRESHOLDS:
        name = f"snn-guided, threshold {threshold}"
        experiments[name] = read_config(guided, Experiment, {"model.spiking.threshold": threshold})
    found = {}
    for name, experiment in experiments.items():
        torch.manual_seed(0)
        found[name] = network = build_network(experiment, AVE).train()
        for _ in range(SEEN):
            with torch.no_grad():
                network(*random_clips(8, 10))
    return found


def random_clips(clips: int, segments: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of AVE's shape; half of a picture's are zero, as VGG's are."""
    return torch.relu(torch.randn(clips, segments, 7, 7, 512)), torch.rand(clips, segments, 128)


def networks(runs: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """By case and network, milliseconds of each way to run it, and its firing rate."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    fresh, sessions = ave_networks(), dict[tuple[str, int], dict[str, Any]]()
    heads = "| network | firing rate | dense, ms | skips zeros | dense, compiled | ONNX Runtime | ONNX Runtime, int8 |"
    for case, (clips, segments) in CASES.items():
        print(f"\n{case}\n\n{heads}\n| --- |" + " --- |" * 6)
        found[case] = {}
        for name, network in fresh.items():
            given = random_clips(clips, segments)
            # ONNX Runtime takes as long at any rate, and for controls as for their SNN.
            if name in ("ann", "snn-guided, threshold 0.5") and (name, segments) not in sessions:
                sessions[name, segments] = in_onnx(network, given[0])
            row = f"{name}, AVE's size, fresh"
            found[case][name] = measure(row, network, given, sessions.get((name, segments), {}), name == "ann")
        for run in runs:
            trained = load_checkpoint(run)
            data = ClipData(trained.experiment.data, feature_dtype(trained.experiment.training.precision))
            batch = data.dataset("test").__getitems__(range(clips))
            given = batch["visual"][:, :segments].contiguous(), batch["audio"][:, :segments].contiguous()
            dense = all(slot.is_dense for slot in trained.experiment.model.slots.every().values())
            if (run, segments) not in sessions:
                sessions[run, segments] = in_onnx(trained.network, given[0])
            row = f"{trained.experiment.name}, trained"
            measure(row, trained.network, given, sessions[run, segments], dense)
    return found


def draw(path: Path, ratios: dict[str, list[float]], times: dict[str, dict[str, dict[str, float]]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    size = LAYERS["guidance's value, 1 clip"]
    for number, (name, values) in enumerate(ratios.items()):
        left.plot(SHARES, values, "osd^v"[number], linestyle="-", color=f"C{number}", label=name)
    left.plot(SHARES, bounds(*size), "k:", label="no less is possible (1 clip)")
    left.axhline(1, color="black", linewidth=0.8)
    left.set(
        xscale="log", yscale="log", xlabel="share of inputs that are not zero", ylabel="time, of the dense product's"
    )
    left.legend(fontsize=7)
    for number, (case, rows) in enumerate(times.items()):
        base = rows["ann"]["compiled"]
        spiking = [row for name, row in rows.items() if "threshold" in name]
        points = sorted((row["rate"], row["skips zeros"] / base) for row in spiking)
        right.plot(*zip(*points, strict=True), "osd"[number], linestyle="-", color=f"C{number}", label=f"SNN, {case}")
        control = min(rows["snn-guided-quantised"]["skips zeros"], rows["snn-guided-rectified"]["skips zeros"]) / base
        right.axhline(control, color=f"C{number}", linestyle="--", linewidth=1, label=f"its faster control, {case}")
    right.axhline(1, color="black", linewidth=0.8)
    right.set(xlabel="firing rate", ylabel="time, of the compiled ANN's", ylim=(0, None))
    right.legend(fontsize=7)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="svg")


def main(output: str, runs: list[str]) -> None:
    flush_denormals()
    torch.manual_seed(0)
    print(f"{processor()}, {torch.get_num_threads()} threads, float32, PyTorch {torch.__version__}")
    draw(Path(output), layers(), networks(runs))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
