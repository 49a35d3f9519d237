"""What convolutions, pooling and recurrent layers cost; added to the tables of `snn_cace.counting.rules`.

A convolution of spikes adds a weight per spike and output that it reaches, borders included: the spikes are counted by
a convolution with ones. A pooling takes k - 1 comparisons or additions per output of k values.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import nn

from snn_cace.counting.provenance import spike_count
from snn_cace.counting.rules import (
    COMPUTED,
    MODULE_RULES,
    SKIPPING,
    WORD_BITS,
    Call,
    Cost,
    Layout,
    Operations,
    aten,
    elementwise,
)


def reached(call: Call, values: torch.Tensor) -> float:
    """How many products a sum of `values` `[N, C, ...]` takes part in: each as often as outputs read it."""
    _, weight, _, stride, padding, dilation, transposed, output_padding, groups = call.args
    kernel = weight.shape[2:]
    summed = values.float().unflatten(1, (groups, -1)).sum(2)
    ones = torch.ones(groups, 1, *kernel, dtype=summed.dtype)
    read = torch.convolution(summed, ones, None, stride, padding, dilation, transposed, output_padding, groups)
    outputs = weight.shape[1] if transposed else weight.shape[0] / groups
    return float(read.sum(dtype=torch.float64)) * outputs


def convolution(call: Call) -> Cost:
    """`[N, C, ...]` to `[N, n, ...]`: a MAC per weight that an output reads; of spikes, an AC for each they reach."""
    values, weight, transposed = call.first, call.args[1], call.args[6]
    static = Operations(**bias_reads(call), value_writes=call.out.numel())
    if call.spikes(values):
        events = reached(call, values)
        columns = weights_of_active(call, values, events)
        return Cost(static, Operations(acs=events, synops=events, value_reads=spike_count(values), **columns))
    positions = (values if transposed else call.out).numel() // (values.shape[1] if transposed else call.out.shape[1])
    reads = call.layout.reads(positions, weight.numel()) if call.weight(weight) else {}
    return Cost(static + Operations(macs=float(positions * weight.numel()), value_reads=values.numel(), **reads))


def skipping_convolution(call: Call) -> Cost:
    """`convolution` without the products of zero activations; a bit for each says whether it is zero."""
    if call.spikes(call.first):
        return convolution(call)
    kept = call.first != 0
    events, count = reached(call, kept), float(kept.sum())
    flags = call.first.numel() / WORD_BITS
    moved = Operations(value_reads=count, value_writes=call.out.numel(), zero_flags=flags, **bias_reads(call))
    return Cost(moved + Operations(macs=events, **weights_of_active(call, kept, events)))


def bias_reads(call: Call) -> dict[str, float]:
    bias = call.args[2]
    if bias is None or not call.weight(bias):
        return {}
    return call.layout.reads(call.out.numel() // call.out.shape[1], call.out.shape[1])


def weights_of_active(call: Call, values: torch.Tensor, events: float) -> dict[str, float]:
    """Reads of the weights of channels that are active: one a product; once a segment or clip where any place is."""
    weight = call.args[1]
    if not call.weight(weight):
        return {}
    channels = values.flatten(2).any(2) if values.ndim > 2 else values != 0
    reads = call.layout.column_reads(channels, weight.numel() // values.shape[1])
    return reads | {"weight_reads": events}


def pooling(kind: str) -> Any:
    """k - 1 operations of a `kind` for the k values of each output, and a MAC where they are averaged."""

    def rule(call: Call) -> Cost:
        out = call.out[0] if isinstance(call.out, tuple) else call.out
        adaptive = max(1.0, call.first.numel() / out.numel())
        kernel = adaptive if kind == "adaptive" else prod(call.args[1])
        averaged = {"macs": out.numel()} if kind != "comparisons" else {}
        each = {"comparisons" if kind == "comparisons" else "acs": (kernel - 1) * out.numel()}
        if call.spikes(call.first) and kind != "comparisons":
            spikes = float((out * kernel).round().sum(dtype=torch.float64))  # one in several windows is added in each
            return Cost(Operations(value_writes=out.numel(), **averaged), Operations(acs=spikes, value_reads=spikes))
        return Cost.of(**each, **averaged, value_reads=call.first.numel(), value_writes=out.numel())

    return rule


def recurrent(module: nn.RNNBase, values: torch.Tensor, out: Any, is_spikes: bool, layout: Layout) -> Cost:
    """GRU and RNN, `[B, T, i]` to `[B, T, h]`: 3 or 1 gates of h (i + h) MACs; a GRU also 3 h MACs and 2 h ACs."""
    gates = 3 if isinstance(module, nn.GRU) else 1
    h, directions = module.hidden_size, 2 if module.bidirectional else 1
    runs = values.numel() // values.shape[-1]
    cost = Operations()
    for layer in range(module.num_layers):
        inputs = values.shape[-1] if layer == 0 else directions * h
        weights = gates * h * (inputs + h) + (2 * gates * h if module.bias else 0)
        each = Operations(
            macs=gates * h * (inputs + h) + (3 * h if gates == 3 else 0),
            acs=2 * h if gates == 3 else 0,
            transcendental=gates * h,
            state_reads=h,
            state_writes=h,
            value_reads=inputs,
            value_writes=h,
        )
        cost = cost + each * (runs * directions) + Operations(**layout.reads(runs, weights * directions))
    return Cost(cost)


def gather(call: Call) -> Cost:
    """Rows of a table, as an embedding has it: a read of each word that is output."""
    words = call.out.shape[-1]
    reads = call.layout.reads(call.out.numel() // words, words) if call.weight(call.first) else {}
    return Cost.of(value_writes=call.out.numel(), **reads)


def normalised(call: Call) -> Cost:
    """A group norm: per value 2 ACs and 3 MACs, per group a root."""
    count = call.out[0].numel()
    roots = call.out[2].numel()
    return Cost.of(acs=2 * count, macs=3 * count, transcendental=roots, value_reads=count, value_writes=count)


def polynomial(call: Call) -> Cost:
    """x to a small whole power is that many products less one; to any other, one transcendental operation."""
    power = call.args[1]
    whole = isinstance(power, int | float) and power in (2, 3, 4)
    return elementwise("macs")(call) * (float(power) - 1) if whole else elementwise("transcendental")(call)


def scan(call: Call) -> Cost:
    return Cost.of(acs=call.out.numel(), value_reads=call.first.numel(), value_writes=call.out.numel())


COMPUTED |= {
    aten.convolution: convolution,
    aten.baddbmm: lambda call: COMPUTED[aten.bmm](replace(call, args=call.args[1:])) + Cost.of(acs=call.out.numel()),
    aten.avg_pool2d: pooling("acs"),
    aten._adaptive_avg_pool2d: pooling("adaptive"),
    aten.native_group_norm: normalised,
    aten.embedding: gather,
    aten.pow: polynomial,
    aten.cumsum: scan,
}
MAXIMA = (aten.max_pool1d_with_indices, aten.max_pool2d_with_indices, aten.max_pool3d_with_indices)
TRANSCENDENTAL = (
    aten.gelu, aten.silu, aten.silu_, aten.erf, aten.log, aten.reciprocal, aten.sin, aten.cos, aten.softplus,
    aten._log_softmax, aten.elu, aten.div_,
)  # fmt: skip
PRODUCTS = (
    aten.hardswish, aten.hardswish_, aten.hardsigmoid, aten.hardsigmoid_, aten.addcmul, aten.leaky_relu,
    aten.leaky_relu_, aten.lerp,
)  # fmt: skip
SUMS = (aten.neg, aten.abs, aten.sub_)
CHOICES = (
    aten.le, aten.eq, aten.ne, aten.where, aten.clamp, aten.clamp_, aten.hardtanh, aten.hardtanh_, aten.round,
    aten.sign, aten.maximum, aten.minimum, aten.floor, aten.heaviside, aten.logical_and, aten.logical_or,
    aten.bitwise_or, aten.argmax, aten.amin,
)  # fmt: skip
COMPUTED |= dict.fromkeys(MAXIMA, pooling("comparisons"))
COMPUTED |= dict.fromkeys(TRANSCENDENTAL, elementwise("transcendental"))
COMPUTED |= dict.fromkeys(PRODUCTS, elementwise("macs"))
COMPUTED |= dict.fromkeys(SUMS, elementwise("acs"))
COMPUTED |= dict.fromkeys(CHOICES, elementwise("comparisons"))
SKIPPING[aten.convolution] = skipping_convolution
MODULE_RULES |= {nn.GRU: recurrent, nn.RNN: recurrent}
