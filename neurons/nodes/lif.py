"""Integrate-and-fire neurons. With membrane v, current x, time constant tau in simulation steps and threshold theta:

    v <- v + x                             `if`: integrate and fire
    v <- v + (x - v) / tau                 `lif`: leaky; `plif`: tau is learned (Fang et al., ICCV 2021)
    s  = [v >= theta]                      fire (strictly above with the surrogate `quadratic_gate`)
    v <- 0 where s                         reset `hard`, or v <- v - theta s with reset `soft`

A LIF update is x - v, an accumulate, and v + (x - v) / tau, a multiply-accumulate. A soft reset subtracts per spike, a
hard one selects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from neurons.nodes.node import Node, NodeCost, Parameters, State

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neurons.kernels.lif import Dynamics


@dataclass(kw_only=True)
class Leak(Parameters):
    """
    Args:
        tau: membrane time constant in simulation steps, above 1.
    """

    tau: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tau > 1:
            raise ValueError(f"tau must be above 1 simulation step, not {self.tau}")


@dataclass(kw_only=True)
class IF(Node):
    """Integrate and fire, `if`; the parameters are those of `neurons.nodes.node.Parameters`.

    >>> SpikingLayer(IF(threshold=1))(torch.full((4, 1), 0.6)).flatten().tolist()  # [S, N]
    [0.0, 1.0, 0.0, 1.0]
    """

    name: ClassVar[str] = "if"
    has_backends: ClassVar[bool] = True

    def charge(self, v: torch.Tensor, current: torch.Tensor, leak: torch.Tensor | None) -> torch.Tensor:
        return v + current

    def step(
        self, current: torch.Tensor, state: State, fire: Callable[..., Any], leak: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        v = self.charge(state[0], current, leak)
        spikes = fire(v - self.threshold)
        return spikes, (self.after_reset(v, spikes, self.threshold),)

    def leak(self, learned: torch.Tensor | None = None) -> tuple[Any, Any]:
        return 1.0, 1.0

    def time_constant(self, learned: torch.Tensor | None = None) -> float | None:
        return float("inf")

    def cost(self, steps: int) -> NodeCost:
        return NodeCost(macs=0, acs=1, per_spike=float(self.reset == "soft"))

    def module(self, steps: int) -> nn.Module:
        from spikingjelly.activation_based import neuron

        return neuron.IFNode(**self.spikingjelly_settings())

    def dynamics(self, module: Any, steps: int, neurons: int) -> Dynamics | None:
        from neurons.kernels.lif import SLOPES, Dynamics

        if self.surrogate not in SLOPES:
            return None
        return Dynamics(
            steps=steps,
            leaky=False,
            tau=1.0,
            threshold=float(self.threshold),
            soft=self.reset == "soft",
            detach=self.detach_reset,
            strict=self.surrogate == "quadratic_gate",
            slope=SLOPES[self.surrogate],
            alpha=float(module.surrogate_function.alpha),
            backward_start=neurons,
        )


@dataclass(kw_only=True)
class LIF(Leak, IF):
    """Leaky integrate and fire, `lif`.

    >>> SpikingLayer(LIF(tau=2, threshold=1))(torch.full((4, 1), 1.6)).flatten().tolist()  # v = 0.8, 1.2, 0.8, 1.2
    [0.0, 1.0, 0.0, 1.0]
    >>> LIF(tau=0.5)
    Traceback (most recent call last):
    ValueError: tau must be above 1 simulation step, not 0.5
    """

    name: ClassVar[str] = "lif"

    def charge(self, v: torch.Tensor, current: torch.Tensor, leak: torch.Tensor | None) -> torch.Tensor:
        return v + (current - v) / self.tau

    def leak(self, learned: torch.Tensor | None = None) -> tuple[Any, Any]:
        return 1 - 1 / float(self.tau), 1 / float(self.tau)

    def time_constant(self, learned: torch.Tensor | None = None) -> float | None:
        return float(self.tau)

    def cost(self, steps: int) -> NodeCost:
        return NodeCost(macs=1, acs=1, per_spike=float(self.reset == "soft"))

    def module(self, steps: int) -> nn.Module:
        from spikingjelly.activation_based import neuron

        return neuron.LIFNode(tau=float(self.tau), **self.spikingjelly_settings())

    def dynamics(self, module: Any, steps: int, neurons: int) -> Dynamics | None:
        known = super().dynamics(module, steps, neurons)
        return known and known._replace(leaky=True, tau=float(self.tau))


@dataclass(kw_only=True)
class PLIF(LIF):
    """LIF whose time constant is learned, one for the layer, from `tau` on: 1 / tau = sigmoid(w).

    >>> SpikingLayer(PLIF(tau=2)).node.w.item() == 0
    True
    """

    name: ClassVar[str] = "plif"

    def charge(self, v: torch.Tensor, current: torch.Tensor, leak: torch.Tensor | None) -> torch.Tensor:
        return super().charge(v, current, leak) if leak is None else v + (current - v) * leak.sigmoid()

    def leak(self, learned: torch.Tensor | None = None) -> tuple[Any, Any]:
        if learned is None:
            return super().leak()
        gain = learned.sigmoid()
        return 1 - gain, gain

    def new_leak(self) -> torch.Tensor | None:
        import torch

        return torch.tensor(-math.log(self.tau - 1.0))  # as SpikingJelly rounds it

    def leak_of(self, module: Any) -> torch.Tensor | None:
        return module.w

    def time_constant(self, learned: torch.Tensor | None = None) -> float | None:
        return float(self.tau if learned is None else 1 / learned.detach().double().sigmoid())

    def module(self, steps: int) -> nn.Module:
        from spikingjelly.activation_based import neuron

        return neuron.ParametricLIFNode(init_tau=float(self.tau), **self.spikingjelly_settings())

    def dynamics(self, module: Any, steps: int, neurons: int) -> Dynamics | None:
        return None
