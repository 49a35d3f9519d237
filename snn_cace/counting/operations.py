"""Operations, memory traffic and activity of a network on real clips, module by module, counted while it runs.

Every ATen operation that runs must have a rule in `snn_cace.counting.rules`, or the count fails and names the module
that ran it: nothing is left out in silence. For that, attention and LSTM run decomposed while they are counted. Spiking
layers and readouts are counted as a whole, by what they stand for on event-driven hardware.

What is made of spikes is known by where it comes from (`snn_cace.counting.provenance`), never by its values. Three
counts come of one pass:

- conservative: a value that a readout has left is analog; only a block's own `SpikeLinear` consumes spikes behind it.
  An analog tensor of zeros costs MACs like any other.
- event-driven: every linear layer that reads a rate and nothing else consumes its spikes.
- zero-skipping: event-driven, and no product of which a factor is a zero activation is charged, in any network; a bit
  per activation says whether it is one.

Batch norms behind linear layers are folded into their weights, as whoever runs a trained network does.

Where this differs from SpikingJelly's `op_counter` and from NeuroBench: docs/explanations/analysis.md.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import _disable_current_modes

import snn_cace.counting.convolution  # noqa: F401 its rules join the tables
from neurons import LinearMemory, LookBack, SpikingLayer, eager, fold
from snn_cace.counting.foreign import neuron_of, output_of, reset_states
from snn_cace.counting.provenance import VIEW_OPS, SpikeTracker, flat, spike_count, storage_of
from snn_cace.counting.rules import (
    COMPUTED,
    FACTORY_OPS,
    MODULE_RULES,
    SKIPPING,
    SKIPPING_RULES,
    WORD_BITS,
    Call,
    Cost,
    Layout,
    Operations,
    UncountedOperationError,
    addition,
    aten,
    foreign_neuron,
    is_bias,
    is_product,
    narrow_inputs,
    narrow_product,
    rate_product,
)
from snn_cace.errors import InputError, one_line

COUNTS = ("event_driven", "conservative", "zero_skipping")
"""The counts, see above."""


@dataclass
class ModuleCount:
    """One module's own operations per clip, without its children's.

    name: in the network. kind: its class. parameters: numbers that it holds itself. weights: numbers that its
    operations read, whoever holds them. state: words of membrane or LSTM state that it keeps for one clip. buffer:
    words of the largest tensor that it takes or outputs, for one clip and, of spiking layers, one simulation step.
    bits: of the activations of its `narrow_macs`. static: operations that do not depend on how much the network fires.
    event_driven: those that spikes cause. spikes: fired, where it is a spiking layer. zeros, elements: what rectifiers
    and spiking layers output.
    """

    name: str
    kind: str
    parameters: int = 0
    weights: int = 0
    state: float = 0.0
    buffer: float = 0.0
    bits: int = WORD_BITS
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
    """Operations per clip.

    counted: by count, module by module. readers: modules that read rates, in which the first two counts differ.
    sources: by spiking layer or coding and by module, what its spikes cause there, event-driven. idle: leaf modules
    that never ran, but for dropout, which does nothing in evaluation.
    """

    counted: dict[str, list[ModuleCount]]
    readers: list[str] = field(default_factory=list)
    sources: dict[str, dict[str, Operations]] = field(default_factory=dict)
    idle: list[str] = field(default_factory=list)

    @property
    def modules(self) -> list[ModuleCount]:
        """Counted conservatively."""
        return self.counted["conservative"]

    @property
    def total(self) -> Operations:
        return summed(self.modules)

    @property
    def activation_sparsity(self) -> float:
        """The share of zeros in what rectifiers and spiking layers output, as NeuroBench defines it."""
        return sum(m.zeros for m in self.modules) / max(1.0, sum(m.elements for m in self.modules))


def summed(modules: Iterable[ModuleCount]) -> Operations:
    return sum((module.total for module in modules), Operations())


class OperationCounter(SpikeTracker):
    """Counts what runs inside it, module by module; see `count_operations`.

    Raises:
        UncountedOperationError: an operation without a rule, naming it and the module that ran it.
    """

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        super().__init__(network)
        self.layout = layout
        self.counts = {name: ModuleCount(name, type(module).__name__) for name, module in network.named_modules()}
        self.costs = {count: dict.fromkeys(self.counts, Cost()) for count in COUNTS}
        self.read: dict[str, set[int]] = {name: set() for name in self.counts}
        self.readers: dict[str, None] = {}
        self.sources: dict[str, dict[str, Operations]] = {}
        self.ran: set[str] = set()
        self.whole = 0
        self.products: deque[tuple[torch.Tensor, int, str]] = deque(maxlen=8)
        self.product: str | None = None

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
        fired = self.fired_by(module, out)
        values = output_of(out) if fired is None else fired
        args = args or (values,)  # called by keyword alone
        with _disable_current_modes():
            called = (module, args[0], out if fired is None else fired, self.is_spikes(args[0]), self.layout)
            try:
                cost = rule(*called)
            except UncountedOperationError as error:
                raise UncountedOperationError(f"{name or 'the network'}: {error}") from None
            skipped = SKIPPING_RULES[rule](*called) if rule in SKIPPING_RULES else cost
            rate = self.rate_of(args[0])
            if isinstance(module, nn.RNNBase) and rate is not None and rate.bits is not None:
                self.narrow(name, rate.bits)
                cost, skipped = narrow_inputs(module, rate, cost, False), narrow_inputs(module, rate, skipped, True)
            self.spend(name, cost, zero_skipping=skipped)
            self.note(name, args[0], values, *module.parameters())
            if neuron_of(module) is not None:
                self.record_neuron(module, cost, values)
            elif isinstance(module, SpikingLayer):
                self.record_firing(self.counts[name], cost, values)
                self.attribute(name, name, cost)
            elif self.is_spikes(args[0]):
                self.attribute(self.source(args[0]), name, cost)
            if isinstance(module, nn.RNNBase):
                self.counts[name].state = values.shape[0 if module.batch_first else 1] * state_words(module)
            if isinstance(module, LinearMemory) and cost.static.state_reads:
                self.counts[name].state = values.numel() / values.shape[1]

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.product = next((name for x in args if (name := self.product_of(x)) is not None), None)
        out = func(*args, **(kwargs or {}))
        operation = func.overloadpacket
        if not self.whole or (self.whole == self.neurons and is_product(operation) and any(map(self.is_weight, args))):
            self.count_operation(func, operation, args, out)
        self.follow(operation, func, args, kwargs or {}, out)
        return out

    def count_operation(self, func: Any, operation: Any, args: tuple, out: Any) -> None:
        tensors = [x for x in flat(args) if isinstance(x, torch.Tensor)]
        running = self.counts[self.running[-1]]
        if operation in COMPUTED:
            with _disable_current_modes():
                self.count_computed(operation, running.name, args, out, tensors)
            if operation in (aten.relu, aten.relu_):
                running.zeros += out.numel() - int(out.count_nonzero())
                running.elements += out.numel()
        elif operation not in VIEW_OPS and operation not in FACTORY_OPS:
            raise UncountedOperationError(
                f"{running.name or 'the network'} ({running.kind}) runs {func}, which no counting rule knows; add one "
                "to snn_cace/counting/rules.py, or before you count: "
                "from snn_cace.counting.rules import COMPUTED, elementwise; "
                f'COMPUTED[torch.ops.{operation}] = elementwise("macs")'
            )
        self.ran |= {self.owners[storage_of(x)] for x in tensors if self.is_weight(x)}

    def count_computed(self, operation: Any, name: str, args: tuple, out: Any, tensors: list[torch.Tensor]) -> None:
        """An operation of `COMPUTED`, by every count."""
        call = Call(args, out, self.is_spikes, self.is_weight, self.layout, self.product is not None)
        cost = COMPUTED[operation](call)
        if is_product(operation) and any(map(self.is_weight, tensors)):
            self.products.append((out, out._version, name))
        elif COMPUTED[operation] is addition and is_bias(call):
            self.products.append((out, out._version, self.product or name))
        skipping = SKIPPING[operation](call) if operation in SKIPPING else cost
        consumed = self.consumed(operation, args)
        self.note(name, *tensors, *flat((out,)))
        if consumed is None:
            self.spend(name, cost, zero_skipping=skipping)
            if any(self.is_spikes(x) for x in tensors):
                self.attribute(next(self.source(x) for x in tensors if self.is_spikes(x)), name, cost)
            return
        rate, weight, bias = consumed
        outputs, has_bias = weight.shape[1], bias is not None
        if rate.bits is not None:
            self.narrow(name, rate.bits)
            dense, skipped = (narrow_product(rate, outputs, has_bias, self.layout, skips) for skips in (False, True))
            self.spend(name, dense, zero_skipping=skipped)
            return
        if self.is_spikes(args[0 if bias is None else 1]):
            spent = cost
        else:
            spent = rate_product(rate, outputs, has_bias, self.layout)
            self.readers[name] = None
        self.spend(name, cost, event_driven=spent, zero_skipping=spent)
        self.attribute(rate.source, name, spent)

    def product_of(self, x: Any) -> str | None:
        """The module whose product with weights `x` is, a bias added or not; None of all else."""
        if not isinstance(x, torch.Tensor):
            return None
        state = storage_of(x), x._version
        return next((name for out, version, name in self.products if (storage_of(out), version) == state), None)

    def spend(
        self, name: str, conservative: Cost, event_driven: Cost | None = None, zero_skipping: Cost | None = None
    ) -> None:
        """Add what a module spent by each count; by the others as conservatively, where nothing else is said."""
        spent = {"conservative": conservative, "event_driven": event_driven, "zero_skipping": zero_skipping}
        for count, cost in spent.items():
            self.costs[count][name] += conservative if cost is None else cost

    def narrow(self, name: str, bits: int) -> None:
        """The module multiplies activations of so few bits; the widest count where there are several."""
        known = self.counts[name].bits
        self.counts[name].bits = bits if known == WORD_BITS else max(known, bits)

    def note(self, name: str, *tensors: Any) -> None:
        """Which weights a module reads, and its largest tensor."""
        module = self.counts[name]
        self.read[name].update(storage_of(x) for x in tensors if self.is_weight(x))
        module.weights = sum(self.sizes[storage] for storage in self.read[name])
        values = [x for x in tensors if isinstance(x, torch.Tensor) and not self.is_weight(x)]
        module.buffer = max(
            [module.buffer, *(x.numel() / (len(x) if x.ndim and self.is_spikes(x) else 1) for x in values)]
        )

    def attribute(self, source: str, name: str, cost: Cost) -> None:
        """What the spikes of `source` cause in the module `name`."""
        caused = self.sources.setdefault(source, {})
        caused[name] = caused.get(name, Operations()) + cost.event_driven

    def record_firing(self, module: ModuleCount, cost: Cost, spikes: torch.Tensor) -> None:
        """spikes `[S, B, T, ..., N]`, or without segments; cost: of this call."""
        module.spikes = (module.spikes or 0.0) + spike_count(spikes)
        module.zeros += spikes.numel() - int(spikes.count_nonzero())
        module.elements += spikes.numel()
        updates = cost.static.neuron_updates
        states = cost.static.state_reads / updates if updates else 0.0
        segments = spikes.shape[2] if spikes.ndim > 3 else 1
        module.state = states * spikes[0].numel() / segments
        module.buffer = spikes[0].numel()

    def record_neuron(self, module: nn.Module, cost: Cost, spikes: torch.Tensor) -> None:
        """A call of a neuron of another library: what it fired, and how many states it keeps."""
        count, neuron = self.counts[self.names[module]], neuron_of(module)
        assert neuron is not None
        axes = neuron.leading(module)
        steps = len(spikes) if axes > 1 else 1
        count.state = max(count.state, neuron.states * spikes.numel() / steps)
        count.buffer = max(count.buffer, spikes.numel() / steps)
        if neuron.fires:
            count.spikes = (count.spikes or 0.0) + spike_count(spikes)
            count.zeros += spikes.numel() - int(spikes.count_nonzero())
            count.elements += spikes.numel()
            self.attribute(count.name, count.name, cost)

    def count(self) -> Count:
        """What was counted, per clip."""
        clips = self.layout.clips
        for module in self.counts.values():
            module.state, module.buffer = module.state / clips, module.buffer / clips
            module.zeros, module.elements = module.zeros / clips, module.elements / clips
            module.spikes = None if module.spikes is None else module.spikes / clips
        counted = {
            count: [
                dataclasses.replace(module, **vars(costs[name] * (1 / clips))) for name, module in self.counts.items()
            ]
            for count, costs in self.costs.items()
        }
        sources = {s: {name: spent * (1 / clips) for name, spent in by.items()} for s, by in self.sources.items()}
        return Count(counted, list(self.readers), sources, self.idle())

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


def state_words(module: nn.RNNBase) -> float:
    """Words of h, and of an LSTM's c, for one clip."""
    states = 2.0 if isinstance(module, nn.LSTM) else 1.0
    return states * module.hidden_size * module.num_layers * (2 if module.bidirectional else 1)


def rule_for(module: nn.Module) -> Any:
    """The rule of a module that is counted as a whole, that of its nearest class; None for all others."""
    if neuron_of(module) is not None:
        return foreign_neuron
    return next((MODULE_RULES[kind] for kind in type(module).__mro__ if kind in MODULE_RULES), None)


def count_operations(network: nn.Module, *inputs: torch.Tensor) -> Count:
    """Operations per clip, module by module, of one forward pass in evaluation mode; spiking layers start from rest, as
    they always do.

    Shape: inputs `[B, ...]`, B clips, for a `Network` visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]`.

    Raises:
        ValueError: the inputs are not on the CPU, where attention runs decomposed.
        UncountedOperationError: an operation without a rule, naming it and the module that ran it.
    """
    segments = inputs[0].shape[1] if inputs[0].ndim > 2 else 1
    folded = fold(copied(network))
    counter = OperationCounter(folded, Layout(len(inputs[0]), segments))
    for name, module in network.named_modules():
        counter.counts[name].parameters = sum(p.numel() for p in module.parameters(recurse=False))
    run_within(counter, folded, *inputs)
    return counter.count()


def copied(network: nn.Module) -> nn.Module:
    """A copy of `network` in evaluation mode, without the graphs of what it keeps of earlier runs.

    Raises:
        InputError: a network that cannot be copied, or not be looked into.
    """
    scripted = next((name for name, m in network.named_modules() if isinstance(m, torch.jit.ScriptModule)), None)
    if scripted is not None:
        raise InputError(f"{scripted or 'the network'} is a ScriptModule: give the nn.Module that it was made from")
    kept = [x for module in network.modules() for x in flat(vars(module).values()) if isinstance(x, torch.Tensor)]
    try:
        return copy.deepcopy(network, {id(x): x.detach().clone() for x in kept if not x.is_leaf}).eval()
    except Exception as error:  # a module may hold whatever it likes
        raise InputError(f"the network cannot be copied, give one that has not run yet: {one_line(error)}") from None


def count_clips(
    network: nn.Module, visual: torch.Tensor, audio: torch.Tensor, lengths: torch.Tensor | None = None
) -> Count:
    """`count_operations` of clips, visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]`. Where some are padded, lengths
    `[B]`, each is counted alone, without its padding, and the mean is over clips.
    """
    if lengths is None:
        return count_operations(network, visual, audio)
    alone = [
        count_operations(network, visual[i : i + 1, :n], audio[i : i + 1, :n]) for i, n in enumerate(lengths.tolist())
    ]
    counted = {
        count: [mean_module(list(modules)) for modules in zip(*(one.counted[count] for one in alone), strict=True)]
        for count in alone[0].counted
    }
    sources: dict[str, dict[str, Operations]] = {}
    for one in alone:
        for source, caused in one.sources.items():
            known = sources.setdefault(source, {})
            for name, spent in caused.items():
                known[name] = known.get(name, Operations()) + spent * (1 / len(alone))
    return Count(counted, alone[0].readers, sources, alone[0].idle)


def mean_module(counts: list[ModuleCount]) -> ModuleCount:
    """A module's mean over clips; of its buffer, which has to hold each of them, the largest."""
    share = 1 / len(counts)
    spikes = [one.spikes for one in counts if one.spikes is not None]
    return dataclasses.replace(
        counts[0],
        state=share * sum(one.state for one in counts),
        buffer=max(one.buffer for one in counts),
        static=sum((one.static for one in counts), Operations()) * share,
        event_driven=sum((one.event_driven for one in counts), Operations()) * share,
        spikes=share * sum(spikes) if spikes else None,
        zeros=share * sum(one.zeros for one in counts),
        elements=share * sum(one.elements for one in counts),
    )


def run_within(tracker: SpikeTracker, network: nn.Module, *inputs: torch.Tensor) -> Any:
    """What `network` outputs in evaluation mode while `tracker` watches every operation.

    Raises:
        ValueError: the inputs are not on the CPU, where attention runs decomposed.
    """
    if any(x.device.type != "cpu" for x in inputs):
        raise ValueError(f"operations are counted on the CPU, not on {inputs[0].device}: move network and clips there")
    training = network.training
    network.eval()
    if inputs[0].is_floating_point():
        network.to(inputs[0].dtype)
    reset_states(network)
    try:
        # Under autocast a layer reads copies of its weights, which nobody would know for weights.
        with torch.no_grad(), torch.autocast("cpu", enabled=False), eager(), decomposed(), tracker:
            return network(*inputs)
    finally:
        reset_states(network)
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
