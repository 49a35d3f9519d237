"""What ends every attention and feed-forward block: norm(kept + dropout(branch)), in one pass over memory on a CPU.

PyTorch makes three tensors in the forward pass and three in the backward pass, which costs more than the arithmetic.
Here a row is dropped, added and normalised while it lies in the cache; the sum and each row's moments are kept:

    y = w (s - mean) / std + b, s = kept + dropout(branch)
    dL/ds = (w g - mean(w g) - n mean(w g n)) / std, n = (s - mean) / std, g = dL/dy
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from neurons.kernels.dispatch import on_cpu, why_eager
from neurons.kernels.threads import in_threads
from snn_cace.kernels.dropout import ELEMENTS_PER_THREAD, Draw, Dropout


class ResidualNorm(torch.autograd.Function):
    """kept and branch `[..., N]`, weight and bias `[N]` to `[..., N]`."""

    @staticmethod
    def forward(
        ctx: Any,
        kept: torch.Tensor,
        branch: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        eps: float,
        draw: Draw,
    ) -> torch.Tensor:
        from snn_cace.kernels import cpu

        rows = kept.detach().reshape(-1, kept.shape[-1]).contiguous()
        given = (rows, branch.detach().reshape(rows.shape))
        total, out, moments = torch.empty_like(rows), torch.empty_like(rows), rows.new_empty(2, len(rows))
        arrays = arrays_of(*given, total, out, moments, weight, bias)
        drawn = (draw.seed, draw.bound, arrays[0].dtype.type(draw.scale))
        in_threads(cpu.residual_layer_norm, arrays, len(rows), rows_per_thread(rows), eps, *drawn)
        ctx.save_for_backward(total, moments, weight)
        ctx.draw = draw
        return out.view(kept.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        from snn_cace.kernels import cpu

        total, moments, weight = ctx.saved_tensors
        draw = ctx.draw
        to_kept, to_branch = torch.empty_like(total), torch.empty_like(total)
        least = rows_per_thread(total)
        parts = max(1, len(total) // least)
        of_parts = total.new_zeros(2, parts, len(weight))
        arrays = arrays_of(
            gradient.reshape(total.shape), total, moments, weight, to_kept, to_branch, *of_parts.unbind()
        )
        drawn = (draw.seed, draw.bound, arrays[0].dtype.type(draw.scale))
        in_threads(cpu.layer_norm_backward, arrays, parts, 1, *drawn)
        shape = gradient.shape
        return to_kept.view(shape), to_branch.view(shape), *of_parts.sum(1).unbind(), None, None


def arrays_of(*tensors: torch.Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def rows_per_thread(rows: torch.Tensor) -> int:
    """Rows of `[rows, width]` below which a second thread does not pay."""
    return max(1, ELEMENTS_PER_THREAD // 2 // rows.shape[1])


LEAST = 1 << 12
"""Numbers below which handing a row to a kernel costs more than the passes over memory that it saves."""


def residual_norm(kept: torch.Tensor, branch: torch.Tensor, dropout: Dropout, norm: nn.LayerNorm) -> torch.Tensor:
    """norm(kept + dropout(branch)), both `[..., N]`.

    In one pass over memory where that pays: in training, on large tensors. Module by module elsewhere, also on CUDA
    and in half precision.
    """
    same = kept.dtype == branch.dtype == norm.weight.dtype and not torch.is_autocast_enabled(kept.device.type)
    drops = dropout.training and 0 < dropout.p < 1
    # Sizes last, so that no graph is bound to them.
    if not same or not drops or why_eager(dropout, norm) or not on_cpu(kept) or kept.numel() < LEAST:
        return norm(kept + dropout(branch))
    weight, bias = cast(Any, norm.weight), cast(Any, norm.bias)
    return ResidualNorm.apply(kept, branch, weight, bias, norm.eps, Draw(dropout.p))
