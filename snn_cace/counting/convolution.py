"""What convolutions, pooling and other layers of PyTorch cost; added to the tables of `snn_cace.counting.rules`.

A convolution of spikes adds a weight per spike and output that it reaches, borders included: the spikes are counted by
a convolution with ones. A pooling takes k - 1 comparisons or additions per output of k values.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch

from snn_cace.counting.foreign import output_of
from snn_cace.counting.provenance import spike_count
from snn_cace.counting.rules import COMPUTED, SKIPPING, WORD_BITS, Call, Cost, Operations, aten, elementwise


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


def pooling(kind: str, adaptive: bool = False) -> Any:
    """k - 1 operations of a `kind` for the k values of each output, and a MAC where they are averaged."""

    def rule(call: Call) -> Cost:
        out = output_of(call.out)
        count, sizes = out.numel(), window_sizes(call, out) if adaptive else torch.tensor(prod(call.args[1]))
        averaged = {"macs": count} if kind == "acs" else {}
        if call.spikes(call.first) and kind == "acs":
            pool = aten.avg_pool3d if len(call.args[1]) == 3 else aten.avg_pool2d
            sums = out * sizes if adaptive else pool(*call.args[:5], divisor_override=1)
            spikes = float(sums.round().sum(dtype=torch.float64))  # one in several windows is added in each
            return Cost(Operations(value_writes=count, **averaged), Operations(acs=spikes, value_reads=spikes))
        each = {kind: float((sizes - 1).expand(out.shape).sum())}
        return Cost.of(**each, **averaged, value_reads=call.first.numel(), value_writes=count)

    return rule


def window_sizes(call: Call, out: torch.Tensor) -> torch.Tensor:
    """How many values each output of an adaptive pooling reads, as PyTorch cuts its windows, `[..., n]` of its axes."""
    sizes, axes = torch.ones((), dtype=torch.float64), len(call.args[1])
    for a, b in zip(call.first.shape[-axes:], out.shape[-axes:], strict=True):
        along = torch.tensor([-(-(i + 1) * a // b) - i * a // b for i in range(b)])
        sizes = sizes.unsqueeze(-1) * along
    return sizes


def gather(call: Call) -> Cost:
    """Rows of a table, as an embedding has it: a read of each word that is output."""
    words = call.out.shape[-1]
    reads = call.layout.reads(call.out.numel() // words, words) if call.weight(call.first) else {}
    return Cost.of(value_writes=call.out.numel(), **reads)


def bags(call: Call) -> Cost:
    """Sums, means (mode 1) or maxima (2) of the rows of a table that fall in each bag."""
    table, indices, offsets = call.args[:3]
    mode, weights, padding = (call.args[place] if len(call.args) > place else None for place in (4, 6, 8))
    bag = torch.bucketize(torch.arange(len(indices)), offsets, right=True)
    rows = bag[indices != (-1 if padding is None else padding)]
    words, count = table.shape[1], call.out[0].numel()
    joined = float(words * (len(rows) - len(rows.unique())))
    kind = {"comparisons" if mode == 2 else "acs": joined}
    macs = float(len(rows) * words) if weights is not None else float(count) if mode == 1 else 0.0
    return Cost.of(**kind, macs=macs, value_writes=count, **call.layout.reads(len(rows), words))


def overlapping(call: Call) -> Cost:
    """Patches put back side by side: values that fall on one place are added."""
    taken = aten.col2im(torch.ones_like(call.first), *call.args[1:])
    return Cost.of(
        acs=float((taken - 1).clamp(min=0).sum()), value_reads=call.first.numel(), value_writes=call.out.numel()
    )


def interpolation(neighbours: int) -> Any:
    def rule(call: Call) -> Cost:
        return Cost.of(
            macs=neighbours * call.out.numel(), value_reads=call.first.numel(), value_writes=call.out.numel()
        )

    return rule


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
    **dict.fromkeys((aten.avg_pool2d, aten.avg_pool3d), pooling("acs")),
    **dict.fromkeys((aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d), pooling("acs", adaptive=True)),
    **dict.fromkeys((aten.adaptive_max_pool2d, aten.adaptive_max_pool3d), pooling("comparisons", adaptive=True)),
    aten.upsample_linear1d: interpolation(2),
    aten.upsample_bilinear2d: interpolation(4),
    aten.upsample_trilinear3d: interpolation(8),
    aten.upsample_bicubic2d: interpolation(16),
    **dict.fromkeys((aten._embedding_bag, aten._embedding_bag_forward_only), bags),
    aten.embedding: gather,
    aten.col2im: overlapping,
    aten.glu: lambda call: elementwise("macs")(call) + Cost.of(transcendental=call.out.numel()),
    aten.log_sigmoid_forward: lambda call: elementwise("transcendental")(replace(call, out=call.out[0])),
    aten.softshrink: lambda call: elementwise("acs")(call) + Cost.of(comparisons=call.out.numel()),
    aten.pow: polynomial,
    aten.cumsum: scan,
}
MAXIMA = (aten.max_pool1d_with_indices, aten.max_pool2d_with_indices, aten.max_pool3d_with_indices)
TRANSCENDENTAL = (
    aten.gelu, aten.silu, aten.silu_, aten.erf, aten.log, aten.reciprocal, aten.sin, aten.cos, aten.softplus,
    aten.celu, aten.elu,
)  # fmt: skip
PRODUCTS = (
    aten.hardswish, aten.hardswish_, aten.hardsigmoid, aten.hardsigmoid_, aten.addcmul, aten.leaky_relu,
    aten.leaky_relu_, aten.lerp, aten._prelu_kernel, aten.rrelu_with_noise,
)  # fmt: skip
SUMS = (aten.neg, aten.abs)
CHOICES = (
    aten.le, aten.eq, aten.ne, aten.where, aten.clamp, aten.clamp_, aten.hardtanh, aten.hardtanh_, aten.round,
    aten.sign, aten.maximum, aten.minimum, aten.floor, aten.heaviside, aten.logical_and, aten.logical_or,
    aten.bitwise_or, aten.clamp_min_, aten.threshold, aten.threshold_, aten.hardshrink,
)  # fmt: skip
COMPUTED |= dict.fromkeys(MAXIMA, pooling("comparisons"))
COMPUTED |= dict.fromkeys(TRANSCENDENTAL, elementwise("transcendental"))
COMPUTED |= dict.fromkeys(PRODUCTS, elementwise("macs"))
COMPUTED |= dict.fromkeys(SUMS, elementwise("acs"))
COMPUTED |= dict.fromkeys(CHOICES, elementwise("comparisons"))
SKIPPING[aten.convolution] = skipping_convolution
