"""LIF that learns its leak, integration and reset per simulation step (Yao et al., NeurIPS 2022); one gate a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from neurons.nodes.node import Node, NodeCost

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class GatedLIF(Node):
    """Gated LIF, `gated_lif`; `threshold`, `reset` and `detach_reset` do not concern it.

    >>> SpikingLayer(GatedLIF(), steps=4)(torch.zeros(4, 2)).shape
    torch.Size([4, 2])
    """

    name: ClassVar[str] = "gated_lif"
    fixed_length: ClassVar[bool] = True

    def cost(self, steps: int) -> NodeCost:
        return NodeCost(macs=2, acs=1, per_spike=2)

    def module(self, steps: int) -> nn.Module:
        from neurons.nodes.modules import GatedLIFModule

        return GatedLIFModule(steps, self.surrogate_function())
