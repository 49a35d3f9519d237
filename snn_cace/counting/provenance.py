"""What is made of spikes, followed through a forward pass by where it comes from, never by its values.

A rate readout is a weighted mean of spikes, and a linear layer commutes with it:

    W (sum over t of w_t s_t) = sum over t of w_t (W s_t).

So a linear layer that reads rates, and nothing analog added to them, may run on accumulates, a column of W per spike,
with the same result. `SpikeTracker` follows rates through what leaves them sums of spikes: views, copies, dropout in
evaluation, a rectifier where no weight is negative, a constant factor, and a factor per channel that many rows share
(it multiplies the columns, once for all those rows). A layer norm, a residual sum or a product of activations ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map

from neurons import Rounding, SpikingLayer
from neurons.coding import Coding
from neurons.readout import Readout
from snn_cace.counting.foreign import neuron_of, output_of, spikes_of

aten = torch.ops.aten
SEVERAL = ", "
"""Joins the names of several sources."""
NETWORK = ""
"""The name of the network itself: what its own `forward` runs."""

VIEW_OPS = {
    aten._reshape_alias, aten._to_copy, aten._unsafe_view, aten._upsample_nearest_exact1d,
    aten._upsample_nearest_exact2d, aten._upsample_nearest_exact3d, aten.alias, aten.as_strided, aten.cat,
    aten.channel_shuffle, aten.clone, aten.constant_pad_nd, aten.copy, aten.detach, aten.diagonal, aten.expand,
    aten.flip, aten.gather, aten.im2col, aten.index, aten.index_put, aten.index_select, aten.lift_fresh,
    aten.masked_fill, aten.masked_select, aten.max_unpool2d, aten.max_unpool3d, aten.native_channel_shuffle,
    aten.permute, aten.pixel_shuffle, aten.pixel_unshuffle, aten.reflection_pad1d, aten.reflection_pad2d,
    aten.reflection_pad3d, aten.repeat, aten.replication_pad1d, aten.replication_pad2d, aten.replication_pad3d,
    aten.roll, aten.scatter, aten.select, aten.select_scatter, aten.slice, aten.slice_scatter, aten.split,
    aten.split_with_sizes, aten.squeeze, aten.stack, aten.t, aten.take, aten.transpose, aten.tril, aten.triu,
    aten.unbind, aten.unfold, aten.unsafe_split, aten.unsqueeze, aten.upsample_nearest1d, aten.upsample_nearest2d,
    aten.upsample_nearest3d, aten.view,
}  # fmt: skip
"""ATen operations that only move or name what is there: made of spikes, they output spikes. In place they do the same
(`out_of_place`), as in the tables below.
"""
MOVED: dict[Any, tuple[int, ...]] = {
    **dict.fromkeys((aten.gather, aten.index, aten.index_select, aten.masked_select, aten.take), (0,)),
    **dict.fromkeys((aten.max_unpool2d, aten.max_unpool3d), (0,)),
    **dict.fromkeys((aten.masked_fill, aten.constant_pad_nd, aten.index_put), (0, 2)),
    aten.scatter: (0, 3),
    aten.where: (1, 2),
}
"""Which arguments what is output comes from, where others say from which places."""

KEEP_SPIKES = {
    aten.adaptive_max_pool2d, aten.adaptive_max_pool3d, aten.add, aten.amax, aten.bitwise_and, aten.bitwise_or,
    aten.cumsum, aten.logical_and, aten.logical_or, aten.max, aten.max_pool1d_with_indices,
    aten.max_pool2d_with_indices, aten.max_pool3d_with_indices, aten.maximum, aten.minimum, aten.mul, aten.sum,
    aten.where,
}  # fmt: skip
"""Of spikes alone: a sum of spikes is as many spikes, and the largest, or the product, of several is one."""
BLANK = {
    aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_zeros, aten.zero, aten.zeros,
    aten.zeros_like,
}  # fmt: skip
"""What is filled later, or holds no spike yet."""
FILLED = {aten.fill, aten.full, aten.full_like, aten.new_full, aten.scalar_tensor}
"""Blank where what they fill with, their last argument, is 0."""
MEAN_POOLS = (aten.avg_pool2d, aten.avg_pool3d, aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d)
FACTORS = (aten.mul, aten.div)
NEUTRAL = {aten.add: 0, aten.sub: 0, aten.mul: 1, aten.div: 1}
"""The number that leaves the other argument as it is."""


@cache
def out_of_place(operation: Any) -> Any:
    """`aten.relu` for `aten.relu_`; what has no such form stays as it is."""
    library, _, name = str(operation).partition(".")
    return getattr(aten, name.removesuffix("_"), operation) if library == "aten" else operation


@dataclass
class Rate:
    """A tensor that is `sum over t of weights[t] * steps[t]`, times `gate` where there is one.

    steps: spikes of each simulation step, shaped as the tensor itself, `[..., C]`. source: the spiking layer or coding
    that fired them; several, by comma, where channels of several are side by side. gate: a factor per channel, expanded
    to the tensor's shape; `gates` different rows of it, computed from activations (0: a parameter, which is multiplied
    into weights beforehand). bits: of values that a quantised control rounded, one step of integers that are no spikes.
    values: the tensor, held so that its memory is not another's meanwhile.
    """

    steps: list[torch.Tensor]
    weights: list[float]
    source: str
    gate: torch.Tensor | None = None
    gates: int = 0
    bits: int | None = None
    values: torch.Tensor | None = field(default=None, repr=False)

    @property
    def spikes(self) -> float:
        """All of them, an integer n counting as n."""
        return sum(spike_count(step) for step in self.steps)

    @property
    def scalings(self) -> int:
        """Multiplications that each output of a linear layer needs: none where every spike counts 1, one where all
        count the same, else one per simulation step.
        """
        if all(weight == 1 for weight in self.weights):
            return 0
        return 1 if len(set(self.weights)) == 1 else len(self.weights)


def spike_count(spikes: torch.Tensor) -> float:
    """Spikes in `[...]`, an integer n counting as n."""
    return float(spikes.sum(dtype=torch.float64))


class SpikeTracker(TorchDispatchMode):
    """Follows spikes and rates while `network` runs within it, eagerly; see above."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.names = {module: name for name, module in network.named_modules()}
        self.owners: dict[int, str] = {}
        self.sizes: dict[int, int] = {}
        # Held, as a module may put others in their place, whose memory is then given to any tensor.
        self.owned = [*network.named_parameters(), *network.named_buffers()]
        for name, tensor in self.owned:
            storage = storage_of(tensor)
            self.owners[storage], self.sizes[storage] = name.rpartition(".")[0], tensor.numel()
        self.running: list[str] = [NETWORK]
        self.spikes: dict[int, tuple[torch.Tensor, str]] = {}
        self.blank: dict[int, torch.Tensor] = {}
        self.written: set[int] = set()
        self.neurons = 0
        self.graded: dict[int, tuple[torch.Tensor, ...]] = {}
        self.rates: dict[tuple, Rate] = {}
        self.hooks: list[Any] = []

    def __enter__(self) -> Any:
        for module in self.names:
            self.hooks.append(module.register_forward_pre_hook(self.starts, with_kwargs=True))
            self.hooks.append(module.register_forward_hook(self.ended, always_call=True, with_kwargs=True))
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        for hook in self.hooks:
            hook.remove()
        self.hooks, self.spikes, self.rates, self.blank, self.graded = [], {}, {}, {}, {}
        super().__exit__(*raised)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        operation = out_of_place(func.overloadpacket)
        out = self.run(operation, func, args, kwargs or {})
        self.follow(operation, func, args, kwargs or {}, out)
        return out

    def run(self, operation: Any, func: Any, args: tuple, kwargs: dict) -> Any:
        """What `func` outputs; operation: which it is, out of place."""
        return func(*args, **kwargs)

    def starts(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.running.append(self.names[module])
        self.neurons += neuron_of(module) is not None

    def ended(self, module: nn.Module, args: tuple, kwargs: dict, out: Any) -> None:
        """`ends`, whose first argument is what the module reads, whether it was given by position or by name."""
        named = (kwargs["input"],) if "input" in kwargs else tuple(kwargs.values())
        with _disable_current_modes():  # what is computed to count is not counted, as within `__torch_dispatch__`
            self.ends(module, args or named, out)
        self.neurons -= neuron_of(module) is not None
        if not self.neurons:
            self.graded = {}

    def ends(self, module: nn.Module, args: tuple, out: Any) -> None:
        name, fired = self.running.pop(), self.fired_by(module, out)
        if fired is not None:
            self.spikes[storage_of(fired)] = fired, name
            if fired is not output_of(out):
                self.follow_factor(False, fired, self.graded[storage_of(output_of(out))][1], output_of(out))
        if isinstance(module, Rounding) and isinstance(out, torch.Tensor):
            size = float(module.size.detach())
            self.set_rate(out, Rate([torch.round(out / size)], [size], name, bits=module.bits))
        if isinstance(module, Readout) and isinstance(out, torch.Tensor) and self.is_spikes(args[0]):
            used, weights = args[0], module.step_weights(args[0])
            self.set_rate(out, Rate(list(used), weights, self.source(args[0])))

    def fired_by(self, module: nn.Module, out: Any) -> torch.Tensor | None:
        """The spikes that a module has just fired, before an amplitude of its own that they are multiplied by."""
        fired = out if isinstance(module, SpikingLayer | Coding) else spikes_of(module, out)
        if not isinstance(fired, torch.Tensor):
            return None
        ungraded, factor, _ = self.graded.get(storage_of(fired), (fired, None, fired))
        return fired if factor is None or bool((factor == 1).all()) else ungraded

    def follow(self, operation: Any, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
        """Note what `out`, the result of `func`, is made of; what is written to is forgotten where that is unknown."""
        into = written(func, args, kwargs)
        if self.neurons and operation is aten.mul and not into:
            factor = next(filter(self.is_weight, args), None)
            if factor is not None:
                self.graded[storage_of(out)] = args[0] if factor is args[1] else args[1], factor, out
        known = self.is_followed(operation, func, args, kwargs, out, in_place=bool(into))
        for x in into:
            self.written.add(storage_of(x))
            if not known:
                self.forget(x)

    def is_followed(self, operation: Any, func: Callable, args: tuple, kwargs: dict, out: Any, in_place: bool) -> bool:
        """Whether `out` is noted to be spikes, blank or a rate."""
        made = [x for x in flat((out,)) if isinstance(x, torch.Tensor)]
        tensors = self.moved(operation, args)
        if operation in BLANK or (operation in FILLED and is_number(args[-1], 0)):
            if fills(out):
                self.spikes.pop(storage_of(out), None)
                self.blank[storage_of(out)] = out
            return storage_of(out) in self.blank or self.is_spikes(out)
        if tensors is None:
            return False
        if operation in VIEW_OPS or is_neutral(operation, args):
            if self.are_spikes(tensors):
                self.set_spikes(made, tensors)
            elif tensors and all(storage_of(x) in self.blank for x in tensors):
                self.blank |= {storage_of(x): x for x in made}
            elif tensors and all(self.rate_of(x) for x in tensors) and not in_place:
                self.follow_view(func, args, kwargs, out)
            else:
                return False
        elif (
            operation in KEEP_SPIKES
            and kwargs.get("alpha", 1) == 1
            and self.are_spikes(tensors)
            and (operation not in NEUTRAL or len(tensors) > 1)
        ):
            self.set_spikes(made[:1], tensors)
        elif operation in (aten.rsub, aten.logical_not) and self.is_spikes(args[0]) and is_complement(args):
            self.set_spikes(made, tensors)
        elif operation in MEAN_POOLS and self.is_spikes(args[0]) and (size := averaged(operation, args, out)):
            self.follow_sum(args[0], size, out)
        elif operation is aten.relu:
            rate = self.rate_of(args[0])
            if rate is None or rate.gate is not None or min(rate.weights) < 0 or is_negative(rate):
                return False
            self.set_rate(out, rate)
        elif operation is aten.mean and self.is_spikes(args[0]):
            self.follow_mean(args, out)
        elif operation in FACTORS and len(args) > 1 and not in_place:
            self.follow_factor(operation is aten.div, args[0], args[1], out)
        else:
            return False
        return True

    def moved(self, operation: Any, args: tuple) -> list[torch.Tensor] | None:
        """The tensors that what is output comes from; None where numbers other than zero are put among them."""
        places = MOVED.get(operation)
        given = list(flat(args)) if places is None else [args[place] for place in places if place < len(args)]
        if operation is aten.copy and fills(args[0]):
            given = [args[1]]  # nothing of what it held is left
        if places and any(not isinstance(x, torch.Tensor) and not is_number(x, 0) for x in given):
            return None
        return [x for x in given if isinstance(x, torch.Tensor)]

    def follow_view(self, func: Any, args: tuple, kwargs: dict, out: Any) -> None:
        """The same view of every step, of the gate, and of each of several results."""
        rates = [rate for x in flat(args) if (rate := self.rate_of(x))]
        first = replace(rates[0], source=SEVERAL.join(dict.fromkeys(rate.source for rate in rates)))

        def alike(rate: Rate) -> tuple:
            return rate.weights, rate.gates, rate.gate is None, rate.bits

        if any(alike(rate) != alike(first) for rate in rates):
            return

        def seen(pick: Callable[[Rate], Any]) -> list[torch.Tensor]:
            changed = tree_map(lambda x: x if (rate := self.rate_of(x)) is None else pick(rate), args)
            # Steps may lie in memory otherwise than their mean, so that only a copy can be viewed alike.
            reshapes = func.overloadpacket in (aten.view, aten._unsafe_view)
            return list(flat((changed[0].reshape(changed[1]) if reshapes else func(*changed, **kwargs),)))

        steps = [seen(partial(step_of, t=t)) for t in range(len(first.steps))]
        gate = None if first.gate is None else seen(lambda rate: rate.gate)
        for place, values in enumerate(flat((out,))):
            kept = first.gate is None or values.shape[-1] == first.steps[0].shape[-1]
            if kept:
                viewed = [step[place] for step in steps]
                self.set_rate(values, replace(first, steps=viewed, gate=None if gate is None else gate[place]))

    def follow_mean(self, args: tuple, out: torch.Tensor) -> None:
        """The mean over simulation steps of all that a spiking layer output is its rate; others are sums, divided."""
        spikes = args[0]
        fired, source = self.spikes[storage_of(spikes)]
        if key_of(fired) != key_of(spikes) or len(args) < 2 or list(args[1]) != [0]:
            self.follow_sum(spikes, spikes.numel() / out.numel(), out)
            return
        steps = [step.reshape(out.shape) for step in spikes]
        self.set_rate(out, Rate(steps, [1 / len(spikes)] * len(spikes), source))

    def follow_sum(self, spikes: torch.Tensor, size: float, out: torch.Tensor) -> None:
        """Sums of spikes, divided by `size`."""
        self.set_rate(out, Rate([torch.round(out * size)], [1 / size], self.source(spikes)))

    def follow_factor(self, divides: bool, first: Any, second: Any, out: torch.Tensor) -> None:
        """A rate `[..., C]` times a constant, or times a factor per channel that several rows share."""
        rate, factor = self.rate_of(first), second
        if rate is None and not divides:
            rate, factor = self.rate_of(second), first
        if rate is None:
            return
        if not isinstance(factor, torch.Tensor) or (factor.numel() == 1 and self.is_weight(factor)):
            number = 1 / float(factor) if divides else float(factor)
            self.set_rate(out, replace(rate, weights=[number * weight for weight in rate.weights]))
            return
        per_channel = factor.ndim > 0 and factor.shape[-1] == out.shape[-1] and factor.numel() < out.numel()
        same_shape = rate.steps[0].shape == out.shape
        if divides or rate.gate is not None or not per_channel or not same_shape or self.rate_of(factor):
            return
        gates = 0 if self.is_weight(factor) else factor.numel() // factor.shape[-1]
        self.set_rate(out, replace(rate, gate=factor.expand_as(out), gates=gates))

    def consumed(self, operation: Any, args: tuple) -> tuple[Rate, torch.Tensor, torch.Tensor | None] | None:
        """The rate `[N, C]`, the weight `[C, n]` and the bias of a linear layer that may run on accumulates."""
        if operation is aten.mm:
            left, right, bias = args[0], args[1], None
        elif operation is aten.addmm:
            left, right, bias = args[1], args[2], args[0]
        else:
            return None
        rate = self.rate_of(left)
        return (rate, right, bias) if rate is not None and self.is_weight(right) else None

    def set_rate(self, values: torch.Tensor, rate: Rate) -> None:
        self.rates[key_of(values)] = replace(rate, values=values)

    def rate_of(self, x: Any) -> Rate | None:
        """What a tensor is made of, if that is spikes; spikes themselves are a rate of one step."""
        if not isinstance(x, torch.Tensor):
            return None
        if self.is_spikes(x):
            return Rate([x], [1.0], self.source(x))
        return self.rates.get(key_of(x))

    def set_spikes(self, made: list[torch.Tensor], tensors: list[torch.Tensor]) -> None:
        """What is `made` of tensors is spikes, of all their sources; of none, the inputs."""
        source = SEVERAL.join(dict.fromkeys(self.source(x) for x in tensors if self.is_spikes(x))) or "inputs"
        for x in made:
            self.blank.pop(storage_of(x), None)
            self.spikes[storage_of(x)] = x, source

    def forget(self, x: torch.Tensor) -> None:
        """`x` was written to."""
        self.spikes.pop(storage_of(x), None)
        self.blank.pop(storage_of(x), None)
        self.rates = {key: rate for key, rate in self.rates.items() if key[0] != storage_of(x)}

    def source(self, x: torch.Tensor) -> str:
        return self.spikes[storage_of(x)][1]

    def is_spikes(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor) and storage_of(x) in self.spikes

    def are_spikes(self, tensors: list[torch.Tensor]) -> bool:
        """Whether tensors hold spikes, and nothing else."""
        known = all(self.is_spikes(x) or storage_of(x) in self.blank for x in tensors)
        return known and any(map(self.is_spikes, tensors))

    def is_weight(self, x: Any) -> bool:
        """Whether `x` is a parameter or a buffer, as it was before the network ran."""
        return isinstance(x, torch.Tensor) and storage_of(x) in self.owners and storage_of(x) not in self.written


def written(func: Any, args: tuple, kwargs: dict) -> list[torch.Tensor]:
    """The tensors that `func` writes to."""
    arguments = func._schema.arguments
    given = [*args, *(kwargs.get(argument.name) for argument in arguments[len(args) :])]
    into = [x for argument, x in zip(arguments, given, strict=True) if argument.is_write]
    return [x for x in flat(into) if isinstance(x, torch.Tensor)]


def fills(x: torch.Tensor) -> bool:
    """Whether `x` is all of its memory."""
    return x.numel() * x.element_size() == x.untyped_storage().nbytes()


def is_number(x: Any, number: float) -> bool:
    return isinstance(x, int | float) and x == number


def is_neutral(operation: Any, args: tuple) -> bool:
    """Whether an operation, as adding 0, leaves its first argument as it is."""
    return operation in NEUTRAL and len(args) == 2 and is_number(args[1], NEUTRAL[operation])


def is_complement(args: tuple) -> bool:
    """Whether 1 - x, or not x, outputs no number but 0 and 1."""
    return len(args) == 1 or (is_number(args[1], 1) and len(args) == 2 and bool((args[0] <= 1).all()))


def kernel(size: Any, axes: int) -> tuple[int, ...]:
    """A kernel's size, of which PyTorch may be given one number for all axes."""
    return (tuple(flat((size,))) * axes)[:axes]


def averaged(operation: Any, args: tuple, out: torch.Tensor) -> float:
    """What the sum of each output's values is divided by, where that is the same for all; else 0."""
    if operation in (aten.avg_pool2d, aten.avg_pool3d):
        # Stride, padding, ceil_mode, count_include_pad and divisor_override may be left out.
        defaults: tuple[Any, ...] = (None, None, [], [0], False, True, None)
        given = [*args, *defaults[len(args) :]]
        if not given[6] and (given[4] or (any(given[3]) and not given[5])):
            return 0.0
        return float(given[6] or prod(kernel(given[1], 2 if operation is aten.avg_pool2d else 3)))
    sides = list(zip(args[0].shape, out.shape, strict=True))
    return float(prod(max(1, a // b) for a, b in sides)) if all(a % b == 0 or b % a == 0 for a, b in sides) else 0.0


def is_negative(rate: Rate) -> bool:
    """Whether some integer of a rounded value is below zero; spikes never are."""
    return rate.bits is not None and bool((rate.steps[0] < 0).any())


def step_of(rate: Rate, t: int) -> torch.Tensor:
    return rate.steps[t]


def is_binary(x: torch.Tensor) -> bool:
    """Whether values are 0 and 1 alone, and both."""
    return x.is_floating_point() and bool(((x == 0) | (x == 1)).all()) and 0 < int(x.count_nonzero()) < x.numel()


def storage_of(x: torch.Tensor) -> int:
    return x.untyped_storage()._cdata


def key_of(x: torch.Tensor) -> tuple:
    """The same for two tensors that are the same view of the same memory."""
    return storage_of(x), x.storage_offset(), tuple(x.shape), x.stride()


def flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from flat(value)
        else:
            yield value
