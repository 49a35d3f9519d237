"""Numba kernels behind `neurons.kernels.lif`: rows are independent, lanes of neurons are vectorised.

Arithmetic is in the currents' own type and in the order of the equations, so that rates equal the eager path's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from neurons.kernels.lif import Dynamics
from neurons.kernels.threads import compiled, in_threads

LANES = 512
"""Neurons at a time, at most."""
SCRATCH = 1 << 17
"""Numbers that a thread keeps of a block's membranes in the backward pass; many steps leave a block fewer neurons."""
UPDATES_PER_THREAD = 1 << 19
"""Neuron updates below which a second thread does not pay."""


@compiled(error_model="numpy")
def fires(h: Any, threshold: Any, strict: bool) -> bool:
    """Whether a neuron with the membrane h fires."""
    return h - threshold > 0 if strict else h - threshold >= 0


@compiled(error_model="numpy")
def advance(x: Any, v: Any, h: Any, leaky: bool, tau: Any, threshold: Any, soft: bool, strict: bool) -> None:
    """One simulation step of the neurons `[N]`: v is charged, fires and is reset; h are the membranes before that."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    for i in range(len(v)):
        h[i] = v[i] + ((x[i] - v[i]) / tau if leaky else x[i])
    for i in range(len(v)):
        spike = one if fires(h[i], threshold, strict) else zero
        v[i] = h[i] - spike * threshold if soft else (one - spike) * h[i]


@compiled(error_model="numpy")
def slopes(h: Any, sigma: Any, threshold: Any, kind: int, alpha: Any) -> None:
    """The surrogate's slope at h - threshold; `kind` is a value of `neurons.kernels.lif.SLOPES`."""
    zero, one, half = h.dtype.type(0), h.dtype.type(1), h.dtype.type(0.5)
    quarter_turn = h.dtype.type(np.pi / 2)
    if kind == 0:
        width, fall = one / alpha, alpha * alpha
        for i in range(len(h)):
            distance = abs(h[i] - threshold)
            slope = alpha - fall * distance
            sigma[i] = slope if distance <= width else zero
    elif kind == 1:
        for i in range(len(h)):
            open_ = one / (one + np.exp(-alpha * (h[i] - threshold)))
            sigma[i] = alpha * open_ * (one - open_)
    elif kind == 2:
        for i in range(len(h)):
            turned = quarter_turn * alpha * (h[i] - threshold)
            sigma[i] = half * alpha / (one + turned * turned)
    else:
        for i in range(len(h)):
            sigma[i] = alpha if abs(h[i] - threshold) < half / alpha else zero


@compiled(error_model="numpy")
def backward_step(
    grad_rate: Any,
    h: Any,
    sigma: Any,
    grad_v: Any,
    grad_x: Any,
    leaky: bool,
    tau: Any,
    threshold: Any,
    soft: bool,
    strict: bool,
    detach: bool,
) -> None:
    """One simulation step of the backward pass: `grad_v` goes from dL/dv_t to dL/dv_(t - 1); `grad_x` is added to.

    grad_rate: dL/drate / S. sigma: the surrogate's slopes at h.
    """
    zero, one = h.dtype.type(0), h.dtype.type(1)
    gain = one / tau if leaky else one
    for i in range(len(h)):
        spike = one if fires(h[i], threshold, strict) else zero
        kept = grad_v[i] if soft else grad_v[i] * (one - spike)
        reset = zero if detach else grad_v[i] * (threshold if soft else h[i])
        grad_v[i] = kept + (grad_rate[i] - reset) * sigma[i]
    for i in range(len(h)):
        push = grad_v[i] * gain
        grad_x[i] += push
        grad_v[i] = grad_v[i] - push if leaky else grad_v[i]


@compiled(error_model="numpy")
def rates(
    current: Any,
    rate: Any,
    start: int,
    stop: int,
    steps: int,
    leaky: bool,
    tau: Any,
    threshold: Any,
    soft: bool,
    detach: bool,
    strict: bool,
    kind: int,
    alpha: Any,
    backward_start: int,
) -> None:
    """Firing rates of rows start ... stop: current `[X, R, T, N]`, rate `[R, T, N]`."""
    input_steps, _, segments, neurons = current.shape
    blocks = np.empty((2, LANES), current.dtype)
    zero, one, size = current.dtype.type(0), current.dtype.type(1), current.dtype.type(steps)
    for row in range(start, stop):
        first = 0
        while first < neurons:
            end = block_end(first, neurons, LANES, backward_start)
            v, h = blocks[0, : end - first], blocks[1, : end - first]
            v[:] = 0
            for k in range(segments):
                t = segments - 1 - k if first >= backward_start else k
                fired = rate[row, t, first:end]
                fired[:] = 0
                for s in range(steps):
                    x = current[s if input_steps > 1 else 0, row, t, first:end]
                    advance(x, v, h, leaky, tau, threshold, soft, strict)
                    for i in range(len(h)):
                        fired[i] += one if fires(h[i], threshold, strict) else zero
                if steps > 1:
                    for i in range(len(fired)):
                        fired[i] /= size
            first = end


@compiled(error_model="numpy")
def block_end(first: int, neurons: int, lanes: int, backward_start: int) -> int:
    """Where a block of neurons that starts at `first` ends: all of its neurons run in the same direction."""
    end = min(first + lanes, neurons)
    return backward_start if first < backward_start < end else end


@compiled(error_model="numpy")
def gradients(
    current: Any,
    gradient: Any,
    result: Any,
    start: int,
    stop: int,
    steps: int,
    leaky: bool,
    tau: Any,
    threshold: Any,
    soft: bool,
    detach: bool,
    strict: bool,
    kind: int,
    alpha: Any,
    backward_start: int,
) -> None:
    """dL/dcurrent `[X, R, T, N]` of rows start ... stop from dL/drate `[R, T, N]`."""
    input_steps, _, segments, neurons = current.shape
    lanes = max(16, min(LANES, SCRATCH // (segments * steps)))
    blocks = np.empty((4, lanes), current.dtype)
    membranes = np.empty((segments * steps, lanes), current.dtype)
    size = current.dtype.type(steps)
    for row in range(start, stop):
        first = 0
        while first < neurons:
            end = block_end(first, neurons, lanes, backward_start)
            lane = end - first
            v, sigma = blocks[0, :lane], blocks[1, :lane]
            grad_v, grad_rate = blocks[2, :lane], blocks[3, :lane]
            v[:] = 0
            for k in range(segments):
                t = segments - 1 - k if first >= backward_start else k
                for s in range(steps):
                    x = current[s if input_steps > 1 else 0, row, t, first:end]
                    advance(x, v, membranes[k * steps + s, : end - first], leaky, tau, threshold, soft, strict)
            grad_v[:] = 0
            for k in range(segments - 1, -1, -1):
                t = segments - 1 - k if first >= backward_start else k
                result[:, row, t, first:end] = 0
                pushed = gradient[row, t, first:end]
                for i in range(len(grad_rate)):
                    grad_rate[i] = pushed[i] / size
                for s in range(steps - 1, -1, -1):
                    h = membranes[k * steps + s, : end - first]
                    slopes(h, sigma, threshold, kind, alpha)
                    grad_x = result[s if input_steps > 1 else 0, row, t, first:end]
                    backward_step(grad_rate, h, sigma, grad_v, grad_x, leaky, tau, threshold, soft, strict, detach)
            first = end


def forward(current: torch.Tensor, rate: torch.Tensor, dynamics: Dynamics) -> None:
    """Firing rates: current `[X, R, T, N]`, rate `[R, T, N]`."""
    run_rows(rates, current, dynamics, rate)


def backward(current: torch.Tensor, gradient: torch.Tensor, result: torch.Tensor, dynamics: Dynamics) -> None:
    """dL/dcurrent `[X, R, T, N]` from dL/drate `[R, T, N]`."""
    run_rows(gradients, current, dynamics, gradient, result)


def run_rows(kernel: Any, current: torch.Tensor, dynamics: Dynamics, *others: torch.Tensor) -> None:
    """Run a kernel over all rows R: current `[X, R, T, N]`, others `[R, T, N]`."""
    arrays = [x.detach().numpy() for x in (current, *others)]
    kind = arrays[0].dtype.type
    numbers = [kind(x) if isinstance(x, float) else x for x in dynamics]
    rows = current.shape[1]
    updates = current[0].numel() * dynamics.steps
    rows_per_thread = max(1, UPDATES_PER_THREAD * rows // max(1, updates))
    in_threads(kernel, arrays, rows, rows_per_thread, *numbers)
