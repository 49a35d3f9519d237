"""Linear layers of rates on accumulates: every consumer by hand, and a run that adds columns and nothing else."""

from __future__ import annotations

import pytest
import torch
from small import small_model
from torch import nn
from torch.nn import Linear
from torch.nn import functional as F

from neurons import LIF, BlockConfig, SpikingLinear, SpikingMLP
from neurons.coding import make_coding
from neurons.config import CODINGS, READOUTS
from snn_cace.contracts import FeatureShape
from snn_cace.counting.energy import energy, read_prices
from snn_cace.counting.execution import run_event_driven
from snn_cace.counting.operations import Count, count_operations, summed
from snn_cace.counting.rules import Cost
from snn_cace.model import CaceNet
from snn_cace.model.braincog import BrainCogEncoder

CLIPS, SEGMENTS, PATCHES, WIDTH, OUT = 2, 3, 4, 5, 7
ROWS = CLIPS * SEGMENTS * PATCHES


class Consumer(nn.Module):
    """A spiking layer of patches, and what `reads` makes of its rates."""

    def __init__(self, reads: str, steps: int = 2, readout: str = "rate") -> None:
        super().__init__()
        block = BlockConfig(steps=steps, threshold=0.3, membrane="reset", norm="none", readout=readout)
        self.spiking = SpikingLinear(3, WIDTH, block)
        self.linear, self.second = Linear(WIDTH, OUT), Linear(WIDTH, OUT)
        self.norm, self.dropout = nn.LayerNorm(WIDTH), nn.Dropout(0.5)
        self.gate = Linear(3, WIDTH)
        self.per_channel = nn.Parameter(torch.rand(WIDTH))
        self.reads = reads

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        rates = self.spiking(values)
        gate = self.gate(values.mean(-2, keepdim=True))
        if self.reads == "gated patches":
            return self.linear(rates * gate)
        return {
            "rates": lambda: self.linear(rates),
            "dropout and relu": lambda: self.linear(self.dropout(F.relu(rates))),
            "reshaped": lambda: self.linear(rates.flatten(1, 2)[:, 1:]),
            "two projections": lambda: torch.cat([self.linear(rates), self.second(rates)], -1),
            "concatenated": lambda: self.linear(torch.cat([rates, rates], 1)),
            "halved": lambda: self.linear(0.5 * rates),
            "parameter per channel": lambda: self.linear(rates * self.per_channel),
            "norm": lambda: self.linear(self.norm(rates)),
            "residual": lambda: self.linear(rates + values.mean(-1, keepdim=True)),
            "product of activations": lambda: self.linear(rates * torch.sigmoid(self.second(rates)[..., :WIDTH])),
            "negative, rectified": lambda: self.linear(F.relu(-1 * rates)),
            "overwritten": lambda: self.linear(rates.add_(1.0)),
        }[self.reads]()


def patches(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(CLIPS, SEGMENTS, PATCHES, 3, generator=torch.Generator().manual_seed(1)).to(dtype)


def built(reads: str, **block: object) -> Consumer:
    torch.manual_seed(0)
    return Consumer(reads, **block).eval()  # type: ignore[arg-type]


def cost_of(count: Count, name: str) -> Cost:
    """What a module costs event-driven."""
    module = next(module for module in count.counted["event_driven"] if module.name == name)
    return Cost(module.static, module.event_driven)


def spikes_per_clip(count: Count) -> float:
    return next(module.spikes for module in count.modules if module.spikes is not None) or 0.0


READS = {
    # static MACs beyond the conservative count's none, spikes used per spike fired, held sums over both steps
    "rates": (ROWS * OUT, 1, 2 * ROWS * OUT),
    "dropout and relu": (ROWS * OUT, 1, 2 * ROWS * OUT),
    "two projections": (ROWS * OUT, 1, 2 * ROWS * OUT),
    "concatenated": (2 * ROWS * OUT, 2, 2 * 2 * ROWS * OUT),
    "halved": (ROWS * OUT, 1, 2 * ROWS * OUT),
    "parameter per channel": (ROWS * OUT, 1, 2 * ROWS * OUT),
    "gated patches": (ROWS * OUT + CLIPS * SEGMENTS * WIDTH * OUT, 1, 2 * ROWS * OUT),
}


@pytest.mark.parametrize("reads", READS)
def test_a_linear_layer_of_rates_by_hand(reads: str):
    """An AC and a read weight per spike and output; a MAC per output for the 1 / S; a gate multiplies columns once."""
    macs, uses, held = READS[reads]
    count = count_operations(built(reads), patches())
    spent = cost_of(count, "linear") * CLIPS
    reached = spikes_per_clip(count) * CLIPS * uses * OUT
    assert reached > 0
    assert (
        spent.event_driven.acs == spent.event_driven.synops == spent.event_driven.weight_reads == pytest.approx(reached)
    )
    assert (spent.static.macs, spent.static.partial_sums) == (pytest.approx(macs), pytest.approx(held))
    conservative = next(module for module in count.modules if module.name == "linear")
    assert conservative.total.macs * CLIPS == pytest.approx(uses * ROWS * WIDTH * OUT)
    assert conservative.total.acs == 0


@pytest.mark.parametrize("reads", ["norm", "residual", "product of activations", "negative, rectified", "overwritten"])
def test_what_is_no_sum_of_spikes_any_more_stays_multiplied(reads: str):
    assert "linear" not in count_operations(built(reads), patches()).readers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reads", [*READS, "reshaped"])
@pytest.mark.parametrize("readout", READOUTS)
def test_adding_columns_gives_the_same_outputs_and_as_many_additions(reads: str, readout: str, dtype: torch.dtype):
    network = built(reads, readout=readout, steps=3).to(dtype)
    with torch.no_grad():
        expected = network(patches(dtype))
    output, additions = run_event_driven(network, patches(dtype))
    torch.testing.assert_close(output, expected, atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=0)
    count = count_operations(network, patches(dtype))
    counted = {name: round(cost_of(count, name).event_driven.acs * CLIPS) for name in count.readers}
    assert additions == {name: acs for name, acs in counted.items() if acs}
    assert additions["linear"] > 0


@pytest.mark.parametrize("coding", [c for c in CODINGS if c not in ("constant", "poisson")])
def test_input_spikes_are_added_too(coding: str):
    torch.manual_seed(0)
    block = BlockConfig(steps=3, coding=coding, coding_levels=2, membrane="reset")
    network = SpikingMLP(3, WIDTH, OUT, 0.0, block).double().eval()
    values = patches(torch.float64)[:, :, 0]
    output, additions = run_event_driven(network, values)
    with torch.no_grad():
        torch.testing.assert_close(output, network(values), atol=1e-12, rtol=0)
    count = count_operations(network, values)
    counted = {m.name: round(m.total.synops * CLIPS) for m in count.counted["event_driven"] if m.total.synops}
    assert {name: added for name, added in additions.items() if added} == counted
    assert additions["hidden.linear"] > 0


def test_the_original_s_encoder_outputs_rates_too():
    """Its rate is a plain mean over simulation steps; the layer that reads it adds columns."""
    torch.manual_seed(0)
    encoder = BrainCogEncoder(3, WIDTH, LIF(threshold=0.5, surrogate="quadratic_gate"), simulation_steps=4)
    network = nn.Sequential(encoder, Linear(WIDTH, OUT)).double().eval()
    values = 2 * patches(torch.float64)[:, :, 0]
    with torch.no_grad():
        expected = network(values)
    output, additions = run_event_driven(network, values)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    count = count_operations(network, values)
    assert additions == {"1": round(cost_of(count, "1").event_driven.acs * CLIPS)}
    assert additions["1"] == spikes_per_clip(count) * CLIPS * OUT > 0


def guided(spiking: bool, **coding: object) -> CaceNet:
    config = small_model()
    for slot in ("temporal_encoder", "feed_forward", "event_head"):
        setattr(config.slots, slot, {"block": "spiking" if spiking else "dense", "membrane": "reset"})
    if spiking:
        config.slots.visual_projection = {"block": "spiking", "membrane": "reset", "steps": 2, **coding}
    torch.manual_seed(0)
    return CaceNet(config, FeatureShape(visual_channels=5, audio_channels=6, classes=3)).double().eval()


def features() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    visual = torch.randn(CLIPS, 10, 2, 3, 5, generator=generator, dtype=torch.float64)
    return visual.relu(), torch.randn(CLIPS, 10, 6, generator=generator, dtype=torch.float64)


GUIDANCE = [
    "guidance.picture.self_attention.query",
    "guidance.picture.self_attention.key",
    "guidance.picture.self_attention.value",
    "guidance.sound.picture_attention.query",
    "guidance.sound.picture_attention.key",
    "guidance.sound.picture_attention.value",
    "guidance.picture.spatial.patch",
]


def test_guidance_reads_the_spikes_of_the_visual_projection():
    """All six projections and the gated patches run on accumulates; the whole network's additions are the counted."""
    network = guided(True, coding="integer", coding_levels=2)
    count = count_operations(network, *features())
    assert set(GUIDANCE) <= set(count.readers)
    assert not any(name.startswith("guidance") for name in set(count.readers) - set(GUIDANCE))
    with torch.no_grad():
        expected = network(*features())
    output, additions = run_event_driven(network, *features())
    for name in ("segment_relevance", "event_logits", "gate", "av_logits"):
        torch.testing.assert_close(getattr(output, name), getattr(expected, name), atol=1e-12, rtol=0)
    modules = count.counted["event_driven"]
    additions = {name: added for name, added in additions.items() if added}
    assert additions == {m.name: round(m.total.synops * CLIPS) for m in modules if m.total.synops}
    assert additions["visual_projection.projection.linear"] > 0
    assert summed(modules).macs < 0.9 * count.total.macs


def test_a_dense_network_has_no_readers_and_both_counts_are_one():
    count = count_operations(guided(False), *features())
    assert count.readers == []
    assert summed(count.counted["event_driven"]) == count.total


def test_guidance_is_the_same_object_in_ann_and_snn():
    """The same patches give the same guidance, bit by bit: what feeds it differs, it does not."""
    ann, snn = guided(False).guidance, guided(True).guidance
    snn.load_state_dict(ann.state_dict())
    visual, audio = features()
    patches = torch.rand(*visual.shape[:-1], small_model().visual_dim, dtype=torch.float64)
    for ours, theirs in zip(snn(patches, audio), ann(patches, audio), strict=True):
        assert torch.equal(ours, theirs)
    assert type(ann) is type(snn)
    assert [name for name, _ in ann.named_parameters()] == [name for name, _ in snn.named_parameters()]


def test_what_each_layers_spikes_cause_adds_up_to_all_that_spikes_cause():
    count = count_operations(guided(True), *features())
    acs = sum(operations.acs for by_module in count.sources.values() for operations in by_module.values())
    modules = count.counted["event_driven"]
    assert acs == pytest.approx(sum(module.event_driven.acs for module in modules))
    assert set(GUIDANCE) <= set(count.sources["visual_projection.projection.layer"])


CODERS = {
    # per value: MACs, ACs, comparisons, transcendental; x is what spikes: 2 steps, 2 x 3 values
    "poisson": (0, 0, 2 * 2, 1),
    "latency": (1, 1, 1, 1),
    "integer": (1, 0, 2, 0),
}


@pytest.mark.parametrize("coding", CODERS)
def test_what_coders_cost_by_hand(coding: str):
    block = BlockConfig(steps=2, coding=coding)
    module = make_coding(block, 3)
    count = count_operations(module, torch.randn(2, 3)).total * 2
    found = (count.macs, count.acs, count.comparisons, count.transcendental)
    assert found == tuple(6 * each for each in CODERS[coding])


def test_accumulators_are_read_and_written_at_every_step_where_traffic_is_priced():
    """Rates of 5 neurons over 2 steps to 7 outputs, 24 rows: 24 x 7 sums, kept over 2 steps, read and written."""
    prices = read_prices()
    count = count_operations(built("rates"), patches())
    module = next(m for m in count.counted["event_driven"] if m.name == "linear")
    words = module.total.weight_reads + 2 * (2 * ROWS * OUT / CLIPS)
    arithmetic = energy([module], "compute", prices).total
    assert energy([module], "memory", prices).total == pytest.approx(arithmetic + 4 * 24.96 * words)
