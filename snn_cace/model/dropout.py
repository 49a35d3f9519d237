"""Dropout whose mask is never written: drawn by counting on the way there, and again on the way back.

PyTorch draws a mask of floats, divides it, multiplies by it and keeps it; on a CPU that costs as much as a matrix
product. Here element i of a call is kept where hash(i, seed) >= p 2^32, with a seed from PyTorch's generator and the
32-bit hash "lowbias32" (Wellons, 2018). On CUDA, and in half precision, PyTorch's own runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from neurons.fused import shared_among_threads

ELEMENTS_PER_THREAD = 1 << 16


class CountedDropout(torch.autograd.Function):
    """`[...]` to `[...]`, each element zero with probability p, else divided by 1 - p."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, probability: float, seed: int) -> torch.Tensor:
        ctx.probability, ctx.seed = probability, seed
        return dropped(values, probability, seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return dropped(gradient, ctx.probability, ctx.seed), None, None


def dropped(values: torch.Tensor, probability: float, seed: int) -> torch.Tensor:
    from snn_cace.model.dropout_cpu import drop

    values = values.detach().contiguous()
    result = torch.empty_like(values)
    given, out = values.view(-1).numpy(), result.view(-1).numpy()
    bound, scale = round(probability * 2**32), given.dtype.type(1 / (1 - probability))
    shared_among_threads(
        lambda start, stop: drop(given, out, start, stop, seed, bound, scale), len(given), ELEMENTS_PER_THREAD
    )
    return result


class Dropout(nn.Dropout):
    """`nn.Dropout`, without a mask in memory on a CPU."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return values
        if values.device.type != "cpu" or values.dtype not in (torch.float32, torch.float64) or self.p == 1:
            return F.dropout(values, self.p)
        return CountedDropout.apply(values, self.p, int(torch.randint(2**32, ())))
