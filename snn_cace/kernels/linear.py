"""Several linear layers of the same values, in one matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from neurons.kernels.dispatch import why_eager


class SplitLast(torch.autograd.Function):
    """`[..., a + b + ...]` to `[..., a]`, `[..., b]`, ...: torch's `split`, but in the backward pass each gradient is
    copied straight into its place, by all threads; torch's own concatenates in one thread, then copies into order.
    """

    @staticmethod
    def forward(ctx: Any, joined: torch.Tensor, sizes: Sequence[int]) -> tuple[torch.Tensor, ...]:
        ctx.sizes = sizes
        ctx.set_materialize_grads(False)
        return joined.split(sizes, dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, None]:
        given = next((gradient for gradient in gradients if gradient is not None), None)
        if given is None:
            return None, None
        joined = given.new_empty(*given.shape[:-1], sum(ctx.sizes))
        for part, gradient in zip(joined.split(ctx.sizes, dim=-1), gradients, strict=True):
            part.zero_() if gradient is None else part.copy_(gradient)
        return joined, None


def project(values: torch.Tensor, *layers: nn.Linear) -> Sequence[torch.Tensor]:
    """[layer(values) for layer in layers], `[..., inputs]` to a `[..., outputs]` of each; in training in one product.

    Without gradients, joining the weights at each call takes longer than it spares.
    """
    if len(layers) == 1 or not torch.is_grad_enabled() or why_eager(*layers):
        return [layer(values) for layer in layers]
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    joined, sizes = F.linear(values, weight, bias), [layer.out_features for layer in layers]
    return joined.split(sizes, dim=-1) if torch.compiler.is_compiling() else SplitLast.apply(joined, sizes)
