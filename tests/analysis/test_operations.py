"""Operation counts against sums done by hand."""

from __future__ import annotations

import pytest
import torch
from small import small_model

from neurons import SpikingLayer
from snn_cace.analysis.operations import Operations, count_operations
from snn_cace.config import SlotConfig
from snn_cace.contracts import FeatureShape
from snn_cace.model import CaceNet

CLIPS, SEGMENTS, WIDTH, AUDIO, VISUAL = 3, 10, 8, 6, 8
"""small_model: d_model 8, visual_dim 8; encoder and decoder feed-forward 16."""


def build(**slots: SlotConfig) -> CaceNet:
    config = small_model()
    for name, slot in slots.items():
        setattr(config.slots, name, slot)
    torch.manual_seed(0)
    return CaceNet(config, FeatureShape(visual_channels=5, audio_channels=AUDIO, classes=3))


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(CLIPS, SEGMENTS, 2, 3, 5, generator=generator),
        torch.randn(CLIPS, SEGMENTS, AUDIO, generator=generator),
    )


def test_the_bilstm_and_dense_feed_forward_are_counted():
    """BiLSTM: 10 segments x 2 directions x 4 gates x h (i + h), sound 6 to 2 x 4, pictures 8 to 2 x 8."""
    count = count_operations(build(), *clips())
    lstm = SEGMENTS * 2 * 4 * (4 * (AUDIO + 4) + 8 * (VISUAL + 8))
    assert count.slots["temporal_encoder"] == Operations(macs=lstm)
    layers = 2 * 2 + 2 * 1  # two encoder layers and one decoder layer per modality
    assert count.slots["feed_forward"].macs == layers * SEGMENTS * 2 * WIDTH * 16
    assert count.firing_rates == {}
    assert count.total.synops == 0


def test_attention_products_are_counted_although_they_run_fused():
    """The same network with one more patch costs exactly the patch's projections and products more."""
    network = build()
    visual, audio = clips()
    fewer = count_operations(network, visual[:, :, :1, :2], audio).total.macs
    more = count_operations(network, visual[:, :, :1, :3], audio).total.macs
    per_patch = (
        5 * 8  # visual projection
        + 2 * (8 * 2 + 8 * 2 + 8 * 8)  # query, key (8 // 4 wide) and value of both self-attentions
        + 2 * (8 * 8 + 8 * 1)  # the two spatial attentions: patch to 8, score to 1
        + 8 * 8  # channel attention's patch layer
        + 2 * 8  # both weighted sums
    )
    products = 2 * (3 * 3 - 2 * 2) * (2 + 8)  # q k^T and its product with v, both self-attentions, by pairs
    assert more - fewer == SEGMENTS * (per_patch + products)


def test_spiking_blocks_count_spikes_times_fan_out():
    slot = SlotConfig(block="spiking", steps=4, threshold=0.2)
    network = build(temporal_encoder=slot, feed_forward=slot)
    spikes: list[int] = []
    neurons: list[int] = []
    for name, module in network.named_modules():
        if isinstance(module, SpikingLayer) and "feed_forward" in name:
            module.register_forward_hook(lambda _, __, out: spikes.append(int(out.sum())))
            module.register_forward_hook(lambda _, __, out: neurons.append(out.numel()))
    count = count_operations(network, *clips())
    synops = sum(spikes) * WIDTH / CLIPS
    assert synops > 0
    assert count.slots["feed_forward"].synops == pytest.approx(synops)
    assert count.total.synops == pytest.approx(synops)
    assert count.slots["feed_forward"].acs >= synops + 2 * sum(neurons) / CLIPS
    hidden = 6 * SEGMENTS * WIDTH * 16
    batch_norm = 6 * SEGMENTS * 16
    assert count.slots["feed_forward"].macs == hidden + batch_norm + sum(neurons) / CLIPS


def test_firing_rates_are_spikes_per_neuron_and_step():
    network = build(temporal_encoder=SlotConfig(block="braincog", threshold=0.2))
    seen = {}
    for name in ("audio_temporal.layer", "visual_temporal.layer"):
        network.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: seen.update({name: float(out.mean())})
        )
    assert count_operations(network, *clips()).firing_rates == pytest.approx(seen)


def test_a_silent_layer_costs_no_synops_and_all_zeros_are_sparsity_one():
    slot = SlotConfig(block="spiking", threshold=1e6)
    network = build(temporal_encoder=slot, feed_forward=slot)
    count = count_operations(network, *clips())
    assert count.total.synops == 0
    assert set(count.firing_rates.values()) == {0.0}


def test_energy_is_horowitz_figures_times_operations():
    energy = Operations(macs=1e9, acs=2e9).energy_mj
    assert energy == pytest.approx({"mac": 4.6, "ac": 1.8, "arithmetic": 6.4})


def test_counting_leaves_the_network_as_it_was():
    network = build(feed_forward=SlotConfig(block="spiking"))
    visual, audio = clips()
    before = network.eval()(visual, audio).event_logits
    count_operations(network, visual, audio)
    assert torch.equal(network(visual, audio).event_logits, before)
    assert torch.backends.mha.get_fastpath_enabled()
