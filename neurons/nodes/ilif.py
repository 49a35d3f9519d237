"""LIF that fires several spikes a step (Luo et al., ECCV 2024), from 0 to `levels`; it always resets softly:

    v <- v - v / tau + x
    s  = round(min(max(v / theta, 0), levels))
    v <- v - theta s

The gradient of s passes where v / theta lies in that range. An update is two multiply-accumulates and two comparisons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from neurons.nodes.lif import Leak
from neurons.nodes.node import Node, NodeCost, Parameters, State

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(kw_only=True)
class Levels(Parameters):
    """
    Args:
        levels: most spikes per simulation step of `ilif`.
    """

    levels: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels < 1:
            raise ValueError(f"levels must be at least 1, not {self.levels}")


@dataclass(kw_only=True)
class ILIF(Levels, Leak, Node):
    """Integer LIF, `ilif`.

    >>> SpikingLayer(ILIF(threshold=1, levels=3))(torch.tensor([[0.4, 1.2, 2.1, 9.0]])).tolist()
    [[0.0, 1.0, 2.0, 3.0]]
    """

    name: ClassVar[str] = "ilif"
    has_backends: ClassVar[bool] = True

    @property
    def largest_value(self) -> int:
        return self.levels

    def step(
        self, current: torch.Tensor, state: State, fire: Callable[..., Any], leak: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        v = state[0] - state[0] / self.tau + current
        spikes = fire(v / self.threshold)
        return spikes, (v - self.threshold * (spikes.detach() if self.detach_reset else spikes),)

    def leak(self, learned: torch.Tensor | None = None) -> tuple[Any, Any]:
        return 1 - 1 / float(self.tau), 1.0

    def cost(self, steps: int) -> NodeCost:
        return NodeCost(macs=2, acs=0, comparisons=2, per_spike=1)

    def surrogate_function(self) -> Any:
        from spikingjelly.activation_based.surrogate import MultiLevelSpikeCount

        return MultiLevelSpikeCount(self.levels)

    def module(self, steps: int) -> nn.Module:
        from spikingjelly.activation_based import neuron

        settings = self.spikingjelly_settings()
        del settings["v_reset"]
        return neuron.ILIFNode(tau=float(self.tau), **settings)
