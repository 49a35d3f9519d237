"""What the spiking layers of a network do while it runs: firing rates, and neurons that are dead or saturated.

Recorded from outside by SpikingJelly's monitors, which are made when listening starts and closed when it ends: a
monitor that stays, even a disabled one, would keep layers from taking the path that writes no spikes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from spikingjelly.activation_based.monitor import OutputMonitor
from torch import nn

from neurons.layer import SpikingLayer

SATURATED_RATE = 0.95
"""A neuron that fires at this share of its simulation steps or more tells next to nothing."""
UNHEALTHY_SHARE = 0.5
"""A layer with this share of dead, or of saturated, neurons is reported."""
DEAD_ADVICE = "try a lower threshold, norm: batch or threshold, or a wider surrogate (smaller alpha)"
SATURATED_ADVICE = "try a higher threshold, a smaller tau, norm: batch or threshold, or firing_rate_weight"


@dataclass(frozen=True)
class LayerActivity:
    """Of one spiking layer: spikes per neuron per simulation step, and the shares of neurons that never fire (dead) or
    fire nearly always (saturated).
    """

    firing_rate: float
    dead: float
    saturated: float

    def complaint(self, layer: str) -> str | None:
        """One line that says what is wrong with the layer and what to try; None if nothing is."""
        if self.dead >= UNHEALTHY_SHARE:
            return f"{layer}: {100 * self.dead:.0f} % of its neurons never fire; {DEAD_ADVICE}"
        if self.saturated >= UNHEALTHY_SHARE:
            share = f"{100 * self.saturated:.0f} % of its neurons fire at {100 * SATURATED_RATE:.0f} % of steps or more"
            return f"{layer}: {share}; {SATURATED_ADVICE}"
        return None


def unhealthy_shares(rates: torch.Tensor, largest: int) -> tuple[float, float]:
    """The shares of neurons that are dead and saturated, from their spikes per step, each step holding `largest`."""
    return float((rates == 0).double().mean()), float((rates >= SATURATED_RATE * largest).double().mean())


def monitor_spikes(network: nn.Module, keep: Callable[[torch.Tensor], object]) -> OutputMonitor:
    """Keeps what `keep` makes of each spiking layer's spikes, until it is closed."""
    return OutputMonitor(network, SpikingLayer, keep)


class ActivityMonitor:
    """Activity of every spiking layer over the batches between `start` and `stop`."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.monitor: OutputMonitor | None = None

    def start(self) -> None:
        self.monitor = monitor_spikes(
            self.network,
            lambda spikes: (spikes.detach().flatten(0, -2).sum(0, dtype=torch.float64), spikes[..., 0].numel()),
        )

    def stop(self) -> dict[str, LayerActivity]:
        """Activity by the layer's name in the network; empty where nothing ran since `start`."""
        if self.monitor is None:
            return {}
        monitor, self.monitor = self.monitor, None
        monitor.close()
        activity = {}
        for name in monitor.monitored_layers:
            if not monitor[name]:
                continue
            spikes, updates = zip(*monitor[name], strict=True)
            rates = torch.stack(spikes).sum(0) / sum(updates)
            layer = self.network.get_submodule(name)
            assert isinstance(layer, SpikingLayer)
            activity[name] = LayerActivity(float(rates.mean()), *unhealthy_shares(rates, layer.config.largest_value))
        return activity


class RateRegulariser:
    """Draws firing rates towards a target while a network trains.

    penalty = mean over spiking layers of (firing rate - target)^2, with gradients by surrogate (activity regularisation
    as in Zenke and Vogels, Neural Computation 33, 2021).
    """

    def __init__(self, network: nn.Module, target: float) -> None:
        self.network, self.target = network, target
        self.monitor: OutputMonitor | None = None

    def start(self) -> None:
        """Record from here on."""
        self.monitor = monitor_spikes(self.network, torch.Tensor.mean)

    def penalty(self) -> torch.Tensor:
        """The penalty of what ran since `start`, a scalar; zero where nothing spikes."""
        monitor, self.monitor = self.monitor, None
        if monitor is None:
            return torch.zeros(())
        monitor.close()
        rates = monitor.records
        return (torch.stack(rates) - self.target).square().mean() if rates else torch.zeros(())


class RateMeter:
    """The firing rate over all spiking layers of `network` that run within `with RateMeter(network) as meter:`."""

    def __init__(self, network: nn.Module) -> None:
        self.monitor = monitor_spikes(
            network, lambda spikes: (spikes.detach().sum(dtype=torch.float64).item(), spikes.numel())
        )

    def __enter__(self) -> RateMeter:
        return self

    def __exit__(self, *raised: object) -> None:
        self.monitor.close()

    @property
    def rate(self) -> float:
        """Spikes per neuron per simulation step."""
        spikes, updates = zip(*self.monitor.records, strict=True)
        return sum(spikes) / sum(updates)


def scale_surrogates(network: nn.Module, factor: float) -> None:
    """Set every spiking layer's surrogate slope to `factor` times what its config says; surrogates without an alpha
    stay. Growing slopes over training narrows the gap between the surrogate and the step it stands for (Guo et al.,
    "IM-Loss", NeurIPS 2022, evolve it likewise).
    """
    for layer in network.modules():
        if isinstance(layer, SpikingLayer):
            first = getattr(layer.config.make_surrogate(), "alpha", None)
            for module in layer.modules():
                surrogate = getattr(module, "surrogate_function", None)
                if first is not None and surrogate is not None and hasattr(surrogate, "alpha"):
                    surrogate.alpha = first * factor
