"""Measured time against firing rate: linear layers that skip zeros, then whole networks, beside compiled dense ones.

.venv/bin/python benchmarks/rate.py OUTPUT [RUN ...]

Writes a page of tables and a figure into the directory OUTPUT, named by the threads that PyTorch has. The layers have
the sizes of AVE's network and random inputs; a share p of them is not zero, as where neurons fire in S steps with a
rate of 1 - (1 - p)^(1/S). The networks of AVE's size have fresh weights that have seen random clips, and a threshold
that sets their firing rate; RUN are run directories, whose networks run on clips of their own test split. ONNX
Runtime's int8 is its dynamic quantisation. Medians of runs in turns.
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
from snn_cace.files import replacing, write_text
from snn_cace.model import build_network
from snn_cace.processes import flush_denormals
from snn_cace.provenance import processor
from snn_cace.runtime import feature_dtype
from snn_cace.training.checkpoints import load_checkpoint

matplotlib.use("agg")
Say = Callable[[str], None]
Times = dict[str, dict[str, float]]
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
SPIKING = ((2, 0.25), (2, 0.5), (2, 1.0), (2, 2.0), (1, 0.5), (1, 1.0), (4, 0.5), (4, 1.0))
"""Simulation steps of the visual projection, and thresholds."""
IN_ONNX = ("ann", "snn-guided, S = 2, threshold 0.5")
"""Fresh networks that ONNX Runtime runs: it takes as long at any rate, and for controls as for their SNN."""
WAYS = ("dense", "skips zeros", "skips zeros, int8", "compiled", "ONNX Runtime", "ONNX Runtime, int8")
CASES = {"1 segment": (1, 1), "1 clip": (1, 10), "8 clips": (8, 10)}
SEEN = 40
"""Batches that a fresh network has seen in training mode."""
SLOTS = ("visual_projection", "temporal_encoder", "feed_forward")


def milliseconds(runs: dict[str, Callable[[], Any]], repeats: int = 15) -> dict[str, float]:
    with torch.no_grad():
        rows = side_by_side(runs, CPU, repeats)
    return {name: 1000 * row["seconds"] for name, row in rows.items()}


def layers(say: Say) -> dict[str, list[float]]:
    """By layer, the time of skipping zeros over that of the dense product, at each of `SHARES`."""
    say(
        "\n## One layer\n\n| layer | weights | dense, ms | "
        + " | ".join(f"{share:.0%}" for share in SHARES)
        + " | crossover |"
    )
    say("| --- |" + " --- |" * (len(SHARES) + 3))
    found = {}
    for name, (rows, inputs, outputs) in LAYERS.items():
        layer = nn.Linear(inputs, outputs)
        skipping = {"float32": EventDriven(layer, always=True), "int8": EventDriven(layer, int8=True)}
        ratios: dict[str, list[float]] = {weights: [] for weights in skipping}
        dense = 0.0
        for share in SHARES:
            values = (torch.rand(rows, inputs) < share).float()

            def skip(mode: EventDriven, values: torch.Tensor = values, layer: nn.Linear = layer) -> torch.Tensor:
                mode.active = None  # each call lists anew what is not zero
                return mode.product(layer, values)

            runs: dict[str, Callable[[], Any]] = {"dense": partial(F.linear, values, layer.weight, layer.bias)}
            runs |= {weights: partial(skip, mode) for weights, mode in skipping.items()}
            times = milliseconds(runs, 51)
            dense = times["dense"]
            for weights in skipping:
                ratios[weights].append(times[weights] / dense)
        for weights, own in ratios.items():
            cells = " | ".join(f"{one:.2f}" for one in own)
            say(f"| {name} | {weights} | {dense:.3f} | {cells} | {crossover(own)} |")
            found[f"{name}, {weights}"] = own
    return found


def crossover(ratios: list[float]) -> str:
    """The share up to which skipping zeros is faster."""
    faster = [place for place, ratio in enumerate(ratios) if ratio < 1]
    if not faster or faster[-1] == len(ratios) - 1:
        return "always faster" if faster else "never faster"
    ends = slice(faster[-1], faster[-1] + 2)
    return f"{np.interp(1, ratios[ends], SHARES[ends]):.2f}"


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
        return {"ONNX Runtime": session(plain), "ONNX Runtime, int8": session(small)}


def measure(
    say: Say, name: str, network: Any, clips: tuple[torch.Tensor, ...], sessions: dict[str, Any], compile_it: bool
) -> dict[str, float]:
    """Milliseconds of every way to run a network on clips, said as a row."""
    folded = fold(network.eval())
    rate = firing_rate(folded, clips)
    runs: dict[str, Callable[[], Any]] = {"dense": lambda: folded(*clips)}
    if compile_it:
        compiled = torch.compile(folded)
        runs["compiled"] = lambda: compiled(*clips)

    def skip(mode: EventDriven) -> None:
        with mode:
            folded(*clips)

    given = dict(zip(("visual", "audio"), (x.numpy() for x in clips), strict=True))
    runs["skips zeros"] = partial(skip, EventDriven(folded))
    runs["skips zeros, int8"] = partial(skip, EventDriven(folded, int8=True))
    runs |= {way: partial(one.run, None, given) for way, one in sessions.items()}
    times = milliseconds(runs)
    cells = " | ".join(f"{times[way]:.2f}" if way in times else "-" for way in WAYS)
    say(f"| {name} | {'-' if rate is None else f'{rate:.3f}'} | {cells} |")
    return times | {"rate": rate or 0.0}


def ave_networks() -> dict[str, Any]:
    """Networks of AVE's size with fresh weights, which have seen some clips: norms and roundings know their values."""
    guided = ROOT / "configs/ave/snn-guided.yaml"
    experiments = {"ann": read_config(ROOT / "configs/ave/ann.yaml", Experiment)}
    for kind in ("rectified", "quantised"):
        changes = {f"model.slots.{slot}.block": kind for slot in SLOTS}
        experiments[f"snn-guided-{kind}"] = read_config(guided, Experiment, changes)
    for steps, threshold in SPIKING:
        changes = {"model.spiking.threshold": threshold, "model.slots.visual_projection.steps": steps}
        experiments[f"snn-guided, S = {steps}, threshold {threshold}"] = read_config(guided, Experiment, changes)
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


def networks(say: Say, runs: list[str]) -> dict[str, Times]:
    """By case and network, milliseconds of each way to run it, and its firing rate."""
    found: dict[str, Times] = {}
    fresh, sessions = ave_networks(), dict[tuple[str, int], dict[str, Any]]()
    for case, (clips, segments) in CASES.items():
        say(f"\n## {case}\n\n| network | firing rate | {' | '.join(WAYS)} |\n| --- |" + " --- |" * (1 + len(WAYS)))
        found[case] = {}
        for name, network in fresh.items():
            given = random_clips(clips, segments)
            if name in IN_ONNX and (name, segments) not in sessions:
                sessions[name, segments] = in_onnx(network, given[0])
            row, own = f"{name}, AVE's size, fresh", sessions.get((name, segments), {})
            found[case][name] = measure(say, row, network, given, own, name == "ann")
        for run in runs:
            trained = load_checkpoint(run)
            data = ClipData(trained.experiment.data, feature_dtype(trained.experiment.training.precision))
            batch = data.dataset("test").__getitems__(range(clips))
            given = batch["visual"][:, :segments].contiguous(), batch["audio"][:, :segments].contiguous()
            dense = all(slot.is_dense for slot in trained.experiment.model.slots.every().values())
            if dense and (run, segments) not in sessions:
                sessions[run, segments] = in_onnx(trained.network, given[0])
            name = f"{trained.experiment.name}, trained"
            own = sessions.get((run, segments), {})
            found[case][name] = measure(say, name, trained.network, given, own, dense)
    return found


def draw(path: Path, ratios: dict[str, list[float]], times: dict[str, Times]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    left, *others = figure.subplots(1, 3)
    size = LAYERS["guidance's value, 1 clip"]
    for number, name in enumerate(LAYERS):
        left.plot(SHARES, ratios[f"{name}, float32"], "osd^v"[number], linestyle="-", color=f"C{number}", label=name)
        left.plot(SHARES, ratios[f"{name}, int8"], linestyle="--", color=f"C{number}")
    left.plot(SHARES, bounds(*size), "k:", label="no less is possible (1 clip)")
    left.plot([], [], "k--", label="weights of eight bits")
    left.axhline(1, color="black", linewidth=0.8)
    left.set(
        xscale="log", yscale="log", xlabel="share of inputs that are not zero", ylabel="time, of the dense product's"
    )
    left.legend(fontsize=7)
    for axes, kind in zip(others, ("fresh, AVE's size", "trained"), strict=True):
        for number, (case, rows) in enumerate(times.items()):
            own = {name: row for name, row in rows.items() if name.endswith("trained") == (kind == "trained")}
            base = next((row["compiled"] for row in own.values() if "compiled" in row), None)
            if base is None:
                continue
            points = sorted((row["rate"], row["skips zeros"] / base) for row in own.values() if row["rate"])
            axes.plot(*zip(*points, strict=True), "osd"[number], color=f"C{number}", label=f"SNN, {case}")
            control = min(row["skips zeros"] for row in own.values() if not row["rate"] and "compiled" not in row)
            axes.axhline(
                control / base, color=f"C{number}", linestyle="--", linewidth=1, label=f"fastest control, {case}"
            )
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(title=kind, xlabel="firing rate", ylabel="time, of the compiled ANN's", ylim=(0, None))
        axes.legend(fontsize=7)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="svg")


def main(output: str, runs: list[str]) -> None:
    flush_denormals()
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    lines = list[str]()

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    say(f"# Time against firing rate, {threads} {'thread' if threads == 1 else 'threads'}\n")
    say(f"By `benchmarks/rate.py`. {processor()}, float32, PyTorch {torch.__version__}. Whole networks: milliseconds.")
    say("A layer: milliseconds of the dense product, then the time of skipping zeros over it, by the share of inputs")
    say("that are not zero. A single figure that leaves its row is noise.")
    say(f"\n![the same, drawn](measured-{threads}.svg)")
    ratios = layers(say)
    times = networks(say, runs)
    write_text(Path(output) / f"measured-{threads}.md", "\n".join(lines) + "\n")
    draw(Path(output) / f"measured-{threads}.svg", ratios, times)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
