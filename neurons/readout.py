"""How spikes over S simulation steps become a value.

With spikes s_t in {0, 1}, t = 1 ... S:

| readout | value | range | cost per neuron |
| --- | --- | --- | --- |
| `rate` | mean of s_t | [0, 1], in steps of 1 / S | an accumulate per spike |
| `membrane` | v_S of a silent neuron: v <- v + (s_t - v) / tau | [0, 1) | S leaks, an accumulate per spike |
| `last` | s_S | {0, 1} | none |
| `maximum` | max of s_t: did it fire at all | {0, 1} | none |
| `learned` | sum of w_t s_t, w = softmax of S learned numbers, equal at first | [0, 1] | an accumulate per spike |

All but `maximum` are linear in the spikes, so a linear layer behind them may as well come before: event-driven hardware
adds a column of weights per spike. Nodes that fire up to L spikes per step (`ilif`) scale each range by L.
"""

from __future__ import annotations

import torch
from torch import nn

from neurons.config import READOUTS, one_of


class Readout(nn.Module):
    """Spikes `[S, ...]` to `[...]`.

    Raises:
        ValueError: an unknown name.

    >>> spikes = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    >>> [Readout(name, 4, tau=2.0)(spikes).item() for name in ("rate", "last", "maximum")]
    [0.5, 0.0, 1.0]
    """

    def __init__(self, name: str, simulation_steps: int, tau: float) -> None:
        super().__init__()
        one_of("readout", name, READOUTS)
        self.name = name
        if name == "membrane":
            age = torch.arange(simulation_steps - 1, -1, -1, dtype=torch.float64)
            self.register_buffer("kernel", ((1 - 1 / tau) ** age / tau).float(), persistent=False)
        if name == "learned":
            self.scores = nn.Parameter(torch.zeros(simulation_steps))

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        if self.name == "rate":
            return spikes.mean(0)
        if self.name == "last":
            return spikes[-1]
        if self.name == "maximum":
            return spikes.amax(0)
        return torch.tensordot(self.step_weights().to(spikes.dtype), spikes, dims=1)

    def step_weights(self) -> torch.Tensor:
        """What `membrane` and `learned` multiply the spikes of each step by, `[S]`."""
        return self.get_buffer("kernel") if self.name == "membrane" else self.scores.softmax(0)

    def weighted(self, spikes: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
        """The spikes `[K, ...]` that the readout uses, and the K numbers whose products with them it sums up."""
        if self.name == "rate":
            return spikes, [1 / len(spikes)] * len(spikes)
        if self.name == "last":
            return spikes[-1:], [1.0]
        if self.name == "maximum":
            return spikes.amax(0, keepdim=True), [1.0]
        return spikes, self.step_weights().to(spikes.dtype).tolist()
