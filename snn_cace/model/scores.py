"""Scores of patches, sum over channels of relu(patch) asked, in one read of the patches on a CPU.

PyTorch writes the rectified patches and their products, and both again on the way back; this writes the scores, and on
the way back the gradients alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from neurons.threads import in_threads
from snn_cace.model.dropout import ELEMENTS_PER_THREAD


class PatchScores(torch.autograd.Function):
    """values `[..., P, N]`, asked `[..., N]` to `[..., P]`."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        from snn_cace.model import kernels_cpu

        values, asked = values.detach(), asked.detach().contiguous()
        scores = values.new_empty(values.shape[:-1])
        arrays = (*flat_rows(values), rows_of(asked, 1), rows_of(scores, 1))
        in_threads(kernels_cpu.score, arrays, len(arrays[2]), least_rows(values))
        ctx.save_for_backward(values, asked)
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from snn_cace.model import kernels_cpu

        values, asked = ctx.saved_tensors
        to_values, to_asked = values.new_empty(values.shape), torch.empty_like(asked)
        arrays = (
            rows_of(gradient.contiguous(), 1),
            *flat_rows(values),
            *(rows_of(x, n) for x, n in ((asked, 1), (to_values, 2), (to_asked, 1))),
        )
        in_threads(kernels_cpu.unscore, arrays, len(arrays[0]), least_rows(values))
        return to_values, to_asked


def flat_rows(values: torch.Tensor) -> tuple[Any, int]:
    """`[..., N]` as one flat array in which each N numbers begin so many after the last: a part of a joined projection
    is read where it lies.
    """
    size, stride = values.shape[-1], values.stride(-2)
    apart = all(values.stride(i) == values.stride(i + 1) * values.shape[i + 1] for i in range(values.ndim - 2))
    if values.stride(-1) != 1 or not apart:
        values, stride = values.contiguous(), size
    rows = values.numel() // size
    return values.as_strided(((rows - 1) * stride + size,), (1,)).numpy(), stride


def rows_of(values: torch.Tensor, kept: int) -> Any:
    """All but the last `kept` axes as one."""
    return values.reshape(-1, *values.shape[values.ndim - kept :]).numpy()


def least_rows(values: torch.Tensor) -> int:
    """Rows below which a second thread does not pay."""
    return max(1, ELEMENTS_PER_THREAD // (values.shape[-1] * values.shape[-2]))
