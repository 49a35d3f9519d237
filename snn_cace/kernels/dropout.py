"""Dropout whose mask is never written: drawn by counting in the forward pass, and again in the backward pass.

PyTorch draws a mask of floats, divides it, multiplies by it and keeps it, which takes four times as long. Here
element i of a call is kept where hash(i, seed) >= p 2^32, with a seed from PyTorch's generator and the 32-bit hash
"lowbias32" (Wellons, 2018). Masks of different calls are windows of one sequence of 2^32 hashes, at places that their
seeds draw: two calls of n elements overlap, shifted, with a probability of about 2 n / 2^32. On CUDA, and in half
precision, PyTorch's own runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from neurons.kernels.dispatch import on_cpu, why_eager
from neurons.kernels.threads import in_threads

ELEMENTS_PER_THREAD = 1 << 18
"""Elements below which a second thread does not pay."""


class Draw:
    """One call's dropout, as the kernels take it: `seed`, the hash below which an element is zero, and what the others
    are multiplied by.
    """

    def __init__(self, probability: float) -> None:
        self.seed = int(torch.randint(2**32, ()))
        self.bound = round(probability * 2**32)
        self.scale = 1 / (1 - probability)


class CountedDropout(torch.autograd.Function):
    """`[...]` to `[...]`, each element zero with probability p, else divided by 1 - p."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, draw: Draw) -> torch.Tensor:
        ctx.draw = draw
        return dropped(values, draw)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return dropped(gradient, ctx.draw), None


def dropped(values: torch.Tensor, draw: Draw) -> torch.Tensor:
    """`[...]` to `[...]`: what `draw` leaves, scaled."""
    from snn_cace.kernels.cpu import drop

    values = values.detach().contiguous()
    result = torch.empty_like(values)
    given, out = values.view(-1).numpy(), result.view(-1).numpy()
    scale = given.dtype.type(draw.scale)
    in_threads(drop, (given, out), len(given), ELEMENTS_PER_THREAD, draw.seed, draw.bound, scale)
    return result


class Dropout(nn.Dropout):
    """`nn.Dropout`, without a mask in memory on a CPU. Shape: `[...]` to `[...]`.

    >>> Dropout(0.5).eval()(torch.ones(2))
    tensor([1., 1.])
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return values
        if self.p == 1 or why_eager(self) or not on_cpu(values):
            return F.dropout(values, self.p)
        return CountedDropout.apply(values, Draw(self.p))
