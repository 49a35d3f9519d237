"""Operations, energy and activity of a network on real clips, counted while it runs.

SpikingJelly's `op_counter` counts what it sees dispatched: a multiply-accumulate (MAC) per weight use, or an accumulate
(AC) where one operand is all zeros and ones; element-wise additions are ACs too. What it cannot see is added here by
rule:

- `nn.LSTM` runs as one fused kernel. Per segment and direction: 4 h (i + h) MACs for i inputs and h outputs.
- Attention runs decomposed while it is counted, never fused.
- A spiking layer runs as one kernel. Per neuron and simulation step: 1 MAC (the leak) and 2 ACs (charge).
- `SpikeLinear` runs once on firing rates; event-driven hardware adds a column of weights per spike: ACs and SynOps are
  spikes times outputs.

Energy is arithmetic alone, at SpikingJelly's fp32 figures (4.6 pJ a MAC, 0.9 pJ an AC; Horowitz, ISSCC 2014, 45 nm).
It leaves out memory traffic, leakage and any analogue part, so it is a lower bound and flatters spikes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from spikingjelly.activation_based.op_counter import (
    ACCounter,
    DispatchCounterMode,
    MACCounter,
    ModuleCounter,
    ModuleCounterMode,
    SimpleEnergyCostConfig,
    SynOpCounter,
)
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from neurons import SpikeLinear, SpikingLayer
from snn_cace.model import CaceNet

MILLIJOULE_PER_PICOJOULE = 1e-9


@dataclass
class Operations:
    """Operations per clip: multiply-accumulates, accumulates, and the accumulates that spikes alone cause (SynOps)."""

    macs: float = 0.0
    acs: float = 0.0
    synops: float = 0.0

    @property
    def energy_mj(self) -> dict[str, float]:
        """Arithmetic energy per clip in mJ, by kind of operation."""
        cost = SimpleEnergyCostConfig.fp32()
        mac = self.macs * cost.e_mac_pj * MILLIJOULE_PER_PICOJOULE
        ac = self.acs * cost.e_ac_pj * MILLIJOULE_PER_PICOJOULE
        return {"mac": mac, "ac": ac, "arithmetic": mac + ac}


@dataclass
class Count:
    """Operations of the whole network, and of each slot's blocks, per clip."""

    total: Operations
    slots: dict[str, Operations]
    activation_sparsity: float
    firing_rates: dict[str, float] = field(default_factory=dict)


class ByRule(ModuleCounter):
    """Counts whole modules by a rule `(module, args, kwargs, output) -> operations`."""

    def __init__(self, rules: dict[type[nn.Module], Any]) -> None:
        super().__init__()
        self.rules = {("forward", module): rule for module, rule in rules.items()}


def lstm_macs(module: nn.LSTM, args: tuple, kwargs: dict, out: Any) -> int:
    batch, segments, inputs = args[0].shape
    directions = 2 if module.bidirectional else 1
    return batch * segments * directions * 4 * module.hidden_size * (inputs + module.hidden_size)


def readout_synops(module: SpikeLinear, args: tuple, kwargs: dict, out: Any) -> int:
    return int(args[0].count_nonzero()) * module.out_features


def zeros_in_spikes(module: SpikingLayer, args: tuple, kwargs: dict, out: torch.Tensor) -> int:
    return out.numel() - int(out.count_nonzero())


class ActivationCounter(ACCounter):
    """Counts what rectifiers hand on: their elements, or the zeros among them."""

    def __init__(self, zeros: bool) -> None:
        super().__init__()
        rule = (lambda args, kwargs, out: int((out == 0).sum())) if zeros else lambda args, kwargs, out: out.numel()
        self.rules = {torch.ops.aten.relu.default: rule}


def count_operations(network: CaceNet, visual: torch.Tensor, audio: torch.Tensor) -> Count:
    """Operations per clip, activation sparsity and firing rates of a network on real clips, in evaluation mode.

    Shape: visual `[B, T, H, W, Cv]`, audio `[B, T, Ca]`.
    """
    network = network.eval().to(visual.dtype)
    fused: list[type[nn.Module]] = [nn.LSTM, SpikeLinear, SpikingLayer]
    macs, acs, synops = (counter(extra_ignore_modules=fused) for counter in (MACCounter, ACCounter, SynOpCounter))
    zeros, elements = ActivationCounter(zeros=True), ActivationCounter(zeros=False)
    module_macs = ByRule({nn.LSTM: lstm_macs, SpikingLayer: lambda module, args, kwargs, out: out.numel()})
    module_acs = ByRule({SpikeLinear: readout_synops, SpikingLayer: lambda module, args, kwargs, out: 2 * out.numel()})
    module_synops = ByRule({SpikeLinear: readout_synops})
    spike_zeros = ByRule({SpikingLayer: zeros_in_spikes})
    spike_elements = ByRule({SpikingLayer: lambda module, args, kwargs, out: out.numel()})
    by_rule = [module_macs, module_acs, module_synops, spike_zeros, spike_elements]
    with (
        torch.no_grad(),
        decomposed_attention(),
        ModuleCounterMode(by_rule, model=network),
        DispatchCounterMode([macs, acs, synops, zeros, elements]),
    ):
        network(visual, audio)

    clips = len(visual)

    def within(scope: str) -> Operations:
        pairs = ((macs, module_macs), (acs, module_acs), (synops, module_synops))
        return Operations(*(sum(scope_total(counter, scope) for counter in pair) / clips for pair in pairs))

    total_elements = scope_total(elements) + scope_total(spike_elements)
    return Count(
        total=within("Global"),
        slots={slot: summed(within(f"CaceNet.{name}") for name in names) for slot, names in network.slots().items()},
        activation_sparsity=(scope_total(zeros) + scope_total(spike_zeros)) / max(1, total_elements),
        firing_rates={
            name: 1 - scope_total(spike_zeros, f"CaceNet.{name}") / scope_total(spike_elements, f"CaceNet.{name}")
            for name, module in network.named_modules()
            if isinstance(module, SpikingLayer)
        },
    )


def scope_total(counter: Any, scope: str = "Global") -> int:
    return sum(counter.get_counts().get(scope, {}).values())


def summed(parts: Iterator[Operations]) -> Operations:
    total = Operations()
    for part in parts:
        total = Operations(total.macs + part.macs, total.acs + part.acs, total.synops + part.synops)
    return total


@contextmanager
def decomposed_attention() -> Iterator[None]:
    """Attention as matrix products and a softmax, which a counter can see, instead of fused kernels."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
