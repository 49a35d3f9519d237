"""Operations, energy and spikes of any PyTorch network: `audit`.

Beside what `snn_cace.counting.operations` counts, an audit

- says of each layer of spiking neurons how much it fires, and which share of it is dead or saturated;
- compares the layers that fire, and those that read spikes, with their *twin*: the same layers on values of
  ceil(log2(T + 1)) bits, run once, where the SNN runs T simulation steps (Yan et al., arXiv 2409.08290).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from math import ceil, inf, log2
from typing import Any

import torch
from torch import nn

from neurons import SpikeLinear, SpikingLayer
from neurons.coding import Coding
from neurons.recording import LayerActivity, unhealthy_shares
from snn_cace.counting.costs import Count, ModuleCount, Operations, summed
from snn_cace.counting.energy import Prices, break_even_rate, energies_mj, energy, read_prices, sources
from snn_cace.counting.foreign import neuron_of, reset_states
from snn_cace.counting.operations import OperationCounter
from snn_cace.counting.provenance import flat, is_binary
from snn_cace.counting.rules import COMPUTED, Layout, is_product
from snn_cace.model.network import Network

VERSION = 1
"""Of what `Audit.as_json` writes."""


@dataclass
class Audit:
    """What an audit found, per clip.

    count: operations by each count, module by module. steps: simulation steps of the spiking layers, 1 of a network
    without. activity: of each layer that fires. twin: the modules that fire or read spikes, on values of few bits.
    connection_sparsity: share of weights that are zero, as NeuroBench defines it. clips: that ran. prices: of every
    energy model. notes: what was taken for spikes or may be mistaken.
    """

    count: Count
    steps: int
    activity: dict[str, LayerActivity]
    twin: list[ModuleCount]
    connection_sparsity: float
    parameters: int
    clips: int
    prices: Prices = field(repr=False, default_factory=read_prices)
    notes: list[str] = field(default_factory=list)

    @property
    def firing_rate(self) -> float | None:
        """Spikes per neuron per simulation step, over all layers; None of a network without."""
        firing = [module for module in self.count.modules if module.spikes is not None]
        updates = sum(module.static.neuron_updates for module in firing)
        return sum(module.spikes or 0.0 for module in firing) / updates if updates else None

    def energy_mj(self, count: str = "zero_skipping") -> dict[str, float]:
        """Millijoules per clip by every model, with reuse of weights and without."""
        return energies_mj(self.count.counted[count], self.prices)

    def spiking(self) -> list[ModuleCount]:
        """The modules that have a twin, as they are, counted event-driven."""
        named = {module.name for module in self.twin}
        return [module for module in self.count.counted["event_driven"] if module.name in named]

    def against_twin(self) -> dict[str, dict[str, float | None]]:
        """By model: `ratio`, the energy of what spikes over its twin's, and `break_even`, the firing rate at which both
        cost the same; None where even silence costs more, or no spike costs anything.
        """
        found: dict[str, dict[str, float | None]] = {}
        rate = self.firing_rate
        for model in self.prices if rate is not None else ():
            spiking, twin = energy(self.spiking(), model, self.prices), energy(self.twin, model, self.prices).total
            even = break_even_rate(spiking, twin, rate or 0.0)
            found[model] = {"ratio": spiking.total / twin, "break_even": None if even in (None, inf) else even}
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "clips": self.clips,
            "notes": self.notes,
            "parameters": self.parameters,
            "simulation_steps": self.steps,
            "firing_rate": self.firing_rate,
            "activation_sparsity": self.count.activation_sparsity,
            "connection_sparsity": self.connection_sparsity,
            "layers": {name: asdict(layer) for name, layer in self.activity.items()},
            "against_twin": self.against_twin(),
            "counts": {
                name: {
                    "operations": vars(summed(modules)),
                    "energy_mj": energies_mj(modules, self.prices),
                    "modules": [
                        {"name": m.name, "kind": m.kind, "parameters": m.parameters, **vars(m.total)}
                        for m in modules
                        if any(vars(m.total).values())
                    ],
                }
                for name, modules in self.count.counted.items()
            },
            "idle": self.count.idle,
            "prices": sources(self.prices),
        }


class Auditor(OperationCounter):
    """Counts a network of any library; see above."""

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        super().__init__(network, layout)
        self.twins: dict[bool, dict[str, Operations]] = {False: {}, True: {}}
        self.fired: dict[str, torch.Tensor] = {}
        self.updates: dict[tuple[str, str | None], int] = {}
        self.rows: set[int] = set()

    @property
    def steps(self) -> int:
        return max(1, max(self.updates.values(), default=0) // self.layout.clips)

    def ends(self, module: nn.Module, args: tuple, out: Any) -> None:
        super().ends(module, args, out)
        spikes, name = self.fired_by(module, out), self.names[module]
        if spikes is not None and not isinstance(module, Coding) and not self.whole:
            self.record_activity(name, module, spikes, self.product_of(args[0]) if args else None)
        if isinstance(module, SpikeLinear) and self.is_spikes(args[0]):
            reads = self.layout.reads(out.numel() // module.out_features, module.in_features * module.out_features)
            values = out.numel() * module.in_features / module.out_features
            self.add_twin(name, reads + Operations(macs=out.numel() * module.in_features, value_reads=values), True)

    def record_activity(self, name: str, module: nn.Module, spikes: torch.Tensor, read: str | None) -> None:
        """Spikes per neuron, and in how many updates; the simulation steps, where these stand first. A layer that all
        its steps run in one call of may run for several tensors; so may any layer, of the products it has `read`.
        """
        neuron = neuron_of(module)
        leading = spikes.ndim - 1 if neuron is None else min(neuron.leading(module), spikes.ndim)
        rows = spikes.flatten(0, leading - 1)
        self.fired[name] = self.fired.get(name, 0.0) + rows.sum(0, dtype=torch.float64).flatten()
        if neuron is not None and leading == 1:
            self.rows.add(len(rows))
        known, steps = self.updates.get((name, read), 0), len(rows) if neuron else len(spikes) * self.layout.clips
        self.updates[name, read] = max(known, steps) if neuron is None or leading > 1 else known + len(rows)
        ran = float(spikes.numel())
        self.add_twin(name, Operations(comparisons=3 * ran, value_reads=ran, value_writes=ran), False)
        if neuron is not None and leading > 1 and spikes.shape[1] == self.layout.clips:
            self.layout = replace(self.layout, steps=len(spikes))

    def doubts(self) -> list[str]:
        """What speaks for another order of axes: neurons that ran on a number of rows that clips do not make."""
        odd = [rows for rows in sorted(self.rows) if rows % self.layout.clips]
        return [
            f"neurons ran on {rows} rows at a time, which {self.layout.clips} clips do not make; where inputs are "
            "[time, clips, ...], say so: --time-first, or batch_dim=1"
            for rows in odd[:1]
        ]

    def count_computed(self, operation: Any, name: str, args: tuple, out: Any, tensors: list[torch.Tensor]) -> None:
        super().count_computed(operation, name, args, out, tensors)
        read = [rate for x in tensors if (rate := self.rate_of(x)) is not None]
        if is_product(operation) and read:
            values = COMPUTED[operation](replace(self.called(args, out), spikes=lambda x: False))
            self.add_twin(name, values.static, all(len(rate.steps) > 1 for rate in read))

    def idle(self) -> list[str]:
        """Those with parameters alone."""
        return [name for name in super().idle() if any(True for _ in self.network.get_submodule(name).parameters())]

    def add_twin(self, name: str, operations: Operations, once: bool) -> None:
        """once: whether it ran once, not at every simulation step."""
        self.twins[once][name] = self.twins[once].get(name, Operations()) + operations

    def twin(self) -> list[ModuleCount]:
        """The modules that fire or read spikes, on values of few bits and run once, per clip."""
        bits, found = max(1, ceil(log2(self.steps + 1))), []
        for name in dict.fromkeys([*self.twins[False], *self.twins[True]]):
            repeated, once = (self.twins[kind].get(name, Operations()) for kind in (False, True))
            whole = (repeated * (1 / self.steps) + once) * (1 / self.layout.clips)
            narrow = replace(whole, macs=0.0, narrow_macs=whole.macs)
            count = self.counts[name]
            of_same_size = replace(count, state=0.0, spikes=None, zeros=0.0, elements=0.0)
            found.append(replace(of_same_size, bits=bits, static=narrow, event_driven=Operations()))
        return found

    def activity(self) -> dict[str, LayerActivity]:
        found = {}
        for name, fired in self.fired.items():
            rates = fired * len(fired) / self.costs["conservative"][name].static.neuron_updates
            found[name] = LayerActivity(float(rates.mean()), *unhealthy_shares(rates, 1))
        return found


def audit(network: nn.Module, *inputs: Any, batch_dim: int = 0, prices: Prices | None = None) -> Audit:
    """Operations, energy by every model, and firing of any network, for one forward pass in evaluation mode.

    Neurons of SpikingJelly, snnTorch, Norse and sinabs start from rest and are put to rest again, those of `network`
    itself too. Else it is copied and left as it is.

    Shape: the first input `[clips, ...]`, or `[time, clips, ...]` with `batch_dim=1`; `[clips, segments, ...]` for
    networks of this package.

    Raises:
        UncountedOperationError: an operation without a rule, naming it and the module that ran it.
    """
    reset_states(network)
    first = next(x for x in flat(inputs) if isinstance(x, torch.Tensor))
    ours = any(isinstance(module, SpikingLayer) for module in network.modules()) or isinstance(network, Network)
    segments = first.shape[1] if ours and first.ndim > 2 else 1
    counter = Auditor(network, Layout(first.shape[batch_dim], segments, len(first) if batch_dim else 1))
    events = [x for x in flat(inputs) if isinstance(x, torch.Tensor) and is_binary(x)]
    counter.count_run(*inputs)
    activity, twin, clips = counter.activity(), counter.twin(), counter.layout.clips
    weights = [p for module in network.modules() for p in module.parameters(recurse=False) if p.ndim > 1]
    zeros = sum(p.numel() - int(p.count_nonzero()) for p in weights)
    return Audit(
        counter.count(),
        counter.steps,
        activity,
        twin,
        zeros / max(1, sum(p.numel() for p in weights)),
        sum(p.numel() for p in network.parameters()),
        clips,
        prices or read_prices(),
        [*([EVENTS] if events else []), *counter.doubts()],
    )


EVENTS = "inputs of 0 and 1 alone are counted as spikes"
