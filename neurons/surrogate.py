"""Surrogate gradients by name: SpikingJelly's, and one that fires strictly above the threshold.

A spike is a step of the membrane u = v - v_threshold; backwards, a surrogate takes the place of its derivative.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import torch
from spikingjelly.activation_based import surrogate

NOT_STEPS = ("SurrogateFunctionBase", "DeterministicPass", "PoissonPass", "MultiLevelSpikeCount")
"""What SpikingJelly keeps beside its surrogates of a step: no step, or not of one threshold."""


class _StrictStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, alpha: float) -> torch.Tensor:
        ctx.save_for_backward(u)
        ctx.alpha = alpha
        return (u > 0).to(u)

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, None]:
        return surrogate.piecewise_quadratic_backward(grad_output, ctx.saved_tensors[0], ctx.alpha)


class QuadraticGate(surrogate.SurrogateFunctionBase):
    """Spike = [u > 0], d spike / du = alpha - alpha^2 |u| for |u| <= 1 / alpha.

    SpikingJelly's `PiecewiseQuadratic` has the same slope but spikes at u = 0 too. The two differ only where a membrane
    meets the threshold exactly: here the spike is 0 and the slope still alpha. SpikingJelly's CUDA kernels know its own
    surrogates only, so on CUDA this one runs on SpikingJelly's PyTorch path.

    >>> QuadraticGate(alpha=2.0)(torch.tensor([-0.1, 0.0, 0.1]))
    tensor([0., 0., 1.])
    """

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(spiking=spiking, alpha=alpha)

    @staticmethod
    def spiking_function(x: torch.Tensor, alpha: float) -> torch.Tensor:
        return _StrictStep.apply(x, alpha)

    primitive_function = staticmethod(surrogate.PiecewiseQuadratic.primitive_function)
    backward = staticmethod(surrogate.PiecewiseQuadratic.backward)


def snake_case(name: str) -> str:
    """ATan to atan, PiecewiseLeakyReLU to piecewise_leaky_relu, QPseudoSpike to q_pseudo_spike, S2NN to s2nn."""
    name = name.replace("ReLU", "Relu").replace("ATan", "Atan")
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


SURROGATES: dict[str, type[surrogate.SurrogateFunctionBase]] = {"quadratic_gate": QuadraticGate} | {
    snake_case(name): value
    for name, value in vars(surrogate).items()
    if inspect.isclass(value) and issubclass(value, surrogate.SurrogateFunctionBase) and name not in NOT_STEPS
}
"""Every surrogate of a step that SpikingJelly has, under its class's name in snake case, and `quadratic_gate`."""


def parameter_names(name: str) -> list[str]:
    """What the surrogate `name` can be given, for example `alpha`, its slope at the threshold or its width."""
    return [parameter for parameter in inspect.signature(SURROGATES[name]).parameters if parameter != "spiking"]


def make_surrogate(name: str, **parameters: float) -> surrogate.SurrogateFunctionBase:
    """The surrogate `name`, a key of `SURROGATES`; parameters that are not given keep SpikingJelly's defaults.

    Raises:
        ValueError: unknown name, a parameter it does not have, or `alpha` not positive.
    """
    if name not in SURROGATES:
        raise ValueError(f"unknown surrogate '{name}'; choose from {', '.join(SURROGATES)}")
    unknown = set(parameters) - set(parameter_names(name))
    if unknown:
        raise ValueError(f"surrogate {name} has no '{min(unknown)}', only {', '.join(parameter_names(name))}")
    if not parameters.get("alpha", 1) > 0:
        raise ValueError(f"surrogate alpha must be positive, not {parameters['alpha']}")
    return SURROGATES[name](**parameters)
