"""Activity seen from outside: rates, dead and saturated neurons, a penalty with gradients, slopes on a schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurons import IF, BlockConfig, LayerActivity, RateMonitor, RateRegulariser, SpikingLayer, SpikingLinear


class Currents(nn.Module):
    """Hands fixed currents per neuron to a spiking layer: IF, threshold 1, soft reset, so the rate is the current."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = SpikingLayer(IF(threshold=1, reset="soft"))

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        return self.layer(current.expand(4, 2, -1))


def test_rates_dead_and_saturated_neurons_by_hand():
    network = Currents()
    monitor = RateMonitor(network)
    network(torch.ones(3))  # before start: not seen
    monitor.start()
    network(torch.tensor([0.0, -1, 0.5, 1]))
    network(torch.tensor([0.0, -1, 0.5, 1]))
    monitor.stop()
    activity = monitor.activity()
    assert activity == {"layer": LayerActivity(firing_rate=(0 + 0 + 0.5 + 1) / 4, dead=0.5, saturated=0.25)}
    network(torch.ones(3))
    assert not network.layer._forward_hooks


def test_a_neuron_that_fires_in_any_batch_is_not_dead():
    network = Currents()
    monitor = RateMonitor(network)
    monitor.start()
    network(torch.tensor([0.0, 0.0]))
    network(torch.tensor([0.0, 1.0]))
    assert monitor.activity()["layer"].dead == 0.5


def test_warnings_name_the_layer_the_share_and_what_to_try():
    assert LayerActivity(0.2, dead=0.1, saturated=0.2).warning("a.layer") is None
    assert (
        LayerActivity(0.01, dead=0.8, saturated=0)
        .warning("a.layer")
        .startswith("a.layer: 80 % of its neurons never fire; try a lower threshold")
    )
    assert (
        LayerActivity(0.9, dead=0, saturated=0.6)
        .warning("a.layer")
        .startswith("a.layer: 60 % of its neurons fire at 95 % of steps or more; try a higher threshold")
    )


def test_the_penalty_is_the_mean_squared_distance_to_the_target_and_pulls_rates_there():
    torch.manual_seed(0)
    config = BlockConfig(threshold=0.5, surrogate="atan", alpha=2, steps=4, norm="none")
    network = nn.Sequential(*(SpikingLinear(16, 16, config) for _ in range(2)))
    regulariser, monitor = RateRegulariser(network, target=0.1), RateMonitor(network)
    values = 2 * torch.randn(4, 10, 16)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for epoch in range(60):
        monitor.start()
        regulariser.start()
        network(values)
        penalty = regulariser.penalty()
        rates = [activity.firing_rate for activity in monitor.activity().values()]
        assert penalty.item() == pytest.approx(sum((rate - 0.1) ** 2 for rate in rates) / 2, rel=1e-4)
        if epoch == 0:
            first = penalty.item()
        optimiser.zero_grad()
        penalty.backward()
        optimiser.step()
    assert penalty.item() < first / 20
    assert regulariser.penalty().item() == 0  # nothing ran since
