"""A differentiable estimate of what a network spends on a batch, for training.

    share = (static + sum over layers l of e_l n_l) / energy of the ANN

n_l are the spikes per clip of layer l, with gradients by surrogate; e_l is what one of them causes, in its own layer
and in every layer that reads it: its fan-out at the prices of an energy model. sinabs trains on synaptic operations
(Sorbaro et al., Frontiers in Neuroscience 14, 2020); here they are priced, and everything else is in the denominator.

Of a control without spikes n_l are the values above zero, with the gradient that a spike would have, and e_l is what
one of them causes where products with zeros are skipped: so spiking networks and controls are held down alike.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from neurons import ControlLayer, RateObserver, Rounding, SpikingLayer, count_over_processes, sum_over_processes
from neurons.coding import Coding
from snn_cace.config import Experiment, SlotsConfig
from snn_cace.contracts import FeatureShape
from snn_cace.counting.energy import Prices, energy, read_prices
from snn_cace.counting.operations import count_operations
from snn_cace.counting.provenance import SEVERAL
from snn_cace.data.batches import Batch
from snn_cace.model import build_network


@dataclass
class ExpectedEnergy:
    """Picojoules per clip: static, whatever fires; per_spike, by layer; and of the dense counterpart."""

    static: float
    per_spike: dict[str, float]
    dense: float


@contextmanager
def forced(
    modules: Mapping[str, nn.Module], value: Callable[[str], float | torch.Tensor] = lambda name: 1.0
) -> Iterator[dict[str, int]]:
    """Within it, all that each of the `modules` outputs is the `value` of its name: what is counted is fan-out.

    Yields how many values each outputs, by name, once it has run.
    """
    numbers: dict[str, int] = {}

    def force(name: str, module: nn.Module, args: tuple, values: torch.Tensor) -> torch.Tensor:
        numbers[name] = values.numel()
        return torch.ones_like(values) * value(name)

    hooks = [module.register_forward_hook(partial(force, name)) for name, module in modules.items()]
    try:
        yield numbers
    finally:
        for hook in hooks:
            hook.remove()


def expected_energy(
    experiment: Experiment, shape: FeatureShape, visual: torch.Size, audio: torch.Size, model: str, prices: Prices
) -> ExpectedEnergy:
    """What clips of these shapes, `[T, H, W, Cv]` and `[T, Ca]`, cost by an energy `model`; neither weights nor values
    decide it.
    """
    clip = torch.zeros(1, *visual), torch.zeros(1, *audio)
    dense = copy.deepcopy(experiment)
    dense.model.slots = SlotsConfig()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(experiment, shape)
        ann = count_operations(build_network(dense, shape), *clip)
        spiking = {n: module for n, module in network.named_modules() if isinstance(module, SpikingLayer | Coding)}
        with forced(spiking) as fired:
            count = count_operations(network, *clip)
    priced = {module.name: module for module in count.counted["event_driven"]}
    per_spike: dict[str, float] = {}
    for sources, caused in count.sources.items():
        by_module = (prices[model].picojoules(part, priced[n], part.weight_reads) for n, part in caused.items())
        spent = math.fsum(by_module)
        named = sources.split(SEVERAL)
        for source in named:
            per_spike[source] = per_spike.get(source, 0.0) + spent / sum(fired[name] for name in named)
    of_dense = energy(ann.modules, model, prices).total
    if any(isinstance(layer, ControlLayer) for layer in network.modules()):
        return expected_of_control(network, clip, model, prices, of_dense)
    return ExpectedEnergy(energy(priced.values(), model, prices).static, per_spike, of_dense)


def expected_of_control(
    network: nn.Module, clip: tuple[torch.Tensor, ...], model: str, prices: Prices, of_dense: float
) -> ExpectedEnergy:
    """`ExpectedEnergy` of a control where products with zeros are skipped. A value of a layer causes what is spent with
    all values above zero less what is spent with none of that layer, over their number.
    """
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, ControlLayer)}
    rounded = {name: layer if layer.rounding is None else layer.rounding for name, layer in layers.items()}
    largest = {n: part.size.detach() if isinstance(part, Rounding) else 1.0 for n, part in rounded.items()}
    ones = [torch.ones_like(x) for x in clip]

    def spent(silent: str | None) -> tuple[float, dict[str, int]]:
        with forced(rounded, lambda name: 0.0 if name == silent else largest[name]) as numbers:
            counted = count_operations(network, *ones).counted["zero_skipping"]
        return energy(counted, model, prices).total, numbers

    whole, numbers = spent(None)
    caused = {name: whole - spent(name)[0] for name in layers}
    per_value = {name: caused[name] / numbers[name] for name in layers}
    return ExpectedEnergy(whole - sum(caused.values()), per_value, of_dense)


class EnergyRegulariser(RateObserver):
    """The expected energy of a network that trains, as a share of its dense counterpart's.

    `start()` before a forward pass, `share(batch)` after it.
    """

    kinds = (SpikingLayer, Coding, ControlLayer)

    def __init__(self, network: nn.Module, experiment: Experiment, shape: FeatureShape) -> None:
        super().__init__(network)
        self.experiment, self.shape = experiment, shape
        self.energy_model = experiment.training.energy_model
        self.expected: ExpectedEnergy | None = None
        self.spikes: list[tuple[str, torch.Tensor]] = []

    def see(self, name: str, rates: torch.Tensor, steps: int) -> None:
        """Rates `[B, ..., N]` of a call."""
        self.spikes.append((name, sum_over_processes(rates.sum() * steps)))

    def share(self, batch: Batch) -> torch.Tensor:
        """The energy of what ran since `start` over the dense counterpart's, a scalar."""
        self.stop()
        visual, audio = batch["visual"], batch["audio"]
        if self.expected is None:
            sizes = (visual.shape[1:], audio.shape[1:])
            self.expected = expected_energy(self.experiment, self.shape, *sizes, self.energy_model, read_prices())
        expected, spikes = self.expected, self.spikes
        self.spikes = []
        clips = count_over_processes(len(visual), visual.device)
        caused = [expected.per_spike.get(name, 0.0) / clips * fired for name, fired in spikes]
        static = visual.new_full((), expected.static)
        return (static + sum(caused)) / expected.dense
