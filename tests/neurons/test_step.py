"""One simulation step by hand, and every multi-step path against a loop over it."""

from __future__ import annotations

import itertools

import pytest
import torch

from neurons import ALIF, IF, ILIF, LIF, NODES, BlockConfig, Node, SpikingLayer

STEPS, CLIPS, SEGMENTS, NEURONS = 3, 2, 4, 5


def step(
    current: torch.Tensor, state: tuple[torch.Tensor, ...], node: Node
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    return node.step(current, state, node.surrogate_function())


def test_one_step_by_hand():
    """tau 2, threshold 1, from v = 0.5: x = 1.5 charges to 1.0, which fires; x = 1 to 0.75, which does not."""
    current, half, zero = torch.tensor([1.5, 1.0]), torch.full((2,), 0.5), torch.zeros(2)
    spikes, (v,) = step(current, (half,), LIF(tau=2, threshold=1))
    assert (spikes.tolist(), v.tolist()) == ([1, 0], [0, 0.75])
    spikes, (v,) = step(current, (half,), IF(threshold=1, reset="soft"))
    assert (spikes.tolist(), v.tolist()) == ([1, 1], [1, 0.5])
    assert step(current, (half,), LIF(tau=2, threshold=1, surrogate="quadratic_gate"))[0].sum() == 0
    spikes, (v, a) = step(current, (half, zero), ALIF(tau=2, threshold=1, adaptation_tau=4))
    assert (v.tolist(), a.tolist()) == ([0, 0.75], [0.25, 0])
    spikes, (v,) = step(current, (half,), ILIF(tau=2, threshold=0.5))
    assert (spikes.tolist(), v.tolist()) == ([4, 2], [-0.25, 0.25])


@pytest.mark.parametrize("node", ["psn", "masked_psn", "sliding_psn", "gated_lif"])
def test_a_node_without_a_step_of_its_own_says_so(node: str):
    with pytest.raises(ValueError, match=f"{node} has no single simulation step"):
        step(torch.zeros(1), (torch.zeros(1),), NODES[node]())


def looped(current: torch.Tensor, node: Node, carry: bool) -> torch.Tensor:
    """`[S, B, T, N]` to spikes, by `step` alone."""
    rest = tuple(torch.zeros_like(current[0, :, 0]) for _ in node.states)
    state, found = rest, []
    for segment in range(current.shape[2]):
        if not carry:
            state = rest
        for now in current[:, :, segment]:
            fired, state = step(now, state, node)
            found.append(fired)
    spikes = torch.stack(found).unflatten(0, (current.shape[2], current.shape[0]))
    return spikes.permute(1, 2, 0, 3)


@pytest.mark.parametrize("node", ["if", "lif", "plif", "alif", "ilif"])
@pytest.mark.parametrize("membrane", ["carry", "reset"])
def test_every_multi_step_path_equals_a_loop_over_single_steps(node: str, membrane: str):
    """Spikes, rates (fused where there are kernels) and gradients."""
    torch.manual_seed(0)
    given = torch.randn(STEPS, CLIPS, SEGMENTS, NEURONS, dtype=torch.float64)
    for reset, detach, tau in itertools.product(("hard", "soft"), (True, False), (2.0, 3.0)):
        config = BlockConfig(
            node, tau=tau, threshold=0.5, reset=reset, detach_reset=detach, surrogate="atan", alpha=2
        ).neuron
        if node == "ilif" and reset == "hard":
            continue
        layer = SpikingLayer(config, STEPS, membrane).double()
        current = given.clone().requires_grad_()
        wanted = looped(current, config, membrane == "carry")
        assert torch.equal(layer(current), wanted)
        (gradient,) = torch.autograd.grad(wanted.mean(0).square().sum(), current)
        rate = layer.rate(current)
        torch.testing.assert_close(rate, wanted.mean(0), rtol=1e-12, atol=0)
        (ours,) = torch.autograd.grad(rate.square().sum(), current)
        torch.testing.assert_close(ours, gradient, rtol=1e-7, atol=1e-12)
