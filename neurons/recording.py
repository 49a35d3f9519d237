"""What every spiking layer of a network does over a data set of any size, recorded from outside.

Only sums are kept, so memory does not grow with the data. Layers hold no bookkeeping: outside the context manager there
are no hooks, and nothing costs anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from spikingjelly.activation_based.monitor import InputMonitor, OutputMonitor
from torch import nn

from neurons.layer import SpikingLayer


@dataclass
class LayerRecord:
    """Sums over the clips seen, for N neurons that each live through `segments` segments of S simulation steps.

    step_spikes `[S]`, segment_spikes `[T]`, neuron_spikes `[N]`. group_spikes `[G, N]` and group_segments `[G]`: by the
    group of a segment. counts: how many pairs of neuron and segment had 0, 1, ... spikes. first_spikes `[S + 1]`: how
    many fired first at step 0, 1, ...; the last entry never fired. largest: spikes that one step can hold.
    extra_spikes: those beyond the first of a step, which only integer neurons have.
    """

    largest: int
    step_spikes: torch.Tensor
    segment_spikes: torch.Tensor
    neuron_spikes: torch.Tensor
    group_spikes: torch.Tensor
    group_segments: torch.Tensor
    counts: torch.Tensor
    first_spikes: torch.Tensor
    segments: int = 0
    extra_spikes: float = 0.0

    @property
    def steps(self) -> int:
        return len(self.step_spikes)

    @property
    def neurons(self) -> int:
        return len(self.neuron_spikes)

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron per simulation step."""
        return float(self.neuron_spikes.sum()) / (self.neurons * self.segments * self.steps)

    @property
    def neuron_rates(self) -> torch.Tensor:
        """Spikes per simulation step of each neuron, `[N]`."""
        return self.neuron_spikes / (self.segments * self.steps)

    @property
    def step_rates(self) -> torch.Tensor:
        """Firing rate at each simulation step, `[S]`."""
        return self.step_spikes / (self.neurons * self.segments)

    @property
    def segment_rates(self) -> torch.Tensor:
        """Firing rate in each segment of a clip, `[T]`."""
        return self.segment_spikes * len(self.segment_spikes) / (self.neurons * self.segments * self.steps)

    @property
    def group_rates(self) -> torch.Tensor:
        """Firing rate in segments of each group, `[G]`; NaN where a group has none."""
        return self.group_spikes.sum(1) / (self.neurons * self.steps * self.group_segments)

    @property
    def silent_steps(self) -> float:
        """The share of zeros in what the layer hands on (activation sparsity)."""
        spikes = float(self.neuron_spikes.sum())
        return 1 - (spikes - self.extra_spikes) / (self.neurons * self.segments * self.steps)


class SpikeRecorder(OutputMonitor):
    """Records every spiking layer of `network` that runs within `with SpikeRecorder(network) as recorder:`.

    Before each batch, `recorder.label(groups)` may name the group (0 ... groups - 1) of each segment, `[B, T]`; a layer
    that runs through a memory of several modalities takes them again for each, and one that does not run through
    segments, such as a clip's classifier, has no groups.
    """

    def __init__(self, network: nn.Module, groups: int = 1) -> None:
        self.groups = groups
        self.layers: dict[str, LayerRecord] = {}
        self.labels: torch.Tensor | None = None
        super().__init__(network, SpikingLayer)

    def label(self, groups: torch.Tensor) -> None:
        """The group of each segment of the next batch, `[B, T]` integers."""
        self.labels = groups

    def create_hook(self, name: str) -> Any:
        def hook(layer: SpikingLayer, args: tuple, spikes: torch.Tensor) -> None:
            self.record(name, layer.config.largest_value, spikes.detach())

        return hook

    @torch.no_grad()
    def record(self, name: str, largest: int, spikes: torch.Tensor) -> None:
        """`[S, B, T, ..., N]`."""
        spikes = spikes.flatten(3) if spikes.ndim > 3 else spikes.unsqueeze(2)
        steps, clips, segments, neurons = spikes.shape
        labels = self.labels
        if labels is None and self.groups == 1:
            labels = torch.zeros(clips, segments, dtype=torch.long)
        if labels is not None and segments % labels.shape[1]:
            labels = None
        of_a_clip = segments if labels is None else labels.shape[1]
        if name not in self.layers:
            step, segment, neuron, first = (
                torch.zeros(size, dtype=torch.float64) for size in (steps, of_a_clip, neurons, steps + 1)
            )
            self.layers[name] = LayerRecord(
                largest=largest,
                step_spikes=step,
                segment_spikes=segment,
                neuron_spikes=neuron,
                group_spikes=torch.zeros(self.groups, neurons, dtype=torch.float64),
                group_segments=torch.zeros(self.groups, dtype=torch.float64),
                counts=torch.zeros(steps * largest + 1, dtype=torch.float64),
                first_spikes=first,
            )
        record = self.layers[name]
        counts = spikes.float().sum(0)
        fired = spikes > 0
        first = torch.where(fired.any(0), fired.to(torch.uint8).argmax(0), steps)
        record.segments += clips * segments
        record.extra_spikes += float(counts.sum(dtype=torch.float64)) - int(fired.sum())
        for total, seen in (
            (record.step_spikes, spikes.sum((1, 2, 3), dtype=torch.float64)),
            (record.segment_spikes, counts.sum((0, 2), dtype=torch.float64).unflatten(0, (-1, of_a_clip)).sum(0)),
            (record.neuron_spikes, counts.sum((0, 1), dtype=torch.float64)),
            (record.counts, torch.bincount(counts.long().flatten(), minlength=len(record.counts))),
            (record.first_spikes, torch.bincount(first.flatten(), minlength=steps + 1)),
        ):
            total += seen.to("cpu", torch.float64)
        if labels is not None:
            each = labels.to(spikes.device).repeat(1, segments // of_a_clip).flatten()
            by_group = torch.zeros(self.groups, neurons, device=spikes.device).index_add_(0, each, counts.flatten(0, 1))
            record.group_spikes += by_group.to("cpu", torch.float64)
            record.group_segments += torch.bincount(each, minlength=self.groups).to("cpu", torch.float64)


@dataclass
class Trace:
    """One layer on one batch: spikes and, where its node keeps one, the membrane after each simulation step, both
    `[S, B, T, ..., N]`.
    """

    spikes: torch.Tensor
    membrane: torch.Tensor | None


@torch.no_grad()
def trace_layers(network: nn.Module, *inputs: torch.Tensor) -> dict[str, Trace]:
    """Spikes and membranes of every spiking layer while `network` runs on `inputs` once, by the layer's name."""
    with InputMonitor(network, SpikingLayer) as currents, OutputMonitor(network, SpikingLayer) as spikes:
        network(*inputs)
    traces = {}
    for name in spikes.monitored_layers:
        layer = network.get_submodule(name)
        assert isinstance(layer, SpikingLayer)
        try:
            membrane = layer.membranes(currents[name][-1])
        except ValueError:
            membrane = None
        traces[name] = Trace(spikes[name][-1], membrane)
    return traces
