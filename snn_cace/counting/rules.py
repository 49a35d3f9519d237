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

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from neurons import LinearMemory, Rounding, SpikeLinear, SpikingLayer
from neurons.coding import Integer, Latency, Poisson
from neurons.layer import RecurrentLayer
from neurons.readout import Readout
from snn_cace.counting.costs import WORD_BITS, Cost, Operations
from snn_cace.counting.foreign import neuron_of, output_of
from snn_cace.counting.provenance import Rate, aten, is_neutral, spike_count
from snn_cace.errors import InputError
from snn_cace.model.localisation import LossViews


class UncountedOperationError(InputError):
    """An operation or a node that no rule knows."""


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

    def reads(self, rows: int, words: float) -> Operations:
        """Reads of `words` weights by each of `rows` rows: at every use, once a segment, once a clip."""
        segments, clips = self.groups(rows)
        return weight_reads(rows * words, segments * words, clips * words)

    def column_reads(self, active: torch.Tensor, outputs: int) -> Operations:
        """Reads of the columns of `outputs` weights that active values `[rows, C]`, not zero, ask for; n spikes at one
        place are n uses.
        """
        segments, clips = self.groups(len(active))
        if self.steps > 1 and len(active) % (self.steps * self.clips) == 0:
            active = active.unflatten(0, (self.steps, self.clips, -1)).transpose(0, 1).flatten(0, 2)
        once = ((active != 0).unflatten(0, (groups, -1)).any(1).sum() for groups in (segments, clips))
        return weight_reads(*(float(count) * outputs for count in (active.double().sum(), *once)))


def weight_reads(use: float, segment: float, clip: float) -> Operations:
    return Operations(weight_reads=use, weight_reads_per_segment=segment, weight_reads_per_clip=clip)


@dataclass
class Call:
    """One operation, or one module that is counted as a whole, that ran.

    args: what it read. out: what it returned. spikes: says of a tensor whether it is made of spikes. weight: whether it
    is a parameter. product: whether what it reads is a product with weights, whose accumulator can start from a bias.
    skips: whether products with zero activations are not charged. narrow: whether its values have few bits.
    """

    args: tuple
    out: Any
    spikes: Callable[[Any], bool]
    weight: Callable[[Any], bool]
    layout: Layout
    product: bool = False
    skips: bool = False
    narrow: bool = False

    @property
    def first(self) -> torch.Tensor:
        """The first argument, `[...]`."""
        return self.args[0]

    @property
    def output(self) -> torch.Tensor:
        """What was returned, the first of several."""
        return output_of(self.out)

    def spent(self, **operations: float) -> Cost:
        """So many operations; each value of the first argument is read once, and each of the output written."""
        moved = {"value_reads": self.first.numel(), "value_writes": self.output.numel()}
        return Cost.of(**{**moved, **operations})


def product_of_values(
    values: torch.Tensor, outputs: int, layout: Layout, skips: bool, kind: str = "macs", reads: int = 1
) -> Operations:
    """Values `[N, C]`, each read so many times, to `[N, outputs]` by a weight, a MAC of a `kind` each; or without those
    of zeros, where a bit for each value says whether it is one.
    """
    count, zero_flags, weights = values.numel(), 0.0, layout.reads(len(values), values.shape[-1] * outputs)
    if skips:
        count, zero_flags = int(values.count_nonzero()), count / WORD_BITS
        weights = layout.column_reads(values != 0, outputs)
    return weights + Operations(**{kind: count * outputs}, value_reads=count * reads, zero_flags=zero_flags)


def product_of_spikes(spikes: torch.Tensor, outputs: int, layout: Layout, reads: int = 1) -> Operations:
    """Spikes `[N, C]`, each read so many times, to `[N, outputs]`: each adds a column of weights."""
    fired = spike_count(spikes)
    reached = fired * outputs
    return layout.column_reads(spikes, outputs) + Operations(acs=reached, synops=reached, value_reads=fired * reads)


def matrix_product(call: Call, left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> Cost:
    """`[..., m, k]` times `[..., k, n]`, one of them a weight or both activations."""
    written = Operations(value_writes=call.output.numel())
    if bias is not None and call.weight(bias):
        written += call.layout.reads(call.output.numel() // call.output.shape[-1], call.output.shape[-1])
    if call.weight(right):
        values, rows, outputs = left, left.reshape(-1, left.shape[-1]), right.shape[-1]
    elif call.weight(left):
        values, rows, outputs = right, right.transpose(-1, -2).reshape(-1, right.shape[-2]), left.shape[-2]
    else:
        return Cost(written) + product_of_activations(call, left, right)
    if call.spikes(values):
        return Cost(written, product_of_spikes(rows, outputs, call.layout))
    learned = call.weight(values)
    reads = 0 if learned else 1
    return Cost(written + product_of_values(rows, outputs, call.layout, call.skips and not learned, reads=reads))


def product_of_activations(call: Call, left: torch.Tensor, right: torch.Tensor) -> Cost:
    """`[..., m, k]` times `[..., k, n]`, as attention has it."""
    if spikes := [x for x in (left, right) if call.spikes(x)]:
        if len(spikes) == 2:
            events = spike_count(call.output)
        else:
            events = spike_count(spikes[0]) * (right.shape[-1] if spikes[0] is left else left.shape[-2])
        return Cost(event_driven=Operations(acs=events, synops=events, value_reads=sum(map(spike_count, spikes))))
    if not call.skips:
        return Cost.of(macs=call.output.numel() * left.shape[-1], value_reads=left.numel() + right.numel())
    products = ((left != 0).sum(-2, dtype=torch.float64) * (right != 0).sum(-1, dtype=torch.float64)).sum()
    read = float(left.count_nonzero()) + float(right.count_nonzero())
    return Cost.of(macs=float(products), value_reads=read, zero_flags=(left.numel() + right.numel()) / WORD_BITS)


def rate_product(rate: Rate, outputs: int, has_bias: bool, layout: Layout, skips: bool) -> Cost:
    """A linear layer of rates `[N, C]` to `[N, outputs]` on accumulates: each spike adds a column of weights, and what
    the readout scales by, it scales in the outputs. Accumulators are held from one simulation step to the next. Of
    values of few bits, their step size lies in the weights.

    Columns are multiplied by a gate once for all rows that share it, written, and read in its place.
    """
    rows, channels = rate.steps[0].shape
    cells, gated = float(rows * outputs), float(rate.gates * channels * outputs)
    static = layout.reads(rate.gates, channels * outputs)
    static += Operations(macs=gated, value_reads=float(rate.gates * channels), value_writes=gated + cells)
    if has_bias:
        static += layout.reads(rows, outputs)
    if rate.bits is not None:
        return Cost(static + product_of_values(rate.steps[0], outputs, layout, skips, "narrow_macs"))
    held = cells * len(rate.steps) if len(rate.steps) > 1 else 0.0
    static += Operations(macs=rate.scalings * cells, partial_sums=held)
    return Cost(static, product_of_spikes(torch.stack(rate.steps).sum(0), outputs, layout))


def elementwise(kind: str) -> Callable[[Call], Cost]:
    """One operation of `kind` per element output."""

    def rule(call: Call) -> Cost:
        tensors = [x for x in call.args if isinstance(x, torch.Tensor)]
        values, count = sum(x.numel() for x in tensors if not call.weight(x)), call.output.numel()
        weights = per_channel(call, sum(map(call.weight, tensors)))
        return Cost(weights + Operations(**{kind: count}, value_reads=values, value_writes=count))

    return rule


def per_channel(call: Call, weights: int) -> Operations:
    """Reads of so many weights by each number of the output `[..., C]`."""
    channels = call.output.shape[-1] if call.output.ndim else 1
    return call.layout.reads(call.output.numel() // max(1, channels), channels * weights)


def logit(call: Call) -> Cost:
    """log(p / (1 - p)) of a clamped p."""
    count = call.output.numel()
    return call.spent(acs=count, transcendental=2 * count, comparisons=2 * count)


def is_bias(call: Call) -> bool:
    """Whether a parameter is added to a product."""
    return call.product and any(map(call.weight, call.args)) and not call.weight(call.out)


def addition(call: Call) -> Cost:
    if is_neutral(aten.add, call.args):
        return Cost()
    if is_bias(call):
        return Cost(per_channel(call, 1))
    if all(call.spikes(x) for x in call.args[:2]):
        spikes = spike_count(call.args[1])
        return Cost(event_driven=Operations(acs=spikes, value_reads=spikes))
    return elementwise("acs")(call)


def scaling(call: Call) -> Cost:
    """An element-wise product; where zeros are skipped, without those of which a factor is zero."""
    if is_neutral(aten.mul, call.args):
        return Cost()
    if all(call.spikes(x) for x in call.args[:2]):
        read = sum(spike_count(x) for x in call.args[:2])
        return Cost(event_driven=Operations(acs=spike_count(call.out), value_reads=read))
    cost = elementwise("macs")(call)
    if call.skips:
        cost.static.macs = min(cost.static.macs, float(call.out.count_nonzero()))
    return cost


def division(call: Call) -> Cost:
    constant = not isinstance(call.args[1], torch.Tensor) or call.args[1].ndim == 0
    return elementwise("macs" if constant else "transcendental")(call)


def mean(call: Call) -> Cost:
    return total(call) + Cost.of(macs=call.output.numel())


def total(call: Call) -> Cost:
    count = call.output.numel()
    if call.spikes(call.first):
        spikes = spike_count(call.first)
        return Cost(Operations(value_writes=count), Operations(acs=spikes, value_reads=spikes))
    return call.spent(acs=call.first.numel() - count)


def largest(call: Call) -> Cost:
    return call.spent(comparisons=call.first.numel() - call.output.numel())


def top(call: Call) -> Cost:
    """The k largest of n by selection: (n - 1) + ... + (n - k) comparisons."""
    size, chosen = call.first.shape[call.args[2] if len(call.args) > 2 else -1], call.args[1]
    return call.spent(comparisons=call.first.numel() // size * sum(size - 1 - rank for rank in range(chosen)))


def softmax(call: Call) -> Cost:
    count = call.output.numel()
    rows = count // call.output.shape[call.args[1]]
    return call.spent(comparisons=count - rows, acs=2 * count - rows, transcendental=count + rows, macs=count)


def log_softmax(call: Call) -> Cost:
    count = call.output.numel()
    rows = count // max(1, call.output.shape[call.args[1]])
    return call.spent(comparisons=count - rows, acs=3 * count - rows, transcendental=count + rows)


def norm(call: Call) -> Cost:
    """A layer, group or instance norm, or a batch norm without running statistics, of as many means as it outputs."""
    count, rows = call.first.numel(), call.out[2].numel()
    affine = sum(isinstance(x, torch.Tensor) for x in call.args[1:4])
    weights = call.layout.reads(rows, affine * count / rows)
    return call.spent(acs=2 * count - rows, macs=3 * count, transcendental=rows) + Cost(weights)


def batch_norm(call: Call) -> Cost:
    """In evaluation it is x times a constant plus another, per channel; behind a product it costs nothing, since both
    are put into its weights.
    """
    if call.args[5]:
        return norm(call)
    count, channels = call.first.numel(), call.first.shape[1]
    return call.spent(macs=count) + Cost(call.layout.reads(count // channels, 2 * channels))


def vector_norm(call: Call) -> Cost:
    return call.spent(macs=call.first.numel(), transcendental=call.output.numel())


ELEMENTWISE = {
    "transcendental": (
        aten.celu, aten.cos, aten.elu, aten.erf, aten.exp, aten.gelu, aten.log, aten.log_sigmoid_forward,
        aten.randn_like, aten.reciprocal, aten.rsqrt, aten.sigmoid, aten.silu, aten.sin, aten.softplus, aten.sqrt,
        aten.tanh,
    ),
    "macs": (
        aten._prelu_kernel, aten.addcmul, aten.hardsigmoid, aten.hardswish, aten.leaky_relu, aten.lerp,
        aten.rrelu_with_noise,
    ),
    "acs": (aten.abs, aten.neg, aten.rsub),
    "comparisons": (
        aten.bitwise_and, aten.bitwise_not, aten.bitwise_or, aten.clamp, aten.clamp_min, aten.eq, aten.floor, aten.ge,
        aten.gt, aten.hardshrink, aten.hardtanh, aten.heaviside, aten.le, aten.logical_and, aten.logical_not,
        aten.logical_or, aten.lt, aten.maximum, aten.minimum, aten.ne, aten.relu, aten.round, aten.sign,
        aten.threshold, aten.where,
    ),
}  # fmt: skip
"""By kind, ATen operations that are one for each element output."""

COMPUTED: dict[Any, Callable[[Call], Cost]] = {
    **{operation: elementwise(kind) for kind, operations in ELEMENTWISE.items() for operation in operations},
    aten.mm: lambda call: matrix_product(call, call.args[0], call.args[1]),
    aten.bmm: lambda call: matrix_product(call, call.args[0], call.args[1]),
    aten.addmm: lambda call: matrix_product(call, call.args[1], call.args[2], bias=call.args[0]),
    **dict.fromkeys((aten.add, aten.sub), addition),
    aten.mul: scaling,
    aten.div: division,
    aten.logit: logit,
    **dict.fromkeys((aten.amax, aten.amin, aten.argmax, aten.argmin, aten.max, aten.min), largest),
    aten.topk: top,
    aten.mean: mean,
    aten.sum: total,
    **dict.fromkeys((aten._softmax, aten._safe_softmax), softmax),
    aten._log_softmax: log_softmax,
    **dict.fromkeys((aten.native_layer_norm, aten.native_group_norm), norm),
    aten.native_batch_norm: batch_norm,
    aten.linalg_vector_norm: vector_norm,
}
"""ATen operations that compute; in place they cost the same."""

FACTORY_OPS = {
    aten._local_scalar_dense, aten.all, aten.any, aten.arange, aten.bernoulli, aten.empty, aten.empty_like,
    aten.empty_strided, aten.equal, aten.fill, aten.full, aten.full_like, aten.is_nonzero, aten.new_empty,
    aten.new_full, aten.new_ones, aten.new_zeros, aten.ones, aten.ones_like, aten.rand, aten.randn, aten.scalar_tensor,
    aten.zero, aten.zeros, aten.zeros_like,
}  # fmt: skip
"""ATen operations that make constants, or ask whether there is something."""


def updates(node: Any, count: float, fired: float) -> Cost:
    """So many updates of neurons; each reads and writes its state once. A constant current is read as often as it is
    used. node: says what an update costs.
    """
    static = Operations(
        macs=node.macs * count,
        acs=node.acs * count,
        comparisons=node.comparisons * count,
        neuron_updates=count,
        state_reads=node.states * count,
        state_writes=node.states * count,
        value_reads=count,
    )
    return Cost(static, Operations(acs=node.per_spike * fired, value_writes=fired))


def spiking_layer(module: SpikingLayer, call: Call) -> Cost:
    """Current and spikes `[S, B, T, ..., N]`.

    Raises:
        UncountedOperationError: a node that does not say what an update costs.
    """
    spikes = call.output
    try:
        node = module.config.cost(len(spikes))
    except NotImplementedError as error:
        raise UncountedOperationError(str(error)) from None
    cost = updates(node, float(spikes.numel()), spike_count(spikes))
    if isinstance(module, RecurrentLayer):
        # The last step of a sequence feeds nothing back.
        last = spikes[-1] if module.membrane == "reset" else spikes[-1, :, -1]
        neurons = module.feedback.out_features
        fed = (spike_count(spikes) - spike_count(last)) * neurons
        columns = replace(call.layout.column_reads(spikes.sum(0).flatten(0, -2), neurons), weight_reads=fed)
        cost.event_driven += columns + Operations(acs=fed, synops=fed)
    return cost


def foreign_neuron(module: nn.Module, call: Call) -> Cost:
    """One call of a neuron of another library, `NEURONS` in `snn_cace.counting.foreign`: an update per output."""
    neuron, spikes = neuron_of(module), call.output
    assert neuron is not None
    return updates(neuron, float(spikes.numel()), spike_count(spikes) if neuron.fires else 0.0)


def readout(module: Readout, call: Call) -> Cost:
    """Spikes `[S, ...]` to `[...]`. `rate`: an AC per spike and a MAC per value; `membrane`: a leak (MAC) per value and
    step, an AC per spike.
    """
    cells, dense = float(call.output.numel()), float(call.first.numel())
    scaled = cells if module.name == "rate" else dense
    if not call.spikes(call.first):
        return call.spent(acs=dense - cells, macs=scaled)
    events = spike_count(call.first)
    return Cost(Operations(macs=scaled, value_writes=cells), Operations(acs=events, value_reads=events))


def spike_linear(module: SpikeLinear, call: Call) -> Cost:
    """Spikes `[S, ..., inputs]` to `[..., outputs]`: every spike adds a column of weights; what the readout scales, it
    scales in the outputs, once (`rate`) or per simulation step (`membrane`).
    """
    spikes, cells = call.first, float(call.output.numel())
    steps = len(spikes)
    rows = (spikes.sum(0) if spikes.ndim > call.output.ndim else spikes).reshape(-1, module.in_features)
    scaled, held = cells if module.readout.name == "rate" else steps * cells, cells * steps if steps > 1 else 0.0
    static = Operations(macs=scaled, value_writes=cells, partial_sums=held)
    bias = call.layout.reads(len(rows), module.out_features)
    return Cost(static + bias, product_of_spikes(rows, module.out_features, call.layout))


def recurrent(module: nn.RNNBase, call: Call) -> Cost:
    """`[B, T, i]` to `[B, T, h]` per layer and direction, and per segment: of an LSTM four gates of h (i + h) MACs, 3 h
    MACs for f c + i g and o tanh(c), 5 h sigmoids and tanhs; h and c are read and written. A GRU has three gates, 3 h
    MACs and 2 h ACs; an RNN one. Of spikes, the first layer's products with its inputs are ACs. Where zeros are
    skipped, products of zero inputs and of the state that it starts from, which is zero, cost nothing.

    Raises:
        UncountedOperationError: a projection, or packed sequences.
    """
    if getattr(module, "proj_size", 0) or not isinstance(call.first, torch.Tensor):
        raise UncountedOperationError(
            "a recurrent layer with a projection, or of packed sequences, has no counting rule; give its class one: "
            f"from snn_cace.counting.rules import MODULE_RULES; MODULE_RULES[nn.{type(module).__name__}] = my_rule"
        )
    h, directions, layout = module.hidden_size, 2 if module.bidirectional else 1, call.layout
    own: dict[str, float] = {
        "comparisons" if getattr(module, "nonlinearity", "tanh") == "relu" else "transcendental": h
    }
    gates, words = h, 1
    if isinstance(module, nn.LSTM):
        gates, words, own = 4 * h, 2, {"macs": 3 * h, "transcendental": 5 * h}
    elif isinstance(module, nn.GRU):
        gates, own = 3 * h, {"macs": 3 * h, "acs": 2 * h, "transcendental": 3 * h}
    rows, outputs = call.first.reshape(-1, call.first.shape[-1]), gates * directions
    static, events = Operations(), Operations()
    if call.spikes(call.first):
        events = product_of_spikes(rows, outputs, layout, directions)
    else:
        kind = "narrow_macs" if call.narrow else "macs"
        static = product_of_values(rows, outputs, layout, call.skips, kind, directions)
    for inputs in [0] + [directions * h] * (module.num_layers - 1):
        moved = {"state_reads": words * h, "state_writes": words * h, "value_reads": inputs, "value_writes": h}
        each = Operations(**own, **moved) + Operations(macs=gates * (inputs + h))
        weights = gates * (inputs + h) + (2 * gates if module.bias else 0)
        static += each * (len(rows) * directions) + layout.reads(len(rows), weights * directions)
    if call.skips:
        at_rest = outputs * h * module.num_layers * call.first.shape[0 if module.batch_first else 1]
        static += Operations(macs=-at_rest, weight_reads=-at_rest)
    return Cost(static, events)


def poisson(module: Poisson, call: Call) -> Cost:
    """`[...]` to `[S, ...]`: a sigmoid per value; a draw and a comparison per simulation step."""
    count = call.first.numel()
    coded = Operations(transcendental=count, value_reads=count, comparisons=2 * call.output.numel())
    return Cost(coded, Operations(value_writes=spike_count(call.output)))


def latency(module: Latency, call: Call) -> Cost:
    """`[...]` to `[S, ...]`: a sigmoid, a subtraction, a multiplication and a rounding per value."""
    count = call.first.numel()
    coded = Operations(transcendental=count, value_reads=count, acs=count, macs=count, comparisons=count)
    return Cost(coded, Operations(value_writes=spike_count(call.output)))


def integer(module: Integer, call: Call) -> Cost:
    """`[...]` to `[1, ...]`: a division by a constant threshold (a MAC), a clamp and a rounding per value."""
    count, channels = call.first.numel(), call.first.shape[-1]
    coded = Operations(macs=count, comparisons=2 * count, value_reads=count)
    thresholds = call.layout.reads(count // channels, channels)
    return Cost(coded + thresholds, Operations(value_writes=float(call.output.count_nonzero())))


def rounding_step(module: Rounding, call: Call) -> Cost:
    """`[...]` to the same: a division by a constant step size (a MAC), a clip and a rounding per value."""
    count = call.first.numel()
    return call.spent(macs=count, comparisons=3 * count, value_writes=count * module.bits / WORD_BITS)


def linear_memory(module: LinearMemory, call: Call) -> Cost:
    """`[B, T, ..., N]` to the same, per value: v <- p v + x and a v + (b / q) x, with q in the weights before it; of
    one simulation step both are one, v + (x - v) / tau. Without memory its constant lies in the weights before it.
    """
    if module.config.membrane == "reset":
        return Cost()
    count = call.first.numel()
    arithmetic = {"macs": 3 * count} if module.config.steps > 1 else {"macs": count, "acs": count}
    return call.spent(**arithmetic, state_reads=count, state_writes=count)


def for_the_loss(module: LossViews, call: Call) -> Cost:
    """Nothing: who runs the network needs no loss."""
    return Cost()


def is_product(operation: Any) -> bool:
    return operation in (aten.mm, aten.addmm, aten.bmm, aten.convolution)


Rule = Callable[[Any, Call], Cost]
"""Of a module and its call, whose first argument is what it reads and whose output are spikes where it fires."""

MODULE_RULES: dict[type[nn.Module], Rule] = {
    nn.RNNBase: recurrent,
    SpikingLayer: spiking_layer,
    SpikeLinear: spike_linear,
    Readout: readout,
    Poisson: poisson,
    Latency: latency,
    Integer: integer,
    Rounding: rounding_step,
    LinearMemory: linear_memory,
    LossViews: for_the_loss,
}
"""Modules counted as a whole, by what they stand for on event-driven hardware, not by how PyTorch runs them."""
