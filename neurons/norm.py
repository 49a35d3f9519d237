"""Normalisation of currents `[..., N]` before a spiking layer.

| norm | formula | statistics over |
| --- | --- | --- |
| `batch` | gamma (x - mean) / std + beta, gamma = 1 at first | clips, segments and, where the current changes, steps |
| `threshold` | the same with gamma = theta at first (tdBN: Zheng et al., AAAI 2021) | likewise |
| `layer` | per sample | channels |
| `none` | x | |

In training, a batch with one value per channel (one clip, before the event head) has no statistics: a batch norm takes
the running ones, and leaves them.

Batch norms fold into the linear layer before them for deployment (`fold`): in evaluation they are one affine map.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from neurons.collective import batch_norm
from neurons.config import NORMS
from neurons.nodes.node import one_of
from neurons.padding import Padded


class ChannelBatchNorm(nn.BatchNorm1d, Padded):
    """Batch normalisation of `[..., N]` per channel, statistics over all other axes, and over all processes; where a
    channel has a single value, as in a batch of one clip, the running statistics. Padding takes no part, and becomes 0.

    steps_first: the values are `[S, B, T, ..., N]`.
    """

    momentum: float
    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def forward(self, values: torch.Tensor, steps_first: bool = False) -> torch.Tensor:
        rows = values.reshape(-1, values.shape[-1])
        if not self.training:
            return super().forward(rows).view(values.shape)
        self.num_batches_tracked.add_(1)
        statistics = (self.running_mean, self.running_var)
        own = self.own(values, steps_first)
        if own is None:
            return batch_norm(rows, *statistics, self.weight, self.bias, self.momentum, self.eps).view(values.shape)
        normalised = batch_norm(values[own], *statistics, self.weight, self.bias, self.momentum, self.eps)
        return torch.zeros_like(values, dtype=normalised.dtype).masked_scatter(own.unsqueeze(-1), normalised)


Module = TypeVar("Module", bound=nn.Module)


def make_norm(name: str, channels: int, threshold: float) -> nn.Module:
    """The norm `name`.

    Raises:
        ValueError: an unknown name.
    """
    one_of("norm", name, NORMS)
    if name == "layer":
        return nn.LayerNorm(channels)
    if name == "none":
        return nn.Identity()
    norm = ChannelBatchNorm(channels)
    if name == "threshold":
        nn.init.constant_(norm.weight, threshold)
    return norm


def normalised(norm: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """`norm` of values over simulation steps, `[S, B, T, ..., N]`."""
    return norm(values, steps_first=True) if isinstance(norm, ChannelBatchNorm) else norm(values)


def fold(network: Module) -> Module:
    """Fold every batch norm that follows a linear layer into its weights, in place, for evaluation; returns `network`.

    Blocks say what to fold with attributes `linear` and `norm`. Layer norms depend on the sample and stay.

    Raises:
        ValueError: the network is in training mode, where batch statistics are not constants.
    """
    if network.training:
        raise ValueError("fold needs evaluation mode: call eval() first")
    for module in list(network.modules()):
        linear, norm = getattr(module, "linear", None), getattr(module, "norm", None)
        if isinstance(linear, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
            module.linear = fuse_linear_bn_eval(linear, norm)
            module.norm = nn.Identity()
    return network
