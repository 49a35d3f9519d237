"""Temporal encoders and LIF layers alone, beside their peers."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import torch
from spikingjelly.activation_based import functional
from torch import nn

from neurons import BlockConfig, BrainCogEncoder, NodeConfig, SpikingLayer, SpikingLinear
from neurons.nodes import make_node
from snn_cace.analysis.stopwatch import Row, Run, side_by_side, timed
from snn_cace.benchmark.machine import SEGMENTS, at_precision, beside_products, matmul_flops
from snn_cace.config import Precision
from snn_cace.model.temporal import BiLSTM

NODE = NodeConfig(tau=2.0, threshold=0.5, surrogate="piecewise_quadratic", alpha=2.0)
LARGE = {"cpu": 1 << 24, "cuda": 1 << 27}
"""Neurons of a large layer."""
LIF_WORDS = 5
"""Numbers per neuron and segment that must move however many steps there are: the way there reads a current and writes
a rate, the backward pass reads a current and a gradient and writes a gradient.
"""


def forward_backward(module: nn.Module, values: torch.Tensor) -> Run:
    """One forward and backward pass of `[B, T, inputs]` in training mode."""
    module.train()
    values = values.detach().requires_grad_()

    def run() -> None:
        module.zero_grad()
        values.grad = None
        module(values).sum().backward()

    return run


class BothEncoders(nn.Module):
    """The sound's and the picture's temporal encoder at AVE's sizes."""

    def __init__(self, make: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.sound, self.picture = make(128, 256), make(512, 512)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.sound(values[..., :128]), self.picture(values)], dim=-1)


def temporal_encoders(
    device: torch.device, limits: dict[str, float], batch: int, steps: int = 15
) -> dict[str, dict[str, Any]]:
    """Temporal encoders, forward and backward: the dense one, ours, and the original's as `braincog`; the dense one and
    the original's also in float64, as they were trained.
    """
    block = BlockConfig(**vars(NODE), steps=steps)
    gate = NodeConfig(tau=2.0, threshold=0.5, surrogate="quadratic_gate", alpha=2.0)
    lstm = ("BiLSTM", lambda: BothEncoders(BiLSTM))
    ours = (
        f"spiking, S = {steps}",
        lambda: BothEncoders(lambda inputs, outputs: SpikingLinear(inputs, outputs, block, "bidirectional")),
    )
    original = (
        f"braincog, S = {steps}",
        lambda: BothEncoders(lambda inputs, outputs: BrainCogEncoder(inputs, outputs, gate, steps)),
    )
    values = torch.rand(batch, SEGMENTS, 512, device=device)
    runs, kinds = {}, {}
    chosen: dict[str, tuple[Precision, Any]] = {
        "float32": ("32", (lstm, ours, original)),
        "float64": ("64", (lstm, original)),
    }
    for kind, (precision, encoders) in chosen.items():
        dtype = getattr(torch, kind)
        for name, make in encoders:
            name = name if kind == "float32" else f"{name}, {kind}"
            run = forward_backward(make().to(device, dtype), values.to(dtype))
            runs[name], kinds[name] = at_precision(run, precision, device), kind
    found = side_by_side(runs, device)
    return {
        name: beside_products(row, matmul_flops(runs[name]), limits[f"matmul_flops_{kinds[name]}"])
        for name, row in found.items()
    }


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


class SnnTorchRate(nn.Module):
    """snnTorch's Leaky with the same dynamics: beta = 1 - 1 / tau, currents divided by tau, reset to zero at once."""

    def __init__(self) -> None:
        super().__init__()
        import snntorch

        self.node = snntorch.Leaky(
            beta=0.5, threshold=NODE.threshold, reset_mechanism="zero", reset_delay=False, init_hidden=False
        )

    def forward(self, current: torch.Tensor, steps: int) -> torch.Tensor:
        membrane = torch.zeros_like(current)
        spikes, into = [], current / NODE.tau
        for _ in range(steps):
            fired, membrane = self.node(into, membrane)
            spikes.append(fired)
        return torch.stack(spikes).mean(0)


class NorseRate(nn.Module):
    """Norse's box LIF with the same dynamics: dt / tau_mem = 1 / tau, no synaptic current."""

    def __init__(self) -> None:
        super().__init__()
        from norse.torch import LIFBoxCell, LIFBoxParameters

        self.node = LIFBoxCell(
            LIFBoxParameters(tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(NODE.threshold)), dt=0.001
        )

    def forward(self, current: torch.Tensor, steps: int) -> torch.Tensor:
        state, spikes = None, []
        for _ in range(steps):
            fired, state = self.node(current, state)
            spikes.append(fired)
        return torch.stack(spikes).mean(0)


PEERS: dict[str, Callable[[], nn.Module]] = {"snnTorch": SnnTorchRate, "Norse": NorseRate}


def lif_layers(
    device: torch.device,
    limits: dict[str, float],
    steps: Sequence[int],
    batch: int,
    compiled: bool = False,
    neurons: int = 512,
) -> dict[str, Any]:
    """A layer of LIF neurons on a constant current with a rate readout, forward and backward, ours and its peers';
    `equal`: whether the rates are ours exactly. Segments are rows here: every membrane starts from rest. `compiled`
    times SpikingJelly's under torch.compile too, which takes half a minute for each S.
    """
    generator = torch.Generator().manual_seed(0)
    current = torch.randn(batch, SEGMENTS, neurons, generator=generator).to(device)
    found: dict[str, Any] = {"neurons": current.numel(), "steps": {}}
    for number in steps:
        layers: dict[str, nn.Module] = {"fused (ours)": FusedRate(), "SpikingJelly": SpikingJellyRate()}
        if compiled:
            layers["SpikingJelly, compiled"] = SpikingJellyRate()
            layers["SpikingJelly, compiled"].compile()
        layers |= {name: make() for name, make in PEERS.items() if importlib.util.find_spec(name.lower())}
        layers = {name: layer.to(device) for name, layer in layers.items()}
        gc.collect()  # SpikingJelly lists all living nodes, and torch.compile fails where one dies meanwhile
        rows = side_by_side({name: rate_step(layer, current, number) for name, layer in layers.items()}, device)
        with torch.no_grad():
            ours = layers["fused (ours)"](current, number)
            for name, row in rows.items():
                row["equal"] = bool(torch.equal(layers[name](current, number), ours))
                row |= traffic(row, current, limits)
                row["times_ours"] = row["seconds"] / rows["fused (ours)"]["seconds"]
        found["steps"][str(number)] = rows
    found["missing"] = [name for name in PEERS if not importlib.util.find_spec(name.lower())]
    return found


def large_lif_layer(device: torch.device, limits: dict[str, float], steps: Sequence[int]) -> dict[str, Any]:
    """Our fused path alone on a layer too large for any cache and for the start of a kernel to matter: what it moves
    beside what a copy moves.
    """
    current = torch.randn(LARGE[device.type] // (SEGMENTS * 512), SEGMENTS, 512, device=device)
    layer = FusedRate().to(device)
    rows = {str(number): timed(rate_step(layer, current, number), device) for number in steps}
    return {
        "neurons": current.numel(),
        "steps": {number: row | traffic(row, current, limits) for number, row in rows.items()},
    }


def traffic(row: Row, current: torch.Tensor, limits: dict[str, float]) -> Row:
    """Bytes per second of what a layer of current `[B, T, N]` must move, and their share of a copy's."""
    rate = LIF_WORDS * current.nbytes / row["seconds"]
    return {"bytes_per_second": rate, "share_of_copy": rate / limits["copy_bytes_per_second"]}


def rate_step(layer: nn.Module, current: torch.Tensor, steps: int) -> Run:
    """Forward and backward of a rate of a constant current `[B, T, N]`."""
    leaf = current.detach().requires_grad_()
    weight = torch.ones_like(current)

    def run() -> None:
        leaf.grad = None
        layer(leaf, steps).backward(weight)

    return run
