"""What each speed-up gains: PyTorch's way and ours, side by side, at the sizes of the network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from neurons import Dropout, project, rectified_dropout, residual_norm
from snn_cace.analysis.stopwatch import Row, Run, side_by_side
from snn_cace.benchmark.machine import SEGMENTS, Sizes, at_precision, matmul_flops, product_kind, roofline_bound
from snn_cace.benchmark.steps import step_of
from snn_cace.config import Experiment, Precision
from snn_cace.model.attention import Projections, attend

DROPPED = 0.1
NARROW = 128
"""Width of queries and keys."""


@dataclass
class Comparer:
    """Sets two ways side by side, and beside the least that the work takes here."""

    device: torch.device
    limits: dict[str, float]
    precision: Precision

    def __call__(self, before: Run, after: Run, moved: float = 0.0) -> dict[str, Any]:
        """`moved`: bytes that must move."""
        runs = {"plain": before, "ours": after}
        rows = side_by_side(
            {name: at_precision(run, self.precision, self.device) for name, run in runs.items()}, self.device
        )
        return compared(rows, self.least(before, moved))

    def least(self, run: Run, moved: float = 0.0) -> float:
        kind = product_kind(self.precision, self.device)
        return roofline_bound(matmul_flops(run), moved, self.limits, kind)


def compared(rows: dict[str, Row], least: float) -> dict[str, Any]:
    """Both ways, how many times faster ours is, and how many times the least that the work takes here."""
    plain, ours = rows["plain"]["seconds"], rows["ours"]["seconds"]
    return rows | {"gain": plain / ours, "least_seconds": least, "times_least": ours / least}


@dataclass
class ThereAndBack:
    """`run` on `inputs`, and its gradients, pushed with random numbers."""

    run: Callable[..., Any]
    inputs: Sequence[torch.Tensor]

    def __post_init__(self) -> None:
        self.inputs = [values.detach().requires_grad_() for values in self.inputs]
        self.pushes = [torch.randn_like(out) for out in as_sequence(self.run(*self.inputs))]

    def __call__(self) -> None:
        for values in self.inputs:
            values.grad = None
        torch.autograd.backward(as_sequence(self.run(*self.inputs)), self.pushes)

    @property
    def moved(self) -> int:
        """Bytes that must move: inputs and outputs in the forward pass, gradients of both in the backward pass."""
        return 2 * sum(values.nbytes for values in (*self.inputs, *self.pushes))


def there_and_back(run: Callable[..., Any], *inputs: torch.Tensor) -> ThereAndBack:
    return ThereAndBack(run, inputs)


def as_sequence(values: Any) -> Sequence[torch.Tensor]:
    return [values] if isinstance(values, torch.Tensor) else list(values)


def parts(
    dense: Experiment,
    spiking: Experiment | None,
    sizes: Sizes,
    batch: int,
    device: torch.device,
    limits: dict[str, float],
    compiled: bool,
) -> dict[str, dict[str, Any]]:
    """Each speed-up by name. `compiled` adds torch.compile, which takes minutes."""
    torch.manual_seed(0)
    pair = Comparer(device, limits, dense.training.precision)
    pairs = of_patches(dense.model.visual_dim, sizes, batch, device)
    found = {name: pair(before, after, before.moved) for name, (before, after) in pairs.items()}
    plain, fused, moved = adam(dense, sizes, batch, device)
    found["Adam"] = pair(plain, fused, moved)
    own_step = step_of(dense, sizes, batch, device)
    if spiking is not None:
        steps = [changed(spiking, fused=fused) for fused in (False, True)]
        first, second = (step_of(experiment, sizes, batch, device) for experiment in steps)
        found[f"training step of {spiking.name}: spiking layers fused"] = pair(first, second)
    if compiled:
        how = "reduce-overhead" if device.type == "cuda" else "default"
        second = step_of(changed(dense, compile=how), sizes, batch, device)
        found[f"training step of {dense.name}: torch.compile ({how})"] = pair(own_step, second)
    return found


def of_patches(
    width: int, sizes: Sizes, batch: int, device: torch.device
) -> dict[str, tuple[ThereAndBack, ThereAndBack]]:
    """What runs on all patches `[B, T, P, width]` of a batch: PyTorch's way, and ours."""
    places = sizes.patches[0] * sizes.patches[1]
    patches = torch.randn(batch, SEGMENTS, places, width, device=device)
    other = torch.randn_like(patches)
    norm, dropout = nn.LayerNorm(width).to(device), Dropout(DROPPED)
    layers = [nn.Linear(width, size).to(device) for size in (NARROW, NARROW, width) * 2]
    queries, keys = (torch.randn(batch, SEGMENTS, places, NARROW, device=device) for _ in range(2))
    return {
        "dropout of all patches": (
            there_and_back(lambda x: F.dropout(x, DROPPED), patches),
            there_and_back(dropout, patches),
        ),
        "end of a residual block": (
            there_and_back(lambda x, y: norm(x + F.dropout(y, DROPPED)), patches, other),
            there_and_back(lambda x, y: residual_norm(x, y, dropout, norm), patches, other),
        ),
        "six projections of the same patches": (
            there_and_back(lambda x: [layer(x) for layer in layers], patches),
            there_and_back(lambda x: project(x, *layers), patches),
        ),
        "rectified dropout of all patches": (
            there_and_back(lambda x: F.dropout(torch.relu(x), DROPPED), patches),
            there_and_back(lambda x: rectified_dropout(x, dropout), patches),
        ),
        "attention between patches": (
            there_and_back(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=1.0), queries, keys, patches),
            there_and_back(lambda q, k, v: attend(Projections(q, k, v)), queries, keys, patches),
        ),
    }


def changed(experiment: Experiment, **settings: Any) -> Experiment:
    """The experiment with other settings of training."""
    result = copy.deepcopy(experiment)
    for name, value in settings.items():
        setattr(result.training, name, value)
    return result


ADAM_WORDS = 7
"""Numbers per parameter that a step of Adam must move: it reads the parameter, its gradient and both moments, and
writes the parameter and the moments.
"""


def adam(experiment: Experiment, sizes: Sizes, batch: int, device: torch.device) -> tuple[Run, Run, int]:
    """A step of Adam alone, by PyTorch's default and by the fused kernel, and the bytes that it must move."""
    step = step_of(experiment, sizes, batch, device)
    step()
    parameters = step.func.parameters  # type: ignore[attr-defined]
    plain, fused = (torch.optim.Adam(parameters, lr=1e-4, fused=how).step for how in (None, True))
    return plain, fused, ADAM_WORDS * sum(parameter.nbytes for parameter in parameters)
