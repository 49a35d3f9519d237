"""What the spiking layers of a network do while it runs: firing rates, and neurons that are dead or saturated.

Recorded from outside with SpikingJelly's monitor; layers hold no bookkeeping.
"""

from __future__ import annotations

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


class ActivityMonitor:
    """Activity of every spiking layer over the batches between `start` and `stop`; costs nothing outside."""

    def __init__(self, network: nn.Module) -> None:
        self.largest = {
            name: module.config.largest_value
            for name, module in network.named_modules()
            if isinstance(module, SpikingLayer)
        }
        self.monitor = OutputMonitor(network, instance=SpikingLayer, function_on_output=rate_per_neuron)
        self.monitor.disable()

    def start(self) -> None:
        self.monitor.clear_recorded_data()
        self.monitor.enable()

    def stop(self) -> dict[str, LayerActivity]:
        """Activity by the layer's name in the network; batches count alike."""
        self.monitor.disable()
        activity = {}
        for layer, largest in self.largest.items():
            rates = torch.stack(self.monitor[layer]).mean(0)
            activity[layer] = LayerActivity(
                firing_rate=float(rates.mean()),
                dead=float((rates == 0).float().mean()),
                saturated=float((rates >= SATURATED_RATE * largest).float().mean()),
            )
        self.monitor.clear_recorded_data()
        return activity


def rate_per_neuron(spikes: torch.Tensor) -> torch.Tensor:
    """Spikes `[S, ..., N]` to the rate of each neuron over all else, `[N]`, off the graph."""
    return spikes.detach().float().flatten(0, -2).mean(0)


class RateRegulariser:
    """Draws firing rates towards a target while a network trains.

    penalty = mean over spiking layers of (firing rate - target)^2, with gradients by surrogate (activity regularisation
    as in Zenke and Vogels, Neural Computation 33, 2021).
    """

    def __init__(self, network: nn.Module, target: float) -> None:
        self.target = target
        self.monitor = OutputMonitor(network, instance=SpikingLayer, function_on_output=torch.mean)
        self.monitor.disable()

    def start(self) -> None:
        """Record from here on."""
        self.monitor.enable()

    def penalty(self) -> torch.Tensor:
        """The penalty of what ran since `start`, a scalar; zero where nothing spikes."""
        rates = [rate for layer in self.monitor.monitored_layers for rate in self.monitor[layer]]
        self.monitor.disable()
        self.monitor.clear_recorded_data()
        return torch.stack([(rate - self.target) ** 2 for rate in rates]).mean() if rates else torch.zeros(())


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
