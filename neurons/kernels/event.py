"""Linear layers on a CPU whose time falls with the share of inputs that are not zero: spikes, rates, rectified values.

A dense product multiplies by every zero. Here a row's inputs that are not zero are listed first, and only their weights
are read and added up, as event-driven hardware does. Spikes of several simulation steps need one product: their rates
are read, which a linear layer maps to the same (docs/explanations/measured.md).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from neurons.kernels.dispatch import on_cpu
from neurons.kernels.threads import in_threads

PRODUCTS_PER_THREAD = 1 << 17
LEAST_SHARE = 0.01
"""Below it a layer takes as long as at it, all but."""
MARGIN = 0.8
"""By so much skipping zeros must be faster where it is timed by itself: within a network its copy of the weights takes
room in caches.
"""
TRIES = 3
"""How often each way is timed, of which the fastest counts."""


def fits(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """Whether the kernel takes what `F.linear` was given."""
    same = weight.dtype == values.dtype and weight.device == values.device
    shaped = weight.ndim == 2 and values.ndim > 0 and values.shape[-1] == weight.shape[1] and values.numel() > 0
    return on_cpu(values) and same and shaped and (bias is None or bias.dtype == values.dtype)


class Columns:
    """What is kept of a layer: its weights by input `[I, O]` and bias `[O]` as arrays, and what was timed.

    limits: by about how many rows, the share of inputs that are not zero below which skipping zeros is faster.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.weight, self.bias = weight, bias  # held, so that no other tensor takes their place
        self.versions = weight._version, None if bias is None else bias._version
        self.columns = weight.detach().t().contiguous().numpy()
        outputs = self.columns.shape[1]
        self.offset = (
            np.zeros(outputs, self.columns.dtype) if bias is None else bias.detach().contiguous().numpy().copy()
        )
        self.limits: dict[int, float] = {}

    def are_of(self, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
        """Whether both are still what they were."""
        versions = weight._version, None if bias is None else bias._version
        return self.weight is weight and self.bias is bias and self.versions == versions


def in_rows(values: torch.Tensor) -> np.ndarray:
    """`[..., I]` to an array `[R, I]`."""
    array = values.detach().numpy()
    return np.ascontiguousarray(array.reshape(-1, array.shape[-1]))


def share_of(rows: np.ndarray) -> float:
    """The share of values that are not zero."""
    from neurons.kernels.event_cpu import not_zero

    return not_zero(rows) / rows.size


def added(rows: np.ndarray, kept: Columns) -> torch.Tensor:
    """What the kernel makes of rows `[R, I]`: `[R, O]`."""
    from neurons.kernels.event_cpu import add_columns

    out = np.empty((len(rows), len(kept.offset)), rows.dtype)
    least = max(1, PRODUCTS_PER_THREAD // max(1, kept.columns.size))
    in_threads(add_columns, [rows], len(rows), least, kept.columns, kept.offset, out)
    return torch.from_numpy(out)


class EventDriven:
    """Within it, the linear layers of a network skip inputs that are zero; on a CPU, without gradients.

    always: every linear layer; else each runs as was faster when it, with so many rows, was first called: both ways are
    timed then, and a layer takes the share of inputs that are not zero into account afterwards. What is timed is kept
    in this object alone. Both ways agree to rounding.

    >>> layer = torch.nn.Linear(3, 2)
    >>> spikes = torch.tensor([[1.0, 0.0, 0.0]])
    >>> with torch.no_grad(), EventDriven(layer):
    ...     torch.allclose(layer(spikes), layer.weight[:, 0] + layer.bias)
    True
    """

    def __init__(self, network: nn.Module, always: bool = False) -> None:
        self.network, self.always = network, always
        self.kept: dict[int, Columns] = {}

    def __enter__(self) -> EventDriven:
        for layer, name in self.products():
            setattr(layer, name, partial(self.product, layer))
        return self

    def __exit__(self, *error: Any) -> None:
        for layer, name in self.products():
            delattr(layer, name)

    def products(self) -> Iterator[tuple[nn.Linear, str]]:
        """Each linear layer, and the name of what multiplies there."""
        for layer in self.network.modules():
            if isinstance(layer, Multiplies):
                yield layer, "multiply"
            elif isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward:
                yield layer, "forward"

    def product(self, layer: nn.Linear, values: torch.Tensor) -> torch.Tensor:
        """What the layer's product is, one way or the other."""
        weight, bias = layer.weight, layer.bias
        if torch.is_grad_enabled() or not fits(values, weight, bias):
            return F.linear(values, weight, bias)
        kept = self.kept.get(id(layer))
        if kept is None or not kept.are_of(weight, bias):
            kept = self.kept[id(layer)] = Columns(weight, bias)
        size = (values.numel() // values.shape[-1]).bit_length()
        limit = math.inf if self.always else kept.limits.get(size)
        if limit == 0:
            return F.linear(values, weight, bias)
        rows = in_rows(values)
        if limit is None:
            limit = kept.limits[size] = timed_limit(rows, kept)
        if limit < math.inf and share_of(rows) >= limit:
            return F.linear(values, weight, bias)
        return added(rows, kept).view(*values.shape[:-1], len(kept.offset))


class Multiplies(nn.Linear):
    """A linear layer that does more than its product, which `multiply` is."""

    def multiply(self, values: torch.Tensor) -> torch.Tensor:
        return F.linear(values, self.weight, self.bias)


def timed_limit(rows: np.ndarray, kept: Columns) -> float:
    """The share of values that are not zero below which skipping zeros is faster, as these rows tell; 0 where theirs is
    not below it, so that they need not be counted again.
    """
    share, values = max(share_of(rows), LEAST_SHARE), torch.from_numpy(rows)
    dense = fastest(lambda: F.linear(values, kept.weight, kept.bias))
    limit = MARGIN * share * dense / fastest(lambda: added(rows, kept))
    return limit if share < limit else 0.0


def fastest(run: Callable[[], object]) -> float:
    """Seconds, of a few tries after one that compiles or warms up."""
    run()
    seconds = []
    for _ in range(TRIES):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
