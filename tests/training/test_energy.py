"""The energy that training holds down: equal to what is counted, and differentiable."""

from __future__ import annotations

import pytest
import torch
from small import peer_experiment, small_model

from snn_cace.config import Experiment
from snn_cace.contracts import FeatureShape
from snn_cace.counting.energy import energies_mj, read_prices
from snn_cace.counting.models import MODELS
from snn_cace.counting.operations import count_operations
from snn_cace.model import CaceNet, build_network
from snn_cace.training.energy import EnergyRegulariser

SHAPE = FeatureShape(visual_channels=5, audio_channels=6, classes=3)


def guided(energy_model: str, **visual: object) -> Experiment:
    experiment = Experiment(model=small_model())
    experiment.training.energy_model = energy_model  # type: ignore[assignment]
    for slot in ("temporal_encoder", "feed_forward"):
        setattr(experiment.model.slots, slot, {"block": "spiking", "membrane": "reset"})
    experiment.model.slots.visual_projection = {"block": "spiking", "membrane": "reset", "steps": 2, **visual}
    return experiment


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "visual": 3 * torch.randn(2, 10, 2, 3, 5, generator=generator).relu(),
        "audio": torch.randn(2, 10, 6, generator=generator),
    }


@pytest.mark.parametrize("energy_model", [name for name, model in MODELS.items() if model.compared])
@pytest.mark.parametrize("coding", ["constant", "integer", "threshold"])
def test_the_expected_share_is_the_counted_one(energy_model: str, coding: str):
    experiment = guided(energy_model, coding=coding)
    torch.manual_seed(0)
    network = CaceNet(experiment.model, SHAPE).eval()
    regulariser = EnergyRegulariser(network, experiment, SHAPE)
    regulariser.start()
    network(**batch())
    share = regulariser.share(batch())
    dense = small_model()
    prices = read_prices()
    count = count_operations(network, *batch().values())
    ours = energies_mj(count.counted["event_driven"], prices)[energy_model]
    theirs = energies_mj(count_operations(CaceNet(dense, SHAPE), *batch().values()).modules, prices)[energy_model]
    # An integer of several spikes is written once.
    assert share.item() == pytest.approx(ours / theirs, rel=2e-3 if coding == "integer" else 1e-5)
    share.backward()
    assert network.visual_projection.projection.linear.weight.grad.abs().sum() > 0
    if coding != "constant":
        threshold = dict(network.visual_projection.projection.coding.named_parameters())
        assert all(parameter.grad.abs().sum() > 0 for parameter in threshold.values())


@pytest.mark.parametrize("network", ["avel", "cmran", "cmbs"])
@pytest.mark.parametrize("weak", [False, True])
def test_the_expected_share_of_a_peer_is_the_counted_one(network: str, weak: bool):
    """AVEL's hidden layer reads the rates of two temporal encoders side by side."""
    experiment, dense = (peer_experiment(None, network, weak, spiking) for spiking in (True, False))
    torch.manual_seed(0)
    spiking = build_network(experiment, SHAPE).eval()
    regulariser = EnergyRegulariser(spiking, experiment, SHAPE)
    regulariser.start()
    spiking(**batch())
    share = regulariser.share(batch())
    count = count_operations(spiking, *batch().values())
    ours = energies_mj(count.counted["event_driven"], read_prices())["memory"]
    theirs = count_operations(build_network(dense, SHAPE), *batch().values()).modules
    assert share.item() == pytest.approx(ours / energies_mj(theirs, read_prices())["memory"], rel=2e-3)
    if network == "avel":
        assert "classifier.hidden.linear" in count.readers


def test_resuming_reckons_with_the_same_energies():
    """What a spike costs follows from the config alone: not from weights, clips, the random state or the precision."""
    first, second = (EnergyRegulariser(torch.nn.Identity(), guided("memory"), SHAPE) for _ in range(2))
    state = torch.get_rng_state()
    first.share(batch())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        second.share({name: values + 1 for name, values in batch().items()})
    assert first.expected == second.expected
