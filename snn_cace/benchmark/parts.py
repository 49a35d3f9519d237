"""What each speed-up gains: the plain way and ours, side by side, at the sizes of the network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from neurons import linear
from snn_cace.benchmark.steps import in_own_process, step_of
from snn_cace.benchmark.timing import SEGMENTS, Row, Run, Sizes, side_by_side, timed
from snn_cace.config import Experiment
from snn_cace.model.attention import UnscaledAttention, mean_of_patches, project
from snn_cace.model.dropout import Dropout
from snn_cace.model.residual import residual_norm
from snn_cace.model.scores import PatchScores
from snn_cace.runtime import keep_freed_memory

DROPPED = 0.1
NARROW = 128
"""Width of queries and keys."""


def pair(before: Run, after: Run, device: torch.device) -> dict[str, Any]:
    """Both ways, and how many times faster ours is."""
    rows = side_by_side({"plain": before, "ours": after}, device)
    return rows | {"gain": rows["plain"]["seconds"] / rows["ours"]["seconds"]}


def there_and_back(run: Callable[..., Any], *inputs: torch.Tensor) -> Run:
    """`run` and its gradients, pushed with random numbers."""
    leaves = [values.detach().requires_grad_() for values in inputs]
    first = run(*leaves)
    pushes = [torch.randn_like(out) for out in as_sequence(first)]

    def both() -> None:
        for leaf in leaves:
            leaf.grad = None
        torch.autograd.backward(as_sequence(run(*leaves)), pushes)

    return both


def as_sequence(values: Any) -> Sequence[torch.Tensor]:
    return [values] if isinstance(values, torch.Tensor) else list(values)


def parts(
    dense: Experiment, spiking: Experiment | None, sizes: Sizes, batch: int, device: torch.device, compiled: bool
) -> dict[str, dict[str, Any]]:
    """Each speed-up by name. `compiled` adds torch.compile, which takes minutes."""
    torch.manual_seed(0)
    width, places = dense.model.visual_dim, sizes.patches[0] * sizes.patches[1]
    patches = torch.randn(batch, SEGMENTS, places, width, device=device)
    other = torch.randn_like(patches)
    norm, dropout = nn.LayerNorm(width).to(device), Dropout(DROPPED)
    layers = [nn.Linear(width, size).to(device) for size in (NARROW, NARROW, width) * 2]
    attention = UnscaledAttention(width, width, NARROW, width).to(device)
    queries, keys = (torch.randn(batch, SEGMENTS, places, NARROW, device=device) for _ in range(2))
    pairs: dict[str, tuple[Run, Run]] = {
        "linear layer of all patches": (
            there_and_back(lambda x: F.linear(x, layers[2].weight, layers[2].bias), patches),
            there_and_back(lambda x: linear(x, layers[2].weight, layers[2].bias), patches),
        ),
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
            there_and_back(dropout.of_rectified, patches),
        ),
        "weights of patches": (
            there_and_back(lambda x, g: (F.relu(x) * g.unsqueeze(-2)).sum(-1), patches, patches[:, :, 0]),
            there_and_back(PatchScores.apply if device.type == "cpu" else plain_scores, patches, patches[:, :, 0]),
        ),
        "attention between patches": (
            there_and_back(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=1.0), queries, keys, patches),
            there_and_back(attention.attend, queries, keys, patches),
        ),
        "mean of rectified patches": (
            there_and_back(lambda x: F.relu(x).mean(-2), patches),
            there_and_back(lambda x: mean_of_patches(F.relu(x)), patches),
        ),
    }
    found = {name: pair(*runs, device) for name, runs in pairs.items()}
    found["Adam"] = pair(adam(dense, sizes, batch, device, False), adam(dense, sizes, batch, device, True), device)
    if spiking is not None:
        steps = [changed(spiking, fused=fused) for fused in (False, True)]
        first, second = (step_of(experiment, sizes, batch, device) for experiment in steps)
        found[f"training step of {spiking.name}: spiking layers fused"] = pair(first, second, device)
    if device.type == "cpu":
        apart = {
            name: in_own_process(step_alone, dense, sizes, batch, torch.get_num_threads(), kept)
            for name, kept in (("plain", False), ("ours", True))
        }
        gain = apart["plain"]["seconds"] / apart["ours"]["seconds"]
        found[f"training step of {dense.name}: freed memory kept"] = apart | {"gain": gain}
    if compiled:
        how = "reduce-overhead" if device.type == "cuda" else "default"
        first, second = (step_of(changed(dense, compile=c), sizes, batch, device) for c in ("off", how))
        found[f"training step of {dense.name}: torch.compile ({how})"] = pair(first, second, device)
    return found


def plain_scores(values: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    return (F.relu(values) @ asked.unsqueeze(-1)).squeeze(-1)


def changed(experiment: Experiment, **settings: Any) -> Experiment:
    """The experiment with other settings of training."""
    result = copy.deepcopy(experiment)
    for name, value in settings.items():
        setattr(result.training, name, value)
    return result


def adam(experiment: Experiment, sizes: Sizes, batch: int, device: torch.device, fused: bool) -> Run:
    """A step of Adam alone, by the fused kernel or by PyTorch's default."""
    step = step_of(experiment, sizes, batch, device)
    step()
    parameters = step.func.parameters  # type: ignore[attr-defined]
    return partial(torch.optim.Adam(parameters, lr=1e-4, fused=fused or None).step)


def step_alone(experiment: Experiment, sizes: Sizes, batch: int, threads: int, kept: bool) -> Row:
    """A training step on the CPU in a process of its own, that keeps the memory it frees or gives it back."""
    torch.set_num_threads(threads)
    if kept:
        keep_freed_memory()
    device = torch.device("cpu")
    return timed(step_of(experiment, sizes, batch, device), device)
