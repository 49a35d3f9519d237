"""Spiking blocks: no state between calls, what carried membranes and directions mean, codings, readouts, folding."""

from __future__ import annotations

import copy
import re

import pytest
import torch

from neurons import (
    CODINGS,
    DIRECTIONS,
    LIF,
    NORMS,
    READOUTS,
    BlockConfig,
    Readout,
    SpikeLinear,
    SpikingCrossAttention,
    SpikingLayer,
    SpikingLinear,
    SpikingMLP,
    SpikingProjection,
    fold,
)
from neurons.coding import ChannelThreshold, Integer, Latency, LearnedEncoder, Poisson, make_coding

NODE = LIF(tau=2, threshold=0.5, alpha=2)


def config(**changes: object) -> BlockConfig:
    return BlockConfig(**(vars(NODE) | {"steps": 4} | changes))


def segments(clips: int = 2, count: int = 10, width: int = 4) -> torch.Tensor:
    return torch.randn(clips, count, width, generator=torch.Generator().manual_seed(clips))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("membrane", ["carry", "reset"])
def test_a_call_leaves_no_state_behind(direction: str, membrane: str):
    block = SpikingLinear(4, 6, config(membrane=membrane), direction).eval()
    first, second = segments(2), segments(5)
    alone = block(second)
    block(first).sum().backward()
    assert torch.equal(block(second), alone)
    copied = copy.deepcopy(block)
    assert torch.equal(copied(second), alone)
    assert not any(key.endswith(".v") for key in block.state_dict())


def test_clips_of_a_batch_do_not_see_each_other():
    block = SpikingLinear(4, 6, config()).eval()
    values = segments(3)
    together = block(values)
    for clip in range(3):
        torch.testing.assert_close(block(values[clip : clip + 1]), together[clip : clip + 1])


def test_carried_membranes_equal_one_long_run_and_reset_ones_equal_runs_of_their_own():
    current = segments(2, 3, 5)
    held = current.expand(4, *current.shape)
    carried = SpikingProjection(1, 5, config()).layer(held)
    reset = SpikingProjection(1, 5, config(membrane="reset")).layer(held)
    layer = SpikingLayer(NODE)
    long_run = layer(torch.stack([current[:, segment] for segment in range(3) for _ in range(4)]))
    for segment in range(3):
        assert torch.equal(carried[:, :, segment], long_run[4 * segment : 4 * segment + 4])
        assert torch.equal(reset[:, :, segment], layer(current[:, segment].expand(4, 2, 5)))


def test_carried_membranes_are_causal_in_segments_and_reset_ones_local():
    values = segments(1, 6)
    changed = values.clone()
    changed[:, 3] += 3
    for membrane, same in (("carry", [0, 1, 2]), ("reset", [0, 1, 2, 4, 5])):
        block = SpikingLinear(4, 32, config(membrane=membrane)).eval()
        before, after = block(values)[0], block(changed)[0]
        equal = [segment for segment in range(6) if torch.equal(before[segment], after[segment])]
        assert 3 not in equal
        assert set(same) <= set(equal)


def test_the_backward_half_of_a_bidirectional_block_is_a_forward_block_on_reversed_segments():
    both = SpikingLinear(4, 12, config(), "bidirectional").eval()
    forward = SpikingLinear(4, 12, config()).eval()
    forward.load_state_dict(both.state_dict())
    values = segments()
    assert torch.equal(both(values)[..., :6], forward(values)[..., :6])
    assert torch.equal(both(values)[..., 6:], forward(values.flip(1)).flip(1)[..., 6:])


def test_a_recurrent_block_without_feedback_is_a_forward_block_and_with_it_is_not():
    recurrent = SpikingLinear(4, 12, config(), "recurrent").eval()
    forward = SpikingLinear(4, 12, config()).eval()
    forward.load_state_dict(recurrent.state_dict(), strict=False)
    values = segments()
    assert not torch.equal(recurrent(values), forward(values))
    torch.nn.init.zeros_(recurrent.projection.layer.feedback.weight)
    assert torch.equal(recurrent(values), forward(values))


def test_recurrent_feedback_by_hand():
    """IF, threshold 1: a current of 1 fires at every step; feedback of -1 silences the step after each spike."""
    block = SpikingLinear(1, 1, config(node="if", threshold=1, norm="none"), "recurrent")
    for parameter, value in ((block.projection.linear.weight, 1.0), (block.projection.layer.feedback.weight, -1.0)):
        torch.nn.init.constant_(parameter, value)
    torch.nn.init.zeros_(block.projection.linear.bias)
    spikes = block.projection(torch.ones(1, 1, 1)).flatten().tolist()
    assert spikes == [1, 0, 1, 0]


def test_segments_as_steps_is_one_step_per_segment_with_a_carried_membrane():
    current = segments(2, 10, 5)
    spikes = SpikingProjection(1, 5, config(steps=1)).layer(current[None])
    assert torch.equal(spikes[0].transpose(0, 1), SpikingLayer(NODE)(current.transpose(0, 1)))


def test_firing_rates_are_multiples_of_one_over_the_steps():
    rate = SpikingLinear(4, 64, config()).eval()(5 * segments())
    assert set((4 * rate).unique().tolist()) <= {0, 1, 2, 3, 4}
    assert 0 < rate.mean() < 1


def test_poisson_spikes_come_at_the_sigmoid_of_the_value_and_its_slope_goes_back():
    values = torch.tensor([-2.0, 0.0, 1.5], requires_grad=True)
    spikes = Poisson(20_000)(values)
    assert set(spikes.unique().tolist()) == {0, 1}
    torch.testing.assert_close(spikes.mean(0), values.sigmoid(), atol=0.02, rtol=0)
    spikes.mean(0).sum().backward()
    torch.testing.assert_close(values.grad, values.sigmoid() * (1 - values.sigmoid()))


def test_latency_is_one_spike_the_earlier_the_larger_the_value():
    values = torch.linspace(-6, 6, 50, requires_grad=True)
    spikes = Latency(8)(values)
    assert spikes.sum(0).tolist() == [1] * 50
    time = spikes.argmax(0)
    assert (time.diff() <= 0).all()
    assert (time[0], time[-1]) == (7, 0)
    mean_time = (spikes * torch.arange(8.0)[:, None]).sum()
    (gradient,) = torch.autograd.grad(mean_time, values)
    assert (gradient[1:-1] < 0).all()  # a larger value would come earlier


def test_integer_spikes_count_thresholds_and_are_the_same_at_every_step():
    values = torch.tensor([-1.0, -0.1, 0.8, 2.6, 9.0]).view(1, 1, 5, 1).requires_grad_()
    coding = Integer(3, ChannelThreshold(1, 0.5))
    assert coding(values).flatten().tolist() == [0, 0, 2, 3, 3]
    coding(values).sum().backward()
    assert values.grad.flatten().tolist() == [0, 0, 2, 0, 0]  # straight through the rounding, not through the cut
    block = SpikingProjection(1, 2, BlockConfig(steps=4, coding="integer", norm="none"))
    currents = block.currents(values.detach())
    assert currents.shape[0] == 4 and torch.equal(currents[0], currents[3])


def test_neurons_driven_by_the_values_fire_as_often_as_those_hold_thresholds():
    values = torch.tensor([[[0.0, 0.3, 0.6, 1.0, 5.0]]])
    encoder = make_coding(BlockConfig(steps=10, coding="threshold", coding_threshold=1.0), 5)
    assert encoder(values).sum(0).flatten().tolist() == [0, 3, 6, 10, 10]
    encoder(values).sum().backward()
    assert encoder.layer.log_threshold_gain.grad.shape == (5,)


def test_a_learned_encoder_is_lif_driven_by_a_linear_layer():
    encoder = LearnedEncoder(4, 5, NODE)
    values = segments()
    want = SpikingLayer(NODE)(encoder.linear(values).expand(5, *values.shape))
    assert torch.equal(encoder(values), want)


def test_readouts_by_hand():
    spikes = torch.tensor([1.0, 0, 1, 0])[:, None]
    read = {name: Readout(name, 4, tau=2)(spikes).item() for name in READOUTS}
    # membrane: 0.5, 0.25, 0.625, 0.3125
    assert read == {"rate": 0.5, "membrane": 0.3125}


@pytest.mark.parametrize("name", READOUTS)
def test_linear_readouts_commute_with_a_linear_layer(name: str):
    layer = SpikeLinear(8, 3, Readout(name, 4, tau=2)).double()
    spikes = (torch.rand(4, 2, 5, 8) > 0.5).double()
    each = torch.nn.functional.linear(spikes, layer.weight)
    torch.testing.assert_close(layer(spikes), layer.readout(each) + layer.bias, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("norm", NORMS)
def test_every_coding_readout_and_norm_trains_together(coding: str, readout: str, norm: str):
    block = SpikingMLP(4, 32, 3, 0.0, config(coding=coding, readout=readout, norm=norm))
    output = block(segments(3))
    assert output.shape == (3, 10, 3)
    (output**2).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())
    assert block.hidden.linear.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("norm", ["batch", "threshold"])
@pytest.mark.parametrize("coding", ["constant", "latency"])
def test_folding_the_batch_norm_changes_no_spike_and_leaves_none(norm: str, coding: str):
    block = SpikingMLP(4, 32, 3, 0.0, config(norm=norm, coding=coding)).double()
    for _ in range(3):
        block(3 * segments(4).double() + 1)
    block.eval()
    values = segments(5).double()
    before = block(values)
    folded = fold(copy.deepcopy(block))
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in folded.modules())
    torch.testing.assert_close(folded(values), before, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="fold needs evaluation mode"):
        fold(block.train())


def test_threshold_norm_starts_at_the_threshold():
    block = SpikingProjection(4, 6, config(norm="threshold"))
    assert block.norm.weight.tolist() == [0.5] * 6


def test_spiking_attention_equals_products_step_by_step():
    attention = SpikingCrossAttention(8, 2, config()).eval().double()
    query, memory = segments(2, 3, 8).double(), segments(2, 5, 8).double()
    q, k, v = attention.query(query), attention.key(memory), attention.value(memory)
    total = torch.zeros(2, 3, 8).double()
    for step in range(4):
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            scores = q[step][..., part] @ k[step][..., part].transpose(1, 2)
            total[..., part] += scores @ v[step][..., part] / 5 / 4
    torch.testing.assert_close(attention(query, memory), attention.output(total), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "simulation steps must be at least 1, not 0"),
        ({"membrane": "keep"}, "membrane must be one of carry, reset, not 'keep'"),
        (
            {"coding": "phase"},
            "coding must be one of constant, poisson, latency, learned, threshold, integer, not 'phase'",
        ),
        ({"readout": "sum"}, "readout must be one of rate, membrane, not 'sum'"),
        ({"coding": "latency", "steps": 1}, "latency coding needs at least 2 simulation steps, not 1"),
        ({"node": "psn"}, "psn has weights per simulation step; use membrane: reset"),
    ],
)
def test_parts_that_do_not_go_together_are_named(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        config(**change)


@pytest.mark.parametrize("given", [LIF, "lif", None])
def test_what_is_no_neuron_is_named(given: object):
    for make in (lambda: SpikingLayer(given), lambda: SpikingLinear(2, 3, given, steps=4)):  # type: ignore[arg-type]
        with pytest.raises(
            TypeError, match=re.escape(f"give a neuron such as LIF(tau=2.0, threshold=0.5), not {given!r}")
        ):
            make()


def test_a_carried_membrane_needs_segments():
    with pytest.raises(ValueError, match=r"carry needs segments, .* \[S, B, T, ..., N\], not \[4, 3, 5\]"):
        SpikingLinear(2, 5, LIF(), steps=4, membrane="carry")(torch.zeros(3, 2))
