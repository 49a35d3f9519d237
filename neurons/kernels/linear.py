"""Linear layers by whichever of PyTorch's libraries multiplies their shape faster on this machine."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes

from neurons.kernels.dispatch import why_eager

MEASURED_MACS = 1 << 25
"""Multiply-accumulates below which a product is PyTorch's own: too short for the choice to matter."""
REPEATS = 5
MARGIN = 0.95
"""A convolution is chosen where it takes less than this share of PyTorch's own product."""


class ShapeClass(NamedTuple):
    """What a choice holds for: `rows`, a power of two, times `[outputs, inputs]`, with its backward pass or without."""

    rows: int
    inputs: int
    outputs: int
    backward: bool


def linear(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`F.linear`: `[..., inputs]` to `[..., outputs]`, to rounding.

    PyTorch multiplies matrices with MKL, and gives oneDNN only convolutions. Which of the two is faster depends on the
    processor, by a factor of two either way (`snn-cace benchmark`, parts). So a large layer in float32 runs, forward
    and backward, as a convolution with a kernel of 1 x 1 where `convolution_is_faster` has measured that.
    """
    if not has_both_libraries(values):  # first, so that no graph is bound to sizes
        return F.linear(values, weight, bias)
    rows = values.numel() // max(1, values.shape[-1])
    if rows * weight.numel() < MEASURED_MACS:
        return F.linear(values, weight, bias)
    backward = torch.is_grad_enabled() and (values.requires_grad or weight.requires_grad)
    shape = ShapeClass(1 << (rows.bit_length() - 1), weight.shape[1], weight.shape[0], backward)
    return (convolution if convolution_is_faster(shape, torch.get_num_threads()) else F.linear)(values, weight, bias)


def convolution(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`F.linear`, `[..., inputs]` to `[..., outputs]`, as a convolution of a one-column image by oneDNN."""
    as_image = values.reshape(1, -1, 1, values.shape[-1]).permute(0, 3, 1, 2)
    image = F.conv2d(as_image, weight[:, :, None, None], bias)
    return image.permute(0, 2, 3, 1).reshape(*values.shape[:-1], len(weight))


def has_both_libraries(values: torch.Tensor) -> bool:
    """Whether values `[..., inputs]` may be multiplied by MKL and by oneDNN."""
    known = values.device.type == "cpu" and values.dtype is torch.float32 and not why_eager()
    eager = not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
    return known and eager and torch.backends.mkl.is_available() and bool(torch.backends.mkldnn.enabled)


KEPT: dict[str, Path] = {}
"""`keep_choices` puts the file here."""


def keep_choices(file: Path) -> None:
    """Have this process read and keep in `file` what is measured of linear layers: then all processes on this machine
    choose, and so round, alike.
    """
    KEPT["file"] = file
    convolution_is_faster.cache_clear()


@cache
def convolution_is_faster(shape: ShapeClass, threads: int) -> bool:
    """Whether oneDNN's convolution multiplies such a shape faster than MKL's product: measured once, and kept."""
    file = KEPT.get("file")
    if file is None:
        return measured(shape)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            known, key = stored(file), f"{machine()}, {threads} threads: {tuple(shape)}"
            if key not in known:
                known[key] = measured(shape)
                temporary = file.with_suffix(".new")
                temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")
                temporary.replace(file)
            return known[key]
    except OSError:  # a directory that cannot be written: known to this process alone
        return measured(shape)


def stored(file: Path) -> dict[str, bool]:
    """What earlier processes measured; nothing where the file is missing or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, bool)} if isinstance(found, dict) else {}


def measured(shape: ShapeClass) -> bool:
    """`convolution_is_faster`, by running both in turns, each as often: the shortest time of each counts."""
    generator = torch.Generator().manual_seed(0)
    seconds: dict[Callable[..., torch.Tensor], list[float]] = {F.linear: [], convolution: []}
    with _disable_current_modes(), torch.inference_mode(False), torch.set_grad_enabled(shape.backward):
        values = torch.randn(shape.rows, shape.inputs, generator=generator).requires_grad_(shape.backward)
        weight = torch.randn(shape.outputs, shape.inputs, generator=generator).requires_grad_(shape.backward)
        gradient = torch.randn(shape.rows, shape.outputs, generator=generator)
        for _ in range(REPEATS):
            for product, spent in seconds.items():
                started = time.perf_counter()
                out = product(values, weight)
                if shape.backward:
                    torch.autograd.grad(out, (values, weight), gradient)
                spent.append(time.perf_counter() - started)
    return min(seconds[convolution]) < MARGIN * min(seconds[F.linear])


@cache
def machine() -> str:
    """This processor and PyTorch, as far as the choice depends on them."""
    return f"{processor()}, {torch.backends.cpu.get_cpu_capability()}, PyTorch {torch.__version__}"


def processor() -> str:
    """The processor's name, family and model, where the system tells."""
    information = Path("/proc/cpuinfo")
    if not information.is_file():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in information.read_text(encoding="utf-8").splitlines())
    first: dict[str, str] = {}
    for name, _, value in lines:
        first.setdefault(name.strip(), value.strip())
    return f"{first.get('model name', 'processor')}, family {first.get('cpu family')}, model {first.get('model')}"


class Linear(nn.Linear):
    """`nn.Linear` by `linear`; as itself where that is asked for, so that whoever counts sees a matrix product.

    >>> Linear(3, 2)(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return super().forward(values) if why_eager(self) else linear(values, self.weight, self.bias)


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
    """[layer(values) for layer in layers], in one matrix product: `[..., inputs]` to a `[..., outputs]` of each."""
    if len(layers) == 1 or why_eager(*layers):
        return [layer(values) for layer in layers]
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    joined, sizes = linear(values, weight, bias), [layer.out_features for layer in layers]
    return joined.split(sizes, dim=-1) if torch.compiler.is_compiling() else SplitLast.apply(joined, sizes)
