"""Operations, memory traffic and activity of a network on real clips, module by module, counted while it runs.

Every ATen operation that runs must have a rule in `snn_cace.analysis.rules`, or the count fails and names the module
that ran it: nothing is left out in silence. For that, attention and LSTM run decomposed while they are counted. Spiking
layers and readouts are counted as a whole, by what they stand for on event-driven hardware.

What is made of spikes is known by where it comes from, never by its values: an analog tensor of zeros costs MACs like
any other, and spikes that a copy or a view outputs stay spikes. A value that a readout has left is analog again; only
`SpikeLinear` consumes spikes behind its readout.

Where this differs from SpikingJelly's `op_counter` and from NeuroBench: docs/analysis.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from neurons import SpikingLayer, eager
from snn_cace.analysis.rules import (
    COMPUTED,
    FACTORY_OPS,
    MODULE_RULES,
    SPIKE_SOURCES,
    VIEW_OPS,
    Call,
    Cost,
    Operations,
    spike_count,
)

NETWORK = ""
"""The name of the network itself in a count: what its own `forward` runs."""


class UncountedOperationError(LookupError):
    """An operation ran that no rule knows."""


@dataclass
class ModuleCount:
    """One module's own operations per clip, without its children's.

    name: in the network. kind: its class. parameters: numbers that it holds itself. weights: numbers that its
    operations read, whoever holds them. state: words of membrane or LSTM state that it keeps for one clip. buffer:
    words of the largest tensor that it takes or outputs, for one clip and, of spiking layers, one simulation step.
    fixed: operations that do not depend on how much the network fires. driven: those that spikes cause. spikes: fired,
    where it is a spiking layer. zeros, elements: what rectifiers and spiking layers output.
    """

    name: str
    kind: str
    parameters: int = 0
    weights: int = 0
    state: float = 0.0
    buffer: float = 0.0
    fixed: Operations = field(default_factory=Operations)
    driven: Operations = field(default_factory=Operations)
    spikes: float | None = None
    zeros: float = 0.0
    elements: float = 0.0

    @property
    def total(self) -> Operations:
        return self.fixed + self.driven

    @property
    def firing_rate(self) -> float | None:
        """Spikes per neuron per simulation step."""
        return None if self.spikes is None else self.spikes / self.fixed.neuron_updates


@dataclass
class Count:
    """Operations per clip, module by module."""

    modules: list[ModuleCount]
    idle: list[str] = field(default_factory=list)
    """Leaf modules that never ran, but for dropout, which does nothing in evaluation."""

    @property
    def total(self) -> Operations:
        return summed(self.modules)

    @property
    def activation_sparsity(self) -> float:
        """The share of zeros in what rectifiers and spiking layers output, as NeuroBench defines it."""
        return sum(m.zeros for m in self.modules) / max(1.0, sum(m.elements for m in self.modules))


def summed(modules: Iterable[ModuleCount]) -> Operations:
    return sum((module.total for module in modules), Operations())


class OperationCounter(TorchDispatchMode):
    """Counts what runs inside it, module by module; see `count_operations`.

    Raises:
        UncountedOperationError: an operation without a rule, naming it and the module that ran it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.counts = {name: ModuleCount(name, type(module).__name__) for name, module in network.named_modules()}
        for name, module in network.named_modules():
            self.counts[name].parameters = sum(p.numel() for p in module.parameters(recurse=False))
        self.owners: dict[int, str] = {}
        self.sizes: dict[int, int] = {}
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            storage = tensor.untyped_storage()._cdata
            self.owners[storage], self.sizes[storage] = name.rpartition(".")[0], tensor.numel()
        self.read: dict[str, set[int]] = {name: set() for name in self.counts}
        self.ran: set[str] = set()
        self.running: list[str] = [NETWORK]
        self.whole = 0
        self.spiking: dict[int, torch.Tensor] = {}
        self.hooks: list[Any] = []

    def __enter__(self) -> OperationCounter:
        for name, module in self.network.named_modules():
            self.hooks.append(module.register_forward_pre_hook(self.starts(name), with_kwargs=True))
            self.hooks.append(module.register_forward_hook(self.ends(name), always_call=True))
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        for hook in self.hooks:
            hook.remove()
        self.hooks, self.spiking = [], {}
        super().__exit__(*raised)

    def starts(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            self.running.append(name)
            self.ran.add(name)
            self.whole += rule_for(module) is not None

        return hook

    def ends(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple, out: Any) -> None:
            self.running.pop()
            rule = rule_for(module)
            if rule is None:
                return
            self.whole -= 1
            if self.whole or out is None:
                return
            values = out[0] if isinstance(out, tuple) else out
            with torch.utils._python_dispatch._disable_current_modes():
                cost = rule(module, args[0], out, self.is_spikes(args[0]))
                self.record(name, cost, args[0], values, *module.parameters())
                if isinstance(module, SpikingLayer):
                    self.record_firing(self.counts[name], values)
                if isinstance(module, nn.LSTM):
                    self.counts[name].state = values.shape[0 if module.batch_first else 1] * lstm_state(module)
                if isinstance(module, SPIKE_SOURCES):
                    self.spiking[values.untyped_storage()._cdata] = values

        return hook

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self.whole:
            return out
        operation = func.overloadpacket
        tensors = [x for x in flat(args) if isinstance(x, torch.Tensor)]
        if operation in VIEW_OPS:
            if tensors and all(self.is_spikes(x) for x in tensors):
                self.spiking |= {x.untyped_storage()._cdata: x for x in flat((out,)) if isinstance(x, torch.Tensor)}
        elif operation in COMPUTED:
            cost = COMPUTED[operation](Call(args, out, self.is_spikes, self.is_weight))
            self.record(self.running[-1], cost, *tensors, *flat((out,)))
            if operation in (torch.ops.aten.relu, torch.ops.aten.relu_):
                module = self.counts[self.running[-1]]
                module.zeros += out.numel() - int(out.count_nonzero())
                module.elements += out.numel()
        elif operation not in FACTORY_OPS:
            name = self.running[-1] or "the network"
            kind = self.counts[self.running[-1]].kind
            raise UncountedOperationError(
                f"{name} ({kind}) runs {func}, which no counting rule knows; add one to snn_cace/analysis/rules.py"
            )
        self.ran |= {self.owners[x.untyped_storage()._cdata] for x in tensors if self.is_weight(x)}
        return out

    def is_spikes(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor) and x.untyped_storage()._cdata in self.spiking

    def is_weight(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor) and x.untyped_storage()._cdata in self.owners

    def record(self, name: str, cost: Cost, *tensors: Any) -> None:
        module = self.counts[name]
        module.fixed = module.fixed + cost.fixed
        module.driven = module.driven + cost.driven
        weights = [x.untyped_storage()._cdata for x in tensors if self.is_weight(x)]
        self.read[name].update(weights)
        module.weights = sum(self.sizes[storage] for storage in self.read[name])
        values = [x for x in tensors if isinstance(x, torch.Tensor) and not self.is_weight(x)]
        module.buffer = max([module.buffer, *(x.numel() / (len(x) if self.is_spikes(x) else 1) for x in values)])

    def record_firing(self, module: ModuleCount, spikes: torch.Tensor) -> None:
        module.spikes = (module.spikes or 0.0) + spike_count(spikes)
        module.zeros += spikes.numel() - int(spikes.count_nonzero())
        module.elements += spikes.numel()
        updates = module.fixed.neuron_updates
        states = module.fixed.state_reads / updates if updates else 0.0
        segments = spikes.shape[2] if spikes.ndim > 3 else 1
        module.state = states * spikes[0].numel() / segments
        module.buffer = spikes[0].numel()

    def count(self, clips: int) -> Count:
        """What was counted, per clip."""
        for module in self.counts.values():
            module.fixed, module.driven = module.fixed * (1 / clips), module.driven * (1 / clips)
            module.state, module.buffer = module.state / clips, module.buffer / clips
            module.zeros, module.elements = module.zeros / clips, module.elements / clips
            module.spikes = None if module.spikes is None else module.spikes / clips
        within_whole = [name for name, module in self.network.named_modules() if rule_for(module) is not None]
        leaves = [name for name, module in self.network.named_modules() if not any(module.children())]
        idle = [
            name
            for name in leaves
            if name not in self.ran
            and not isinstance(self.network.get_submodule(name), nn.Dropout)
            and not any(name.startswith(whole + ".") for whole in within_whole)
        ]
        return Count(list(self.counts.values()), idle)


def lstm_state(module: nn.LSTM) -> float:
    """Words of h and c for one clip."""
    return 2.0 * module.hidden_size * module.num_layers * (2 if module.bidirectional else 1)


def rule_for(module: nn.Module) -> Any:
    """The rule of a module that is counted as a whole; None for all others."""
    return next((rule for kind, rule in MODULE_RULES.items() if isinstance(module, kind)), None)


def flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from flat(value)
        else:
            yield value


def count_operations(network: nn.Module, *inputs: torch.Tensor) -> Count:
    """Operations per clip, module by module, of one forward pass in evaluation mode; spiking layers start from rest, as
    they always do.

    Shape: inputs `[B, ...]`, B clips, for a `CaceNet` visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]`.

    Raises:
        ValueError: the inputs are not on the CPU, where attention runs decomposed.
        UncountedOperationError: an operation without a rule, naming it and the module that ran it.
    """
    if any(x.device.type != "cpu" for x in inputs):
        raise ValueError(f"operations are counted on the CPU, not on {inputs[0].device}: move network and clips there")
    training = network.training
    network = network.eval().to(inputs[0].dtype)
    counter = OperationCounter(network)
    try:
        with torch.no_grad(), eager(), decomposed(), counter:
            network(*inputs)
    finally:
        network.train(training)
    return counter.count(len(inputs[0]))


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
