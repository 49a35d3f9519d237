"""Blocks without spikes, of a spiking block's shape: its linear layers, norm, direction and widths.

They differ from a spiking block by their nonlinearity alone, so what a spiking block does beyond them, its spikes do.
With current x_t of segment t, and S simulation steps:

| kind | in the place of the node |
| --- | --- |
| `rectified` | y_t = max(x_t, 0): no membrane, no steps |
| `leaky` | the rectified mean over steps of the membrane that the node would have without threshold and reset |
| `quantised` | `leaky` where the membrane carries, else `rectified`, rounded to n / S in as few bits as a rate needs |

A membrane that each step charges by v <- d v + g x (`lif`: d = 1 - 1 / tau, g = 1 / tau) is after s steps of a constant
current d^s v + g c_s x with c_s = 1 + d + ... + d^(s - 1). So over a segment

    m_t = a v_(t-1) + b x_t,  a = mean of d^s, b = mean of g c_s, over s = 1 ... S
    v_t = p v_(t-1) + q x_t,  p = d^S, q = g c_S.

Rounding is trained in place, with gradients straight through it (LSQ: Esser et al., ICLR 2020, arXiv:1902.08153).
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log2, sqrt
from typing import Any

import torch
from torch import nn

from neurons.collective import mean_over_processes, sum_over_processes
from neurons.config import BlockConfig, Kind
from neurons.layer import reverse_second_half
from neurons.padding import Padded
from neurons.streaming import Streamed
from neurons.surrogate import make_surrogate


def bits_for(levels: int) -> int:
    """Bits that tell 0, 1, ... `levels` apart: ceil(log2(levels + 1)) (Yan et al., arXiv 2409.08290)."""
    return ceil(log2(levels + 1))


def value_levels(config: BlockConfig) -> int:
    """The largest number of spikes that a block's readout sees of a neuron in one segment."""
    return config.steps * config.neuron.largest_value


class Rounding(Padded):
    """Values rounded to `bits` bits of a step size s > 0, `[..., C]` to the same shape:

        y = s round(clip(x / s, bottom, top))

    Gradients: dy/dx = 1 within the range, 0 outside. Where no `size` is given, s is learned (LSQ): dy/ds = round(x / s)
    - x / s within, the bound outside, scaled by 1 / sqrt(C top). The first batch in training decides: s starts at
    2 mean|x| / sqrt(top), and the range is 0 ... 2^bits - 1 where no value is negative, else -2^(bits - 1) ...
    2^(bits - 1) - 1. Where a `size` is given, it is 0 ... 2^bits - 1.

    >>> Rounding(2, 1, size=0.5)(torch.tensor([[-1.0], [0.6], [0.8], [9.0]])).flatten().tolist()
    [0.0, 0.5, 1.0, 1.5]
    """

    size: torch.Tensor
    started: torch.Tensor
    negative: torch.Tensor

    def __init__(self, bits: int, channels: int, size: float | None = None) -> None:
        super().__init__()
        self.bits, self.channels = bits, channels
        if size is None:
            self.size = nn.Parameter(torch.ones(()))
        else:
            self.register_buffer("size", torch.tensor(size))
        self.register_buffer("started", torch.tensor(size is not None))
        self.register_buffer("negative", torch.zeros((), dtype=torch.bool))
        self.range: tuple[int, int] | None = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        size = self.step_size(values)
        return size * self.integers(values, size)

    def step_size(self, values: torch.Tensor) -> torch.Tensor:
        """s, with its gradient scaled."""
        top = self.bounds(values)[1]
        scaled = self.size / sqrt(self.channels * max(1, top))
        return (scaled + (self.size - scaled).detach()).to(values.dtype)

    def integers(self, values: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        """What stands for `values`; its gradient is that of the clipped quotient."""
        exact = (values / size).clamp(*self.bounds(values))
        return exact + (exact.round() - exact).detach()

    def bounds(self, values: torch.Tensor) -> tuple[int, int]:
        """The smallest and the largest integer."""
        if self.range is None:
            if self.training and not self.started:
                self.start(values)
            half = 2 ** (self.bits - 1)
            found = (-half, half - 1) if self.negative else (0, 2 * half - 1)
            if not self.started:  # an untrained network, or a first batch of zeros
                return found
            self.range = found  # asked once: a GPU would have to be waited for
        return self.range

    @torch.no_grad()
    def start(self, values: torch.Tensor) -> None:
        own = self.own(values)
        values = values if own is None else values[own]
        self.negative.fill_(bool(sum_over_processes((values < 0).sum()) > 0))
        top = 2 ** (self.bits - int(self.negative)) - 1
        size = 2 * mean_over_processes(values.abs().float()) / sqrt(max(1, top))
        if size > 0:
            self.size.fill_(size)
            self.started.fill_(True)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.range = None


class LinearMemory(Streamed, Padded):
    """The mean over simulation steps of a membrane without threshold and reset, `[B, T, ..., N]` to the same shape; the
    equations are above. Half of a `bidirectional` layer's neurons run through the segments in reverse.

    Raises:
        ValueError: a node without a leaky membrane.

    >>> memory = LinearMemory(BlockConfig(tau=2.0, steps=1), "forward")
    >>> memory(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1)).flatten().tolist()
    [0.5, 0.25, 0.125]
    """

    def __init__(self, config: BlockConfig, direction: str) -> None:
        super().__init__()
        self.config, self.direction, self.neuron = config, direction, config.neuron
        self.neuron.leak()
        start = self.neuron.new_leak()
        self.learned_leak = None if start is None else nn.Parameter(start)

    def leaks(self) -> tuple[Any, ...]:
        """a, b, p and q of the equations above; tensors where the leak is learned."""
        d, g = self.neuron.leak(self.learned_leak)
        steps = self.config.steps
        powers = [d**s for s in range(steps + 1)]
        charged = [g * sum(powers[:s]) for s in range(1, steps + 1)]
        return sum(powers[1:]) / steps, sum(charged) / steps, powers[-1], charged[-1]

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        a, b, p, q = self.leaks()
        if self.config.membrane == "reset":
            return b * current
        if self.streaming:
            before = torch.zeros_like(current[:, -1:]) if self.past is None else self.past
            seen, self.past = a * before + b * current, p * before + q * current
            return seen
        # Segments in, segments out: b now, a q p^(k - 1) of k segments ago.
        segments = torch.arange(current.shape[1], device=current.device, dtype=current.dtype)
        ago = segments[:, None] - segments
        now, before = (ago == 0).to(current.dtype), (ago > 0).to(current.dtype)
        weights = (a * q * p ** (ago - 1).clamp(min=0) * before + b * now).to(current.dtype)
        if self.direction != "bidirectional":
            return over_segments(weights, current)
        turned = over_segments(weights, reverse_second_half(current[None], self.lengths)[0])
        return reverse_second_half(turned[None], self.lengths)[0]


def over_segments(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`[T, T]` times `[B, T, ..., N]`, along T."""
    return (weights @ values.flatten(2)).view_as(values)


class ControlLayer(Streamed):
    """What stands in the place of a spiking layer: currents `[B, T, ..., N]` to values of the same shape.

    monitors: each is called with 1 where a value is above zero, `[B, T, ..., N]`, and 1, the number of simulation
    steps: what is zero costs nothing where zeros are skipped. The gradient is that of a spike with the threshold where
    the value leaves zero: at 0; of `quantised` at half a step of the rounding, in units of that step.

    Raises:
        ValueError: an unknown kind, or `leaky` for a node without a leaky membrane.

    >>> ControlLayer(BlockConfig(), "forward", 2, "rectified")(torch.tensor([[[-1.0, 2.0]]])).tolist()
    [[[0.0, 2.0]]]
    """

    def __init__(self, config: BlockConfig, direction: str, neurons: int, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        remembers = kind == "leaky" or (kind == "quantised" and has_memory(config))
        self.memory = LinearMemory(config, direction) if remembers else None
        self.rounding = None
        if kind == "quantised":
            self.rounding = Rounding(bits_for(value_levels(config)), neurons, size=1 / config.steps)
        self.feedback = nn.Linear(neurons, neurons, bias=False) if direction == "recurrent" else None
        self.monitors: list[Callable[[torch.Tensor, int], None]] = []
        self.config = config

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        return self.values(current) if self.feedback is None else self.fed_back(current)

    def values(self, current: torch.Tensor) -> torch.Tensor:
        """The nonlinearity itself."""
        driven = current if self.memory is None else self.memory(current)
        values = torch.relu(driven)
        if self.rounding is not None:
            values = self.rounding(values)
        if self.monitors:
            above = driven if self.rounding is None else driven / self.rounding.size - 0.5
            spikes = make_surrogate(self.config.surrogate, **self.config.surrogate_settings)(above)
            active = spikes + ((values > 0).to(spikes) - spikes).detach()
            for monitor in self.monitors:
                monitor(active, 1)
        return values

    def fed_back(self, current: torch.Tensor) -> torch.Tensor:
        """Segment by segment, since each waits for the values of the one before: x_t + W y_(t-1)."""
        assert self.feedback is not None
        goes_on = self.streaming
        before = self.past if goes_on and self.past is not None else torch.zeros_like(current[:, :1])
        if self.memory is not None and not goes_on:
            self.memory.begin()
        found = []
        for now in current.split(1, dim=1):
            before = self.values(now + self.feedback(before))
            found.append(before)
        if goes_on:
            self.past = before
        elif self.memory is not None:
            self.memory.end()
        return torch.cat(found, dim=1)


def has_memory(config: BlockConfig) -> bool:
    """Whether a node carries a leaky membrane from segment to segment."""
    return config.membrane == "carry" and config.neuron.is_leaky


def control_coding(config: BlockConfig, inputs: int, kind: Kind) -> nn.Module | None:
    """What a control does to its inputs where the spiking block codes them, so that both see the same range: a sigmoid
    or a rectifier, behind the linear layer that a `learned` coding has; and rounds to as many bits, if it rounds. None
    where values pass as they are.
    """
    if config.coding == "constant":
        return None
    squashes = config.coding in ("poisson", "latency")
    parts: list[nn.Module] = [nn.Linear(inputs, inputs)] if config.coding == "learned" else []
    parts.append(nn.Sigmoid() if squashes else nn.ReLU())
    if kind == "quantised":
        levels = config.coding_levels if config.coding == "integer" else config.steps
        parts.append(Rounding(bits_for(levels), inputs))
    return nn.Sequential(*parts)
