"""Linear layers at the speed of the processor."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from neurons.layer import listened

WORK = 1 << 25
"""Multiply-accumulates below which oneDNN's way costs more to prepare than it saves."""


def linear(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`F.linear`: `[..., inputs]` to `[..., outputs]`, to rounding.

    PyTorch multiplies matrices with MKL, which on an AMD processor reached half the speed of oneDNN (`snn-cace
    benchmark`, parts); but it hands oneDNN convolutions only. So there a large layer in float32 runs, forwards and
    backwards, as a convolution with a kernel of 1 x 1.
    """
    rows = values.numel() // max(1, values.shape[-1])
    if rows * weight.numel() < WORK or not convolves(values):
        return F.linear(values, weight, bias)
    as_image = values.reshape(1, rows, 1, values.shape[-1]).permute(0, 3, 1, 2)
    image = F.conv2d(as_image, weight[:, :, None, None], bias)
    return image.permute(0, 2, 3, 1).reshape(*values.shape[:-1], len(weight))


def convolves(values: torch.Tensor) -> bool:
    """Whether these values are multiplied faster as a convolution."""
    known = values.device.type == "cpu" and values.dtype is torch.float32
    plain = not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
    return known and plain and bool(torch.backends.mkldnn.enabled) and mkl_is_slow()


@cache
def mkl_is_slow() -> bool:
    """Whether this processor is AMD's and PyTorch has both libraries; told by name, not by timing: one machine must
    round the same way every time.
    """
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    information = Path("/proc/cpuinfo")
    return both and information.is_file() and "AuthenticAMD" in information.read_text(encoding="utf-8")


class Linear(nn.Linear):
    """`nn.Linear` by `linear`, or as itself where a hook listens, so that whoever counts sees a matrix product."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if listened(self):
            return super().forward(values)
        return linear(values, self.weight, self.bias)
