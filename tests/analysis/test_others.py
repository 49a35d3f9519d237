"""What other libraries say of a network, compared with ours where they count the same thing."""

from __future__ import annotations

import pytest
import torch
from others import other_counts
from small import small_model

from neurons import eager
from snn_cace.contracts import FeatureShape
from snn_cace.counting.operations import count_operations
from snn_cace.model import CaceNet

CLIPS = 3


@pytest.fixture
def network() -> CaceNet:
    config = small_model()
    config.slots.visual_projection = {"block": "spiking", "membrane": "reset", "steps": 2, "threshold": 0.1}
    config.slots.temporal_encoder = {"block": "spiking", "steps": 2, "threshold": 0.1}
    torch.manual_seed(0)
    return CaceNet(config, FeatureShape(visual_channels=5, audio_channels=6, classes=3)).eval()


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    visual = torch.randn(CLIPS, 10, 2, 3, 5, generator=generator)
    return visual, torch.randn(CLIPS, 10, 6, generator=generator)


def test_other_libraries_agree_where_they_count_the_same(network: CaceNet):
    """NeuroBench's sparsity of each layer is one less its rate; SpikingJelly's MACs are ours of matrix products."""
    found = other_counts(network, *clips())
    count = count_operations(network, *clips())
    rates = {module.name: module.firing_rate for module in count.modules if module.firing_rate is not None}
    assert found.neurobench is not None
    assert {name: 1 - share for name, share in found.neurobench["activation_sparsity"].items()} == pytest.approx(rates)
    assert 0 < found.neurobench["membrane_updates"] <= sum(m.static.neuron_updates for m in count.modules)
    assert found.neurobench["connection_sparsity"] == 0
    linear = sum(m.total.macs for m in count.modules if m.kind == "Linear")
    simple = found.spikingjelly["simple"].energy_mj
    assert linear < simple["mac"] / 4.6e-9 < count.total.macs


def test_what_a_library_leaves_out_or_refuses_is_said(network: CaceNet):
    found = other_counts(network, *clips()).spikingjelly
    assert any("LayerNorm" in line for line in found["lemaire"].left_out)
    assert "softmax" in (found["neuromc"].refused or "")
    assert found["neuromc"].energy_mj == {}
    assert found["lemaire"].energy_mj["addressing"] > 0


def test_asking_others_leaves_the_network_and_the_random_numbers_alone(network: CaceNet):
    state, before = torch.get_rng_state(), network(*clips()).event_logits
    random = torch.get_rng_state()
    torch.set_rng_state(state)
    other_counts(network, *clips())
    assert torch.equal(torch.get_rng_state(), state)
    with eager():
        assert torch.allclose(network(*clips()).event_logits, before, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), random)
