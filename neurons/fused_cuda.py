"""Triton kernels behind `neurons.fused`: a program runs a block of neurons of one row through all segments and steps.

Membrane and count stay in registers. Backwards, each segment runs again from the membrane that it began with (one
number per neuron and segment, whatever S; none where there is one segment), and its membranes stay in registers too.
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
def shared(x, by, binary: tl.constexpr):
    """x / by, rounded correctly; a power of two (`binary`) divides exactly by its inverse, which is much cheaper."""
    if binary:
        return x * (1.0 / by)
    return tl.div_rn(x, by)


@triton.jit
def charged(x, v, tau, leaky: tl.constexpr, binary: tl.constexpr):
    if leaky:
        return v + shared(x - v, tau, binary)
    return v + x


@triton.jit
def fired(h, threshold, strict: tl.constexpr):
    if strict:
        return (h - threshold > 0).to(h.dtype)
    return (h - threshold >= 0).to(h.dtype)


@triton.jit
def after(h, spike, threshold, soft: tl.constexpr):
    if soft:
        return h - spike * threshold
    return (1.0 - spike) * h


@triton.jit
def slope_at(h, threshold, alpha, kind: tl.constexpr):
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
    current,
    rate,
    begun,
    neurons,
    tau,
    threshold,
    first_reversed,
    reverses: tl.constexpr,
    segments: tl.constexpr,
    steps: tl.constexpr,
    given: tl.constexpr,
    keep: tl.constexpr,
    leaky: tl.constexpr,
    binary: tl.constexpr,
    soft: tl.constexpr,
    strict: tl.constexpr,
    block: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    neuron = tl.program_id(1) * block + tl.arange(0, block)
    inside = neuron < neurons
    apart = tl.num_programs(0).to(tl.int64) * segments * neurons
    v = tl.zeros([block], dtype=current.dtype.element_ty)
    for k in range(segments):
        t = k
        if reverses:
            t = tl.where(neuron >= first_reversed, segments - 1 - k, k)
        place = (row * segments + t) * neurons + neuron
        if keep:
            tl.store(begun + place, v, mask=inside)
        count = tl.zeros([block], dtype=current.dtype.element_ty)
        x = tl.load(current + place, mask=inside, other=0.0)
        for s in range(steps):
            if given > 1:
                x = tl.load(current + s * apart + place, mask=inside, other=0.0)
            h = charged(x, v, tau, leaky, binary)
            spike = fired(h, threshold, strict)
            count += spike
            v = after(h, spike, threshold, soft)
        if not keep:
            tl.store(rate + place, shared(count, steps * 1.0, steps & (steps - 1) == 0), mask=inside)


@triton.jit
def gradients(
    current,
    gradient,
    result,
    begun,
    neurons,
    tau,
    threshold,
    alpha,
    first_reversed,
    reverses: tl.constexpr,
    segments: tl.constexpr,
    steps: tl.constexpr,
    given: tl.constexpr,
    leaky: tl.constexpr,
    binary: tl.constexpr,
    soft: tl.constexpr,
    detach: tl.constexpr,
    strict: tl.constexpr,
    kind: tl.constexpr,
    block: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    neuron = tl.program_id(1) * block + tl.arange(0, block)
    inside = neuron < neurons
    apart = tl.num_programs(0).to(tl.int64) * segments * neurons
    back = tl.zeros([block], dtype=current.dtype.element_ty)
    for behind in range(segments):
        k = segments - 1 - behind
        t = k
        if reverses:
            t = tl.where(neuron >= first_reversed, segments - 1 - k, k)
        place = (row * segments + t) * neurons + neuron
        v = tl.zeros([block], dtype=current.dtype.element_ty)
        if segments > 1:
            v = tl.load(begun + place, mask=inside, other=0.0)
        push = tl.load(gradient + place, mask=inside, other=0.0) / steps
        x = tl.load(current + place, mask=inside, other=0.0)
        membranes = ()
        for s in tl.static_range(steps):
            if given > 1:
                x = tl.load(current + s * apart + place, mask=inside, other=0.0)
            h = charged(x, v, tau, leaky, binary)
            v = after(h, fired(h, threshold, strict), threshold, soft)
            membranes += (h,)  # type: ignore[assignment]
        total = tl.zeros([block], dtype=current.dtype.element_ty)
        for left in tl.static_range(steps):
            s = steps - 1 - left
            h = membranes[steps - 1 - left]
            spike = fired(h, threshold, strict)
            sigma = slope_at(h, threshold, alpha, kind)
            kept = back
            lost = back * threshold
            if not soft:
                kept = back * (1.0 - spike)
                lost = back * h
            through = push
            if not detach:
                through = push - lost
            back = kept + through * sigma
            into = back
            if leaky:
                into = back * (1.0 / tau)
                back = back - into
            if given > 1:
                tl.store(result + s * apart + place, into, mask=inside)
            else:
                total += into
        if given == 1:
            tl.store(result + place, total, mask=inside)


def forward(current: torch.Tensor, rate: torch.Tensor, dynamics: Any) -> None:
    """Firing rates: current `[X, R, T, N]`, rate `[R, T, N]`."""
    run_rates(current, rate, rate, dynamics, keep=False)


def run_rates(current: torch.Tensor, rate: torch.Tensor, begun: torch.Tensor, dynamics: Any, keep: bool) -> None:
    grid, neurons, same = launch(current, dynamics)
    settings = (dynamics.tau, dynamics.threshold, dynamics.first_reversed)
    rates[grid](current, rate, begun, neurons, *settings, keep=keep, **same)


def backward(current: torch.Tensor, gradient: torch.Tensor, result: torch.Tensor, dynamics: Any) -> None:
    """dL/dcurrent `[X, R, T, N]` from dL/drate `[R, T, N]`."""
    begun = gradient
    if current.shape[2] > 1:
        begun = torch.empty_like(gradient)
        run_rates(current, gradient, begun, dynamics, keep=True)
    grid, neurons, same = launch(current, dynamics)
    settings = (dynamics.tau, dynamics.threshold, dynamics.alpha, dynamics.first_reversed)
    own = {"detach": dynamics.detach, "kind": dynamics.slope}
    gradients[grid](current, gradient, result, begun, neurons, *settings, **own, **same)


def launch(current: torch.Tensor, dynamics: Any) -> tuple[tuple[int, int], int, dict[str, Any]]:
    """The grid, the neurons, and what both kernels are compiled for."""
    given, rows, segments, neurons = current.shape
    block = min(triton.next_power_of_2(neurons), SHORT_BLOCK if dynamics.steps <= FEW_STEPS else BLOCK)
    same = {
        "reverses": dynamics.first_reversed < neurons,
        "segments": segments,
        "steps": dynamics.steps,
        "given": given,
        "leaky": dynamics.leaky,
        "binary": math.frexp(dynamics.tau)[0] == 0.5,
        "soft": dynamics.soft,
        "strict": dynamics.strict,
        "block": block,
    }
    return (rows, triton.cdiv(neurons, block)), neurons, same
