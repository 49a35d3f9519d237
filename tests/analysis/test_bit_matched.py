"""The quantised ANN and the device's energy meter."""

from __future__ import annotations

import pytest
import torch
from small import small_model
from torch import nn

from snn_cace.analysis import power
from snn_cace.analysis.quantised import FakeQuantize, quantised
from snn_cace.contracts import FeatureShape
from snn_cace.model import CaceNet


def test_rounding_leaves_at_most_as_many_values_as_the_bits_tell_apart():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    for bits in (1, 2, 3, 4):
        rounding = FakeQuantize(bits)
        rounding(values)
        rounding.freeze()
        assert len(rounding(values).unique()) <= 2**bits
    assert (rounding(values) - values).abs().max() < 0.6


def test_more_bits_are_nearer_to_the_whole_network_and_leaving_restores_it():
    torch.manual_seed(0)
    network = CaceNet(small_model(), FeatureShape(8, 6, 3)).eval()
    inputs = torch.rand(4, 10, 2, 3, 8), torch.rand(4, 10, 6)
    names = [name for slot in ("temporal_encoder", "feed_forward", "interaction") for name in network.slots()[slot]]
    with torch.no_grad():
        whole = network(*inputs).event_logits
        distance = []
        for bits in (2, 4, 8):
            with quantised(network, names, bits, [inputs]):
                distance.append(float((network(*inputs).event_logits - whole).norm()))
        assert distance[0] > distance[1] > distance[2] > 0
        assert torch.equal(network(*inputs).event_logits, whole)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in network.modules())


def test_only_the_named_blocks_are_rounded():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    values = torch.randn(64, 4)
    with torch.no_grad(), quantised(network, ["1"], 1, [(values,)]):
        hidden = network[0](values)
        assert torch.equal(hidden, nn.functional.linear(values, network[0].weight, network[0].bias))
        assert len(network[1](hidden).unique(dim=0)) <= 2**4 < len(hidden.unique(dim=0))


def test_bits_that_make_no_sense_are_refused():
    for bits in (0, 9):
        with (
            pytest.raises(ValueError, match=f"activations of {bits} bits: choose 1 to 8"),
            quantised(nn.ReLU(), [], bits, []),
        ):
            pass


def test_joules_per_clip_are_the_meter_s_difference_over_the_clips_run():
    """A meter that gains 6 J per run of 3 clips and nothing at rest."""
    drawn = [0.0]

    def run() -> None:
        drawn[0] += 6.0

    found = power.joules_per_clip(run, 3, lambda: drawn[0], seconds=0.02)
    assert found["joules_per_clip"] == pytest.approx(2.0)
    assert found["idle_watts"] == 0
    assert found["clips"] % 3 == 0


def test_there_is_no_meter_without_a_gpu():
    assert power.energy_counter(torch.device("cpu")) is None
