"""LIF whose threshold rises with its own recent firing (Bellec et al., NeurIPS 2018):

    v <- v + (x - v) / tau
    s  = [v >= theta + adaptation a]       reset as `lif`, by this threshold
    a <- a + (s - a) / adaptation_tau

An update is that of a LIF, a threshold of one multiply-accumulate, and an accumulate and a multiply-accumulate for a.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from neurons.nodes.lif import Leak
from neurons.nodes.node import Node, NodeCost, Parameters, State

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True)
class Adaptation(Parameters):
    """
    Args:
        adaptation: how far the threshold of `alif` rises per unit of recent firing.
        adaptation_tau: its time constant in simulation steps, at least 1.
    """

    adaptation: float = 0.5
    adaptation_tau: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.adaptation_tau >= 1:
            raise ValueError(f"adaptation_tau must be at least 1 simulation step, not {self.adaptation_tau}")
        if not self.adaptation >= 0:
            raise ValueError(f"adaptation must not be negative, not {self.adaptation}")


@dataclass(kw_only=True)
class ALIF(Adaptation, Leak, Node):
    """Adaptive LIF, `alif`, with states v and a.

    >>> SpikingLayer(ALIF(tau=2, adaptation=4, adaptation_tau=2))(torch.full((4, 1), 3.0)).flatten().tolist()
    [1.0, 0.0, 1.0, 0.0]
    """

    name: ClassVar[str] = "alif"
    states: ClassVar[tuple[str, ...]] = ("v", "a")

    def step(
        self, current: torch.Tensor, state: State, fire: Callable[..., Any], leak: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        v, a = state
        v = v + (current - v) / self.tau
        threshold = self.threshold + self.adaptation * a
        spikes = fire(v - threshold)
        return spikes, (self.after_reset(v, spikes, threshold), a + (spikes - a) / self.adaptation_tau)

    def leak(self, learned: torch.Tensor | None = None) -> tuple[Any, Any]:
        return 1 - 1 / float(self.tau), 1 / float(self.tau)

    def cost(self, steps: int) -> NodeCost:
        return NodeCost(macs=3, acs=2, states=2, per_spike=float(self.reset == "soft"))
