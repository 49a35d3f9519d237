"""What each operation costs: one rule per ATen operation, and one per module that is counted as a whole.

n is the number of elements output. A rule says what ran, in evaluation mode, for all clips of the batch.

| operation | cost |
| --- | --- |
| matrix product, dense | a MAC per pair of factors; a bias starts the accumulator and costs nothing |
| matrix product of spikes | an AC (and SynOp) per spike and output it reaches; of spikes with spikes, per coincidence |
| linear layer of rates, event-driven | an AC (SynOp) per spike and output; a MAC per output; per gate, one per weight |
| add, subtract | n ACs; spikes to spikes, an AC per spike; 0, nothing |
| multiply, divide by a constant | n MACs; spikes by spikes, an AC per coincidence; by exactly 1, nothing |
| divide | n transcendental |
| exp, sigmoid, tanh, square root, a random normal draw | n transcendental |
| logit, its argument clamped | n ACs, 2n transcendental, 2n comparisons |
| relu, clamp, compare, round, and of masks: and, not | n comparisons |
| largest of k | k - 1 comparisons |
| sum, mean of k | k - 1 ACs, of a mean 1 MAC; of spikes: an AC per spike, of a mean 1 MAC |
| softmax over k | k - 1 comparisons, 2 k - 1 ACs, k exp and 1 reciprocal (transcendental), k MACs |
| log-softmax over k | k - 1 comparisons, 3 k - 1 ACs, k exp and 1 logarithm (transcendental) |
| layer, group, instance norm over k | 2 k - 1 ACs, 3 k MACs, 1 special (SpikingJelly has no rule) |
| batch norm of running statistics | n MACs, nothing where it folds into what it reads |
| interpolation between k neighbours | k n MACs |
| LSTM, GRU, RNN of spikes | an AC (and SynOp) per spike and gate it reaches; MACs for the state |
| copies, views, selections, and adding a parameter to a product (a bias) | nothing |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import nn

from neurons import LearnedStep, LinearMemory, SpikeLinear, SpikingLayer
from neurons.coding import Integer, Latency, Poisson
from neurons.layer import RecurrentLayer
from neurons.readout import Readout
from snn_cace.counting.foreign import neuron_of, output_of
from snn_cace.counting.provenance import Rate, is_neutral, spike_count
from snn_cace.errors import InputError
from snn_cace.model.localisation import LossViews

aten = torch.ops.aten
WORD_BITS = 32


class UncountedOperationError(InputError):
    """An operation or a node that no rule knows."""


@dataclass
class Operations:
    """Operations and words of memory traffic.

    macs: multiply-accumulates. acs: accumulates. synops: those of the ACs that spikes cause in matrix products.
    comparisons. transcendental: exp, sigmoid, tanh, square root, division. neuron_updates: neurons times simulation
    steps. weight_reads: words of parameters, one per use, as SpikingJelly's memory counter has it; per segment, one for
    all patches and simulation steps of a segment that use it; per clip, one for all segments too. state_reads,
    state_writes: words of membranes and LSTM states. value_reads, value_writes: words that operations take and output.
    partial_sums: words of accumulators that are held from one simulation step to the next. narrow_macs: those of the
    MACs' kind whose activation has the module's few bits. zero_flags: words of bits that say which values are zero.
    """

    macs: float = 0.0
    acs: float = 0.0
    synops: float = 0.0
    comparisons: float = 0.0
    transcendental: float = 0.0
    neuron_updates: float = 0.0
    weight_reads: float = 0.0
    state_reads: float = 0.0
    state_writes: float = 0.0
    value_reads: float = 0.0
    value_writes: float = 0.0
    partial_sums: float = 0.0
    weight_reads_per_segment: float = 0.0
    weight_reads_per_clip: float = 0.0
    narrow_macs: float = 0.0
    zero_flags: float = 0.0

    def __add__(self, other: Operations) -> Operations:
        return Operations(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, factor: float) -> Operations:
        return Operations(*(getattr(self, f.name) * factor for f in fields(self)))


@dataclass
class Cost:
    """What does not depend on how much the network fires, and what spikes cause."""

    static: Operations = field(default_factory=Operations)
    event_driven: Operations = field(default_factory=Operations)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.static + other.static, self.event_driven + other.event_driven)

    def __mul__(self, factor: float) -> Cost:
        return Cost(self.static * factor, self.event_driven * factor)

    @classmethod
    def of(cls, **static: float) -> Cost:
        return cls(Operations(**static), Operations())


@dataclass(frozen=True)
class Layout:
    """How the rows of an operation lie in clips of so many segments: clip by clip, segment by segment; all of it once
    for each of so many simulation steps, where these stand first.
    """

    clips: int = 1
    segments: int = 1
    steps: int = 1

    def groups(self, rows: int) -> tuple[int, int]:
        """Into how many segments, and clips, so many rows fall; each by itself where they do not divide."""
        if rows % self.clips or not rows:
            return rows, rows
        return (rows if rows % (self.clips * self.segments) else self.clips * self.segments), self.clips

    def reads(self, rows: int, words: float) -> dict[str, float]:
        """Reads of `words` weights by each of `rows` rows: at every use, once a segment, once a clip."""
        segments, clips = self.groups(rows)
        return weight_reads(rows * words, segments * words, clips * words)

    def column_reads(self, active: torch.Tensor, outputs: int) -> dict[str, float]:
        """Reads of the columns of `outputs` weights that active values `[rows, C]`, not zero, ask for; n spikes at one
        place are n uses.
        """
        segments, clips = self.groups(len(active))
        if self.steps > 1 and len(active) % (self.steps * self.clips) == 0:
            active = active.unflatten(0, (self.steps, self.clips, -1)).transpose(0, 1).flatten(0, 2)
        once = ((active != 0).unflatten(0, (groups, -1)).any(1).sum() for groups in (segments, clips))
        return weight_reads(*(float(count) * outputs for count in (active.double().sum(), *once)))


def weight_reads(use: float, segment: float, clip: float) -> dict[str, float]:
    return {"weight_reads": use, "weight_reads_per_segment": segment, "weight_reads_per_clip": clip}


@dataclass
class Call:
    """One operation that ran. `spikes` says of a tensor whether it is made of spikes, `weight` whether it is a
    parameter, `product` whether what it reads is a product with weights, whose accumulator can start from a bias.
    """

    args: tuple
    out: Any
    spikes: Callable[[Any], bool]
    weight: Callable[[Any], bool]
    layout: Layout
    product: bool = False

    @property
    def first(self) -> torch.Tensor:
        """The first argument, `[...]`."""
        return self.args[0]


def matrix_product(call: Call, left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> Cost:
    """`[..., m, k]` times `[..., k, n]`."""
    out = call.out[0] if isinstance(call.out, tuple) else call.out
    left_spikes, right_spikes = call.spikes(left), call.spikes(right)
    static = Operations(**biases(call, bias), value_writes=out.numel())
    if not left_spikes and not right_spikes:
        values = sum(x.numel() for x in (left, right) if not call.weight(x))
        whole = Operations(macs=out.numel() * left.shape[-1], value_reads=values)
        return Cost(static + whole + Operations(**used_weights(call, left, right, active=False)))
    if left_spikes and right_spikes:
        events = spike_count(out)
    else:
        events = spike_count(left) * right.shape[-1] if left_spikes else spike_count(right) * left.shape[-2]
    read = sum(spike_count(x) for x, spikes in ((left, left_spikes), (right, right_spikes)) if spikes)
    weights = used_weights(call, left, right, active=True)
    return Cost(static, Operations(acs=events, synops=events, value_reads=read, **weights))


def skipping_product(call: Call, left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> Cost:
    """`matrix_product` without the products of which a factor is a zero activation; a bit for each activation says
    whether it is one.
    """
    if call.spikes(left) or call.spikes(right):
        return matrix_product(call, left, right, bias)
    out = call.out[0] if isinstance(call.out, tuple) else call.out
    here = [torch.ones_like(x, dtype=torch.bool) if call.weight(x) else x != 0 for x in (left, right)]
    products = (here[0].sum(-2, dtype=torch.float64) * here[1].sum(-1, dtype=torch.float64)).sum()
    values = [x for x in (left, right) if not call.weight(x)]
    return Cost(
        Operations(
            macs=float(products),
            value_reads=float(sum(int(x.count_nonzero()) for x in values)),
            value_writes=out.numel(),
            zero_flags=sum(x.numel() for x in values) / WORD_BITS,
        )
        + Operations(**biases(call, bias))
        + Operations(**used_weights(call, left, right, active=True))
    )


def biases(call: Call, bias: torch.Tensor | None) -> dict[str, float]:
    """Reads of a bias `[n]` by the rows `[rows, n]` of an output."""
    if bias is None or not call.weight(bias):
        return {}
    return call.layout.reads(call.out.numel() // call.out.shape[-1], call.out.shape[-1])


def used_weights(call: Call, left: torch.Tensor, right: torch.Tensor, active: bool) -> dict[str, float]:
    """Reads of the weights of a product: of all, or of columns of `active` values alone."""
    if call.weight(right):
        rows, outputs = left.reshape(-1, left.shape[-1]), right.shape[-1]
    elif call.weight(left):
        rows, outputs = right.transpose(-1, -2).reshape(-1, right.shape[-2]), left.shape[-2]
    else:
        return {}
    if not active:
        return call.layout.reads(len(rows), rows.shape[-1] * outputs)
    spikes = call.spikes(right if call.weight(left) else left)
    return call.layout.column_reads(rows if spikes else rows != 0, outputs)


def rate_product(rate: Rate, outputs: int, has_bias: bool, layout: Layout) -> Cost:
    """A linear layer of rates `[N, C]` to `[N, outputs]` on accumulates: each spike adds a column of weights, and what
    the readout scales by, it scales in the outputs. Columns are multiplied by a gate once for all rows that share it,
    written, and read in its place. Accumulators are held from one simulation step to the next.
    """
    rows = len(rate.steps[0])
    cells, reached = float(rows * outputs), rate.spikes * outputs
    columns = layout.column_reads(torch.stack(rate.steps).sum(0), outputs)
    return Cost(
        gated_columns(rate, outputs, layout)
        + Operations(
            macs=rate.scalings * cells,
            value_writes=cells,
            partial_sums=cells * len(rate.steps) if len(rate.steps) > 1 else 0.0,
            **(layout.reads(rows, outputs) if has_bias else {}),
        ),
        Operations(acs=reached, synops=reached, value_reads=rate.spikes, **columns),
    )


def narrow_product(rate: Rate, outputs: int, has_bias: bool, layout: Layout, skips: bool) -> Cost:
    """A linear layer of values of few bits `[N, C]` to `[N, outputs]`, whose step size lies in the weights; without
    those that are zero where it `skips` them.
    """
    values = rate.steps[0]
    rows, channels = values.shape
    kept = float(values.count_nonzero()) if skips else float(values.numel())
    columns = layout.column_reads(values != 0, outputs) if skips else layout.reads(rows, channels * outputs)
    return Cost(
        gated_columns(rate, outputs, layout)
        + Operations(narrow_macs=kept * outputs, value_reads=kept, value_writes=rows * outputs, **columns)
        + Operations(
            zero_flags=values.numel() / WORD_BITS if skips else 0.0, **(layout.reads(rows, outputs) if has_bias else {})
        )
    )


def gated_columns(rate: Rate, outputs: int, layout: Layout) -> Operations:
    """Columns of weights multiplied by each gate of a rate, and written."""
    channels = rate.steps[0].shape[-1]
    scaled = float(rate.gates * channels * outputs)
    return Operations(
        macs=scaled,
        value_reads=float(rate.gates * channels),
        value_writes=scaled,
        **layout.reads(rate.gates, channels * outputs),
    )


def elementwise(kind: str) -> Callable[[Call], Cost]:
    """One operation of `kind` per element output."""

    def rule(call: Call) -> Cost:
        values = sum(x.numel() for x in call.args if isinstance(x, torch.Tensor) and not call.weight(x))
        weights = sum(isinstance(x, torch.Tensor) and call.weight(x) for x in call.args)
        count = call.out.numel()
        return Cost.of(**{kind: count}, value_reads=values, value_writes=count, **per_channel(call, weights))

    return rule


def per_channel(call: Call, weights: int) -> dict[str, float]:
    """Reads of so many weights by each number of the output `[..., C]`."""
    channels = call.out.shape[-1] if call.out.ndim else 1
    return call.layout.reads(call.out.numel() // max(1, channels), channels * weights)


def skipping_multiplication(call: Call) -> Cost:
    """An element-wise product without those of which a factor is zero."""
    cost = scaling(call)
    kept = min(cost.static.macs, float(call.out.count_nonzero()))
    return Cost(dataclasses.replace(cost.static, macs=kept), cost.event_driven)


def logit(call: Call) -> Cost:
    """log(p / (1 - p)) of a clamped p."""
    count = call.out.numel()
    return Cost.of(acs=count, transcendental=2 * count, comparisons=2 * count, value_reads=count, value_writes=count)


def is_bias(call: Call) -> bool:
    """Whether a parameter is added to a product."""
    return call.product and any(map(call.weight, call.args)) and not call.weight(call.out)


def addition(call: Call) -> Cost:
    if is_neutral(aten.add, call.args):
        return Cost.of()
    if is_bias(call):
        return Cost.of(**per_channel(call, 1))
    if all(call.spikes(x) for x in call.args[:2]):
        spikes = spike_count(call.args[1])
        return Cost(Operations(), Operations(acs=spikes, value_reads=spikes))
    return elementwise("acs")(call)


def scaling(call: Call) -> Cost:
    if is_neutral(aten.mul, call.args):
        return Cost.of()
    if all(call.spikes(x) for x in call.args[:2]):
        both = spike_count(call.out)
        return Cost(Operations(), Operations(acs=both, value_reads=sum(spike_count(x) for x in call.args[:2])))
    return elementwise("macs")(call)


def division(call: Call) -> Cost:
    constant = not isinstance(call.args[1], torch.Tensor) or call.args[1].ndim == 0
    return elementwise("macs" if constant else "transcendental")(call)


def mean(call: Call) -> Cost:
    return total(call) + Cost.of(macs=call.out.numel())


def total(call: Call) -> Cost:
    count = call.out.numel()
    if call.spikes(call.first):
        spikes = spike_count(call.first)
        return Cost(Operations(value_writes=count), Operations(acs=spikes, value_reads=spikes))
    return Cost.of(acs=call.first.numel() - count, value_reads=call.first.numel(), value_writes=count)


def largest(call: Call) -> Cost:
    count = output_of(call.out).numel()
    return Cost.of(comparisons=call.first.numel() - count, value_reads=call.first.numel(), value_writes=count)


def top(call: Call) -> Cost:
    """The k largest of n by selection: (n - 1) + ... + (n - k) comparisons."""
    size, chosen = call.first.shape[call.args[2] if len(call.args) > 2 else -1], call.args[1]
    rows = call.first.numel() // size
    return Cost.of(
        comparisons=rows * sum(size - 1 - rank for rank in range(chosen)),
        value_reads=call.first.numel(),
        value_writes=rows * chosen,
    )


def softmax(call: Call) -> Cost:
    count, size = call.out.numel(), call.out.shape[call.args[1]]
    rows = count // size
    return Cost.of(
        comparisons=count - rows,
        acs=2 * count - rows,
        transcendental=count + rows,
        macs=count,
        value_reads=count,
        value_writes=count,
    )


def log_softmax(call: Call) -> Cost:
    count = call.out.numel()
    rows = count // max(1, call.out.shape[call.args[1]])
    spent = {"comparisons": count - rows, "acs": 3 * count - rows, "transcendental": count + rows}
    return Cost.of(**spent, value_reads=count, value_writes=count)


def norm(call: Call) -> Cost:
    """A layer, group or instance norm, or a batch norm without running statistics, of as many means as it outputs."""
    count, rows = call.first.numel(), call.out[2].numel()
    affine = sum(isinstance(x, torch.Tensor) for x in call.args[1:4])
    return Cost.of(
        acs=2 * count - rows,
        macs=3 * count,
        transcendental=rows,
        value_reads=count,
        value_writes=count,
        **call.layout.reads(rows, affine * count / rows),
    )


def batch_norm(call: Call) -> Cost:
    """In evaluation it is x times a constant plus another, per channel; behind a linear layer it costs nothing, since
    `neurons.fold` puts both into its weights.
    """
    if call.args[5]:
        return norm(call)
    count, channels = call.first.numel(), call.first.shape[1]
    reads = call.layout.reads(count // channels, 2 * channels)
    return Cost.of(macs=count, value_reads=count, value_writes=count, **reads)


def vector_norm(call: Call) -> Cost:
    return Cost.of(
        macs=call.first.numel(),
        transcendental=call.out.numel(),
        value_reads=call.first.numel(),
        value_writes=call.out.numel(),
    )


COMPUTED: dict[Any, Callable[[Call], Cost]] = {
    aten.mm: lambda call: matrix_product(call, call.args[0], call.args[1]),
    aten.bmm: lambda call: matrix_product(call, call.args[0], call.args[1]),
    aten.addmm: lambda call: matrix_product(call, call.args[1], call.args[2], bias=call.args[0]),
    aten.add: addition,
    aten.add_: addition,
    aten.sub: addition,
    aten.sub_: addition,
    aten.rsub: elementwise("acs"),
    aten.mul: scaling,
    aten.mul_: scaling,
    aten.div: division,
    aten.div_: division,
    aten.exp: elementwise("transcendental"),
    aten.logit: logit,
    aten.sigmoid: elementwise("transcendental"),
    aten.sigmoid_: elementwise("transcendental"),
    aten.tanh: elementwise("transcendental"),
    aten.tanh_: elementwise("transcendental"),
    aten.sqrt: elementwise("transcendental"),
    aten.rsqrt: elementwise("transcendental"),
    aten.randn_like: elementwise("transcendental"),
    aten.relu: elementwise("comparisons"),
    aten.relu_: elementwise("comparisons"),
    aten.clamp_min: elementwise("comparisons"),
    **{compare: elementwise("comparisons") for compare in (aten.ge, aten.gt, aten.lt)},
    **{logical: elementwise("comparisons") for logical in (aten.bitwise_and, aten.bitwise_not, aten.logical_not)},
    **dict.fromkeys((aten.amax, aten.amin, aten.argmax, aten.argmin, aten.max, aten.min), largest),
    aten.topk: lambda call: top(dataclasses.replace(call, out=call.out[0])),
    aten.mean: mean,
    aten.sum: total,
    aten._softmax: softmax,
    aten._safe_softmax: softmax,
    aten._log_softmax: log_softmax,
    aten.native_layer_norm: norm,
    aten.native_group_norm: norm,
    aten.native_batch_norm: batch_norm,
    aten.linalg_vector_norm: vector_norm,
}
"""ATen operations that compute."""

SKIPPING: dict[Any, Callable[[Call], Cost]] = {
    aten.mm: lambda call: skipping_product(call, call.args[0], call.args[1]),
    aten.bmm: lambda call: skipping_product(call, call.args[0], call.args[1]),
    aten.addmm: lambda call: skipping_product(call, call.args[1], call.args[2], bias=call.args[0]),
    aten.mul: skipping_multiplication,
    aten.mul_: skipping_multiplication,
}
"""Those that cost less where products with zero activations are not charged."""

FACTORY_OPS = {
    aten._local_scalar_dense, aten.all, aten.any, aten.arange, aten.bernoulli_, aten.empty, aten.empty_like,
    aten.empty_strided, aten.equal, aten.fill_, aten.full, aten.full_like, aten.is_nonzero, aten.new_empty,
    aten.new_full, aten.new_ones, aten.new_zeros, aten.ones, aten.ones_like, aten.rand, aten.randn, aten.scalar_tensor,
    aten.zero_, aten.zeros, aten.zeros_like,
}  # fmt: skip
"""ATen operations that make constants, or ask whether there is something."""


def spiking_layer(
    module: SpikingLayer, current: torch.Tensor, spikes: torch.Tensor, is_spikes: bool, layout: Layout
) -> Cost:
    """Current and spikes `[S, B, T, ..., N]`: a node's updates; each reads and writes its state once. A constant
    current is read as often as it is used.

    Raises:
        UncountedOperationError: a node that does not say what an update costs.
    """
    updates = float(spikes.numel())
    try:
        node = module.config.cost(len(spikes))
    except NotImplementedError as error:
        raise UncountedOperationError(str(error)) from None
    fired = spike_count(spikes)
    per_spike = Operations(acs=node.per_spike * fired, value_writes=fired)
    if isinstance(module, RecurrentLayer):
        # The last step of a sequence feeds nothing back.
        last = spikes[-1] if module.membrane == "reset" else spikes[-1, :, -1]
        neurons = module.feedback.out_features
        fed = (fired - spike_count(last)) * neurons
        columns = layout.column_reads(spikes.sum(0).flatten(0, -2), neurons) | {"weight_reads": fed}
        per_spike = per_spike + Operations(acs=fed, synops=fed, **columns)
    return Cost(
        Operations(
            macs=node.macs * updates,
            acs=node.acs * updates,
            comparisons=node.comparisons * updates,
            neuron_updates=updates,
            state_reads=node.states * updates,
            state_writes=node.states * updates,
            value_reads=updates,
        ),
        per_spike,
    )


def readout(module: Readout, spikes: torch.Tensor, out: torch.Tensor, is_spikes: bool, layout: Layout) -> Cost:
    """Spikes `[S, ...]` to `[...]`. `rate`: an AC per spike and a MAC per value; `membrane`: a leak (MAC) per value and
    step, an AC per spike.
    """
    cells, dense = float(out.numel()), float(spikes.numel())
    scaled = cells if module.name == "rate" else dense
    if not is_spikes:
        return Cost.of(acs=dense - cells, macs=scaled, value_reads=dense, value_writes=cells)
    events = spike_count(spikes)
    return Cost(Operations(macs=scaled, value_writes=cells), Operations(acs=events, value_reads=events))


def spike_linear(module: SpikeLinear, spikes: torch.Tensor, out: torch.Tensor, is_spikes: bool, layout: Layout) -> Cost:
    """Spikes `[S, ..., inputs]` to `[..., outputs]`: every spike adds a column of weights; what the readout scales, it
    scales in the outputs, once (`rate`) or per simulation step (`membrane`).
    """
    events, cells, steps = spike_count(spikes), float(out.numel()), len(spikes)
    reached = events * module.out_features
    scaled = cells if module.readout.name == "rate" else steps * cells
    rows = (spikes.sum(0) if spikes.ndim > out.ndim else spikes).reshape(-1, module.in_features)
    bias, columns = layout.reads(len(rows), module.out_features), layout.column_reads(rows, module.out_features)
    held = float(out.numel() * steps) if steps > 1 else 0.0
    return Cost(
        Operations(macs=scaled, value_writes=cells, partial_sums=held, **bias),
        Operations(acs=reached, synops=reached, value_reads=events, **columns),
    )


def recurrent(module: nn.RNNBase, values: torch.Tensor, out: tuple, is_spikes: bool, layout: Layout) -> Cost:
    """`[B, T, i]` to `[B, T, h]` per layer and direction, and per segment: of an LSTM four gates of h (i + h) MACs, 3 h
    MACs for f c + i g and o tanh(c), 5 h sigmoids and tanhs; h and c are read and written. A GRU has three gates, 3 h
    MACs and 2 h ACs; an RNN one. Of spikes, the first layer's products with its inputs are ACs.

    Raises:
        UncountedOperationError: a projection, or packed sequences.
    """
    if getattr(module, "proj_size", 0) or not isinstance(values, torch.Tensor):
        raise UncountedOperationError(
            "a recurrent layer with a projection, or of packed sequences, has no counting rule; give its class one: "
            f"from snn_cace.counting.rules import MODULE_RULES; MODULE_RULES[nn.{type(module).__name__}] = my_rule"
        )
    h, gates, directions = module.hidden_size, gates_of(module), 2 if module.bidirectional else 1
    rows, words = values.reshape(-1, values.shape[-1]), 2 if isinstance(module, nn.LSTM) else 1
    products = {4: {"macs": 3 * h, "transcendental": 5 * h}, 3: {"macs": 3 * h, "acs": 2 * h, "transcendental": 3 * h}}
    rectified = getattr(module, "nonlinearity", "tanh") == "relu"
    own = products.get(gates, {"comparisons" if rectified else "transcendental": h})
    cost, events = Operations(), Operations()
    for layer in range(module.num_layers):
        inputs = rows.shape[-1] if layer == 0 else directions * h
        read = 0 if layer == 0 and is_spikes else inputs
        weights = gates * h * (read + h) + (2 * gates * h if module.bias else 0)
        moved = {"state_reads": words * h, "state_writes": words * h, "value_reads": read, "value_writes": h}
        each = Operations(**own, **moved) + Operations(macs=gates * h * (read + h))
        cost = cost + each * (len(rows) * directions) + Operations(**layout.reads(len(rows), weights * directions))
    if is_spikes:
        outputs, fired = gates * h * directions, spike_count(rows)
        added = {"acs": fired * outputs, "synops": fired * outputs, "value_reads": fired * directions}
        events = Operations(**added, **layout.column_reads(rows, outputs))
    return Cost(cost, events)


def gates_of(module: nn.RNNBase) -> int:
    return 4 if isinstance(module, nn.LSTM) else 3 if isinstance(module, nn.GRU) else 1


def skipping_recurrent(module: nn.RNNBase, values: torch.Tensor, out: tuple, is_spikes: bool, layout: Layout) -> Cost:
    """`recurrent` without the products of zero inputs, and of the state that it starts from, which is zero."""
    whole = recurrent(module, values, out, is_spikes, layout)
    rows, directions = values.reshape(-1, values.shape[-1]), 2 if module.bidirectional else 1
    gates, clips = gates_of(module) * module.hidden_size * directions, values.shape[0 if module.batch_first else 1]
    at_rest = gates * clips * module.hidden_size * module.num_layers
    if is_spikes:
        return whole + Cost.of(macs=-at_rest, weight_reads=-at_rest)
    zeros = float(rows.numel() - int(rows.count_nonzero()))
    read, all_read = layout.column_reads(rows != 0, gates), layout.reads(len(rows), rows.shape[-1] * gates)
    unread = {name: read[name] - all_read[name] for name in read}
    unread["weight_reads"] -= at_rest
    flags = rows.numel() / WORD_BITS
    skipped = gates * zeros + at_rest
    return whole + Cost.of(macs=-skipped, value_reads=-zeros * directions, zero_flags=flags, **unread)


def narrow_inputs(module: nn.RNNBase, rate: Rate, cost: Cost, skips: bool) -> Cost:
    """What a recurrent layer costs whose inputs, not its state, have few bits."""
    values = float(rate.steps[0].count_nonzero()) if skips else float(rate.steps[0].numel())
    macs = gates_of(module) * module.hidden_size * (2 if module.bidirectional else 1) * values
    return Cost(cost.static + Operations(macs=-macs, narrow_macs=macs))


def poisson(module: Poisson, values: torch.Tensor, spikes: torch.Tensor, is_spikes: bool, layout: Layout) -> Cost:
    """`[...]` to `[S, ...]`: a sigmoid per value; a draw and a comparison per simulation step."""
    count = values.numel()
    coded = Operations(transcendental=count, value_reads=count, comparisons=2 * spikes.numel())
    return Cost(coded, Operations(value_writes=spike_count(spikes)))


def latency(module: Latency, values: torch.Tensor, spikes: torch.Tensor, is_spikes: bool, layout: Layout) -> Cost:
    """`[...]` to `[S, ...]`: a sigmoid, a subtraction, a multiplication and a rounding per value."""
    count = values.numel()
    coded = Operations(transcendental=count, value_reads=count, acs=count, macs=count, comparisons=count)
    return Cost(coded, Operations(value_writes=spike_count(spikes)))


def integer(module: Integer, values: torch.Tensor, spikes: torch.Tensor, is_spikes: bool, layout: Layout) -> Cost:
    """`[...]` to `[1, ...]`: a division by a constant threshold (a MAC), a clamp and a rounding per value."""
    count = values.numel()
    return Cost(
        Operations(
            macs=count,
            comparisons=2 * count,
            value_reads=count,
            **layout.reads(count // values.shape[-1], values.shape[-1]),
        ),
        Operations(value_writes=float(spikes.count_nonzero())),
    )


def learned_step(module: LearnedStep, values: torch.Tensor, out: torch.Tensor, is_spikes: bool, layout: Layout) -> Cost:
    """`[...]` to the same: a division by a constant step size (a MAC), a clip and a rounding per value."""
    count = values.numel()
    return Cost.of(macs=count, comparisons=3 * count, value_reads=count, value_writes=count * module.bits / WORD_BITS)


def linear_memory(
    module: LinearMemory, values: torch.Tensor, out: torch.Tensor, is_spikes: bool, layout: Layout
) -> Cost:
    """`[B, T, ..., N]` to the same, per value: v <- p v + x and a v + (b / q) x, with q in the weights before it; of
    one simulation step both are one, v + (x - v) / tau. Without memory its constant lies in the weights before it.
    """
    count = values.numel()
    if module.config.membrane == "reset":
        return Cost.of()
    arithmetic = {"macs": 3 * count} if module.config.steps > 1 else {"macs": count, "acs": count}
    moved = dict.fromkeys(("state_reads", "state_writes", "value_reads", "value_writes"), count)
    return Cost.of(**arithmetic, **moved)


def foreign_neuron(module: nn.Module, values: torch.Tensor, out: Any, is_spikes: bool, layout: Layout) -> Cost:
    """One call of a neuron of another library, `NEURONS` in `snn_cace.counting.foreign`: an update per output."""
    neuron, spikes = neuron_of(module), output_of(out)
    assert neuron is not None
    updates = float(spikes.numel())
    fired = spike_count(spikes) if neuron.fires else 0.0
    return Cost(
        Operations(
            macs=neuron.macs * updates,
            acs=neuron.acs * updates,
            comparisons=updates if neuron.fires else 0.0,
            neuron_updates=updates,
            state_reads=neuron.states * updates,
            state_writes=neuron.states * updates,
            value_reads=updates,
        ),
        Operations(acs=neuron.per_spike * fired, value_writes=fired),
    )


def is_product(operation: Any) -> bool:
    return operation in (aten.mm, aten.addmm, aten.bmm, aten.convolution)


def for_the_loss(module: LossViews, values: torch.Tensor, out: torch.Tensor, is_spikes: bool, layout: Layout) -> Cost:
    """Nothing: who runs the network needs no loss."""
    return Cost.of()


Rule = Callable[[Any, torch.Tensor, Any, bool, Layout], Cost]
"""Of a module, what it reads and outputs, whether it reads spikes, and how these lie in clips."""

MODULE_RULES: dict[type[nn.Module], Rule] = {
    nn.RNNBase: recurrent,
    SpikingLayer: spiking_layer,
    SpikeLinear: spike_linear,
    Readout: readout,
    Poisson: poisson,
    Latency: latency,
    Integer: integer,
    LearnedStep: learned_step,
    LinearMemory: linear_memory,
    LossViews: for_the_loss,
}
"""Modules counted as a whole, by what they stand for on event-driven hardware, not by how PyTorch runs them."""

SKIPPING_RULES: dict[Rule, Rule] = {recurrent: skipping_recurrent}
"""By rules of `MODULE_RULES`, those of modules that cost less where products with zero activations are not charged."""
