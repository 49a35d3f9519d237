"""Numba kernels behind `neurons.kernels.lif`: rows are independent, lanes of neurons are vectorised.

Arithmetic is in the currents' own type and in the order of the equations, so that rates equal the eager path's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neurons.kernels.threads import compiled

LANES = 512
"""Neurons at a time, at most."""
SCRATCH = 1 << 17
"""Numbers that a thread keeps of a block's membranes in the backward pass; many steps leave a block fewer neurons."""


@compiled(error_model="numpy")
def divides_exactly(tau: Any) -> bool:
    """Whether tau is a power of two: multiplying by its reciprocal, which is faster, then gives the same."""
    return math.frexp(tau)[0] == 0.5


@compiled(error_model="numpy")
def advance(
    x: Any, v: Any, fired: Any, leaky: bool, exact: bool, tau: Any, threshold: Any, soft: bool, strict: bool
) -> None:
    """One simulation step of the neurons `[N]`: charge, fire, reset; v and the spike counts `fired` are updated."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    gain = one / tau if leaky else one
    for i in range(len(v)):
        drive = x[i] - v[i] if leaky else x[i]
        h = v[i] + (drive * gain if exact else drive / tau)
        spike = one if (h - threshold > zero if strict else h - threshold >= zero) else zero
        fired[i] += spike
        v[i] = h - spike * threshold if soft else (one - spike) * h


@compiled(error_model="numpy")
def charge(
    x: Any, v: Any, h: Any, leaky: bool, exact: bool, tau: Any, threshold: Any, soft: bool, strict: bool
) -> None:
    """`advance` that keeps the membranes h before their reset, and counts nothing."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    gain = one / tau if leaky else one
    if exact:
        for i in range(len(v)):
            h[i] = v[i] + (x[i] - v[i] if leaky else x[i]) * gain
    else:
        for i in range(len(v)):
            h[i] = v[i] + (x[i] - v[i]) / tau
    for i in range(len(v)):
        spike = one if (h[i] - threshold > zero if strict else h[i] - threshold >= zero) else zero
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
        spike = one if (h[i] - threshold > zero if strict else h[i] - threshold >= zero) else zero
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
    v_of_block = np.empty(LANES, current.dtype)
    size, exact = current.dtype.type(steps), not leaky or divides_exactly(tau)
    for row in range(start, stop):
        first = 0
        while first < neurons:
            end = block_end(first, neurons, LANES, backward_start)
            v = v_of_block[: end - first]
            v[:] = 0
            for k in range(segments):
                t = segments - 1 - k if first >= backward_start else k
                fired = rate[row, t, first:end]
                fired[:] = 0
                for s in range(steps):
                    x = current[s if input_steps > 1 else 0, row, t, first:end]
                    advance(x, v, fired, leaky, exact, tau, threshold, soft, strict)
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
def single_step_gradients(
    current: Any,
    gradient: Any,
    result: Any,
    start: int,
    stop: int,
    leaky: bool,
    tau: Any,
    threshold: Any,
    kind: int,
    alpha: Any,
) -> None:
    """`gradients` where S = T = 1: from rest, h = x / tau, and no reset matters."""
    gain = current.dtype.type(1) / tau if leaky else current.dtype.type(1)
    h_of_block, sigma_of_block = np.empty(LANES, current.dtype), np.empty(LANES, current.dtype)
    for row in range(start, stop):
        for first in range(0, current.shape[3], LANES):
            x, grad_rate = current[0, row, 0, first : first + LANES], gradient[row, 0, first : first + LANES]
            h, sigma, grad_x = h_of_block[: len(x)], sigma_of_block[: len(x)], result[0, row, 0, first : first + LANES]
            for i in range(len(x)):
                h[i] = x[i] / tau if leaky else x[i]
            slopes(h, sigma, threshold, kind, alpha)
            for i in range(len(x)):
                grad_x[i] = grad_rate[i] * sigma[i] * gain


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
    if segments * steps == 1:
        single_step_gradients(current, gradient, result, start, stop, leaky, tau, threshold, kind, alpha)
        return
    lanes = max(16, min(LANES, SCRATCH // (segments * steps)))
    blocks = np.empty((4, lanes), current.dtype)
    membranes = np.empty((segments * steps, lanes), current.dtype)
    size, exact = current.dtype.type(steps), not leaky or divides_exactly(tau)
    for row in range(start, stop):
        first = 0
        while first < neurons:
            end = block_end(first, neurons, lanes, backward_start)
            v, sigma, grad_v, grad_rate = (
                blocks[0, : end - first],
                blocks[1, : end - first],
                blocks[2, : end - first],
                blocks[3, : end - first],
            )
            v[:] = 0
            for k in range(segments):
                t = segments - 1 - k if first >= backward_start else k
                for s in range(steps):
                    x = current[s if input_steps > 1 else 0, row, t, first:end]
                    charge(x, v, membranes[k * steps + s, : end - first], leaky, exact, tau, threshold, soft, strict)
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
