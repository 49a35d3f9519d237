"""What the spiking layers of a network do while it runs: firing rates, and neurons that are dead or saturated.

Recorded from outside with hooks that come and go; layers hold no bookkeeping. SpikingJelly's monitors keep theirs all
the time, which would keep layers from taking the path that writes no spikes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
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
    """Activity of every spiking layer over the batches between `start` and `stop`; outside there are no hooks, so that
    layers may run without writing their spikes.
    """

    def __init__(self, network: nn.Module) -> None:
        self.layers = {name: module for name, module in network.named_modules() if isinstance(module, SpikingLayer)}
        self.spikes: dict[str, torch.Tensor] = {}
        self.updates: dict[str, int] = {}
        self.hooks: list[Any] = []

    def start(self) -> None:
        self.spikes, self.updates = {}, {}
        self.hooks = [layer.register_forward_hook(self.listener(name)) for name, layer in self.layers.items()]

    def listener(self, name: str) -> Any:
        def hook(layer: SpikingLayer, args: tuple, spikes: torch.Tensor) -> None:
            of_each = spikes.detach().flatten(0, -2).sum(0, dtype=torch.float64)
            self.spikes[name] = self.spikes.get(name, 0) + of_each
            self.updates[name] = self.updates.get(name, 0) + spikes.numel() // spikes.shape[-1]

        return hook

    def stop(self) -> dict[str, LayerActivity]:
        """Activity by the layer's name in the network."""
        for hook in self.hooks:
            hook.remove()
        self.hooks = []
        activity = {}
        for name, spikes in self.spikes.items():
            rates = spikes / self.updates[name]
            saturated = SATURATED_RATE * self.layers[name].config.largest_value
            activity[name] = LayerActivity(
                firing_rate=float(rates.mean()),
                dead=float((rates == 0).double().mean()),
                saturated=float((rates >= saturated).double().mean()),
            )
        return activity


class RateRegulariser:
    """Draws firing rates towards a target while a network trains.

    penalty = mean over spiking layers of (firing rate - target)^2, with gradients by surrogate (activity regularisation
    as in Zenke and Vogels, Neural Computation 33, 2021).
    """

    def __init__(self, network: nn.Module, target: float) -> None:
        self.target = target
        self.layers = [module for module in network.modules() if isinstance(module, SpikingLayer)]
        self.rates: list[torch.Tensor] = []
        self.hooks: list[Any] = []

    def start(self) -> None:
        """Record from here on."""
        self.rates = []
        self.hooks = [layer.register_forward_hook(self.listen) for layer in self.layers]

    def listen(self, layer: nn.Module, args: tuple, spikes: torch.Tensor) -> None:
        self.rates.append(spikes.mean())

    def penalty(self) -> torch.Tensor:
        """The penalty of what ran since `start`, a scalar; zero where nothing spikes."""
        for hook in self.hooks:
            hook.remove()
        rates, self.rates, self.hooks = self.rates, [], []
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
