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

from typing import Any, NamedTuple

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from neurons.kernels.threads import in_threads

SLOPES = {"piecewise_quadratic": 0, "quadratic_gate": 0, "sigmoid": 1, "atan": 2, "rect": 3}
"""Surrogates whose slopes the kernels know."""
UPDATES_PER_THREAD = 1 << 19
"""Neuron updates below which a second thread does not pay."""


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
        return rates(current, dynamics)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (current,) = ctx.saved_tensors
        return gradients(current, gradient, ctx.dynamics), None


@torch.compiler.disable
def firing_rate(current: torch.Tensor, *dynamics: Any) -> torch.Tensor:
    """`FiringRate`, `[X, R, T, N]` to `[R, T, N]`; torch.compile calls it, with plain numbers, between two graphs."""
    return FiringRate.apply(current, Dynamics(*dynamics))


def rates(current: torch.Tensor, dynamics: Dynamics) -> torch.Tensor:
    """`[X, R, T, N]`, contiguous, to `[R, T, N]`."""
    rate = torch.empty(current.shape[1:], dtype=current.dtype, device=current.device)
    kernels(current.device.type).forward(current, rate, dynamics)
    return rate


def gradients(current: torch.Tensor, gradient: torch.Tensor, dynamics: Dynamics) -> torch.Tensor:
    """dL/dcurrent `[X, R, T, N]`, where that is contiguous, from dL/drate `[R, T, N]`."""
    result = torch.empty_like(current)
    kernels(current.device.type).backward(current, gradient.contiguous(), result, dynamics)
    return result


def kernels(device: str) -> Any:
    """The module with `forward` and `backward` for tensors on `device`."""
    if device == "cuda":
        from neurons.kernels import lif_cuda

        return lif_cuda
    return CpuKernels


class CpuKernels:
    """Numba's kernels on torch tensors, rows shared among as many threads as PyTorch uses."""

    @staticmethod
    def forward(current: torch.Tensor, rate: torch.Tensor, dynamics: Dynamics) -> None:
        from neurons.kernels.lif_cpu import rates

        run_rows(rates, current, dynamics, rate)

    @staticmethod
    def backward(current: torch.Tensor, gradient: torch.Tensor, result: torch.Tensor, dynamics: Dynamics) -> None:
        from neurons.kernels.lif_cpu import gradients

        run_rows(gradients, current, dynamics, gradient, result)


def run_rows(kernel: Any, current: torch.Tensor, dynamics: Dynamics, *others: torch.Tensor) -> None:
    """Run a compiled kernel over all rows R, which are independent: current `[X, R, T, N]`, others `[R, T, N]`."""
    arrays = [x.detach().numpy() for x in (current, *others)]
    kind = np.float32 if current.dtype is torch.float32 else np.float64
    numbers = (
        dynamics.steps,
        dynamics.leaky,
        kind(dynamics.tau),
        kind(dynamics.threshold),
        dynamics.soft,
        dynamics.detach,
        dynamics.strict,
        dynamics.slope,
        kind(dynamics.alpha),
        dynamics.backward_start,
    )
    rows = current.shape[1]
    updates = current[0].numel() * dynamics.steps
    rows_per_thread = max(1, UPDATES_PER_THREAD * rows // max(1, updates))
    in_threads(kernel, arrays, rows, rows_per_thread, *numbers)
