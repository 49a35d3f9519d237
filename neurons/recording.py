"""What the spiking layers of a network do over a data set of any size, recorded from outside.

`RateMonitor` takes the firing rates that layers output anyway, so fused kernels run on while it watches.
`SpikeRecorder` takes every spike, which only layers that run eagerly write. Both keep sums alone, so memory does not
grow with the data, and outside their context nothing costs anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based.monitor import InputMonitor, OutputMonitor
from torch import nn

from neurons.collective import count_over_processes, mean_over_processes, sum_over_processes
from neurons.controls import ControlLayer
from neurons.layer import SpikingLayer

SATURATED_RATE = 0.95
"""A neuron that fires at this share of its simulation steps or more tells next to nothing."""
UNHEALTHY_SHARE = 0.5
"""A layer with this share of dead, or of saturated, neurons is reported."""
DEAD_ADVICE = "try a lower threshold, norm: batch or threshold, or a wider surrogate (smaller alpha)"
SATURATED_ADVICE = "try a higher threshold, a smaller tau, norm: batch or threshold, or a penalty on firing rates"


@dataclass(frozen=True)
class LayerActivity:
    """Of one spiking layer: spikes per neuron per simulation step, and the shares of neurons that never fire (dead) or
    fire nearly always (saturated).

    >>> LayerActivity(0.2, dead=0.1, saturated=0.0).warning("a layer") is None
    True
    """

    firing_rate: float
    dead: float
    saturated: float

    def warning(self, layer: str) -> str | None:
        """One line that says what is wrong with the layer and what to try; None if nothing is."""
        if self.dead >= UNHEALTHY_SHARE:
            return f"{layer}: {100 * self.dead:.0f} % of its neurons never fire; {DEAD_ADVICE}"
        if self.saturated >= UNHEALTHY_SHARE:
            share = f"{100 * self.saturated:.0f} % of its neurons fire at {100 * SATURATED_RATE:.0f} % of steps or more"
            return f"{layer}: {share}; {SATURATED_ADVICE}"
        return None


def unhealthy_shares(rates: torch.Tensor, largest: int) -> tuple[float, float]:
    """The shares of neurons that are dead and saturated, from their spikes per step `[N]`, of at most `largest`."""
    return float((rates == 0).double().mean()), float((rates >= SATURATED_RATE * largest).double().mean())


class RateObserver:
    """Sees the firing rates of every module of `kinds` in `network` between `start` and `stop`, or within `with`.

    >>> class Largest(RateObserver):
    ...     def see(self, name, rates, steps):
    ...         print(name, rates.max().item(), steps)
    >>> network = nn.Sequential(SpikingLayer(IF(threshold=1)))
    >>> with Largest(network):
    ...     spikes = network(torch.tensor([0.5, 2.0]).expand(2, 1, 1, 2))
    0 1.0 2
    """

    kinds: tuple[type[nn.Module], ...] = (SpikingLayer,)

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.watched: list[tuple[Any, Any]] = []

    def see(self, name: str, rates: torch.Tensor, steps: int) -> None:
        """A call of the layer `name`: rates `[B, T, ..., N]` over so many simulation steps."""
        raise NotImplementedError

    def start(self) -> None:
        """See what runs from here on."""
        self.stop()
        for name, layer in self.network.named_modules():
            if isinstance(layer, self.kinds):
                self.watched.append((layer, partial(self.see, name)))
                self.watched[-1][0].monitors.append(self.watched[-1][1])

    def stop(self) -> None:
        for layer, see in self.watched:
            layer.monitors.remove(see)
        self.watched = []

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()


class RateMonitor(RateObserver):
    """Spikes of every neuron of every spiking layer, summed.

    >>> layer = SpikingLayer(IF(threshold=1))
    >>> with RateMonitor(layer) as monitor:
    ...     rates = layer.rate(torch.tensor([[[[0.5, 2.0]]]]), num_steps=2)  # [1, B, T, N]
    >>> monitor.firing_rate
    0.75
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.spikes: dict[str, torch.Tensor] = {}
        self.updates: dict[str, int] = {}

    def start(self) -> None:
        self.spikes, self.updates = {}, {}
        super().start()

    @torch.no_grad()
    def see(self, name: str, rates: torch.Tensor, steps: int) -> None:
        spikes = (rates * steps).round().flatten(0, -2).sum(0, dtype=torch.float64)
        self.spikes[name] = spikes + self.spikes.get(name, 0.0)
        self.updates[name] = self.updates.get(name, 0) + steps * (rates.numel() // rates.shape[-1])

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron per simulation step, over all layers."""
        updates = sum(self.updates[name] * len(spikes) for name, spikes in self.spikes.items())
        return sum(float(spikes.sum()) for spikes in self.spikes.values()) / updates

    def add_processes(self) -> None:
        """Add what the other processes that train this network have seen; all of them call it."""
        for name, spikes in self.spikes.items():
            self.spikes[name] = sum_over_processes(spikes)
            self.updates[name] = count_over_processes(self.updates[name], spikes.device)

    def activity(self) -> dict[str, LayerActivity]:
        """By the layer's name in the network; empty where nothing ran since `start`."""
        found = {}
        for name, spikes in self.spikes.items():
            rates, layer = spikes / self.updates[name], self.network.get_submodule(name)
            assert isinstance(layer, SpikingLayer)
            found[name] = LayerActivity(float(rates.mean()), *unhealthy_shares(rates, layer.config.largest_value))
        return found


class RateRegulariser(RateObserver):
    """Draws firing rates towards a target while a network trains.

    penalty = mean over spiking layers of (firing rate - target)^2, with gradients by surrogate (activity regularisation
    as in Zenke and Vogels, Neural Computation 33, 2021). Of a control's layer, the share of values above zero.

    >>> layer = SpikingLayer(IF(threshold=1))
    >>> with RateRegulariser(layer, target=0.25) as regulariser:
    ...     rates = layer.rate(torch.tensor([[[[0.5, 2.0]]]]), num_steps=2)
    >>> regulariser.penalty().item()
    0.25
    """

    kinds = (SpikingLayer, ControlLayer)

    def __init__(self, network: nn.Module, target: float) -> None:
        super().__init__(network)
        self.target = target
        self.rates: list[torch.Tensor] = []

    def see(self, name: str, rates: torch.Tensor, steps: int) -> None:
        self.rates.append(mean_over_processes(rates))

    def penalty(self) -> torch.Tensor:
        """The penalty of what ran since `start`, a scalar; zero where nothing spikes."""
        self.stop()
        rates, self.rates = self.rates, []
        return (torch.stack(rates) - self.target).square().mean() if rates else torch.zeros(())


@dataclass
class LayerRecord:
    """Sums over the clips seen, for N neurons that each run over `segments` segments of S simulation steps.

    step_spikes `[S]`, segment_spikes `[T]`, neuron_spikes `[N]`. segment_clips `[T]`: how often each segment was seen.
    group_spikes `[G, N]` and group_segments `[G]`: by the group of a segment. counts: how many pairs of neuron and
    segment had 0, 1, ... spikes. first_spikes `[S + 1]`: how many fired first at step 0, 1, ...; the last entry never
    fired. largest: spikes that one step can hold. extra_spikes: those beyond the first of a step, which only integer
    neurons have.

    >>> layer = SpikingLayer(IF(threshold=1))
    >>> with SpikeRecorder(layer) as recorder:
    ...     spikes = layer(torch.tensor([0.5, 2.0]).expand(2, 1, 1, 2))  # [S, B, T, N]
    >>> recorder.layers[""].step_rates.tolist()
    [0.5, 1.0]
    """

    largest: int
    step_spikes: torch.Tensor
    segment_spikes: torch.Tensor
    segment_clips: torch.Tensor
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
        seen = self.segment_clips * len(self.segment_spikes)
        return self.segment_spikes * len(self.segment_spikes) / (self.neurons * seen * self.steps)

    @property
    def group_rates(self) -> torch.Tensor:
        """Firing rate in segments of each group, `[G]`; NaN where a group has none."""
        return self.group_spikes.sum(1) / (self.neurons * self.steps * self.group_segments)

    @property
    def activation_sparsity(self) -> float:
        """The share of zeros in what the layer outputs."""
        spikes = float(self.neuron_spikes.sum())
        return 1 - (spikes - self.extra_spikes) / (self.neurons * self.segments * self.steps)


class SpikeRecorder(OutputMonitor):
    """Records every spiking layer of `network` that runs within `with SpikeRecorder(network) as recorder:`.

    Before each batch, `recorder.label(groups)` may name the group (0 ... groups - 1) of each segment, `[B, T]`; a layer
    that runs through a memory of several modalities takes them again for each, and one that does not run through
    segments, such as a clip's classifier, has no groups. A segment of group -1 is padding, and is not recorded.

    >>> layer = SpikingLayer(IF(threshold=1))
    >>> with SpikeRecorder(layer) as recorder:
    ...     spikes = layer(torch.tensor([0.5, 2.0]).expand(2, 1, 1, 2))
    >>> recorder.layers[""].firing_rate
    0.75
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
                segment_clips=torch.zeros_like(segment),
                neuron_spikes=neuron,
                group_spikes=torch.zeros(self.groups, neurons, dtype=torch.float64),
                group_segments=torch.zeros(self.groups, dtype=torch.float64),
                counts=torch.zeros(steps * largest + 1, dtype=torch.float64),
                first_spikes=first,
            )
        record = self.layers[name]
        own = torch.ones(clips, segments, dtype=torch.bool, device=spikes.device)
        if labels is not None:
            own = (labels.to(spikes.device) >= 0).repeat(1, segments // of_a_clip)
        elif self.labels is not None and (clips, segments) == (self.labels.numel(), 1):  # a window of each segment
            own = (self.labels.to(spikes.device) >= 0).view(-1, 1)
        spikes = spikes * own[:, :, None]
        counts = spikes.float().sum(0)
        fired = spikes > 0
        first = torch.where(fired.any(0), fired.to(torch.uint8).argmax(0), steps)
        record.segments += int(own.sum())
        record.extra_spikes += float(counts.sum(dtype=torch.float64)) - int(fired.sum())
        for total, seen in (
            (record.step_spikes, spikes.sum((1, 2, 3), dtype=torch.float64)),
            (record.segment_spikes, counts.sum((0, 2), dtype=torch.float64).unflatten(0, (-1, of_a_clip)).sum(0)),
            (record.segment_clips, own.sum(0).unflatten(0, (-1, of_a_clip)).sum(0)),
            (record.neuron_spikes, counts.sum((0, 1), dtype=torch.float64)),
            (record.counts, torch.bincount(counts[own].long().flatten(), minlength=len(record.counts))),
            (record.first_spikes, torch.bincount(first[own].flatten(), minlength=steps + 1)),
        ):
            total += seen.to("cpu", torch.float64)
        if labels is not None:
            each = labels.to(spikes.device).repeat(1, segments // of_a_clip)[own]
            by_group = torch.zeros(self.groups, neurons, device=spikes.device).index_add_(0, each, counts[own])
            record.group_spikes += by_group.to("cpu", torch.float64)
            record.group_segments += torch.bincount(each, minlength=self.groups).to("cpu", torch.float64)


@dataclass
class Trace:
    """One layer on one batch: spikes and, where its node keeps one, the membrane potential after each simulation step,
    both `[S, B, T, ..., N]`.

    >>> layer = SpikingLayer(IF(threshold=1))
    >>> trace_layers(layer, torch.full((2, 1, 1, 1), 0.6))[""].membrane.flatten().tolist()[1]
    0.0
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
            membrane = layer.membrane_potentials(currents[name][-1])
        except ValueError:
            membrane = None
        traces[name] = Trace(spikes[name][-1], membrane)
    return traces
