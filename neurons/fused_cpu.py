"""Numba kernels behind `neurons.fused`: rows are independent, lanes of neurons are vectorised.

Arithmetic is in the currents' own type and in the order of the equations, so that rates equal the plain path's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

LANES = 512
"""Neurons at a time, at most."""
SCRATCH = 1 << 17
"""Numbers that a thread keeps of a block's membranes on the way back; with many steps a block has fewer neurons."""


@njit(cache=True, nogil=True, error_model="numpy")
def charge(x: Any, v: Any, h: Any, count: int, leaky: bool, tau: Any) -> None:
    """h = v + (x - v) / tau, or v + x."""
    if leaky:
        for i in range(count):
            h[i] = v[i] + (x[i] - v[i]) / tau
    else:
        for i in range(count):
            h[i] = v[i] + x[i]


@njit(cache=True, nogil=True, error_model="numpy")
def fire(h: Any, spike: Any, v: Any, count: int, threshold: Any, soft: bool, strict: bool) -> None:
    """Spikes of membranes h, and the membranes after their reset."""
    zero, one = h.dtype.type(0), h.dtype.type(1)
    if strict:
        for i in range(count):
            spike[i] = one if h[i] - threshold > zero else zero
    else:
        for i in range(count):
            spike[i] = one if h[i] - threshold >= zero else zero
    if soft:
        for i in range(count):
            v[i] = h[i] - spike[i] * threshold
    else:
        for i in range(count):
            v[i] = (one - spike[i]) * h[i]


@njit(cache=True, nogil=True, error_model="numpy")
def slopes(h: Any, sigma: Any, count: int, threshold: Any, kind: int, alpha: Any) -> None:
    """The surrogate's slope at h - threshold; `kind` is a value of `neurons.fused.SLOPES`."""
    zero, one, half = h.dtype.type(0), h.dtype.type(1), h.dtype.type(0.5)
    quarter_turn = h.dtype.type(np.pi / 2)
    if kind == 0:
        width, fall = one / alpha, alpha * alpha
        for i in range(count):
            distance = abs(h[i] - threshold)
            slope = alpha - fall * distance
            sigma[i] = slope if distance <= width else zero
    elif kind == 1:
        for i in range(count):
            open_ = one / (one + np.exp(-alpha * (h[i] - threshold)))
            sigma[i] = alpha * open_ * (one - open_)
    elif kind == 2:
        for i in range(count):
            turned = quarter_turn * alpha * (h[i] - threshold)
            sigma[i] = half * alpha / (one + turned * turned)
    else:
        for i in range(count):
            sigma[i] = alpha if abs(h[i] - threshold) < half / alpha else zero


@njit(cache=True, nogil=True, error_model="numpy")
def learn(
    push: Any,
    h: Any,
    spike: Any,
    sigma: Any,
    back: Any,
    count: int,
    threshold: Any,
    soft: bool,
    detach: bool,
) -> None:
    """dL/dh in place of `back`, which comes in as dL/dv; `push` is dL/drate / S."""
    one = h.dtype.type(1)
    if detach and soft:
        for i in range(count):
            back[i] = back[i] + push[i] * sigma[i]
    elif detach:
        for i in range(count):
            back[i] = back[i] * (one - spike[i]) + push[i] * sigma[i]
    elif soft:
        for i in range(count):
            back[i] = back[i] + (push[i] - back[i] * threshold) * sigma[i]
    else:
        for i in range(count):
            back[i] = back[i] * (one - spike[i]) + (push[i] - back[i] * h[i]) * sigma[i]


@njit(cache=True, nogil=True, error_model="numpy")
def single_step_rates(
    current: Any, rate: Any, start: int, stop: int, leaky: bool, tau: Any, threshold: Any, strict: bool
) -> None:
    """`rates` where S = T = 1: from rest, and nothing lives on, so that no reset matters."""
    neurons = current.shape[3]
    zero, one = current.dtype.type(0), current.dtype.type(1)
    v = np.zeros(LANES, current.dtype)
    h = np.empty_like(v)
    for row in range(start, stop):
        for first in range(0, neurons, LANES):
            count = min(LANES, neurons - first)
            charge(current[0, row, 0, first : first + count], v, h, count, leaky, tau)
            if strict:
                for i in range(count):
                    rate[row, 0, first + i] = one if h[i] - threshold > zero else zero
            else:
                for i in range(count):
                    rate[row, 0, first + i] = one if h[i] - threshold >= zero else zero


@njit(cache=True, nogil=True, error_model="numpy")
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
    first_reversed: int,
) -> None:
    """Firing rates of rows start ... stop: current `[X, R, T, N]`, rate `[R, T, N]`."""
    given, _, segments, neurons = current.shape
    if segments * steps == 1:
        single_step_rates(current, rate, start, stop, leaky, tau, threshold, strict)
        return
    v = np.empty(LANES, current.dtype)
    h, spike, fired = np.empty_like(v), np.empty_like(v), np.empty_like(v)
    size = current.dtype.type(steps)
    for row in range(start, stop):
        first = 0
        while first < neurons:
            end = min(first + LANES, neurons)
            if first < first_reversed < end:
                end = first_reversed
            count = end - first
            v[:] = 0
            for k in range(segments):
                t = segments - 1 - k if first >= first_reversed else k
                fired[:] = 0
                for s in range(steps):
                    charge(current[s if given > 1 else 0, row, t, first:end], v, h, count, leaky, tau)
                    fire(h, spike, v, count, threshold, soft, strict)
                    for i in range(count):
                        fired[i] += spike[i]
                for i in range(count):
                    rate[row, t, first + i] = fired[i] / size
            first = end


@njit(cache=True, nogil=True, error_model="numpy")
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
    """`gradients` where S = T = 1: from rest, and nothing lives on, so that no reset matters."""
    neurons = current.shape[3]
    v = np.zeros(LANES, current.dtype)
    h, sigma = np.empty_like(v), np.empty_like(v)
    rate_of_charge = current.dtype.type(1) / tau if leaky else current.dtype.type(1)
    for row in range(start, stop):
        for first in range(0, neurons, LANES):
            count = min(LANES, neurons - first)
            charge(current[0, row, 0, first : first + count], v, h, count, leaky, tau)
            slopes(h, sigma, count, threshold, kind, alpha)
            for i in range(count):
                result[0, row, 0, first + i] = gradient[row, 0, first + i] * sigma[i] * rate_of_charge


@njit(cache=True, nogil=True, error_model="numpy")
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
    first_reversed: int,
) -> None:
    """dL/dcurrent `[X, R, T, N]` of rows start ... stop from dL/drate `[R, T, N]`."""
    given, _, segments, neurons = current.shape
    if segments * steps == 1:
        single_step_gradients(current, gradient, result, start, stop, leaky, tau, threshold, kind, alpha)
        return
    lanes = max(16, min(LANES, SCRATCH // (segments * steps)))
    v = np.empty(lanes, current.dtype)
    sigma, back, summed, push = np.empty_like(v), np.empty_like(v), np.empty_like(v), np.empty_like(v)
    size, rate_of_charge = current.dtype.type(steps), current.dtype.type(1) / tau
    h = np.empty((segments * steps, lanes), current.dtype)
    spike = np.empty((segments * steps, lanes), current.dtype)
    for row in range(start, stop):
        first = 0
        while first < neurons:
            end = min(first + lanes, neurons)
            if first < first_reversed < end:
                end = first_reversed
            count = end - first
            v[:] = 0
            for k in range(segments):
                t = segments - 1 - k if first >= first_reversed else k
                for s in range(steps):
                    at = k * steps + s
                    charge(current[s if given > 1 else 0, row, t, first:end], v, h[at], count, leaky, tau)
                    fire(h[at], spike[at], v, count, threshold, soft, strict)
            back[:] = 0
            for k in range(segments - 1, -1, -1):
                t = segments - 1 - k if first >= first_reversed else k
                summed[:] = 0
                for i in range(count):
                    push[i] = gradient[row, t, first + i] / size
                for s in range(steps - 1, -1, -1):
                    at = k * steps + s
                    slopes(h[at], sigma, count, threshold, kind, alpha)
                    learn(push, h[at], spike[at], sigma, back, count, threshold, soft, detach)
                    if leaky:
                        for i in range(count):
                            through = back[i] * rate_of_charge
                            back[i] -= through
                            sigma[i] = through
                    else:
                        sigma[:count] = back[:count]
                    if given > 1:
                        result[s, row, t, first:end] = sigma[:count]
                    else:
                        for i in range(count):
                            summed[i] += sigma[i]
                if given == 1:
                    for i in range(count):
                        result[0, row, t, first + i] = summed[i]
            first = end
