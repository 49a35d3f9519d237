"""How values become what a spiking block is fed over S simulation steps.

With value x, p = sigmoid(x) in (0, 1), S simulation steps t = 0 ... S - 1, and a learned threshold theta_c per channel:

| coding | fed at step t | range | cost of the linear layer behind it |
| --- | --- | --- | --- |
| `constant` | x | any | S = 1: the current does not change, so it is computed once, with multiply-accumulates |
| `poisson` | 1 with probability p, drawn afresh | {0, 1} | an accumulate per spike: S p per input |
| `latency` | 1 at the step nearest to (S - 1) (1 - p), else 0: the larger x, the earlier | {0, 1} | one accumulate |
| `learned` | spikes of neurons driven by a linear layer of x | {0, 1} | its own current once, then a spike each |
| `threshold` | spikes of integrate-and-fire neurons driven by x up to theta_c, soft reset | {0, 1} | a spike each |
| `integer` | round(min(max(x, 0) / theta_c, L)) spikes, the same at every t | {0 ... L} | that many accumulates, once |

Where x is spikes already, 0 or 1, `constant` feeds them as they are, and the layer behind it takes an accumulate each.

Gradients: through p for `poisson` (straight through the draw); for `latency` through the distance between the
exact time and the steps beside it, and for `integer` straight through the rounding; by surrogate for `learned` and
`threshold`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import nn

from neurons.config import BlockConfig
from neurons.layer import SpikingLayer
from neurons.nodes.node import Node


class Coding(nn.Module):
    """Values `[..., C]` to spikes `[S, ..., C]` without neurons; `[1, ..., C]` where all steps are alike.

    monitors: each is called with the mean over steps of every call, `[..., C]`, and their number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.monitors: list[Callable[[torch.Tensor, int], None]] = []

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        spikes = self.spikes(values)
        for monitor in self.monitors:
            monitor(spikes.mean(0), len(spikes))
        return spikes

    def spikes(self, values: torch.Tensor) -> torch.Tensor:
        """What `forward` outputs."""
        raise NotImplementedError


class ChannelThreshold(nn.Module):
    """`[..., C]` over a positive learned threshold per channel.

    >>> ChannelThreshold(3, 2.0)(torch.ones(5, 3))[0].tolist()
    [0.5, 0.5, 0.5]
    """

    def __init__(self, channels: int, threshold: float) -> None:
        super().__init__()
        self.log_threshold = nn.Parameter(torch.full((channels,), math.log(threshold)))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * torch.exp(-self.log_threshold)


class Poisson(Coding):
    """`[..., C]` to spikes `[S, ..., C]`, each 1 with probability sigmoid(x)."""

    def __init__(self, simulation_steps: int) -> None:
        super().__init__()
        self.simulation_steps = simulation_steps

    def spikes(self, values: torch.Tensor) -> torch.Tensor:
        rate = torch.sigmoid(values).expand(self.simulation_steps, *values.shape)
        return rate + (torch.bernoulli(rate) - rate).detach()


class Latency(Coding):
    """`[..., C]` to spikes `[S, ..., C]`, S at least 2, one per value, the earlier the larger it is."""

    def __init__(self, simulation_steps: int) -> None:
        super().__init__()
        self.simulation_steps = simulation_steps

    def spikes(self, values: torch.Tensor) -> torch.Tensor:
        time = (self.simulation_steps - 1) * (1 - torch.sigmoid(values))
        step = torch.arange(self.simulation_steps, device=values.device, dtype=values.dtype)
        step = step.view(-1, *[1] * values.ndim)
        nearness = torch.relu(1 - (step - time).abs())
        return nearness + ((step == time.round()).to(values) - nearness).detach()


class Integer(Coding):
    """`[..., C]` to as many spikes as rectified x holds thresholds, at most `levels`, the same at every simulation
    step: `[1, ..., C]`.

    >>> Integer(1, ChannelThreshold(3, 1.0))(torch.tensor([-1.0, 0.7, 9.0])).tolist()
    [[0.0, 1.0, 1.0]]
    """

    def __init__(self, levels: int, threshold: ChannelThreshold) -> None:
        super().__init__()
        self.levels = levels
        self.threshold = threshold

    def spikes(self, values: torch.Tensor) -> torch.Tensor:
        exact = self.threshold(values).clamp(0, self.levels).unsqueeze(0)
        return exact + (exact.round() - exact).detach()


class LearnedEncoder(nn.Module):
    """`[..., inputs]` to spikes `[S, ..., inputs]` of neurons with a linear layer of their own."""

    def __init__(self, inputs: int, simulation_steps: int, node: Node) -> None:
        super().__init__()
        self.simulation_steps = simulation_steps
        self.linear = nn.Linear(inputs, inputs)
        self.layer = SpikingLayer(node, simulation_steps, neurons=inputs)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        current = self.linear(values)
        return self.layer(current.expand(self.simulation_steps, *current.shape))


class ThresholdEncoder(nn.Module):
    """`[..., C]` to spikes `[S, ..., C]` of integrate-and-fire neurons that x itself drives, with a learned threshold
    per channel and a soft reset, so that they fire as often as x holds thresholds.

    >>> ThresholdEncoder(2, BlockConfig(coding_threshold=0.5))(torch.tensor([[[0.25, 0.0]]])).sum(0).tolist()
    [[[2.0, 0.0]]]
    """

    def __init__(self, inputs: int, config: BlockConfig) -> None:
        super().__init__()
        self.simulation_steps = config.steps
        driven = dataclasses.replace(
            config,
            node="if",
            node_parameters={},
            threshold=config.coding_threshold,
            learn_threshold="channel",
            reset="soft",
        )
        self.layer = SpikingLayer(driven.neuron, neurons=inputs)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.layer(values.expand(self.simulation_steps, *values.shape))


def make_coding(config: BlockConfig, inputs: int) -> nn.Module | None:
    """The coding that `config` names; None for `constant`, whose current needs no steps of its own."""
    if config.coding == "constant":
        return None
    if config.coding == "learned":
        return LearnedEncoder(inputs, config.steps, config.neuron)
    if config.coding == "threshold":
        return ThresholdEncoder(inputs, config)
    if config.coding == "integer":
        return Integer(config.coding_levels, ChannelThreshold(inputs, config.coding_threshold))
    return Poisson(config.steps) if config.coding == "poisson" else Latency(config.steps)
