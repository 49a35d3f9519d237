"""Time of training steps and inference of a comparison's variants, and of our LIF layer beside other libraries'.

Every timing warms up, repeats, and reports the median with quartiles; CUDA is synchronised. What is compared takes
turns. `cores` is the share of the process's cores that a run really had: on a shared machine a figure with less than
its threads is noise.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based import functional
from torch import nn

from neurons import LIF, SpikingLayer, make_node
from snn_cace.analysis.stopwatch import Row, Run, side_by_side
from snn_cace.config import Experiment, Precision
from snn_cace.data.batches import Batch, ClipData
from snn_cace.model import Network, build_network
from snn_cace.processes import flush_denormals, start_worker, workers
from snn_cace.report.conclusions import markdown_table
from snn_cace.runtime import feature_dtype, peak_memory_mb, pick_device, use_tensor_cores
from snn_cace.training.module import EventLocaliser

NODE = LIF(tau=2.0, threshold=0.5, surrogate="piecewise_quadratic", alpha=2.0)
LIF_SHAPE = (64, 10, 512)
"""Clips, segments and neurons of the LIF layers."""
FEW_STEPS = 3


def benchmark(experiments: Sequence[Experiment], batch: int, steps: Sequence[int]) -> dict[str, Any]:
    """Training steps of `batch` clips, inference of one clip and of a batch, ratios against `experiments[0]`; LIF
    layers at each number of simulation `steps`.
    """
    flush_denormals()
    device = pick_device(experiments[0].training.device)
    training = side_by_side({e.name: step_of(e, batch, device) for e in experiments}, device)
    for experiment in experiments:
        arguments = (experiment, batch, device, torch.get_num_threads())
        with ProcessPoolExecutor(1, workers(), start_worker) as pool:  # nothing else has used memory there
            training[experiment.name]["peak_memory_mb"] = pool.submit(peak_memory, *arguments).result()
    networks = {e.name: network_of(e, device) for e in experiments}
    result = {"batch": batch, "threads": torch.get_num_threads(), "training": compared(training, batch)}
    for name, clips in (("latency", 1), ("throughput", batch)):
        runs = {e.name: partial(infer, networks[e.name], clips_of(e, clips, device), e) for e in experiments}
        result[name] = compared(side_by_side(runs, device), clips)
    return result | {"lif": {str(number): lif_layers(number, device) for number in steps}}


def compared(rows: dict[str, Row], clips: int) -> dict[str, Row]:
    """Rows with clips per second, and how many times as long as the first each took."""
    first = next(iter(rows.values()))["seconds"]
    for row in rows.values():
        row |= {"samples_per_second": clips / row["seconds"], "times_first": row["seconds"] / first}
    return rows


def clips_of(experiment: Experiment, count: int, device: torch.device) -> Batch:
    """The first clips of the training split, again from its beginning where they do not suffice."""
    data = ClipData(experiment.data, feature_dtype(experiment.training.precision))
    clips = data.dataset("train")
    rows = [row % len(clips) for row in range(count)]
    return {name: values.to(device) for name, values in clips.__getitems__(rows).items()}


def network_of(experiment: Experiment, device: torch.device) -> Network:
    torch.manual_seed(0)
    dtype = feature_dtype(experiment.training.precision)
    return build_network(experiment, ClipData(experiment.data, dtype).shape).to(device, dtype).eval()


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    use_tensor_cores(precision, device)
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")


def infer(network: Network, batch: Batch, experiment: Experiment) -> None:
    with torch.no_grad(), autocast(experiment.training.precision, batch["visual"].device):
        network(batch["visual"], batch["audio"])


class TrainingStep:
    """One step as training takes it once the contrast is on, without Lightning around it: the module's own losses,
    backward pass, clipping and optimiser, every option of `experiment.training` included.
    """

    def __init__(self, experiment: Experiment, device: torch.device) -> None:
        torch.manual_seed(0)
        self.training, self.device, self.contrast = experiment.training, device, experiment.model.contrast.enabled
        dtype = feature_dtype(self.training.precision)
        self.module = EventLocaliser(experiment, ClipData(experiment.data, dtype).shape).to(device, dtype).train()
        self.module.network.enhance = self.contrast
        self.optimiser: torch.optim.Optimizer = self.module.configure_optimizers()["optimizer"]

    def __call__(self, batch: Batch) -> None:
        with autocast(self.training.precision, self.device):
            loss, _ = self.module.losses(batch, contrastive_on=self.contrast)
        self.optimiser.zero_grad()
        loss.backward()
        if self.training.gradient_clip:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.training.gradient_clip)
        self.optimiser.step()


def step_of(experiment: Experiment, batch: int, device: torch.device) -> Run:
    """A training step on one batch, over and over."""
    return partial(TrainingStep(experiment, device), clips_of(experiment, batch, device))


def peak_memory(experiment: Experiment, batch: int, device: torch.device, threads: int) -> float:
    """MiB that a few training steps need, PyTorch included; for a process of its own."""
    torch.set_num_threads(threads)
    step = step_of(experiment, batch, device)
    for _ in range(FEW_STEPS):
        step()
    return peak_memory_mb(device)


class FusedRate(nn.Module):
    """Ours, by the fused path."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = SpikingLayer(NODE)

    def forward(self, current: torch.Tensor, steps: int) -> torch.Tensor:
        return self.layer.rate(current.unsqueeze(0), num_steps=steps)


class SpikingJellyRate(nn.Module):
    """SpikingJelly's own multi-step LIF, whose kernel it picks by device."""

    def __init__(self) -> None:
        super().__init__()
        self.node = make_node(NODE)

    def forward(self, current: torch.Tensor, steps: int) -> torch.Tensor:
        functional.reset_net(self.node)
        rate = self.node(current.expand(steps, *current.shape)).mean(0)
        functional.reset_net(self.node)
        return rate


class SteppedRate(nn.Module):
    """A cell of another library, simulation step by simulation step: current and state to spikes and the next state."""

    def __init__(self, cell: nn.Module, first_state: Callable[[torch.Tensor], Any], scale: float = 1.0) -> None:
        super().__init__()
        self.cell, self.first_state, self.scale = cell, first_state, scale

    def forward(self, current: torch.Tensor, steps: int) -> torch.Tensor:
        state, spikes = self.first_state(current), []
        scaled = current if self.scale == 1 else current * self.scale
        for _ in range(steps):
            fired, state = self.cell(scaled, state)
            spikes.append(fired)
        return torch.stack(spikes).mean(0)


def snntorch_rate() -> SteppedRate:
    """snnTorch's Leaky with the same dynamics: beta = 1 - 1 / tau, currents divided by tau, reset to zero at once."""
    import snntorch

    cell = snntorch.Leaky(
        beta=0.5, threshold=NODE.threshold, reset_mechanism="zero", reset_delay=False, init_hidden=False
    )
    return SteppedRate(cell, torch.zeros_like, 1 / NODE.tau)


def norse_rate() -> SteppedRate:
    """Norse's box LIF with the same dynamics: dt / tau_mem = 1 / tau, no synaptic current."""
    from norse.torch import LIFBoxCell, LIFBoxParameters

    parameters = LIFBoxParameters(tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(NODE.threshold))
    return SteppedRate(LIFBoxCell(parameters, dt=0.001), lambda current: None)


LAYERS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "fused (ours)": ("neurons", FusedRate),
    "SpikingJelly": ("spikingjelly", SpikingJellyRate),
    "snnTorch": ("snntorch", snntorch_rate),
    "Norse": ("norse", norse_rate),
}
"""The package of each, and what makes it."""


def lif_layers(steps: int, device: torch.device) -> dict[str, Row]:
    """LIF neurons on a constant current with a rate readout, forward and backward, by each package that is installed;
    `equal`: whether the rates are ours exactly. Segments are rows here: every membrane starts from rest.
    """
    current = torch.randn(LIF_SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
    layers = {name: make().to(device) for name, (package, make) in LAYERS.items() if importlib.util.find_spec(package)}
    rows = side_by_side({name: rate_step(layer, current, steps) for name, layer in layers.items()}, device)
    ours = rows["fused (ours)"]["seconds"]
    with torch.no_grad():
        rates = {name: layer(current, steps) for name, layer in layers.items()}
    for name, row in rows.items():
        row |= {"equal": bool(torch.equal(rates[name], rates["fused (ours)"])), "times_ours": row["seconds"] / ours}
    return rows


def rate_step(layer: nn.Module, current: torch.Tensor, steps: int) -> Run:
    """Forward and backward of a rate of a constant current `[B, T, N]`."""
    leaf = current.detach().requires_grad_()
    weight = torch.ones_like(current)

    def run() -> None:
        leaf.grad = None
        layer(leaf, steps).backward(weight)

    return run


def as_markdown(result: dict[str, Any]) -> str:
    """The JSON's tables."""
    networks = [
        {
            "variant": name,
            "training step, ms": milliseconds(row),
            "against the first": f"{row['times_first']:.2f}",
            "clips/s": f"{row['samples_per_second']:.1f}",
            "cores": f"{row['cores']:.2f}",
            "peak MB": f"{row['peak_memory_mb']:.0f}",
            "inference of one clip, ms": milliseconds(result["latency"][name]),
            f"of {result['batch']}, ms": milliseconds(result["throughput"][name]),
        }
        for name, row in result["training"].items()
    ]
    lif = [
        {
            "S": steps,
            "LIF layer": name,
            "forward and backward, ms": milliseconds(row),
            "times ours": f"{row['times_ours']:.1f}",
            "rates equal ours": "yes" if row["equal"] else "no",
        }
        for steps, rows in result["lif"].items()
        for name, row in rows.items()
    ]
    return "\n".join([*markdown_table(networks), "", *markdown_table(lif)]) + "\n"


def milliseconds(row: Row) -> str:
    return f"{1000 * row['seconds']:.2f} ({1000 * row['quartile_1']:.2f} to {1000 * row['quartile_3']:.2f})"
