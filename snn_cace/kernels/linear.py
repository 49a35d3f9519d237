"""Several linear layers of the same values, in one matrix product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from neurons.kernels.dispatch import why_eager


def project(values: torch.Tensor, *layers: nn.Linear) -> Sequence[torch.Tensor]:
    """[layer(values) for layer in layers], `[..., inputs]` to a `[..., outputs]` of each; in training in one product.

    Without gradients, joining the weights at each call takes longer than it spares.
    """
    if len(layers) < 2 or not torch.is_grad_enabled() or why_eager(*layers):
        return [layer(values) for layer in layers]
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return F.linear(values, weight, bias).split([layer.out_features for layer in layers], dim=-1)
