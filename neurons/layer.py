"""A node from checked numbers, and a layer that runs it over a whole sequence of simulation steps.

Leaky integrate-and-fire (LIF), with membrane v, current x, time constant tau, per simulation step:

    v <- v + (x - (v - v_reset)) / tau      charge
    s  = [v >= v_threshold]                 fire (strictly above with the surrogate `quadratic_gate`)
    v <- v_reset where s (hard), or v - v_threshold s (soft)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from neurons.surrogate import make_surrogate


@dataclass(frozen=True)
class NodeConfig:
    """One spiking node. Numbers may be int or float; they are checked here, where the message can name them.

    tau: membrane time constant in simulation steps, above 1. threshold: above 0. reset: `hard` sets the membrane to 0,
    `soft` subtracts the threshold. detach_reset: keep the reset out of the gradient. surrogate, alpha: see
    `neurons.surrogate`.
    """

    tau: float = 2.0
    threshold: float = 1.0
    reset: str = "hard"
    detach_reset: bool = True
    surrogate: str = "piecewise_quadratic"
    alpha: float = 2.0

    def __post_init__(self) -> None:
        if not self.tau > 1:
            raise ValueError(f"tau must be above 1 simulation step, not {self.tau}")
        if not self.threshold > 0:
            raise ValueError(f"threshold must be above 0, not {self.threshold}")
        if self.reset not in ("hard", "soft"):
            raise ValueError(f"reset must be 'hard' or 'soft', not '{self.reset}'")
        make_surrogate(self.surrogate, self.alpha)


def make_node(config: NodeConfig) -> neuron.LIFNode:
    """A multi-step LIF node of SpikingJelly; it takes `[S, ...]`, S simulation steps first."""
    return neuron.LIFNode(
        tau=float(config.tau),
        v_threshold=float(config.threshold),
        v_reset=0.0 if config.reset == "hard" else None,
        detach_reset=config.detach_reset,
        surrogate_function=make_surrogate(config.surrogate, config.alpha),
        step_mode="m",
    )


class SpikingLayer(nn.Module):
    """A node that starts every call from rest and forgets its membrane afterwards.

    SpikingJelly's nodes keep the last membrane, with its graph, until someone resets them: state leaks between batches
    and `deepcopy` fails. Here each call is a pure function of its input.

    Shape: current `[S, ...]` to spikes `[S, ...]`, zeros and ones, S simulation steps.
    """

    def __init__(self, config: NodeConfig) -> None:
        super().__init__()
        self.node = make_node(config)

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        self.node.reset()
        spikes = self.node(current)
        self.node.reset()
        return spikes

    def implementation(self, device: torch.device) -> str:
        """The kernel that SpikingJelly runs this node with on `device`, for the log of a run."""
        return str(functional.neuron_implementation("lif", device)["implementation"])
