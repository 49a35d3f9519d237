"""Triton kernels behind `neurons.fused`: a program runs a block of neurons of one row through all segments and steps.

Membrane and count stay in registers. Backwards, each segment starts again from the membrane that it began with (one
number per neuron and segment, whatever S) and runs up to each step in turn: S^2 cheap updates, nothing stored.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

BLOCK = 256


@triton.jit
def charged(x, v, tau, leaky: tl.constexpr):
    if leaky:
        return v + tl.div_rn(x - v, tau)
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
    rows,
    neurons,
    tau,
    threshold,
    first_reversed,
    segments: tl.constexpr,
    steps: tl.constexpr,
    given: tl.constexpr,
    keep: tl.constexpr,
    leaky: tl.constexpr,
    soft: tl.constexpr,
    strict: tl.constexpr,
    block: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    neuron = tl.program_id(1) * block + tl.arange(0, block)
    inside = neuron < neurons
    backwards = neuron >= first_reversed
    v = tl.zeros([block], dtype=current.dtype.element_ty)
    for k in range(segments):
        t = tl.where(backwards, segments - 1 - k, k)
        place = (row * segments + t) * neurons + neuron
        if keep:
            tl.store(begun + place, v, mask=inside)
        count = tl.zeros([block], dtype=current.dtype.element_ty)
        x = tl.load(current + place, mask=inside, other=0.0)
        for s in range(steps):
            if given > 1:
                x = tl.load(current + s * rows * segments * neurons + place, mask=inside, other=0.0)
            h = charged(x, v, tau, leaky)
            spike = fired(h, threshold, strict)
            count += spike
            v = after(h, spike, threshold, soft)
        if not keep:
            tl.store(rate + place, tl.div_rn(count, steps * 1.0), mask=inside)


@triton.jit
def gradients(
    current,
    gradient,
    result,
    begun,
    rows,
    neurons,
    tau,
    threshold,
    alpha,
    first_reversed,
    segments: tl.constexpr,
    steps: tl.constexpr,
    given: tl.constexpr,
    leaky: tl.constexpr,
    soft: tl.constexpr,
    detach: tl.constexpr,
    strict: tl.constexpr,
    kind: tl.constexpr,
    block: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    neuron = tl.program_id(1) * block + tl.arange(0, block)
    inside = neuron < neurons
    backwards = neuron >= first_reversed
    back = tl.zeros([block], dtype=current.dtype.element_ty)
    for behind in range(segments):
        k = segments - 1 - behind
        t = tl.where(backwards, segments - 1 - k, k)
        place = (row * segments + t) * neurons + neuron
        start = tl.load(begun + place, mask=inside, other=0.0)
        push = tl.load(gradient + place, mask=inside, other=0.0) / steps
        x = tl.load(current + place, mask=inside, other=0.0)
        total = tl.zeros([block], dtype=current.dtype.element_ty)
        for left in range(steps):
            s = steps - 1 - left
            v = start
            h = start
            spike = tl.zeros([block], dtype=current.dtype.element_ty)
            for again in range(steps):
                if given > 1:
                    x = tl.load(current + again * rows * segments * neurons + place, mask=inside, other=0.0)
                # Steps behind s change nothing: a loop of a length known beforehand is what Triton's interpreter runs.
                here = again <= s
                h = tl.where(here, charged(x, v, tau, leaky), h)
                spike = tl.where(here, fired(h, threshold, strict), spike)
                v = tl.where(here, after(h, spike, threshold, soft), v)
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
                into = back / tau
                back = back - into
            if given > 1:
                tl.store(result + s * rows * segments * neurons + place, into, mask=inside)
            else:
                total += into
        if given == 1:
            tl.store(result + place, total, mask=inside)


def forward(current: torch.Tensor, rate: torch.Tensor, dynamics: Any) -> None:
    """Firing rates: current `[X, R, T, N]`, rate `[R, T, N]`."""
    run_rates(current, rate, rate, dynamics, keep=False)


def run_rates(current: torch.Tensor, rate: torch.Tensor, begun: torch.Tensor, dynamics: Any, keep: bool) -> None:
    given, rows, segments, neurons = current.shape
    rates[(rows, triton.cdiv(neurons, BLOCK))](
        current,
        rate,
        begun,
        rows,
        neurons,
        dynamics.tau,
        dynamics.threshold,
        dynamics.first_reversed,
        segments=segments,
        steps=dynamics.steps,
        given=given,
        keep=keep,
        leaky=dynamics.leaky,
        soft=dynamics.soft,
        strict=dynamics.strict,
        block=BLOCK,
    )


def backward(current: torch.Tensor, gradient: torch.Tensor, result: torch.Tensor, dynamics: Any) -> None:
    """dL/dcurrent `[X, R, T, N]` from dL/drate `[R, T, N]`."""
    given, rows, segments, neurons = current.shape
    begun = torch.empty_like(gradient)
    run_rates(current, gradient, begun, dynamics, keep=True)
    gradients[(rows, triton.cdiv(neurons, BLOCK))](
        current,
        gradient,
        result,
        begun,
        rows,
        neurons,
        dynamics.tau,
        dynamics.threshold,
        dynamics.alpha,
        dynamics.first_reversed,
        segments=segments,
        steps=dynamics.steps,
        given=given,
        leaky=dynamics.leaky,
        soft=dynamics.soft,
        detach=dynamics.detach,
        strict=dynamics.strict,
        kind=dynamics.slope,
        block=BLOCK,
    )
