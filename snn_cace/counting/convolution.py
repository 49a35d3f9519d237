"""What convolutions, pooling and other layers of PyTorch cost; added to the tables of `snn_cace.counting.rules`.

A convolution of spikes adds a weight per spike and output that it reaches, borders included: the spikes are counted by
a convolution with ones. A pooling takes k - 1 comparisons or additions per output of k values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import torch

from snn_cace.counting.costs import WORD_BITS, Cost, Operations
from snn_cace.counting.provenance import aten, spike_count
from snn_cace.counting.rules import COMPUTED, Call, elementwise, per_channel


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
    """`[N, C, ...]` to `[N, n, ...]`: a MAC per weight that an output reads; of spikes, an AC for each they reach.
    Zeros that are skipped have no products; a bit for each value then says whether it is zero.
    """
    values, weight, bias, transposed = call.first, call.args[1], call.args[2], call.args[6]
    static, spikes = Operations(value_writes=call.output.numel()), call.spikes(values)
    if bias is not None and call.weight(bias):
        channels = call.output.shape[1]
        static += call.layout.reads(call.output.numel() // channels, channels)
    if not spikes and not call.skips:
        read = values if transposed else call.output
        positions = read.numel() // read.shape[1]
        reads = call.layout.reads(positions, weight.numel()) if call.weight(weight) else Operations()
        return Cost(static + reads + Operations(macs=float(positions * weight.numel()), value_reads=values.numel()))
    active = values if spikes else values != 0
    events, count = reached(call, active), spike_count(active)
    columns = weights_of_active(call, active, events)
    if spikes:
        return Cost(static, columns + Operations(acs=events, synops=events, value_reads=count))
    kept = Operations(macs=events, value_reads=count, zero_flags=values.numel() / WORD_BITS)
    return Cost(static + columns + kept)


def weights_of_active(call: Call, values: torch.Tensor, events: float) -> Operations:
    """Reads of the weights of channels that are active: one a product; once a segment or clip where any place is."""
    weight = call.args[1]
    if not call.weight(weight):
        return Operations()
    channels = values.flatten(2).any(2) if values.ndim > 2 else values != 0
    return replace(call.layout.column_reads(channels, weight.numel() // values.shape[1]), weight_reads=events)


def pooling(kind: str, adaptive: bool = False) -> Callable[[Call], Cost]:
    """k - 1 operations of a `kind` for the k values of each output, and a MAC where they are averaged."""

    def rule(call: Call) -> Cost:
        out = call.output
        count, sizes = out.numel(), window_sizes(call, out) if adaptive else torch.tensor(prod(call.args[1]))
        averaged = {"macs": count} if kind == "acs" else {}
        if call.spikes(call.first) and kind == "acs":
            pool = aten.avg_pool3d if len(call.args[1]) == 3 else aten.avg_pool2d
            sums = out * sizes if adaptive else pool(*call.args[:5], divisor_override=1)
            spikes = float(sums.round().sum(dtype=torch.float64))  # one in several windows is added in each
            return Cost(Operations(value_writes=count, **averaged), Operations(acs=spikes, value_reads=spikes))
        each = {kind: float((sizes - 1).expand(out.shape).sum())}
        return call.spent(**each, **averaged)

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
    reads = per_channel(call, 1) if call.weight(call.first) else Operations()
    return Cost(reads + Operations(value_writes=call.output.numel()))


def bags(call: Call) -> Cost:
    """Sums, means (mode 1) or maxima (2) of the rows of a table that fall in each bag."""
    table, indices, offsets = call.args[:3]
    mode, weights, padding = (call.args[place] if len(call.args) > place else None for place in (4, 6, 8))
    bag = torch.bucketize(torch.arange(len(indices)), offsets, right=True)
    rows = bag[indices != (-1 if padding is None else padding)]
    words, count = table.shape[1], call.output.numel()
    joined = float(words * (len(rows) - len(rows.unique())))
    kind = {"comparisons" if mode == 2 else "acs": joined}
    macs = float(len(rows) * words) if weights is not None else float(count) if mode == 1 else 0.0
    return Cost(call.layout.reads(len(rows), words) + Operations(**kind, macs=macs, value_writes=count))


def overlapping(call: Call) -> Cost:
    """Patches put back side by side: values that fall on one place are added."""
    taken = aten.col2im(torch.ones_like(call.first), *call.args[1:])
    return call.spent(acs=float((taken - 1).clamp(min=0).sum()))


def interpolation(neighbours: int) -> Callable[[Call], Cost]:
    return lambda call: call.spent(macs=neighbours * call.output.numel())


def polynomial(call: Call) -> Cost:
    """x to a small whole power is that many products less one; to any other, one transcendental operation."""
    power = call.args[1]
    whole = isinstance(power, int | float) and power in (2, 3, 4)
    return elementwise("macs")(call) * (float(power) - 1) if whole else elementwise("transcendental")(call)


COMPUTED |= {
    aten.convolution: convolution,
    aten.baddbmm: lambda call: COMPUTED[aten.bmm](replace(call, args=call.args[1:])) + Cost.of(acs=call.out.numel()),
    **dict.fromkeys((aten.avg_pool2d, aten.avg_pool3d), pooling("acs")),
    **dict.fromkeys((aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d), pooling("acs", adaptive=True)),
    aten.max_pool1d_with_indices: pooling("comparisons"),
    aten.max_pool2d_with_indices: pooling("comparisons"),
    aten.max_pool3d_with_indices: pooling("comparisons"),
    **dict.fromkeys((aten.adaptive_max_pool2d, aten.adaptive_max_pool3d), pooling("comparisons", adaptive=True)),
    aten.upsample_linear1d: interpolation(2),
    aten.upsample_bilinear2d: interpolation(4),
    aten.upsample_trilinear3d: interpolation(8),
    aten.upsample_bicubic2d: interpolation(16),
    **dict.fromkeys((aten._embedding_bag, aten._embedding_bag_forward_only), bags),
    aten.embedding: gather,
    aten.col2im: overlapping,
    aten.glu: lambda call: call.spent(macs=call.output.numel(), transcendental=call.output.numel()),
    aten.softshrink: lambda call: call.spent(acs=call.output.numel(), comparisons=call.output.numel()),
    aten.pow: polynomial,
    aten.cumsum: lambda call: call.spent(acs=call.output.numel()),
}
