"""A network run as event-driven hardware would: linear layers of spikes and of rates only ever add columns of weights.

This is the proof of the event-driven count: the same network, the same inputs, no matrix product where that count says
accumulates; its outputs are the normal ones to rounding, and its additions the counted ACs, one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from snn_cace.counting.operations import count_operations, run_within
from snn_cace.counting.provenance import Rate, SpikeTracker
from snn_cace.data.batches import ClipDataset, without_padding
from snn_cace.model import Network

EXECUTED_CLIPS = 4
COMPARED = ("segment_relevance", "event_logits", "gate", "av_logits", "segment_logits", "clip_logits")


class EventDrivenExecution(SpikeTracker):
    """Within it, linear layers of spikes and rates run by `add_columns` alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.additions: dict[str, int] = {}

    def run(self, operation: Any, func: Any, args: tuple, kwargs: dict) -> Any:
        consumed = self.consumed(operation, args)
        if consumed is None or consumed[0].bits is not None:
            return func(*args, **kwargs)
        return self.accumulate(*consumed)

    def accumulate(self, rate: Rate, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The layer's outputs `[N, n]` from the spikes of its rate `[N, C]` and its weight `[C, n]`."""
        alike = rate.scalings < 2
        total = weight.new_zeros(len(rate.steps[0]), weight.shape[1])
        sums = torch.zeros_like(total)
        for step, number in zip(rate.steps, rate.weights, strict=True):
            self.add_columns(step, weight, rate.gate, sums)
            if not alike:
                total += number * sums
                sums.zero_()
        if alike:
            total = sums if rate.scalings == 0 else rate.weights[0] * sums
        return total if bias is None else total + bias

    def add_columns(
        self, step: torch.Tensor, weight: torch.Tensor, gate: torch.Tensor | None, sums: torch.Tensor
    ) -> None:
        """Add row c of `weight` `[C, n]`, times the gate `[N, C]`, to row r of `sums` `[N, n]` for every spike of one
        simulation step `[N, C]`.
        """
        name, added = self.running[-1], 0
        for channel, column in enumerate(weight):
            rows = torch.repeat_interleave(step[:, channel].long())  # a row once for each of its spikes
            scaled = column.expand(len(rows), -1) if gate is None else gate[rows, channel, None] * column
            sums.index_add_(0, rows, scaled)
            added += scaled.numel()
        self.additions[name] = self.additions.get(name, 0) + added


def run_event_driven(network: nn.Module, *inputs: torch.Tensor) -> tuple[Any, dict[str, int]]:
    """What `network` outputs for `inputs` `[B, ...]` in evaluation mode, and by module, how many numbers were added
    because of spikes.

    Raises:
        ValueError: the inputs are not on the CPU.
    """
    execution = EventDrivenExecution(network)
    return run_within(execution, network, *inputs), execution.additions


@dataclass
class Execution:
    """`clips` clips: additions that spikes caused, by module, beside what the count says; and how far any output was
    from the normal run's, as a share of the largest.
    """

    clips: int
    additions: dict[str, int]
    counted: dict[str, int]
    largest_difference: float


@torch.no_grad()
def execute(network: Network, dataset: ClipDataset) -> Execution:
    """The first clips of a split; the network is left on the CPU, in evaluation mode."""
    clips = without_padding(dataset.__getitems__(range(min(EXECUTED_CLIPS, len(dataset)))))
    visual, audio = clips["visual"], clips["audio"]
    network = network.to("cpu", visual.dtype).eval()
    seed = torch.random.initial_seed()
    with torch.random.fork_rng(devices=[]):  # each run draws the same, where inputs are coded by chance
        torch.manual_seed(seed)
        normal = network(visual, audio)
        torch.manual_seed(seed)
        output, additions = run_event_driven(network, visual, audio)
        torch.manual_seed(seed)
        count = count_operations(network, visual, audio)
    modules = count.counted["event_driven"]
    counted = {m.name: round(m.total.synops * len(visual)) for m in modules if m.name in additions}
    differences = (
        (getattr(output, name) - getattr(normal, name)).abs().max() / getattr(normal, name).abs().max()
        for name in COMPARED
        if vars(normal).get(name) is not None
    )
    return Execution(len(visual), additions, counted, max(float(difference) for difference in differences))
