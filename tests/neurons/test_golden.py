"""Spiking blocks against the reference: one node, ties at the threshold, and the encoder in both modes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_rule import cotangent, features, golden, normal, reference_state

from neurons import LIF, SpikingLayer
from snn_cace.model.braincog import BrainCogEncoder

REFERENCE_NODE = LIF(tau=2, threshold=0.5, surrogate="quadratic_gate", alpha=2)
LIF_TIE_INPUT = [[1.0, 0.5, 0.5, 1.5], [0.5, 0.5, 1.0, -0.5], [1.0, 0.5, 1.0, 1.25], [0.25, 0.5, 0.0, 1.0]]


def record_membrane(layer: SpikingLayer) -> list[torch.Tensor]:
    """The membrane after every simulation step of each later call, caught before the layer forgets it."""
    layer.node.store_v_seq = True
    seen: list[torch.Tensor] = []
    layer.node.register_forward_hook(lambda node, *_: seen.append(node.v_seq.detach()))
    return seen


@pytest.mark.parametrize("case", ["lif", "lif_tie"])
def test_one_node_equals_the_reference(case: str):
    stored = golden("spiking")
    current = normal("input/lif", 20, 64) if case == "lif" else np.array(LIF_TIE_INPUT)
    current = torch.from_numpy(current).requires_grad_()
    layer = SpikingLayer(REFERENCE_NODE)
    membrane = record_membrane(layer)
    spikes = layer(current)
    (spikes * cotangent(case, *current.shape)).sum().backward()
    assert torch.equal(spikes, torch.from_numpy(stored[f"{case}/spikes"]).to(spikes))
    torch.testing.assert_close(
        membrane[0], torch.from_numpy(stored[f"{case}/membrane_after_reset"]), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(current.grad, torch.from_numpy(stored[f"{case}/input_grad"]), rtol=1e-9, atol=1e-12)


def test_at_a_tie_the_default_surrogate_fires_and_the_original_does_not():
    """A current of 1 for one step of tau 2 charges the membrane to exactly 0.5."""
    for surrogate, spike in (("piecewise_quadratic", 1.0), ("quadratic_gate", 0.0)):
        current = torch.ones(1, 1, requires_grad=True)
        spikes = SpikingLayer(LIF(threshold=0.5, surrogate=surrogate, alpha=2))(current)
        spikes.sum().backward()
        assert spikes.item() == spike
        assert current.grad.item() == 2 * 0.5  # slope alpha at the threshold, times 1 / tau


def filled_encoder(which: str) -> tuple[BrainCogEncoder, torch.Tensor]:
    inputs, outputs = (128, 256) if which == "audio" else (512, 512)
    encoder = BrainCogEncoder(inputs, outputs, REFERENCE_NODE).double()
    state = reference_state(f"snn_encoder/{which}")
    encoder.linear.load_state_dict({k: state[f"fc.0.{k}"] for k in ("weight", "bias")})
    encoder.norm.load_state_dict({k.removeprefix("fc.2."): v for k, v in state.items() if k.startswith("fc.2.")})
    values = features("audio", 2, 10, 128) if which == "audio" else features("pooled_visual", 2, 10, 512)
    return encoder, values


@pytest.mark.parametrize("which", ["audio", "visual"])
def test_encoder_equals_the_reference(which: str):
    stored = golden("spiking")
    encoder, values = filled_encoder(which)
    membrane = record_membrane(encoder.layer)
    rate = encoder.eval()(values.requires_grad_())
    (rate * cotangent(f"snn_encoder/{which}", *rate.shape)).sum().backward()
    prefix = f"snn_encoder/{which}"
    torch.testing.assert_close(rate, torch.from_numpy(stored[f"{prefix}/rate"]), rtol=0, atol=1e-12)
    after_segment = membrane[0][14::15].transpose(0, 1)
    want = torch.from_numpy(stored[f"{prefix}/membrane_after_segment"])
    torch.testing.assert_close(after_segment, want, rtol=1e-9, atol=1e-12)
    want = torch.from_numpy(stored[f"{prefix}/input_grad"])
    assert float((values.grad - want).abs().max()) <= 1e-9 * float(want.abs().max())


@pytest.mark.parametrize("which", ["audio", "visual"])
def test_encoder_in_training_equals_the_reference(which: str):
    stored = golden("spiking")
    prefix = f"snn_encoder_train/{which}"
    encoder, values = filled_encoder(which)
    encoder.dropout.p = 0.0
    rate = encoder.train()(values)
    torch.testing.assert_close(rate, torch.from_numpy(stored[f"{prefix}/rate"]), rtol=0, atol=1e-12)
    for statistic in ("running_mean", "running_var"):
        want = torch.from_numpy(stored[f"{prefix}/{statistic}"])
        torch.testing.assert_close(getattr(encoder.norm, statistic), want, rtol=1e-9, atol=1e-12)
    assert encoder.norm.num_batches_tracked.item() == stored[f"{prefix}/num_batches_tracked"] == 10
