"""Surrogate gradients by name, and the original CACE-Net's own.

A spike is a step of the membrane u = v - v_threshold; backwards, a surrogate takes the place of its derivative.
"""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import surrogate

SURROGATES: dict[str, type[surrogate.SurrogateFunctionBase]] = {
    "atan": surrogate.ATan,
    "sigmoid": surrogate.Sigmoid,
    "piecewise_quadratic": surrogate.PiecewiseQuadratic,
    "piecewise_exp": surrogate.PiecewiseExp,
    "soft_sign": surrogate.SoftSign,
    "super_spike": surrogate.SuperSpike,
    "erf": surrogate.Erf,
}
"""SpikingJelly's surrogates that take one slope parameter `alpha`, by their names there."""


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
    """The surrogate of the original CACE-Net: spike = [u > 0], d spike / du = alpha - alpha^2 |u| for |u| <= 1 / alpha.

    SpikingJelly's `PiecewiseQuadratic` has the same slope but spikes at u = 0 too. The two differ only where a membrane
    meets the threshold exactly: here the spike is 0 and the slope still alpha. SpikingJelly's CUDA kernels know its own
    surrogates only, so on CUDA this one runs on SpikingJelly's PyTorch path.
    """

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(spiking=spiking, alpha=alpha)

    @staticmethod
    def spiking_function(x: torch.Tensor, alpha: float) -> torch.Tensor:
        return _StrictStep.apply(x, alpha)

    primitive_function = staticmethod(surrogate.PiecewiseQuadratic.primitive_function)
    backward = staticmethod(surrogate.PiecewiseQuadratic.backward)


def make_surrogate(name: str, alpha: float) -> surrogate.SurrogateFunctionBase:
    """The surrogate `name` with slope parameter `alpha`; `quadratic_gate` or a key of `SURROGATES`.

    Raises:
        ValueError: unknown name, or `alpha` not positive.
    """
    if not alpha > 0:
        raise ValueError(f"surrogate alpha must be positive, not {alpha}")
    if name == "quadratic_gate":
        return QuadraticGate(alpha=float(alpha))
    if name not in SURROGATES:
        raise ValueError(f"unknown surrogate '{name}'; choose from {', '.join(['quadratic_gate', *SURROGATES])}")
    return SURROGATES[name](alpha=float(alpha))
