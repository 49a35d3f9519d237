"""A layer that runs a node over a whole sequence of simulation steps and keeps nothing afterwards."""

from __future__ import annotations

from typing import cast

import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from neurons.nodes import NodeConfig, make_node


class SpikingLayer(nn.Module):
    """A node that starts every call from rest and forgets its membrane afterwards.

    SpikingJelly's nodes keep the last membrane, with its graph, until someone resets them: state leaks between batches
    and `deepcopy` fails. Here each call is a pure function of its input.

    A learned threshold is a learned gain: dividing the current by g moves the threshold of a node that rests at 0 from
    theta to g theta, in units of the membrane, and changes no spike otherwise. g starts at 1 and stays positive.

    Membranes are kept in float32 at least: a bf16 or fp16 current is widened, and its spikes handed back in its dtype.
    That also lets SpikingJelly's CUDA kernels run, whose membranes are float32.

    Shape: current `[S, ...]` to spikes `[S, ...]`, zeros and ones (integers for `ilif`), S simulation steps; `steps`
    where the node has weights per step.
    """

    def __init__(self, config: NodeConfig, steps: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.node = make_node(config, steps)
        self.log_threshold_gain = nn.Parameter(torch.zeros(())) if config.learn_threshold else None

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        self.reset()
        spikes = self.node(self._scaled(current))
        self.reset()
        return spikes.to(current.dtype)

    def step(self, current: torch.Tensor) -> torch.Tensor:
        """One simulation step, `[...]` to `[...]`, that goes on from the last; `reset` before the first."""
        return cast(neuron.BaseNode, self.node).single_step_forward(self._scaled(current)).to(current.dtype)

    def _scaled(self, current: torch.Tensor) -> torch.Tensor:
        if current.dtype in (torch.bfloat16, torch.float16):
            current = current.float()
        return current if self.log_threshold_gain is None else current * torch.exp(-self.log_threshold_gain)

    def reset(self) -> None:
        """Forget the membrane, where the node has one."""
        functional.reset_net(self.node)

    def implementation(self, device: torch.device) -> str:
        """The kernel that SpikingJelly runs this node with on `device`, for the log of a run."""
        name = self.config.node
        if name not in ("if", "lif", "plif", "ilif") or self.config.surrogate == "quadratic_gate":
            return "torch-reference"
        return str(functional.neuron_implementation(name, device)["implementation"])
