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

PRODUCTS_PER_THREAD, VALUES_PER_THREAD = 1 << 17, 1 << 15
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
    """What is kept of a layer: its weights by input `[I, O]`, scale and bias `[O]` as arrays, and what was timed.

    int8: each weight is the nearest of 255 multiples of its output's scale, the largest of them over 127.
    limits: by about how many rows, the share of inputs that are not zero below which skipping zeros is faster.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, int8: bool = False) -> None:
        self.weight, self.bias = weight, bias  # held, so that no other tensor takes their place
        self.versions = weight._version, None if bias is None else bias._version
        own, scale = weight.detach(), weight.new_ones(len(weight))
        if int8:
            scale = own.abs().amax(1).clamp_min(torch.finfo(own.dtype).tiny) / 127
            own = (own / scale[:, None]).round().to(torch.int8)
        self.columns, self.scale = own.t().contiguous().numpy(), scale.numpy()
        self.offset = (torch.zeros_like(scale) if bias is None else bias.detach().clone()).numpy()
        self.limits: dict[int, float] = {}

    def are_of(self, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
        """Whether both are still what they were."""
        versions = weight._version, None if bias is None else bias._version
        return self.weight is weight and self.bias is bias and self.versions == versions


class Active:
    """Values `[..., I]` as rows `[R, I]`, and where each row is not zero: listed once for all layers that read them."""

    def __init__(self, values: torch.Tensor) -> None:
        from neurons.kernels.event_cpu import list_active

        self.values, self.lie = values, lying(values)  # held, so that no other tensor takes their place
        array = values.detach().numpy()
        self.rows = np.ascontiguousarray(array.reshape(-1, array.shape[-1]))
        self.places, self.counts = np.empty(self.rows.shape, np.int32), np.empty(len(self.rows), np.int64)
        least = max(1, VALUES_PER_THREAD // self.rows.shape[1])
        in_threads(list_active, [self.rows], len(self.rows), least, self.places, self.counts)

    def are_of(self, values: torch.Tensor) -> bool:
        """Whether these are the values, and still what they were."""
        return not values.is_inference() and self.lie == lying(values)

    def share(self) -> float:
        """The share of values that are not zero."""
        return float(self.counts.sum()) / self.rows.size


def lying(values: torch.Tensor) -> tuple[Any, ...]:
    """Where a tensor lies in memory, and how often it was changed there, which inference mode does not count."""
    version = None if values.is_inference() else values._version
    return values.data_ptr(), values.dtype, values.shape, values.stride(), version


def added(active: Active, kept: Columns) -> torch.Tensor:
    """What the kernel makes of rows `[R, I]`: `[R, O]`."""
    from neurons.kernels.event_cpu import add_columns

    rows, layer = active.rows, (kept.columns, kept.scale, kept.offset)
    out = np.empty((len(rows), len(kept.offset)), rows.dtype)
    least = max(1, PRODUCTS_PER_THREAD // max(1, kept.columns.size))
    in_threads(add_columns, [rows], len(rows), least, active.places, active.counts, *layer, out)
    return torch.from_numpy(out)


class EventDriven:
    """Within it, the linear layers of a network skip inputs that are zero; on a CPU, without gradients.

    always: every linear layer; else each runs as was faster when it, with so many rows, was first called: both ways are
    timed then, and a layer takes the share of inputs that are not zero into account afterwards. What is timed is kept
    in this object alone. Both ways agree to rounding.
    int8: every linear layer, with weights rounded to eight bits, which are read faster; sums stay as they are.

    >>> layer = torch.nn.Linear(3, 2)
    >>> spikes = torch.tensor([[1.0, 0.0, 0.0]])
    >>> with torch.no_grad(), EventDriven(layer):
    ...     torch.allclose(layer(spikes), layer.weight[:, 0] + layer.bias)
    True
    """

    def __init__(self, network: nn.Module, always: bool = False, int8: bool = False) -> None:
        self.network, self.always, self.int8 = network, always or int8, int8
        self.kept: dict[int, Columns] = {}
        self.active: Active | None = None

    def __enter__(self) -> EventDriven:
        for layer, name in self.products():
            setattr(layer, name, partial(self.product, layer))
        return self

    def __exit__(self, *error: Any) -> None:
        self.active = None
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
            kept = self.kept[id(layer)] = Columns(weight, bias, self.int8)
        size = (values.numel() // values.shape[-1]).bit_length()
        limit = math.inf if self.always else kept.limits.get(size)
        if limit is None:
            limit = kept.limits[size] = timed_limit(values, kept)
        if limit == 0:
            return F.linear(values, weight, bias)
        if self.active is None or not self.active.are_of(values):
            self.active = Active(values)
        if limit < math.inf and self.active.share() >= limit:
            return F.linear(values, weight, bias)
        return added(self.active, kept).view(*values.shape[:-1], len(kept.offset))


class Multiplies(nn.Linear):
    """A linear layer that does more than its product, which `multiply` is."""

    def multiply(self, values: torch.Tensor) -> torch.Tensor:
        return F.linear(values, self.weight, self.bias)


def timed_limit(values: torch.Tensor, kept: Columns) -> float:
    """The share of values that are not zero below which skipping zeros is faster, as these values tell; 0 where theirs
    is not below it, so that they need not be counted again.
    """
    share = max(Active(values).share(), LEAST_SHARE)
    dense = fastest(lambda: F.linear(values, kept.weight, kept.bias))
    limit = MARGIN * share * dense / fastest(lambda: added(Active(values), kept))
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
