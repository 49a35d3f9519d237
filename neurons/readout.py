"""How spikes over S simulation steps become a value.

With spikes s_t in {0, 1}, t = 1 ... S:

| readout | value | range | cost per neuron |
| --- | --- | --- | --- |
| `rate` | mean of s_t | [0, 1], in steps of 1 / S | an accumulate per spike |
| `membrane` | v_S of a silent neuron: v <- v + (s_t - v) / tau | [0, 1) | S leaks, an accumulate per spike |

Both are linear in the spikes, so a linear layer behind them may as well come before: event-driven hardware adds a
column of weights per spike. Nodes that fire up to L spikes per step (`ilif`) scale each range by L.
"""

from __future__ import annotations

import torch
from torch import nn

from neurons.config import READOUTS
from neurons.nodes.node import one_of


class Readout(nn.Module):
    """Spikes `[S, ...]` to `[...]`.

    Raises:
        ValueError: an unknown name.

    >>> Readout("rate", 4, tau=2.0)(torch.tensor([[0.0], [1.0], [1.0], [0.0]])).item()
    0.5
    """

    def __init__(self, name: str, simulation_steps: int, tau: float) -> None:
        super().__init__()
        one_of("readout", name, READOUTS)
        self.name = name
        if name == "membrane":
            age = torch.arange(simulation_steps - 1, -1, -1, dtype=torch.float64)
            self.register_buffer("kernel", ((1 - 1 / tau) ** age / tau).float(), persistent=False)

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        if self.name == "rate":
            return spikes.mean(0)
        return torch.tensordot(self.get_buffer("kernel").to(spikes.dtype), spikes, dims=1)

    def step_weights(self, spikes: torch.Tensor) -> list[float]:
        """What the spikes of each step, `[S, ...]`, are multiplied by before they are summed."""
        if self.name == "rate":
            return [1 / len(spikes)] * len(spikes)
        return self.get_buffer("kernel").to(spikes.dtype).tolist()
