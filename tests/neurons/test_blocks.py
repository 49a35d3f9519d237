"""Spiking blocks: dynamics by hand, no state between calls, and what carried membranes mean."""

from __future__ import annotations

import copy

import pytest
import torch

from neurons import NodeConfig, SpikeReadout, SpikingLayer, SpikingLinear, SpikingMLP, make_surrogate
from neurons.blocks import ConstantCurrentLIF
from neurons.surrogate import SURROGATES

NODE = NodeConfig(tau=2, threshold=0.5)


def test_membrane_and_spikes_by_hand():
    """tau 2, threshold 1, current 1.6: v = 0.8, then 1.2 and a spike, reset to 0 (hard) or 0.2 (soft)."""
    current = torch.full((5, 1), 1.6)
    hard = SpikingLayer(NodeConfig(tau=2, threshold=1))(current).flatten().tolist()
    soft = SpikingLayer(NodeConfig(tau=2, threshold=1, reset="soft"))(current).flatten().tolist()
    assert hard == [0, 1, 0, 1, 0]  # 0.8, 1.2 -> 0, 0.8, 1.2 -> 0, 0.8
    assert soft == [0, 1, 0, 1, 0]  # 0.8, 1.2 -> 0.2, 0.9, 1.25 -> 0.25, 0.925
    soft = SpikingLayer(NodeConfig(tau=2, threshold=1, reset="soft"))(torch.full((3, 1), 4.0)).flatten().tolist()
    assert soft == [1, 1, 1]  # 2 -> 1, 2.5 -> 1.5, 2.75: what a hard reset would forget keeps it firing


def test_a_call_leaves_no_state_behind():
    torch.manual_seed(0)
    block = SpikingLinear(4, 6, NODE, 3, "carry").eval()
    first, second = torch.randn(2, 10, 4), torch.randn(5, 10, 4)
    alone = block(second)
    block(first).sum().backward()
    assert torch.equal(block(second), alone)
    copied = copy.deepcopy(block)
    assert torch.equal(copied(second), alone)
    assert not any("v" in key.split(".") for key in block.state_dict())


def test_clips_of_a_batch_do_not_see_each_other():
    torch.manual_seed(0)
    block = SpikingLinear(4, 6, NODE, 3, "carry").eval()
    values = torch.randn(3, 10, 4)
    together = block(values)
    for clip in range(3):
        torch.testing.assert_close(block(values[clip : clip + 1]), together[clip : clip + 1])


def test_carried_membranes_equal_one_long_run_and_reset_ones_equal_runs_of_their_own():
    torch.manual_seed(0)
    current = torch.randn(2, 3, 5)
    carried = ConstantCurrentLIF(NODE, 4, "carry")(current)
    reset = ConstantCurrentLIF(NODE, 4, "reset")(current)
    layer = SpikingLayer(NODE)
    steps = torch.stack([current[:, segment] for segment in range(3) for _ in range(4)])
    long_run = layer(steps)
    for segment in range(3):
        assert torch.equal(carried[:, :, segment], long_run[4 * segment : 4 * segment + 4])
        own_run = layer(current[:, segment].expand(4, 2, 5))
        assert torch.equal(reset[:, :, segment], own_run)


def test_carried_membranes_are_causal_in_segments_and_reset_ones_local():
    torch.manual_seed(0)
    values = torch.randn(1, 6, 4)
    changed = values.clone()
    changed[:, 3] += 3
    for membrane, same in (("carry", [0, 1, 2]), ("reset", [0, 1, 2, 4, 5])):
        block = SpikingLinear(4, 32, NODE, 4, membrane).eval()
        before, after = block(values)[0], block(changed)[0]
        equal = [segment for segment in range(6) if torch.equal(before[segment], after[segment])]
        assert 3 not in equal
        assert set(same) <= set(equal)


def test_firing_rates_are_multiples_of_one_over_the_steps():
    torch.manual_seed(0)
    rate = SpikingLinear(4, 64, NODE, 4, "carry").eval()(5 * torch.randn(2, 10, 4))
    assert set((4 * rate).unique().tolist()) <= {0, 1, 2, 3, 4}
    assert 0 < rate.mean() < 1


def test_a_readout_of_spikes_is_the_mean_of_the_readouts_of_each_step():
    torch.manual_seed(0)
    readout = SpikeReadout(8, 3).double()
    spikes = (torch.rand(4, 2, 5, 8) > 0.5).double()
    each = torch.stack([torch.nn.functional.linear(step, readout.weight, readout.bias) for step in spikes])
    torch.testing.assert_close(readout(spikes), each.mean(0), rtol=1e-12, atol=1e-12)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    block = SpikingMLP(4, 32, 0.0, NODE, 4, "carry")
    (block(torch.randn(3, 10, 4)) ** 2).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in block.parameters())


@pytest.mark.parametrize("name", ["quadratic_gate", *SURROGATES])
def test_every_surrogate_is_a_step_forwards_and_a_bump_backwards(name: str):
    u = torch.tensor([-3.0, -0.1, 0.1, 3.0], requires_grad=True)
    spikes = make_surrogate(name, 2)(u)
    spikes.sum().backward()
    assert spikes.tolist() == [0, 0, 1, 1]
    assert u.grad[1] > u.grad[0] >= 0
    assert u.grad[1].item() == pytest.approx(u.grad[2].item())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau": 1}, "tau must be above 1 simulation step, not 1"),
        ({"threshold": 0}, "threshold must be above 0, not 0"),
        ({"reset": "none"}, "reset must be 'hard' or 'soft', not 'none'"),
        ({"surrogate": "gaussian"}, "unknown surrogate 'gaussian'; choose from quadratic_gate, atan"),
        ({"alpha": -1}, "surrogate alpha must be positive, not -1"),
    ],
)
def test_numbers_out_of_range_are_named(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        NodeConfig(**change)
    with pytest.raises(ValueError, match="simulation steps must be at least 1"):
        SpikingLinear(2, 2, NODE, 0, "carry")
