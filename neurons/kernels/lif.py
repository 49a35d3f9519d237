"""Firing rates of integrate-and-fire layers without the spikes: one pass that never writes `[S, ...]`.

A layer whose readout is the rate needs, of each neuron and segment, only how often it fired. Here membrane and count of
a neuron stay in registers over all simulation steps; in the backward pass the membrane potentials are computed again
from the currents. The result equals the eager path's exactly, and the gradient to rounding. With

    h_t = v_(t - 1) + (x_t - v_(t - 1)) / tau     (`if`: h_t = v_(t - 1) + x_t)
    s_t = [h_t >= theta]                          (> with `quadratic_gate`)
    v_t = (1 - s_t) h_t                           (soft reset: h_t - theta s_t)

and g = dL / d rate / S, from the last step to the first, with sigma the surrogate's slope at h_t - theta:

    dL/dh_t = sigma g + (1 - s_t) dL/dv_t [ - sigma h_t dL/dv_t where the reset is not detached ]
    dL/dv_(t - 1) = (1 - 1 / tau) dL/dh_t,  dL/dx_t = dL/dh_t / tau

(soft: dL/dv_t in place of (1 - s_t) dL/dv_t, and theta in place of h_t).

On a CPU the kernels are compiled by Numba, once, and cached; on CUDA they are Triton's (`neurons.kernels.lif_cuda`). A
constant current is one that does not change over the simulation steps of a segment: it is given once, and its gradient
is the sum over them. Memory then does not grow with S.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

SLOPES = {"piecewise_quadratic": 0, "quadratic_gate": 0, "sigmoid": 1, "atan": 2, "rect": 3}
"""Surrogates whose slopes the kernels know."""


class Dynamics(NamedTuple):
    """What the kernels need to know of a layer. backward_start: the neuron from which on segments run in reverse."""

    steps: int
    leaky: bool
    tau: float
    threshold: float
    soft: bool
    detach: bool
    strict: bool
    slope: int
    alpha: float
    backward_start: int


class FiringRate(torch.autograd.Function):
    """Currents `[X, R, T, N]`, X = 1 (constant) or S, of R rows that run over T segments from rest, to firing rates
    `[R, T, N]`.
    """

    @staticmethod
    def forward(ctx: Any, current: torch.Tensor, dynamics: Dynamics) -> torch.Tensor:
        current = current.contiguous()
        ctx.save_for_backward(current)
        ctx.dynamics = dynamics
        rate = torch.empty(current.shape[1:], dtype=current.dtype, device=current.device)
        kernels(current.device.type).forward(current, rate, dynamics)
        return rate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (current,) = ctx.saved_tensors
        result = torch.empty_like(current)
        kernels(current.device.type).backward(current, gradient.contiguous(), result, ctx.dynamics)
        return result, None


@torch.compiler.disable
def firing_rate(current: torch.Tensor, *dynamics: Any) -> torch.Tensor:
    """`FiringRate`, `[X, R, T, N]` to `[R, T, N]`; torch.compile calls it, with plain numbers, between two graphs."""
    return FiringRate.apply(current, Dynamics(*dynamics))


def kernels(device: str) -> Any:
    """The module with `forward` and `backward` for tensors on `device`; it compiles kernels, and is imported late."""
    return import_module(f"neurons.kernels.{'lif_cuda' if device == 'cuda' else 'lif_cpu'}")
