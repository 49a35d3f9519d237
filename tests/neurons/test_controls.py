"""Blocks without spikes: hand-worked values, and what they share with the spiking blocks that they stand beside."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from neurons import (
    CONTROLS,
    LIF,
    NODES,
    BlockConfig,
    ControlLayer,
    LinearMemory,
    Rounding,
    SpikingCrossAttention,
    SpikingLayer,
    SpikingLinear,
    SpikingMLP,
    bits_for,
    stream,
)
from neurons.blocks import ControlProjection
from neurons.layer import make_layer
from snn_cace.model.braincog import BrainCogEncoder

BLOCKS = {
    "linear": lambda config, kind: SpikingLinear(6, 4, config, "bidirectional", kind),
    "recurrent": lambda config, kind: SpikingLinear(6, 4, config, "recurrent", kind),
    "mlp": lambda config, kind: SpikingMLP(6, 8, 6, 0.0, config, kind),
    "attention": lambda config, kind: SpikingCrossAttention(6, 2, config, None, kind),
    "braincog": lambda config, kind: BrainCogEncoder(6, 4, LIF(), kind=kind),
}


def made(block: str, config: BlockConfig, kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return BLOCKS[block](config, kind)


def run(block: str, module: torch.nn.Module, values: torch.Tensor) -> torch.Tensor:
    return module(values, values) if block == "attention" else module(values)


@pytest.mark.parametrize("kind", CONTROLS)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("coding", ["constant", "learned"])
def test_a_control_has_the_parameters_and_initial_weights_of_its_spiking_block(block: str, kind: str, coding: str):
    config = BlockConfig(coding=coding)
    spiking, control = made(block, config, "spiking"), made(block, config, kind)
    own = {name for name, _ in control.named_parameters() if ".coding." in name and name.endswith(".size")}
    assert (kind == "quantised" and coding == "learned" and block != "braincog") == bool(own)
    theirs = [p for name, p in control.named_parameters() if name not in own]
    assert len(theirs) == len(list(spiking.parameters()))
    for mine, other in zip(theirs, spiking.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("block", BLOCKS)
def test_many_bits_equal_no_rounding(block: str):
    config = BlockConfig(membrane="reset", steps=2**14 - 1)
    values = torch.randn(3, 5, 6)
    rectified, quantised = made(block, config, "rectified"), made(block, config, "quantised")
    if block == "braincog":  # whose membrane is carried whatever its slot says
        rectified = BrainCogEncoder(6, 4, LIF(), 2**14 - 1, kind="leaky")
        quantised = BrainCogEncoder(6, 4, LIF(), 2**14 - 1, kind="quantised")
        rectified.dropout.p = quantised.dropout.p = 0.0
        rectified.load_state_dict(quantised.state_dict(), strict=False)
    for module in quantised.modules():
        if isinstance(module, Rounding):
            module.size.mul_(8)  # values above 1, the largest rate
    exact, rounded = run(block, rectified, values), run(block, quantised, values)
    assert torch.allclose(exact, rounded, atol=2e-2)


def test_rounding_is_by_hand_what_lsq_says():
    rounding = Rounding(2, channels=4)
    values = torch.tensor([0.1, 0.7, 1.6, 9.0], requires_grad=True)
    out = rounding(values)
    size = 2 * (0.1 + 0.7 + 1.6 + 9.0) / 4 / 3**0.5
    assert rounding.size.item() == pytest.approx(size)
    quotients = [value / size for value in (0.1, 0.7, 1.6, 9.0)]
    assert quotients[-1] < 3, "none is clipped yet"
    rounding.size.data.fill_(0.5)
    out = rounding(values)
    assert out.tolist() == [0.0, 0.5, 1.5, 1.5]
    out.sum().backward()
    assert values.grad.tolist() == [1.0, 1.0, 0.0, 0.0]  # 1.6 / 0.5 = 3.2 and 18 are above 3
    by_hand = (0 - 0.2) + (1 - 1.4) + 3 + 3
    assert rounding.size.grad.item() == pytest.approx(by_hand / (4 * 3) ** 0.5)


def test_rounding_takes_negative_values_where_the_first_batch_has_some():
    rounding = Rounding(3, channels=1)
    rounding(torch.tensor([-1.0, 1.0]))
    rounding.size.data.fill_(1.0)
    again = Rounding(3, channels=1).eval()
    again.load_state_dict(rounding.state_dict())
    assert again(torch.tensor([-9.0, -2.4, 0.6, 9.0])).tolist() == [-4.0, -2.0, 1.0, 3.0]


@pytest.mark.parametrize(("levels", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (15, 4), (16, 5)])
def test_bits_tell_levels_apart(levels: int, bits: int):
    assert bits_for(levels) == bits


@pytest.mark.parametrize("node", [node for node, kind in NODES.items() if kind().is_leaky])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("membrane", ["carry", "reset"])
@pytest.mark.parametrize("steps", [1, 3])
def test_leaky_is_a_layer_that_cannot_reach_its_threshold(node: str, direction: str, membrane: str, steps: int):
    config = BlockConfig(node=node, tau=1.7, threshold=1e9, membrane=membrane, steps=steps)
    current = torch.randn(2, 6, 4, dtype=torch.float64)
    layer = make_layer(config, direction, 4).double()
    membranes = layer.membrane_potentials(current.expand(steps, -1, -1, -1))
    memory = LinearMemory(config, direction).double()
    assert torch.allclose(memory(current), membranes.mean(0), atol=1e-12)
    control = ControlLayer(config, direction, 4, "leaky").double()
    assert torch.allclose(control(current), membranes.mean(0).relu(), atol=1e-12)


def test_a_learned_leak_has_the_gradient_of_finite_differences():
    memory = LinearMemory(BlockConfig(node="plif", tau=1.7, steps=3), "forward").double()
    current = torch.randn(1, 4, 2, dtype=torch.float64)

    def run(leak: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(memory, {"learned_leak": leak}, (current,))

    assert torch.autograd.gradcheck(run, memory.learned_leak)


@pytest.mark.parametrize("node", ["psn", "gated_lif", "sliding_psn"])
def test_a_node_without_a_leaky_membrane_is_refused_by_name(node: str):
    with pytest.raises(ValueError, match=f"{node} has no leaky membrane; use block rectified"):
        ControlLayer(BlockConfig(node=node, membrane="reset"), "forward", 4, "leaky")
    assert ControlLayer(BlockConfig(node=node, membrane="reset"), "forward", 4, "quantised").memory is None


@pytest.mark.parametrize("kind", CONTROLS)
@pytest.mark.parametrize("direction", ["forward", "recurrent"])
def test_a_control_goes_on_segment_by_segment(kind: str, direction: str):
    torch.manual_seed(0)
    block = ControlProjection(3, 4, BlockConfig(norm="none"), direction, kind)
    values = torch.randn(2, 5, 3)
    block(values)  # the first batch decides how values are rounded
    block.eval()
    with stream(block):
        one_by_one = torch.cat([block(now) for now in values.split(1, dim=1)], dim=1)
    assert torch.allclose(one_by_one, block(values), atol=1e-6)


def test_feedback_is_by_hand_one_segment_late():
    control = ControlLayer(BlockConfig(membrane="reset"), "recurrent", 1, "rectified")
    control.feedback.weight.data.fill_(2.0)
    assert control(torch.tensor([[[1.0], [1.0], [-10.0]]])).flatten().tolist() == [1.0, 3.0, 0.0]


@pytest.mark.parametrize(("kind", "step", "leaves_zero"), [("rectified", 1.0, 0.0), ("quantised", 0.25, 0.125)])
def test_what_watches_a_control_sees_where_it_is_above_zero_with_the_gradient_of_a_spike(
    kind: str, step: float, leaves_zero: float
):
    config = BlockConfig(surrogate="piecewise_quadratic", membrane="reset", steps=4)
    control = ControlLayer(config, "forward", 3, kind)
    seen = []
    control.monitors.append(lambda active, steps: seen.append((active, steps)))
    current = torch.tensor([[[leaves_zero - 0.1, leaves_zero + 0.1, 5.0]]], requires_grad=True)
    control(current)
    ((active, steps),) = seen
    assert (active.tolist(), steps) == ([[[0.0, 1.0, 1.0]]], 1)
    active.sum().backward()
    fires = copy.deepcopy(current).detach().requires_grad_()
    spiking = SpikingLayer(dataclasses.replace(config, node="if", threshold=1.0).neuron)
    spiking((fires[None] - leaves_zero) / step + 1.0).sum().backward()  # as many steps from the threshold
    assert torch.allclose(current.grad, fires.grad)
