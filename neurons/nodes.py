"""Spiking nodes by config, over SpikingJelly's: the equations, one pure step of them, and one function that builds.

With membrane v, input current x, time constant tau (in simulation steps) and threshold theta, one simulation step is

    v <- v + x                             `if`: integrate and fire
    v <- v + (x - v) / tau                 `lif`: leaky; `plif`: tau is learned (Fang et al., ICCV 2021)
    s  = [v >= theta]                      fire (strictly above with the surrogate `quadratic_gate`)
    v <- 0 where s                         reset `hard`, or v <- v - theta s with reset `soft`

`alif` adds an adaptive threshold (Bellec et al., NeurIPS 2018): a <- a + (s - a) / adaptation_tau, and it fires at
theta + adaptation a. `gated_lif` learns its leak, integration and reset per simulation step (Yao et al., NeurIPS 2022).
`ilif` fires round(v / theta) spikes per step, from 0 to `levels`, and resets softly; its charge is v <- v - v / tau + x
(Luo et al., ECCV 2024), and its gradient passes where v / theta lies in that range.

The parallel nodes have no reset, so a matrix product over time replaces the recursion: `psn` sees all steps of a
sequence, `masked_psn` the `order` latest ones, `sliding_psn` the same with weights shared over time (Fang et al.,
NeurIPS 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from spikingjelly.activation_based import functional, neuron
from spikingjelly.activation_based.surrogate import MultiLevelSpikeCount, SurrogateFunctionBase
from torch import nn

from neurons.config import FIXED_LENGTH, NodeConfig
from neurons.surrogate import make_surrogate


def surrogate_of(config: NodeConfig) -> SurrogateFunctionBase:
    """The surrogate that a node's config names, with its parameters."""
    return make_surrogate(config.surrogate, **config.surrogate_settings)


class NodeState(NamedTuple):
    """Membrane potential v and, of `alif`, adaptation a: `[...]` each, zero at rest.

    >>> NodeState.at_rest(torch.ones(2))
    NodeState(v=tensor([0., 0.]), a=tensor([0., 0.]))
    """

    v: torch.Tensor
    a: torch.Tensor

    @classmethod
    def at_rest(cls, like: torch.Tensor) -> NodeState:
        return cls(torch.zeros_like(like), torch.zeros_like(like))


def step(current: torch.Tensor, state: NodeState, config: NodeConfig) -> tuple[torch.Tensor, NodeState]:
    """One simulation step, as the equations above have it: current `[...]` to spikes `[...]` and the state after them.

    Differentiable, by surrogate. What runs many steps at once is tested against a loop over this.

    Raises:
        ValueError: a node without a step of its own: the parallel ones, and `gated_lif`, whose weights differ by step.
    """
    (v, a), theta = state, config.threshold
    if config.node == "if":
        v = v + current
    elif config.node in ("lif", "plif", "alif"):
        v = v + (current - v) / config.tau
    elif config.node == "ilif":
        v = v - v / config.tau + current
        spikes = MultiLevelSpikeCount(config.levels)(v / theta)
        return spikes, NodeState(v - theta * (spikes.detach() if config.detach_reset else spikes), a)
    else:
        raise ValueError(f"{config.node} has no single simulation step")
    threshold = theta + config.adaptation * a if config.node == "alif" else theta
    spikes = surrogate_of(config)(v - threshold)
    fired = spikes.detach() if config.detach_reset else spikes
    v = (1 - fired) * v if config.reset == "hard" else v - fired * threshold
    return spikes, NodeState(v, a + (spikes - a) / config.adaptation_tau)


class AdaptiveLIFNode(neuron.BaseNode):
    """LIF whose threshold rises with its own recent firing; see `alif` above. Runs on SpikingJelly's PyTorch path.

    Shape: `[S, ...]` to spikes `[S, ...]`.
    """

    def __init__(self, tau: float, adaptation: float, adaptation_tau: float, **common: Any) -> None:
        super().__init__(**common)
        self.tau = tau
        self.adaptation = adaptation
        self.adaptation_tau = adaptation_tau
        self.register_memory("a", 0.0)

    def materialize_states(self, inputs: tuple, states: tuple, step_mode: str) -> tuple:
        v, a = super().materialize_states(inputs, states, step_mode)
        if not isinstance(a, torch.Tensor) or a.shape != v.shape:
            a = torch.zeros_like(v)
        return v, a

    def single_step_functional_forward(self, inputs: tuple, states: tuple, **kwargs: object) -> tuple[tuple, tuple]:
        (current,), (v, a) = inputs, states
        v = functional.lif_charge(current, v, self.tau, True, self.v_reset)
        threshold = self.v_threshold + self.adaptation * a
        spike = self.surrogate_function(v - threshold)
        fired = spike.detach() if self.detach_reset else spike
        v = v - fired * threshold if self.v_reset is None else v * (1 - fired) + fired * self.v_reset
        return (spike,), (v, a + (spike - a) / self.adaptation_tau)


class GatedLIF(nn.Module):
    """SpikingJelly's `GatedLIFNode` with one gate per layer, for currents of any shape."""

    def __init__(self, steps: int, surrogate_function: SurrogateFunctionBase) -> None:
        super().__init__()
        self.node = neuron.GatedLIFNode(T=steps, surrogate_function=surrogate_function, step_mode="m")
        for parameter in (self.node.alpha, self.node.beta, self.node.gamma):
            nn.init.uniform_(parameter, -0.1, 0.1)  # SpikingJelly draws these from NumPy's global generator

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        return self.node(current.flatten(1)[..., None, None]).reshape(current.shape)


class MaskedPSN(neuron.MaskedPSN):
    """SpikingJelly's, whose mask is complete from the start (lambda = 1): no step asks a tensor whether it is, for
    which CUDA would wait and which no exported graph holds.
    """

    def __init__(self, order: int, steps: int, surrogate_function: SurrogateFunctionBase) -> None:
        super().__init__(order, steps, lambda_init=1.0, surrogate_function=surrogate_function, step_mode="m")

    def masked_weight(self) -> torch.Tensor:
        return self.weight * self.mask0


class SlidingPSN(neuron.SlidingPSN):
    """SpikingJelly's, whose matrix over time is taken from the weights at once and not row by row: an exported graph of
    it holds for sequences of any length.
    """

    def gen_gemm_weight(self, T: int) -> torch.Tensor:  # noqa: N803 (SpikingJelly's name)
        steps = torch.arange(T, device=self.weight.device)
        behind = steps[:, None] - steps
        seen = (behind >= 0) & (behind < self.k)
        return torch.where(seen, self.weight[(self.k - 1 - behind).clamp(0, self.k - 1)], 0.0)


def make_node(config: NodeConfig, steps: int | None = None) -> nn.Module:
    """The multi-step node that `config` describes; it takes `[S, ...]`, S simulation steps first.

    `steps` is the length of its sequences, which nodes with weights per step need.

    Raises:
        ValueError: such a node without `steps`.
    """
    if config.node in FIXED_LENGTH and steps is None:
        raise ValueError(
            f"{config.node} has weights per simulation step: it needs sequences of one length (membrane reset)"
        )
    return MAKERS[config.node](config, steps or 0)


def common(config: NodeConfig) -> dict[str, Any]:
    return {
        "v_threshold": float(config.threshold),
        "v_reset": 0.0 if config.reset == "hard" else None,
        "detach_reset": config.detach_reset,
        "surrogate_function": surrogate_of(config),
        "step_mode": "m",
    }


def make_ilif(config: NodeConfig, steps: int) -> nn.Module:
    return neuron.ILIFNode(
        tau=float(config.tau),
        v_threshold=float(config.threshold),
        surrogate_function=MultiLevelSpikeCount(config.levels),
        detach_reset=config.detach_reset,
        step_mode="m",
    )


MAKERS: dict[str, Callable[[NodeConfig, int], nn.Module]] = {
    "if": lambda config, steps: neuron.IFNode(**common(config)),
    "lif": lambda config, steps: neuron.LIFNode(tau=float(config.tau), **common(config)),
    "plif": lambda config, steps: neuron.ParametricLIFNode(init_tau=float(config.tau), **common(config)),
    "alif": lambda config, steps: AdaptiveLIFNode(
        float(config.tau), float(config.adaptation), float(config.adaptation_tau), **common(config)
    ),
    "gated_lif": lambda config, steps: GatedLIF(steps, surrogate_of(config)),
    "ilif": make_ilif,
    "psn": lambda config, steps: neuron.PSN(T=steps, surrogate_function=surrogate_of(config)),
    "masked_psn": lambda config, steps: MaskedPSN(min(config.order, steps), steps, surrogate_of(config)),
    "sliding_psn": lambda config, steps: SlidingPSN(
        config.order, surrogate_function=surrogate_of(config), step_mode="m"
    ),
}
"""What each name of a node builds."""
