"""Controls that a comparison makes by itself: which, what they are made of, and that every network has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small import PEERS, peer_experiment, small_experiment, write_ave

from neurons import ControlLayer, SpikingLayer
from snn_cace.cli import main
from snn_cace.comparison.attribution import Chain
from snn_cace.comparison.plan import Variant, control_blocks, with_controls
from snn_cace.config import Experiment, ModelConfig, SlotsConfig, as_yaml, carried_slots, read_config
from snn_cace.contracts import FeatureShape
from snn_cace.counting.operations import count_operations
from snn_cace.model import build_network
from snn_cace.networks import find_network
from snn_cace.training.energy import EnergyRegulariser

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "avdigits"
KINDS = ("rectified", "leaky", "quantised")
SHAPE = FeatureShape(visual_channels=5, audio_channels=6, classes=3)


def test_controls_are_made_of_the_slots_that_spike_and_of_nothing_else():
    made = with_controls([Variant(CONFIGS / "ann.yaml"), Variant(CONFIGS / "snn.yaml")], KINDS)
    experiments = [variant.read() for variant in made]
    assert [experiment.name for experiment in experiments] == ["ann", "snn", *(f"snn-{kind}" for kind in KINDS)]
    blocks = [
        (experiment.model.slots.temporal_encoder["block"], experiment.model.slots.feed_forward["block"])
        for experiment in experiments[2:]
    ]
    # The feed-forward block's membranes are reset at each segment: it has nothing to remember.
    assert blocks == [("rectified", "rectified"), ("leaky", "rectified"), ("quantised", "quantised")]
    for experiment in experiments[2:]:
        assert experiment.model.slots.event_head["block"] == "dense"
        assert experiment.model.slots.temporal_encoder["direction"] == "bidirectional"
        assert (experiment.training, experiment.data) == (experiments[1].training, experiments[1].data)


def test_the_original_s_encoder_has_controls_of_its_own_shape():
    experiment = read_config(CONFIGS / "snn-braincog.yaml", Experiment)
    blocks = [control_blocks(experiment, kind)["temporal_encoder"]["block"] for kind in (*KINDS, "dense-quantised")]
    assert blocks == ["braincog-rectified", "braincog-leaky", "braincog-quantised", "dense-quantised"]


def test_where_no_membrane_carries_there_is_no_leaky_control():
    experiment = read_config(CONFIGS / "snn.yaml", Experiment, {"model.slots.temporal_encoder.membrane": "reset"})
    assert control_blocks(experiment, "leaky") == {}
    assert set(control_blocks(experiment, "quantised")) == {"temporal_encoder", "feed_forward"}
    assert control_blocks(read_config(CONFIGS / "ann.yaml", Experiment), "rectified") == {}


def test_an_unknown_control_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "compare.yaml").write_text("name: c\nexperiments: [ann.yaml]\ncontrols: [relu]\n")
    assert main(["compare", "--config", str(tmp_path / "compare.yaml"), "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "controls" in line and "relu" in line


@pytest.mark.parametrize(("network", "weak", "spiking"), [peer for peer in PEERS if peer[2]])
@pytest.mark.parametrize("kind", [*KINDS, "dense-quantised"])
def test_every_slot_of_every_network_has_every_control(network: str, weak: bool, spiking: bool, kind: str):
    experiment = peer_experiment(None, network, weak)
    there = find_network(network).slots(experiment.model, weak)
    for slot in there:
        getattr(experiment.model.slots, slot)["block"] = "spiking"
    for slot, block in control_blocks(experiment, kind).items():
        getattr(experiment.model.slots, slot)["block"] = block["block"]
    torch.manual_seed(0)
    network_of_it = build_network(experiment, SHAPE)
    generator = torch.Generator().manual_seed(0)
    clips = torch.rand(2, 10, 2, 3, 5, generator=generator), torch.rand(2, 10, 6, generator=generator)
    network_of_it(*clips).segment_relevance.sum().backward()
    assert not any(isinstance(module, SpikingLayer) for module in network_of_it.modules())
    assert (kind == "dense-quantised") != any(isinstance(module, ControlLayer) for module in network_of_it.modules())
    count = count_operations(network_of_it.eval(), *clips)
    assert not [name for name in count.idle if "dropout" not in name]
    assert count.readers == []


def test_a_penalty_on_energy_holds_a_control_s_values_above_zero_down():
    experiment = peer_experiment(None, "cace", spiking=True)
    experiment.training.energy_model = "compute"
    for slot in ("feed_forward", "temporal_encoder"):
        getattr(experiment.model.slots, slot)["block"] = "rectified"
    torch.manual_seed(0)
    network = build_network(experiment, SHAPE)
    regulariser = EnergyRegulariser(network, experiment, SHAPE)
    batch = {"visual": torch.rand(2, 10, 2, 3, 5), "audio": torch.rand(2, 10, 6)}
    shares = []
    for shift in (5.0, 0.0, -5.0):  # all values above zero, some, none
        for module in network.modules():
            if isinstance(module, ControlLayer):
                continue
            if type(module).__name__ == "ChannelBatchNorm":
                torch.nn.init.constant_(module.bias, shift)
        network.zero_grad()
        regulariser.start()
        network(**batch)
        share = regulariser.share(batch)
        share.backward()
        shares.append(share.item())
    assert 0 < shares[2] < shares[1] < shares[0]
    expected = regulariser.expected
    assert expected is not None
    assert shares[2] == pytest.approx(expected.static / expected.dense)
    bias = network.audio_temporal.projection.norm.bias
    assert bias.grad is not None and bool((bias.grad >= 0).all())


@pytest.mark.parametrize(
    ("has_memory", "earlier", "later", "said"),
    [
        (True, "dense", "rectified", "shape and norm"),
        (True, "rectified", "leaky", "memory"),
        (True, "quantised", "spiking", "spikes"),
        (True, "rectified", "quantised", "memory and bits"),
        (False, "rectified", "quantised", "bits"),
        (True, "rectified", "spiking", "memory, bits and spikes"),
        (False, "rectified", "spiking", "bits and spikes"),
        (False, "dense", "quantised", "shape and norm and bits"),
    ],
)
def test_a_link_names_all_that_lies_between_its_ends(has_memory: bool, earlier: str, later: str, said: str):
    assert Chain([], has_memory).adds(earlier, later) == said


def test_memory_that_no_control_has_is_not_credited_to_spikes():
    """Of a neuron that carries a membrane without a leak, which no control can have."""
    assert Chain([], False, alone=True).adds("quantised", "spiking") == "memory and spikes"
    assert Chain([], True, alone=True).adds("rectified", "spiking") == "memory, bits and spikes"
    assert Chain([], False, alone=True).adds("rectified", "quantised") == "bits"
    carry = {"block": "spiking", "membrane": "carry", "node": "sliding_psn"}
    model = ModelConfig(slots=SlotsConfig(temporal_encoder=carry, feed_forward={**carry, "node": "lif"}))
    assert (carried_slots(model), carried_slots(model, leaky=False)) == (["feed_forward"], ["temporal_encoder"])


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_controls_are_tuned_as_their_spiking_variant_is(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_ave(tmp_path / "ave")
    for block in ("dense", "spiking"):
        (tmp_path / f"{block}.yaml").write_text(as_yaml(small_experiment(tmp_path / "ave", 1, block)))
    (tmp_path / "compare.yaml").write_text(
        "name: c\nexperiments: [dense.yaml, spiking.yaml]\nseeds: [0]\ncontrols: [rectified]\n"
        "tuning: {trials: 2, rungs: [], training_seed: 100, ranges: {training.learning_rate: {low: 0.001, high: 0.01}},"
        " spiking: {model.spiking.tau: {low: 1.5, high: 3.0}}}\n"
    )
    words = ["compare", "--config", str(tmp_path / "compare.yaml"), "--output", str(tmp_path / "out")]
    assert main([*words, "--device", "cpu"]) == 0, capsys.readouterr().err
    dense, spiking, control = json.loads((tmp_path / "out" / "comparison.json").read_text())["tuning"]["variants"]
    assert [search["variant"] for search in (dense, spiking, control)] == [
        "small-dense",
        "small-spiking",
        "small-spiking-rectified",
    ]
    settings = [[trial["settings"] for trial in search["trials"]] for search in (spiking, control)]
    assert settings[0] == settings[1], "the same points of the same ranges"
