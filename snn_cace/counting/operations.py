"""Operations, memory traffic and activity of a network on real clips, module by module, counted while it runs.

Every ATen operation that runs must have a rule in `snn_cace.counting.rules`, or the count fails and names the module
that ran it: nothing is left out in silence. For that, attention and LSTM run decomposed while they are counted. Spiking
layers and readouts are counted as a whole, by what they stand for on event-driven hardware.

What is made of spikes is known by where it comes from (`snn_cace.counting.provenance`), never by its values: an analog
tensor of zeros costs MACs like any other. Two counts come of one pass. Conservative: a value that a readout has left is
analog; only a block's own `SpikeLinear` consumes spikes behind its readout. Event-driven: so does every linear layer
that reads a rate and nothing else. `Count.consumers` are the modules in which the two differ.

Where this differs from SpikingJelly's `op_counter` and from NeuroBench: docs/analysis.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import _disable_current_modes

from neurons import LookBack, SpikeLinear, SpikingLayer, eager
from snn_cace.counting.provenance import VIEW_OPS, SpikeTracker, flat, spike_count, storage_of
from snn_cace.counting.rules import (
    COMPUTED,
    FACTORY_OPS,
    MODULE_RULES,
    Call,
    Cost,
    Operations,
    UncountedOperationError,
    rate_product,
)

COUNTS = ("event_driven", "conservative")
"""The two counts, see above."""


@dataclass
class ModuleCount:
    """One module's own operations per clip, without its children's.

    name: in the network. kind: its class. parameters: numbers that it holds itself. weights: numbers that its
    operations read, whoever holds them. state: words of membrane or LSTM state that it keeps for one clip. buffer:
    words of the largest tensor that it takes or outputs, for one clip and, of spiking layers, one simulation step.
    static: operations that do not depend on how much the network fires. event_driven: those that spikes cause. spikes:
    fired, where it is a spiking layer. zeros, elements: what rectifiers and spiking layers output.
    """

    name: str
    kind: str
    parameters: int = 0
    weights: int = 0
    state: float = 0.0
    buffer: float = 0.0
    static: Operations = field(default_factory=Operations)
    event_driven: Operations = field(default_factory=Operations)
    spikes: float | None = None
    zeros: float = 0.0
    elements: float = 0.0

    @property
    def total(self) -> Operations:
        return self.static + self.event_driven

    @property
    def firing_rate(self) -> float | None:
        """Spikes per neuron per simulation step."""
        return None if self.spikes is None else self.spikes / self.static.neuron_updates


@dataclass
class Count:
    """Operations per clip, module by module, counted conservatively.

    consumers: what the modules that read rates cost event-driven. sources: by spiking layer or coding and by module,
    what its spikes cause there, event-driven. idle: leaf modules that never ran, but for dropout, which does nothing in
    evaluation.
    """

    modules: list[ModuleCount]
    consumers: dict[str, Cost] = field(default_factory=dict)
    sources: dict[str, dict[str, Operations]] = field(default_factory=dict)
    idle: list[str] = field(default_factory=list)

    @property
    def total(self) -> Operations:
        return summed(self.modules)

    @property
    def activation_sparsity(self) -> float:
        """The share of zeros in what rectifiers and spiking layers output, as NeuroBench defines it."""
        return sum(m.zeros for m in self.modules) / max(1.0, sum(m.elements for m in self.modules))


def event_driven(modules: Iterable[ModuleCount], consumers: dict[str, Cost]) -> list[ModuleCount]:
    """Conservatively counted modules as they are counted event-driven."""
    return [
        dataclasses.replace(module, static=cost.static, event_driven=cost.event_driven)
        if (cost := consumers.get(module.name))
        else module
        for module in modules
    ]


def summed(modules: Iterable[ModuleCount]) -> Operations:
    return sum((module.total for module in modules), Operations())


class OperationCounter(SpikeTracker):
    """Counts what runs inside it, module by module; see `count_operations`.

    Raises:
        UncountedOperationError: an operation without a rule, naming it and the module that ran it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.counts = {name: ModuleCount(name, type(module).__name__) for name, module in network.named_modules()}
        for name, module in network.named_modules():
            self.counts[name].parameters = sum(p.numel() for p in module.parameters(recurse=False))
        self.read: dict[str, set[int]] = {name: set() for name in self.counts}
        self.differences: dict[str, Cost] = {}
        self.sources: dict[str, dict[str, Operations]] = {}
        self.ran: set[str] = set()
        self.whole = 0

    def starts(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        super().starts(module, args, kwargs)
        self.ran.add(self.running[-1])
        self.whole += rule_for(module) is not None

    def ends(self, module: nn.Module, args: tuple, out: Any) -> None:
        super().ends(module, args, out)
        rule, name = rule_for(module), self.names[module]
        if rule is None:
            return
        self.whole -= 1
        if self.whole or out is None:
            return
        values = out[0] if isinstance(out, tuple) else out
        with _disable_current_modes():
            cost = rule(module, args[0], out, self.is_spikes(args[0]))
            self.record(name, cost, args[0], values, *module.parameters())
            if isinstance(module, SpikingLayer):
                self.record_firing(self.counts[name], values)
                self.attribute(name, name, cost)
            elif self.is_spikes(args[0]):
                self.attribute(self.source(args[0]), name, cost)
            if isinstance(module, SpikeLinear) and len(module.readout.weighted(args[0])[1]) > 1:
                self.differs(name, Cost(Operations(partial_sums=float(values.numel() * len(args[0])))))
            if isinstance(module, nn.LSTM):
                self.counts[name].state = values.shape[0 if module.batch_first else 1] * lstm_state(module)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operation = func.overloadpacket
        if not self.whole:
            self.count_operation(func, operation, args, out)
        self.follow(operation, func, args, kwargs or {}, out)
        return out

    def count_operation(self, func: Any, operation: Any, args: tuple, out: Any) -> None:
        tensors = [x for x in flat(args) if isinstance(x, torch.Tensor)]
        running = self.counts[self.running[-1]]
        if operation in COMPUTED:
            cost = COMPUTED[operation](Call(args, out, self.is_spikes, self.is_weight))
            self.record(running.name, cost, *tensors, *flat((out,)))
            consumed = self.consumed(operation, args)
            if consumed is not None:
                rate, weight, bias = consumed
                spent = cost
                if not self.is_spikes(args[0 if bias is None else 1]):
                    spent = rate_product(rate, weight.shape[1], 0.0 if bias is None else float(out.numel()))
                    self.differs(running.name, spent + cost * -1)
                self.attribute(rate.source, running.name, spent)
            elif any(self.is_spikes(x) for x in tensors):
                self.attribute(next(self.source(x) for x in tensors if self.is_spikes(x)), running.name, cost)
            if operation in (torch.ops.aten.relu, torch.ops.aten.relu_):
                running.zeros += out.numel() - int(out.count_nonzero())
                running.elements += out.numel()
        elif operation not in VIEW_OPS and operation not in FACTORY_OPS:
            raise UncountedOperationError(
                f"{running.name or 'the network'} ({running.kind}) runs {func}, which no counting rule knows; add one "
                "to snn_cace/counting/rules.py"
            )
        self.ran |= {self.owners[storage_of(x)] for x in tensors if self.is_weight(x)}

    def record(self, name: str, cost: Cost, *tensors: Any) -> None:
        module = self.counts[name]
        module.static = module.static + cost.static
        module.event_driven = module.event_driven + cost.event_driven
        self.read[name].update(storage_of(x) for x in tensors if self.is_weight(x))
        module.weights = sum(self.sizes[storage] for storage in self.read[name])
        values = [x for x in tensors if isinstance(x, torch.Tensor) and not self.is_weight(x)]
        module.buffer = max([module.buffer, *(x.numel() / (len(x) if self.is_spikes(x) else 1) for x in values)])

    def differs(self, name: str, difference: Cost) -> None:
        """The event-driven count of a module less the conservative one."""
        self.differences[name] = self.differences.get(name, Cost()) + difference

    def attribute(self, source: str, name: str, cost: Cost) -> None:
        """What the spikes of `source` cause in the module `name`."""
        caused = self.sources.setdefault(source, {})
        caused[name] = caused.get(name, Operations()) + cost.event_driven

    def record_firing(self, module: ModuleCount, spikes: torch.Tensor) -> None:
        """spikes `[S, B, T, ..., N]`, or without segments."""
        module.spikes = (module.spikes or 0.0) + spike_count(spikes)
        module.zeros += spikes.numel() - int(spikes.count_nonzero())
        module.elements += spikes.numel()
        updates = module.static.neuron_updates
        states = module.static.state_reads / updates if updates else 0.0
        segments = spikes.shape[2] if spikes.ndim > 3 else 1
        module.state = states * spikes[0].numel() / segments
        module.buffer = spikes[0].numel()

    def count(self, clips: int) -> Count:
        """What was counted, per clip."""
        per_clip = 1 / clips
        for module in self.counts.values():
            module.static, module.event_driven = module.static * per_clip, module.event_driven * per_clip
            module.state, module.buffer = module.state / clips, module.buffer / clips
            module.zeros, module.elements = module.zeros / clips, module.elements / clips
            module.spikes = None if module.spikes is None else module.spikes / clips
        consumers = {
            name: Cost(self.counts[name].static, self.counts[name].event_driven) + difference * per_clip
            for name, difference in self.differences.items()
        }
        sources = {s: {name: spent * per_clip for name, spent in caused.items()} for s, caused in self.sources.items()}
        return Count(list(self.counts.values()), consumers, sources, self.idle())

    def idle(self) -> list[str]:
        modules = dict(self.network.named_modules())
        within_whole = [f"{name}." for name, module in modules.items() if rule_for(module) is not None]
        return [
            name
            for name, module in modules.items()
            if not any(module.children())
            and name not in self.ran
            and not isinstance(module, nn.Dropout | LookBack)
            and not name.startswith(tuple(within_whole))
        ]


def lstm_state(module: nn.LSTM) -> float:
    """Words of h and c for one clip."""
    return 2.0 * module.hidden_size * module.num_layers * (2 if module.bidirectional else 1)


def rule_for(module: nn.Module) -> Any:
    """The rule of a module that is counted as a whole; None for all others."""
    return next((rule for kind, rule in MODULE_RULES.items() if isinstance(module, kind)), None)


def count_operations(network: nn.Module, *inputs: torch.Tensor) -> Count:
    """Operations per clip, module by module, of one forward pass in evaluation mode; spiking layers start from rest, as
    they always do.

    Shape: inputs `[B, ...]`, B clips, for a `Network` visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]`.

    Raises:
        ValueError: the inputs are not on the CPU, where attention runs decomposed.
        UncountedOperationError: an operation without a rule, naming it and the module that ran it.
    """
    counter = OperationCounter(network)
    run_within(counter, network, *inputs)
    return counter.count(len(inputs[0]))


def run_within(tracker: SpikeTracker, network: nn.Module, *inputs: torch.Tensor) -> Any:
    """What `network` outputs in evaluation mode while `tracker` watches every operation.

    Raises:
        ValueError: the inputs are not on the CPU, where attention runs decomposed.
    """
    if any(x.device.type != "cpu" for x in inputs):
        raise ValueError(f"operations are counted on the CPU, not on {inputs[0].device}: move network and clips there")
    training = network.training
    network.eval().to(inputs[0].dtype)
    try:
        # Under autocast a layer reads copies of its weights, which nobody would know for weights.
        with torch.no_grad(), torch.autocast("cpu", enabled=False), eager(), decomposed(), tracker:
            return network(*inputs)
    finally:
        network.train(training)


@contextmanager
def decomposed() -> Iterator[None]:
    """Attention as matrix products and element-wise operations, which a counter can see."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
