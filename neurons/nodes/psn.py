"""Parallel spiking neurons (Fang et al., NeurIPS 2023): without a reset, a matrix product over time replaces the
recursion over steps. With learned weights W and bias b,

    s = [W x + b >= 0]

`psn` sees all steps of a sequence, `masked_psn` the `order` latest ones, `sliding_psn` the same with weights shared
over time. An update weighs the steps that it sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from neurons.nodes.node import Node, NodeCost, Parameters

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class Order(Parameters):
    """
    Args:
        order: simulation steps that `masked_psn` and `sliding_psn` look back.
    """

    order: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order < 1:
            raise ValueError(f"order must be at least 1, not {self.order}")


@dataclass(kw_only=True)
class PSN(Node):
    """`psn`. Of the common parameters, parallel neurons have the surrogate alone.

    >>> SpikingLayer(PSN(), steps=4).node.weight.shape
    torch.Size([4, 4])
    """

    name: ClassVar[str] = "psn"
    fixed_length: ClassVar[bool] = True

    def seen(self, steps: int) -> int:
        """Simulation steps that one sees."""
        return steps

    def cost(self, steps: int) -> NodeCost:
        return NodeCost(macs=self.seen(steps), acs=0, states=self.seen(steps))

    def module(self, steps: int) -> nn.Module:
        from spikingjelly.activation_based import neuron

        return neuron.PSN(T=steps, surrogate_function=self.surrogate_function())


@dataclass(kw_only=True)
class MaskedPSN(Order, PSN):
    """`masked_psn`.

    >>> MaskedPSN(order=2).cost(steps=4).macs
    2
    """

    name: ClassVar[str] = "masked_psn"

    def seen(self, steps: int) -> int:
        return min(self.order, steps)

    def module(self, steps: int) -> nn.Module:
        from neurons.nodes.modules import MaskedPSNModule

        return MaskedPSNModule(self.seen(steps), steps, self.surrogate_function())


@dataclass(kw_only=True)
class SlidingPSN(MaskedPSN):
    """`sliding_psn`.

    >>> SpikingLayer(SlidingPSN(order=2)).node.weight.shape
    torch.Size([2])
    """

    name: ClassVar[str] = "sliding_psn"
    fixed_length: ClassVar[bool] = False

    @property
    def looks_back(self) -> int:
        return self.order - 1

    def module(self, steps: int) -> nn.Module:
        from neurons.nodes.modules import SlidingPSNModule

        return SlidingPSNModule(self.order, surrogate_function=self.surrogate_function(), step_mode="m")
