"""Every node against a closed form or a small implementation of its own, gradients included."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from neurons import ALIF, IF, ILIF, LIF, NODES, SURROGATES, BlockConfig, GatedLIF, Node, SpikingLayer, make_surrogate
from neurons.surrogate import parameter_names

SURROGATE = make_surrogate("atan", alpha=2.0)


def run(config: Node, current: torch.Tensor) -> torch.Tensor:
    return SpikingLayer(config, len(current))(current)


def test_membrane_and_spikes_by_hand():
    """tau 2, threshold 1, current 1.6: v = 0.8, then 1.2 and a spike, reset to 0 (hard) or 0.2 (soft)."""
    current = torch.full((5, 1), 1.6)
    assert run(LIF(tau=2, threshold=1), current).flatten().tolist() == [0, 1, 0, 1, 0]
    current = torch.full((3, 1), 4.0)
    # soft: 2 -> 1, 2.5 -> 1.5, 2.75; hard: 2 -> 0, 2 -> 0, 2
    assert run(LIF(tau=2, threshold=1, reset="soft"), current).flatten().tolist() == [1, 1, 1]
    current = torch.full((4, 1), 1.9)
    # soft: 0.95, 1.425 -> 0.425, 1.1625 -> 0.1625, 1.03: fires three times; hard: 0.95, 1.425 -> 0, 0.95, 1.425
    assert run(LIF(tau=2, threshold=1, reset="soft"), current).flatten().tolist() == [0, 1, 1, 1]
    assert run(LIF(tau=2, threshold=1), current).flatten().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("tau", [1.5, 2, 5, 20])
def test_lif_rate_of_a_constant_current_follows_the_interspike_formula(tau: float):
    """v after n steps from rest is I (1 - (1 - 1/tau)^n), so it fires every ceil(ln(1 - theta/I) / ln(1 - 1/tau))."""
    current = torch.tensor([0.4, 0.55, 0.7, 1.1, 3.0])
    spikes = run(LIF(tau=tau, threshold=0.5), current.expand(2000, 5))
    for column, value in enumerate(current.tolist()):
        if value <= 0.5:
            assert spikes[:, column].sum() == 0
            continue
        interval = math.ceil(math.log(1 - 0.5 / value) / math.log(1 - 1 / tau) - 1e-6)
        assert spikes[:, column].sum() == 2000 // interval


def test_soft_reset_integrate_and_fire_approaches_relu():
    """The rate of S steps is within 1 / S of the current, clipped to [0, 1], for threshold 1."""
    current = torch.linspace(-0.5, 1.5, 41)
    for steps in (8, 64, 512):
        rate = run(IF(threshold=1, reset="soft"), current.expand(steps, -1)).mean(0)
        assert (rate - current.clamp(0, 1)).abs().max() <= 1 / steps + 1e-6


def test_integer_lif_fires_several_spikes_at_once_and_no_more_than_its_levels():
    spikes = run(ILIF(threshold=1, levels=3, tau=1.0001), torch.tensor([[0.4, 1.2, 2.1, 9.0]]))
    assert spikes.tolist() == [[0, 1, 2, 3]]
    assert ILIF(levels=3).largest_value == 3


def lif_loop(current: torch.Tensor, config: Node, leak: torch.Tensor | float, spike_of=SURROGATE) -> torch.Tensor:
    """LIF, IF and adaptive LIF as the equations say, with autograd alone."""
    v = torch.zeros_like(current[0])
    a = torch.zeros_like(v)
    spikes = []
    for x in current:
        v = v + x if isinstance(config, IF) and not isinstance(config, LIF) else v + (x - v) * leak
        threshold = config.threshold
        if isinstance(config, ALIF):
            threshold = threshold + config.adaptation * a
        s = spike_of(v - threshold)
        fired = s.detach() if config.detach_reset else s
        v = v * (1 - fired) if config.reset == "hard" else v - threshold * fired
        if isinstance(config, ALIF):
            a = a + (s - a) / config.adaptation_tau
        spikes.append(s)
    return torch.stack(spikes)


@pytest.mark.parametrize("node", ["if", "lif", "plif", "alif"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("detach_reset", [True, False])
def test_spikes_and_gradients_equal_an_autograd_loop(node: str, reset: str, detach_reset: bool):
    config = BlockConfig(
        node, tau=3, threshold=0.7, reset=reset, detach_reset=detach_reset, surrogate="atan", alpha=2, adaptation=0.8
    ).neuron
    torch.manual_seed(0)
    current = 0.8 + 1.5 * torch.randn(12, 3, 5, dtype=torch.float64)
    weights = torch.randn_like(current)
    mine, theirs = (current.clone().requires_grad_() for _ in range(2))
    layer = SpikingLayer(config).double()
    leak: torch.Tensor | float = 1 / 3
    if node == "plif":
        logit = layer.node.w.detach().clone().requires_grad_()
        leak = logit.sigmoid()
    spikes, want = layer(mine), lif_loop(theirs, config, leak)
    assert torch.equal(spikes, want)
    assert 0.05 < spikes.mean() < 0.95
    (spikes * weights).sum().backward()
    (want * weights).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    if node == "plif":
        torch.testing.assert_close(layer.node.w.grad, logit.grad, rtol=1e-9, atol=1e-12)


def test_adaptation_slows_firing_down():
    current = torch.ones(200, 1)
    plain = run(LIF(threshold=0.5), current)
    adaptive = run(ALIF(threshold=0.5, adaptation=1, adaptation_tau=20), current)
    assert 0 < adaptive[100:].mean() < plain[100:].mean()
    assert run(ALIF(threshold=0.5, adaptation=0), current).equal(plain)


def assert_same_with_gradients(layer: SpikingLayer, loop: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Spikes, and the gradient of a weighted sum of them with respect to the current."""
    torch.manual_seed(0)
    current = 0.5 + torch.randn(6, 3, 5, dtype=torch.float64)
    mine, theirs = (current.clone().requires_grad_() for _ in range(2))
    spikes, want = layer(mine), loop(theirs)
    torch.testing.assert_close(spikes, want, rtol=0, atol=1e-12)
    assert 0 < spikes.mean() < layer.config.largest_value
    weights = torch.randn_like(current)
    (spikes * weights).sum().backward()
    (want * weights).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_gated_lif_equals_its_equations():
    """Yao et al. 2022, equations 4 to 9, with one gate per layer, as SpikingJelly orders them."""
    torch.manual_seed(0)
    layer = SpikingLayer(GatedLIF(surrogate="atan", alpha=2), 6).double()
    gate = {name: getattr(layer.node.node, name).sigmoid() for name in ("alpha", "beta", "gamma", "tau", "v_threshold")}
    decay, subreset = (getattr(layer.node.node, name).sigmoid() for name in ("linear_decay", "v_subreset"))
    conduct = layer.node.node.conduct.sigmoid()
    leak = 1 - gate["alpha"] * (1 - gate["tau"])

    def loop(current: torch.Tensor) -> torch.Tensor:
        v = s = torch.zeros(3, 5, dtype=torch.float64)
        spikes = []
        for step, x in enumerate(current):
            charge = x * (1 - gate["beta"] * (1 - conduct[step]))
            reset = leak * v * gate["gamma"] * s + (1 - gate["gamma"]) * subreset * s
            v = leak * v - (1 - gate["alpha"]) * decay + charge - reset
            s = SURROGATE(v - gate["v_threshold"])
            spikes.append(s)
        return torch.stack(spikes)

    assert_same_with_gradients(layer, loop)


@pytest.mark.parametrize("detach_reset", [True, False])
def test_integer_lif_equals_its_equations(detach_reset: bool):
    layer = SpikingLayer(ILIF(tau=1.5, threshold=0.8, levels=3, detach_reset=detach_reset)).double()

    def loop(current: torch.Tensor) -> torch.Tensor:
        v = torch.zeros_like(current[0])
        spikes = []
        for x in current:
            v = v - v / 1.5 + x
            passed = (v / 0.8).clamp(0, 3)
            s = passed + (passed.round() - passed).detach()
            v = v - 0.8 * (s.detach() if detach_reset else s)
            spikes.append(s)
        return torch.stack(spikes)

    assert_same_with_gradients(layer, loop)


@pytest.mark.parametrize("node", ["psn", "masked_psn", "sliding_psn"])
def test_parallel_nodes_are_a_matrix_product_over_time(node: str):
    torch.manual_seed(3)
    layer = SpikingLayer(BlockConfig(node, membrane="reset", order=3, surrogate="atan", alpha=2).neuron, 6).double()
    torch.nn.init.constant_(layer.node.bias, -0.2)
    weight = layer.node.weight.detach()
    if node == "sliding_psn":
        weight = sum(weight[2 - back] * torch.diag(torch.ones(6 - back), -back).double() for back in range(3))
    if node == "masked_psn":
        weight = weight * (torch.ones(6, 6).tril() - torch.ones(6, 6).tril(-3))
    bias = layer.node.bias.detach().view(-1, 1, 1)
    assert_same_with_gradients(layer, lambda current: SURROGATE(torch.einsum("ts,sbn->tbn", weight, current) + bias))


def test_a_learned_threshold_is_a_threshold():
    torch.manual_seed(0)
    current = torch.randn(20, 30)
    for reset in ("hard", "soft"):
        learned = SpikingLayer(LIF(threshold=0.5, learn_threshold=True, reset=reset, surrogate="atan", alpha=2))
        torch.nn.init.constant_(learned.log_threshold_gain, math.log(1.6))
        assert torch.equal(learned(current), run(LIF(threshold=0.8, reset=reset), current))
        learned(current).sum().backward()
        assert learned.log_threshold_gain.grad < 0  # raising the threshold costs spikes


def test_a_threshold_per_channel_is_each_channels_own():
    torch.manual_seed(0)
    current = torch.randn(20, 30, 3)
    learned = SpikingLayer(LIF(threshold=0.5, learn_threshold="channel", surrogate="atan", alpha=2), neurons=3)
    gains = torch.tensor([0.5, 1.0, 2.0])
    learned.log_threshold_gain.data.copy_(gains.log())
    alone = [run(LIF(threshold=0.5 * gain), current[..., k]) for k, gain in enumerate(gains.tolist())]
    assert torch.equal(learned(current), torch.stack(alone, -1))
    learned(current).sum().backward()
    assert (learned.log_threshold_gain.grad < 0).all()
    with pytest.raises(ValueError, match="channel needs to know how many neurons"):
        SpikingLayer(LIF(learn_threshold="channel"))


@pytest.mark.parametrize("node", NODES)
def test_every_node_forgets_takes_any_batch_and_trains(node: str):
    torch.manual_seed(0)
    layer = SpikingLayer(NODES[node](threshold=0.5, surrogate="atan"), 4)
    current = torch.randn(4, 3, 7, requires_grad=True)
    first = layer(current)
    assert first.shape == current.shape
    assert layer(torch.randn(4, 9, 7)).shape == (4, 9, 7)
    assert torch.equal(layer(current), first)
    layer(10 * current).sum().backward()
    assert current.grad.abs().sum() > 0
    assert layer.implementation(torch.device("cpu")).endswith("spikes by torch-reference")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_membranes_of_half_precision_currents_are_float32(dtype: torch.dtype):
    """Charging by 2^-9 towards a threshold of 1 would stall in bf16, which cannot tell 1 - 2^-9 from 1 - 2^-8."""
    current = torch.full((700, 1), 2.0**-9, dtype=dtype)
    layer = SpikingLayer(IF(threshold=1))
    spikes = layer(current)
    assert spikes.dtype is dtype
    assert spikes.flatten().nonzero().flatten().tolist() == [511]


@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate_is_a_step_forwards_with_a_symmetric_slope_near_it(name: str):
    u = torch.tensor([-3.0, -0.1, 0.1, 3.0], requires_grad=True)
    spikes = make_surrogate(name)(u)
    spikes.sum().backward()
    assert spikes.tolist() == [0, 0, 1, 1]
    assert u.grad.isfinite().all()
    if name not in ("s2nn", "leaky_k_relu", "log_tailed_relu"):  # these are not symmetric
        assert u.grad[1].item() == pytest.approx(u.grad[2].item(), rel=1e-4)
    if "alpha" in parameter_names(name):
        assert make_surrogate(name, alpha=3.0).alpha == 3.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node": "hodgkin_huxley"}, "node must be one of if, lif, .*, not 'hodgkin_huxley'"),
        ({"tau": 1}, "tau must be above 1 simulation step, not 1"),
        ({"threshold": 0}, "threshold must be above 0, not 0"),
        ({"reset": "none"}, "reset must be one of hard, soft, not 'none'"),
        ({"surrogate": "gaussian"}, "unknown surrogate 'gaussian'; choose from quadratic_gate, "),
        ({"alpha": -1}, "surrogate alpha must be positive, not -1"),
        ({"surrogate_parameters": {"beta": 1.0}}, "surrogate piecewise_quadratic has no 'beta', only alpha"),
        ({"levels": 0}, "levels must be at least 1, not 0"),
        ({"adaptation_tau": 0.5}, "adaptation_tau must be at least 1 simulation step, not 0.5"),
        ({"node": "psn", "learn_threshold": True}, "psn learns its own threshold"),
    ],
)
def test_numbers_out_of_range_are_named(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        BlockConfig(**change)
