"""Triton kernels for `neurons.kernels.lif`: a program runs a block of neurons of one row over all segments and steps.

Membrane and count stay in registers. In the backward pass each segment runs again from the membrane potential that it
began with (`v_init`: one number per neuron and segment, whatever S; none where there is one segment), and its membrane
potentials stay in registers too.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl

BLOCK, SHORT_BLOCK = 128, 512
"""Neurons of a program: one per thread, so that registers hold the membranes of many steps, or four of few steps."""
FEW_STEPS = 8


@triton.jit
def divided(x, by, binary: tl.constexpr):
    """x / by, rounded correctly; a power of two (`binary`) divides exactly by its inverse, which is much cheaper."""
    if binary:
        return x * (1.0 / by)
    return tl.div_rn(x, by)


@triton.jit
def charged(x, v, tau, leaky: tl.constexpr, binary: tl.constexpr):
    if leaky:
        return v + divided(x - v, tau, binary)
    return v + x


@triton.jit
def fired(h, threshold, strict: tl.constexpr):
    if strict:
        return (h - threshold > 0).to(h.dtype)
    return (h - threshold >= 0).to(h.dtype)


@triton.jit
def reset(h, spike, threshold, soft: tl.constexpr):
    if soft:
        return h - spike * threshold
    return (1.0 - spike) * h


@triton.jit
def surrogate_slope(h, threshold, alpha, kind: tl.constexpr):
    u = h - threshold
    if kind == 0:
        return tl.where(tl.abs(u) <= 1.0 / alpha, alpha - alpha * alpha * tl.abs(u), 0.0)
    if kind == 1:
        open_ = 1.0 / (1.0 + tl.exp(-alpha * u))
        return alpha * open_ * (1.0 - open_)
    if kind == 2:
        turned = 1.5707963267948966 * alpha * u
        return 0.5 * alpha / (1.0 + turned * turned)
    return tl.where(tl.abs(u) < 0.5 / alpha, alpha, 0.0)


@triton.jit
def rates(
    current, rate, v_init, neurons, tau, threshold, backward_start,
    reverses: tl.constexpr, segments: tl.constexpr, steps: tl.constexpr, input_steps: tl.constexpr, keep: tl.constexpr,
    leaky: tl.constexpr, binary: tl.constexpr, soft: tl.constexpr, strict: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    neuron = tl.program_id(1) * block + tl.arange(0, block)
    inside = neuron < neurons
    step_stride = tl.num_programs(0).to(tl.int64) * segments * neurons
    v = tl.zeros([block], dtype=current.dtype.element_ty)
    for k in range(segments):
        t = k
        if reverses:
            t = tl.where(neuron >= backward_start, segments - 1 - k, k)
        place = (row * segments + t) * neurons + neuron
        if keep:
            tl.store(v_init + place, v, mask=inside)
        count = tl.zeros([block], dtype=current.dtype.element_ty)
        x = tl.load(current + place, mask=inside, other=0.0)
        for s in range(steps):
            if input_steps > 1:
                x = tl.load(current + s * step_stride + place, mask=inside, other=0.0)
            h = charged(x, v, tau, leaky, binary)
            spike = fired(h, threshold, strict)
            count += spike
            v = reset(h, spike, threshold, soft)
        if not keep:
            tl.store(rate + place, divided(count, steps * 1.0, steps & (steps - 1) == 0), mask=inside)


@triton.jit
def gradients(
    current, gradient, result, v_init, neurons, tau, threshold, alpha, backward_start,
    reverses: tl.constexpr, segments: tl.constexpr, steps: tl.constexpr, input_steps: tl.constexpr, leaky: tl.constexpr,
    binary: tl.constexpr, soft: tl.constexpr, detach: tl.constexpr, strict: tl.constexpr,
    kind: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    neuron = tl.program_id(1) * block + tl.arange(0, block)
    inside = neuron < neurons
    step_stride = tl.num_programs(0).to(tl.int64) * segments * neurons
    grad_v = tl.zeros([block], dtype=current.dtype.element_ty)
    for reverse in range(segments):
        k = segments - 1 - reverse
        t = k
        if reverses:
            t = tl.where(neuron >= backward_start, segments - 1 - k, k)
        place = (row * segments + t) * neurons + neuron
        v = tl.zeros([block], dtype=current.dtype.element_ty)
        if segments > 1:
            v = tl.load(v_init + place, mask=inside, other=0.0)
        grad_rate = tl.load(gradient + place, mask=inside, other=0.0) / steps
        x = tl.load(current + place, mask=inside, other=0.0)
        membranes = ()
        for s in tl.static_range(steps):
            if input_steps > 1:
                x = tl.load(current + s * step_stride + place, mask=inside, other=0.0)
            h = charged(x, v, tau, leaky, binary)
            v = reset(h, fired(h, threshold, strict), threshold, soft)
            membranes += (h,)  # type: ignore[assignment]
        total = tl.zeros([block], dtype=current.dtype.element_ty)
        for left in tl.static_range(steps):
            s = steps - 1 - left
            h = membranes[steps - 1 - left]
            spike = fired(h, threshold, strict)
            sigma = surrogate_slope(h, threshold, alpha, kind)
            kept = grad_v
            grad_reset = grad_v * threshold
            if not soft:
                kept = grad_v * (1.0 - spike)
                grad_reset = grad_v * h
            grad_spike = grad_rate
            if not detach:
                grad_spike = grad_rate - grad_reset
            grad_v = kept + grad_spike * sigma
            grad_x = grad_v
            if leaky:
                grad_x = grad_v * (1.0 / tau)
                grad_v = grad_v - grad_x
            if input_steps > 1:
                tl.store(result + s * step_stride + place, grad_x, mask=inside)
            else:
                total += grad_x
        if input_steps == 1:
            tl.store(result + place, total, mask=inside)


def forward(current: torch.Tensor, rate: torch.Tensor, dynamics: Any) -> None:
    """Firing rates: current `[X, R, T, N]`, rate `[R, T, N]`."""
    run_rates(current, rate, rate, dynamics, keep=False)


def run_rates(current: torch.Tensor, rate: torch.Tensor, v_init: torch.Tensor, dynamics: Any, keep: bool) -> None:
    """Current `[X, R, T, N]` to rates, or with `keep` to the potentials that segments start from, `[R, T, N]`."""
    grid, neurons, same = launch(current, dynamics)
    settings = (dynamics.tau, dynamics.threshold, dynamics.backward_start)
    rates[grid](current, rate, v_init, neurons, *settings, keep=keep, **same)


def backward(current: torch.Tensor, gradient: torch.Tensor, result: torch.Tensor, dynamics: Any) -> None:
    """dL/dcurrent `[X, R, T, N]` from dL/drate `[R, T, N]`."""
    v_init = gradient
    if current.shape[2] > 1:
        v_init = torch.empty_like(gradient)
        run_rates(current, gradient, v_init, dynamics, keep=True)
    grid, neurons, same = launch(current, dynamics)
    settings = (dynamics.tau, dynamics.threshold, dynamics.alpha, dynamics.backward_start)
    own = {"detach": dynamics.detach, "kind": dynamics.slope}
    gradients[grid](current, gradient, result, v_init, neurons, *settings, **own, **same)


def launch(current: torch.Tensor, dynamics: Any) -> tuple[tuple[int, int], int, dict[str, Any]]:
    """The grid, the neurons, and what both kernels are compiled for, of a current `[X, R, T, N]`."""
    input_steps, rows, segments, neurons = current.shape
    block = min(triton.next_power_of_2(neurons), SHORT_BLOCK if dynamics.steps <= FEW_STEPS else BLOCK)
    same = {
        "reverses": dynamics.backward_start < neurons,
        "segments": segments,
        "steps": dynamics.steps,
        "input_steps": input_steps,
        "leaky": dynamics.leaky,
        "binary": math.frexp(dynamics.tau)[0] == 0.5,
        "soft": dynamics.soft,
        "strict": dynamics.strict,
        "block": block,
    }
    return (rows, triton.cdiv(neurons, block)), neurons, same
