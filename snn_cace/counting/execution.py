"""A network run as event-driven hardware would: linear layers of spikes and of rates only ever add columns of weights.

This is the proof of the event-driven count: the same network, the same inputs, no matrix product where that count says
accumulates; its outputs are the normal ones to rounding, and its additions the counted ACs, one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from neurons.kernels.threads import compiled
from snn_cace.counting.operations import run_within
from snn_cace.counting.provenance import Rate, SpikeTracker


@compiled()
def add_columns(spikes: Any, columns: Any, sums: Any) -> int:
    """Add row c of `columns` `[C, n]` to row r of `sums` `[N, n]` for every spike in `spikes` `[N, C]`, one at a time;
    returns the additions.
    """
    additions = 0
    for row in range(spikes.shape[0]):
        for channel in range(spikes.shape[1]):
            for _ in range(int(spikes[row, channel])):
                for output in range(columns.shape[1]):
                    sums[row, output] += columns[channel, output]
                additions += columns.shape[1]
    return additions


class EventDrivenExecution(SpikeTracker):
    """Within it, linear layers of spikes and rates run by `add_columns` alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.additions: dict[str, int] = {}

    def run(self, operation: Any, func: Any, args: tuple, kwargs: dict) -> Any:
        consumed = self.consumed(operation, args)
        if consumed is None or consumed[0].bits is not None:
            return func(*args, **kwargs)
        with _disable_current_modes():
            return self.accumulate(*consumed)

    def accumulate(self, rate: Rate, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The layer's outputs `[N, n]` from the spikes of its rate `[N, C]` and its weight `[C, n]`."""
        alike = rate.scalings < 2
        total = weight.new_zeros(len(rate.steps[0]), weight.shape[1])
        sums = torch.zeros_like(total)
        for step, number in zip(rate.steps, rate.weights, strict=True):
            self.add(step, weight, rate.gate, sums)
            if not alike:
                total += number * sums
                sums.zero_()
        if alike:
            total = sums if rate.scalings == 0 else rate.weights[0] * sums
        return total if bias is None else total + bias

    def add(self, step: torch.Tensor, weight: torch.Tensor, gate: torch.Tensor | None, sums: torch.Tensor) -> None:
        """One simulation step `[N, C]`: rows that share a gate read the same columns, multiplied by it once."""
        spikes, out = step.contiguous().numpy(), sums.numpy()
        shared = np.zeros(len(spikes), dtype=np.int64)
        columns = [weight]
        if gate is not None:
            gates, group = torch.unique_consecutive(gate, return_inverse=True, dim=0)
            shared, columns = group.numpy(), [row.unsqueeze(1) * weight for row in gates]
        name = self.running[-1]
        for place, scaled in enumerate(columns):
            rows = np.flatnonzero(shared == place)
            part = out[rows]
            added = add_columns(spikes[rows], scaled.contiguous().numpy(), part)
            self.additions[name] = self.additions.get(name, 0) + added
            out[rows] = part


def run_event_driven(network: nn.Module, *inputs: torch.Tensor) -> tuple[Any, dict[str, int]]:
    """What `network` outputs for `inputs` `[B, ...]` in evaluation mode, and by module, how many numbers were added
    because of spikes.

    Raises:
        ValueError: the inputs are not on the CPU.
    """
    execution = EventDrivenExecution(network)
    return run_within(execution, network, *inputs), execution.additions
