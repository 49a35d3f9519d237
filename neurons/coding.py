"""How values become what a spiking block is fed over S simulation steps.

With value x and p = sigmoid(x) in (0, 1), S simulation steps t = 0 ... S - 1:

| coding | fed at step t | range | cost of the linear layer behind it |
| --- | --- | --- | --- |
| `constant` | x | any | S = 1: the current does not change, so it is computed once, with multiply-accumulates |
| `poisson` | 1 with probability p, drawn afresh | {0, 1} | an accumulate per spike, S p per input on average |
| `latency` | 1 at the step nearest to (S - 1) (1 - p), else 0: the larger x, the earlier | {0, 1} | one accumulate |
| `learned` | spikes of neurons driven by a linear layer of x | {0, 1} | its own current once, then a spike each |

Gradients: through p for `poisson` (straight through the draw); for `latency` through the distance between the exact
time and the steps beside it (straight through the rounding); by surrogate for `learned`.
"""

from __future__ import annotations

import torch
from torch import nn

from neurons.config import BlockConfig, NodeConfig
from neurons.layer import SpikingLayer


class Poisson(nn.Module):
    """`[...]` to spikes `[S, ...]`, each 1 with probability sigmoid(x)."""

    def __init__(self, simulation_steps: int) -> None:
        super().__init__()
        self.simulation_steps = simulation_steps

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        rate = torch.sigmoid(values).expand(self.simulation_steps, *values.shape)
        return rate + (torch.bernoulli(rate) - rate).detach()


class Latency(nn.Module):
    """`[...]` to spikes `[S, ...]`, one per value, the earlier the larger it is.

    Raises:
        ValueError: fewer than two simulation steps, which leave no time to tell.
    """

    def __init__(self, simulation_steps: int) -> None:
        super().__init__()
        if simulation_steps < 2:
            raise ValueError(f"latency coding needs at least 2 simulation steps, not {simulation_steps}")
        self.simulation_steps = simulation_steps

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        time = (self.simulation_steps - 1) * (1 - torch.sigmoid(values))
        step = torch.arange(self.simulation_steps, device=values.device, dtype=values.dtype)
        step = step.view(-1, *[1] * values.ndim)
        nearness = torch.relu(1 - (step - time).abs())
        return nearness + ((step == time.round()).to(values) - nearness).detach()


class LearnedEncoder(nn.Module):
    """`[..., inputs]` to spikes `[S, ..., inputs]` of neurons with a linear layer of their own."""

    def __init__(self, inputs: int, simulation_steps: int, node: NodeConfig) -> None:
        super().__init__()
        self.simulation_steps = simulation_steps
        self.linear = nn.Linear(inputs, inputs)
        self.layer = SpikingLayer(node, simulation_steps)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        current = self.linear(values)
        return self.layer(current.expand(self.simulation_steps, *current.shape))


def make_coding(config: BlockConfig, inputs: int) -> nn.Module | None:
    """The coding that `config` names; None for `constant`, whose current needs no steps of its own."""
    if config.coding == "learned":
        return LearnedEncoder(inputs, config.steps, config)
    if config.coding == "poisson":
        return Poisson(config.steps)
    return Latency(config.steps) if config.coding == "latency" else None
