"""Operations, memory traffic and activity of a network on real clips, module by module, counted while it runs.

Every ATen operation that runs must have a rule in `snn_cace.counting.rules`, or the count fails and names the module
that ran it: nothing is left out in silence. For that, attention and LSTM run decomposed while they are counted. Spiking
layers and readouts are counted as a whole, by what they stand for on event-driven hardware.

What is made of spikes is known by where it comes from (`snn_cace.counting.provenance`), never by its values. Inputs
of 0 and 1 alone are spikes, whichever network reads them. Three counts come of one pass:

- conservative: a value that a readout has left is analog; only a block's own `SpikeLinear` consumes spikes behind it.
  An analog tensor of zeros costs MACs like any other.
- event-driven: every linear layer that reads a rate and nothing else consumes its spikes.
- zero-skipping: event-driven, and no product of which a factor is a zero activation is charged, in any network; a bit
  per activation says whether it is one.

Batch norms of running statistics are folded into the convolution or linear layer that they read, wherever the two
stand, as whoever runs a trained network does.

Where this differs from SpikingJelly's `op_counter` and from NeuroBench: docs/explanations/analysis.md.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import snn_cace.counting.convolution  # noqa: F401 its rules join the tables
from neurons import LinearMemory, LookBack, SpikingLayer, eager, fold
from snn_cace.counting.costs import COUNTS, WORD_BITS, Cost, Count, ModuleCount, Operations, summed
from snn_cace.counting.foreign import is_unknown_neuron, neuron_of, output_of, reset_states
from snn_cace.counting.provenance import VIEW_OPS, Rate, SpikeTracker, aten, flat, is_binary, spike_count, storage_of
from snn_cace.counting.rules import (
    COMPUTED,
    FACTORY_OPS,
    MODULE_RULES,
    Call,
    Layout,
    Rule,
    UncountedOperationError,
    addition,
    foreign_neuron,
    is_bias,
    is_product,
    rate_product,
)
from snn_cace.errors import InputError, one_line

__all__ = ["COUNTS", "Count", "ModuleCount", "UncountedOperationError", "count_clips", "count_operations", "summed"]


class OperationCounter(SpikeTracker):
    """Counts what a copy of `network` runs, module by module; see `count_operations`.

    Raises:
        UncountedOperationError: an operation without a rule, naming it and the module that ran it.
    """

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        super().__init__(fold(copied(network)).cpu())
        self.layout = layout
        self.clips = 0
        self.counts = {
            name: ModuleCount(name, type(folded).__name__, sum(p.numel() for p in module.parameters(recurse=False)))
            for (name, module), folded in zip(network.named_modules(), self.names, strict=True)
        }
        self.costs = {count: dict.fromkeys(self.counts, Cost()) for count in COUNTS}
        self.read: dict[str, set[int]] = {name: set() for name in self.counts}
        self.readers: dict[str, None] = {}
        self.sources: dict[str, dict[str, Operations]] = {}
        self.ran: set[str] = set()
        self.whole = 0
        self.products: deque[tuple[torch.Tensor, int, str]] = deque(maxlen=8)
        self.product: str | None = None

    def count_run(self, *inputs: Any) -> None:
        """Count one forward pass of the clips of the layout, beside what ran before."""
        run_within(self, self.network, *inputs)
        self.clips += self.layout.clips

    def starts(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if not self.whole and is_unknown_neuron(module):
            raise UncountedOperationError(
                f"{self.names[module] or 'the network'} is a {type(module).__name__}, a neuron that no rule knows; "
                f"add it to snn_cace.counting.foreign.NEURONS"
            )
        super().starts(module, args, kwargs)
        self.ran.add(self.running[-1])
        self.whole += rule_for(module) is not None

    def ends(self, module: nn.Module, args: tuple, out: Any) -> None:
        super().ends(module, args, out)
        rule = rule_for(module)
        if rule is None:
            return
        self.whole -= 1
        if not self.whole and out is not None:
            self.count_module(module, rule, args, out)

    def count_module(self, module: nn.Module, rule: Rule, args: tuple, out: Any) -> None:
        """A module that is counted as a whole, by every count."""
        name, fired = self.names[module], self.fired_by(module, out)
        values = output_of(out) if fired is None else fired
        args = args or (values,)  # called by keyword alone
        call, rate = self.called(args, out if fired is None else fired), self.rate_of(args[0])
        if isinstance(module, nn.RNNBase) and rate is not None and rate.bits is not None:
            self.narrow(name, rate.bits)
            call = replace(call, narrow=True)
        try:
            cost, skipping = rule(module, call), rule(module, replace(call, skips=True))
        except UncountedOperationError as error:
            raise UncountedOperationError(f"{name or 'the network'}: {error}") from None
        self.spend(name, cost, cost, skipping)
        count, neuron = self.counts[name], neuron_of(module)
        if isinstance(module, SpikingLayer):
            self.note(name, *module.parameters())
        else:
            self.note(name, args[0], values, *module.parameters())
        if isinstance(module, SpikingLayer) or neuron is not None:
            count.buffer = max(count.buffer, values.numel() / steps_of(module, values))
        if cost.static.state_reads:
            count.state = max(count.state, cost.static.state_reads / updates_in_a_row(module, values))
        if isinstance(module, SpikingLayer) or (neuron is not None and neuron.fires):
            count.spikes = (count.spikes or 0.0) + spike_count(values)
            self.note_zeros(count, values)
            self.attribute(name, name, cost)
        elif neuron is None and self.is_spikes(args[0]):
            self.attribute(self.source(args[0]), name, cost)

    def called(self, args: tuple, out: Any) -> Call:
        return Call(args, out, self.is_spikes, self.is_weight, self.layout, self.product is not None)

    def run(self, operation: Any, func: Any, args: tuple, kwargs: dict) -> Any:
        self.product = next((name for x in args if (name := self.product_of(x)) is not None), None)
        out = func(*args, **kwargs)
        if not self.whole or (self.whole == self.neurons and is_product(operation) and any(map(self.is_weight, args))):
            self.count_operation(func, operation, args, out)
        return out

    def count_operation(self, func: Any, operation: Any, args: tuple, out: Any) -> None:
        tensors = [x for x in flat(args) if isinstance(x, torch.Tensor)]
        running = self.counts[self.running[-1]]
        if operation in COMPUTED:
            self.count_computed(operation, running.name, args, out, tensors)
            if operation is aten.relu:
                self.note_zeros(running, out)
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
        if operation is aten.native_batch_norm and self.product is not None and not args[5]:
            self.products.append((out[0], out[0]._version, self.product))  # a second one folds as well
            return
        rule, call = COMPUTED[operation], self.called(args, out)
        if is_product(operation) and any(map(self.is_weight, tensors)):
            self.products.append((out, out._version, name))
        elif rule is addition and is_bias(call):
            self.products.append((out, out._version, self.product or name))
        cost, skipping = rule(call), rule(replace(call, skips=True))
        event_driven, source = cost, next((self.source(x) for x in tensors if self.is_spikes(x)), None)
        if source is None and (consumed := self.consumed(operation, args)) is not None:
            rate, weight, bias = consumed
            event_driven, skipping = (
                rate_product(rate, weight.shape[1], bias is not None, self.layout, skips) for skips in (False, True)
            )
            if rate.bits is None:
                source = rate.source
                self.readers[name] = None
            else:
                self.narrow(name, rate.bits)
                cost = event_driven
        elif source is None and operation is aten.convolution and is_sum(pooled := self.rate_of(args[0])):
            sums = sum(pooled.steps[1:], pooled.steps[0])
            event_driven = skipping = rule(replace(call, args=(sums, *args[1:]), spikes=lambda x: x is sums))
            source = pooled.source
        self.note(name, *tensors, *flat((out,)))
        self.spend(name, event_driven, cost, skipping)
        if source is not None:
            self.attribute(source, name, event_driven)

    def product_of(self, x: Any) -> str | None:
        """The module whose product with weights `x` is, a bias added or not; None of all else."""
        if not isinstance(x, torch.Tensor):
            return None
        state = storage_of(x), x._version
        return next((name for out, version, name in self.products if (storage_of(out), version) == state), None)

    def spend(self, name: str, *costs: Cost) -> None:
        """Add what a module spent by each of `COUNTS`."""
        for count, cost in zip(COUNTS, costs, strict=True):
            self.costs[count][name] += cost

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

    def note_zeros(self, module: ModuleCount, values: torch.Tensor) -> None:
        module.zeros += values.numel() - int(values.count_nonzero())
        module.elements += values.numel()

    def attribute(self, source: str, name: str, cost: Cost) -> None:
        """What the spikes of `source` cause in the module `name`."""
        caused = self.sources.setdefault(source, {})
        caused[name] = caused.get(name, Operations()) + cost.event_driven

    def count(self) -> Count:
        """What was counted, per clip; the state of one clip, and the largest buffer."""
        at_once, clips = self.layout.clips, self.clips
        modules = [
            replace(
                module,
                state=module.state / at_once,
                buffer=module.buffer / at_once,
                spikes=None if module.spikes is None else module.spikes / clips,
                zeros=module.zeros / clips,
                elements=module.elements / clips,
            )
            for module in self.counts.values()
        ]
        counted = {
            count: [replace(module, **vars(costs[module.name] * (1 / clips))) for module in modules]
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


def is_sum(rate: Rate | None) -> TypeGuard[Rate]:
    """Whether spikes are summed, as a pooling by the mean leaves them: all count the same."""
    return rate is not None and rate.gate is None and rate.scalings < 2


def steps_of(module: nn.Module, spikes: torch.Tensor) -> int:
    """Simulation steps of one call of a layer of neurons."""
    neuron = neuron_of(module)
    return len(spikes) if neuron is None or neuron.leading(module) > 1 else 1


def updates_in_a_row(module: nn.Module, values: torch.Tensor) -> int:
    """How often a module that outputs `values` has updated each word of its state."""
    if isinstance(module, nn.RNNBase):
        return values.shape[1 if module.batch_first else 0]
    if isinstance(module, LinearMemory):
        return values.shape[1]
    carried = isinstance(module, SpikingLayer) and values.ndim > 3
    return steps_of(module, values) * (values.shape[2] if carried else 1)


def rule_for(module: nn.Module) -> Rule | None:
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
    counter = OperationCounter(network, Layout(len(inputs[0]), segments))
    counter.count_run(*inputs)
    return counter.count()


def count_clips(
    network: nn.Module, visual: torch.Tensor, audio: torch.Tensor, lengths: torch.Tensor | None = None
) -> Count:
    """`count_operations` of clips, visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]`. Where some are padded, lengths
    `[B]`, each is counted alone, without its padding, and the mean is over clips.
    """
    if lengths is None:
        return count_operations(network, visual, audio)
    counter = OperationCounter(network, Layout())
    for i, n in enumerate(lengths.tolist()):
        counter.layout = Layout(segments=n)
        counter.count_run(visual[i : i + 1, :n], audio[i : i + 1, :n])
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


def run_within(tracker: SpikeTracker, network: nn.Module, *inputs: torch.Tensor) -> Any:
    """What `network` outputs in evaluation mode while `tracker` watches every operation. Inputs of 0 and 1 alone, as an
    event camera gives, are spikes.

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
    for x in filter(is_binary, inputs):
        tracker.set_spikes([x], [])
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
