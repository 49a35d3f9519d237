"""Modules that run neurons over sequences: any neuron's `step` in a loop, and SpikingJelly's where they need a change.

Each takes currents `[S, ...]`, S simulation steps first, to spikes of the same shape.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based.surrogate import SurrogateFunctionBase
from torch import nn

from neurons.nodes.node import Node


class Stepped(neuron.BaseNode):
    """`node.step` in a loop, on SpikingJelly's PyTorch path; its memories are the node's states."""

    def __init__(self, node: Node) -> None:
        super().__init__(**node.spikingjelly_settings())
        self.config = node
        for name in node.states[1:]:
            self.register_memory(name, 0.0)

    def materialize_states(self, inputs: tuple, states: tuple, step_mode: str) -> tuple:
        v, *others = super().materialize_states(inputs, states, step_mode)
        fits = (isinstance(x, torch.Tensor) and x.shape == v.shape for x in others)
        return v, *(x if fit else torch.zeros_like(v) for x, fit in zip(others, fits, strict=True))

    def single_step_functional_forward(self, inputs: tuple, states: tuple, **kwargs: object) -> tuple[tuple, tuple]:
        spikes, after = self.config.step(inputs[0], states, self.surrogate_function)
        return (spikes,), after


class GatedLIFModule(nn.Module):
    """SpikingJelly's `GatedLIFNode` with one gate per layer, for currents of any shape."""

    def __init__(self, steps: int, surrogate_function: SurrogateFunctionBase) -> None:
        super().__init__()
        self.node = neuron.GatedLIFNode(T=steps, surrogate_function=surrogate_function, step_mode="m")
        for parameter in (self.node.alpha, self.node.beta, self.node.gamma):
            nn.init.uniform_(parameter, -0.1, 0.1)  # SpikingJelly draws these from NumPy's global generator

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        return self.node(current.flatten(1)[..., None, None]).reshape(current.shape)


class MaskedPSNModule(neuron.MaskedPSN):
    """SpikingJelly's, whose mask is complete from the start (lambda = 1): no step asks a tensor whether it is, for
    which CUDA would wait and which no exported graph holds.
    """

    def __init__(self, order: int, steps: int, surrogate_function: SurrogateFunctionBase) -> None:
        super().__init__(order, steps, lambda_init=1.0, surrogate_function=surrogate_function, step_mode="m")

    def masked_weight(self) -> torch.Tensor:
        return self.weight * self.mask0


class SlidingPSNModule(neuron.SlidingPSN):
    """SpikingJelly's, whose matrix over time is taken from the weights at once and not row by row: an exported graph of
    it holds for sequences of any length.
    """

    def gen_gemm_weight(self, T: int) -> torch.Tensor:  # noqa: N803 (SpikingJelly's name)
        steps = torch.arange(T, device=self.weight.device)
        behind = steps[:, None] - steps
        seen = (behind >= 0) & (behind < self.k)
        return torch.where(seen, self.weight[(self.k - 1 - behind).clamp(0, self.k - 1)], 0.0)


def make_node(node: Node, steps: int | None = None) -> nn.Module:
    """The module that runs `node` over sequences of so many steps, which nodes with weights per step need.

    Raises:
        ValueError: such a node without `steps`.
    """
    if node.fixed_length and steps is None:
        raise ValueError(
            f"{node.name} has weights per simulation step: it needs sequences of one length (membrane reset)"
        )
    return node.module(steps or 0)
