"""The network's own facts: sizes, what ANN and SNN share, invariances, and errors that name shapes."""

from __future__ import annotations

import itertools

import pytest
import torch
from small import small_model

from neurons import BlockConfig, SpikingLayer
from neurons.norm import ChannelBatchNorm
from snn_cace.config import Experiment, ModelConfig, Slot
from snn_cace.contracts import FeatureShape
from snn_cace.model import CaceNet
from snn_cace.model.attention import UnscaledAttention
from snn_cace.model.dense import DenseParts
from snn_cace.model.relation import FeedForward

SHAPE = FeatureShape(visual_channels=5, audio_channels=6, classes=3)
BLOCKS = ("dense", "spiking", "braincog")
SLOTS = tuple(vars(ModelConfig().slots))


def build(seed: int = 0, spiking: tuple[str, ...] = (), temporal: str = "dense", **changes: object) -> CaceNet:
    config = small_model(**changes)
    for name in spiking:
        getattr(config.slots, name)["block"] = "spiking"
    if temporal != "dense":
        config.slots.temporal_encoder["block"] = temporal
    torch.manual_seed(seed)
    return CaceNet(config, SHAPE)


def inputs(clips: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(clips, 10, 2, 3, 5, generator=generator), torch.randn(clips, 10, 6, generator=generator)


def test_parameters_are_the_references_less_those_that_never_get_a_gradient():
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    full = FeatureShape(512, 128, 28)
    assert count(CaceNet(ModelConfig(), full)) == 13_118_681 - 3_835_264
    spiking = ModelConfig()
    spiking.slots.temporal_encoder = {"block": "braincog"}
    assert count(CaceNet(spiking, full)) == 12_692_701 - 4_953_220


@pytest.mark.parametrize("temporal", ["spiking", "braincog"])
def test_every_channel_of_any_block_may_learn_its_threshold(temporal: str):
    config = small_model()
    config.spiking.learn_threshold = "channel"
    for slot in vars(config.slots).values():
        slot["block"] = "spiking"
    config.slots.temporal_encoder["block"] = temporal
    network = CaceNet(config, SHAPE)
    output = network(*inputs())
    (output.segment_relevance.sum() + output.event_logits.square().sum()).backward()
    gains = [layer.log_threshold_gain for layer in network.modules() if isinstance(layer, SpikingLayer)]
    assert all(gain.ndim == 1 and torch.count_nonzero(gain.grad) > 0 for gain in gains)


def test_the_originals_encoder_reads_no_key_that_is_fixed_for_it():
    """Runs that were stored with such keys, set for another block in its place, give what they gave."""
    plain, given = small_model(), small_model()
    plain.slots.temporal_encoder = {"block": "braincog"}
    given.slots.temporal_encoder = {
        "block": "braincog",
        "direction": "bidirectional",
        "membrane": "reset",
        "coding": "poisson",
        "readout": "membrane",
        "norm": "layer",
    }
    outputs = []
    for config in (plain, given):
        Experiment(model=config)
        torch.manual_seed(0)
        outputs.append(CaceNet(config, SHAPE).eval()(*inputs()).event_logits)
    assert torch.equal(*outputs)


@pytest.mark.parametrize("spiking", [c for n in (1, 2, 5) for c in itertools.combinations(SLOTS, n)], ids="+".join)
def test_any_slots_may_spike_and_all_else_starts_with_the_anns_weights(spiking: tuple[str, ...]):
    """With the same seed: guidance attention, projector, relation attention, gates and the rest start identical."""
    ann, snn = build(), build(spiking=spiking)
    own = tuple(f"{name}." for slot in spiking for name in ann.slots()[slot])
    mine = {key: value for key, value in ann.named_parameters() if not key.startswith(own)}
    theirs = dict(snn.named_parameters())
    assert {key.split(".")[0] for key in mine} >= {"guidance", "head", "visual_relation", "audio_gate"}
    assert all(torch.equal(value, theirs[key]) for key, value in mine.items())
    visual, audio = inputs()
    output = snn(visual, audio)
    loss = sum(getattr(output, name).sum() for name in ("segment_relevance", "event_logits", "gate"))
    loss.backward()
    spiking_layers = [module for module in snn.modules() if isinstance(module, SpikingLayer)]
    assert spiking_layers
    dense_layers = sum(len(snn.slots()[slot]) for slot in spiking)
    assert len(spiking_layers) >= dense_layers


def test_slots_start_with_weights_of_their_own():
    network = build()
    assert not torch.equal(
        network.visual_relation.layers[0].feed_forward.linear1.weight,
        network.audio_relation.layers[0].feed_forward.linear1.weight,
    )


@pytest.mark.parametrize("temporal", BLOCKS)
@pytest.mark.parametrize("guidance", ["none", "audio", "visual", "co"])
def test_a_clips_output_does_not_depend_on_its_batch(guidance: str, temporal: str):
    network = build(guidance=guidance, temporal=temporal, spiking=("feed_forward", "visual_projection")).eval()
    visual, audio = inputs()
    with torch.no_grad():
        together = network(visual, audio)
        alone = network(visual[1:2], audio[1:2])
    for name in ("segment_relevance", "event_logits", "gate", "av_logits", "query"):
        torch.testing.assert_close(getattr(alone, name), getattr(together, name)[1:2], rtol=1e-4, atol=1e-5)


def test_patches_may_come_in_any_order():
    network = build().eval()
    visual, audio = inputs()
    shuffled = visual.flatten(2, 3)[:, :, torch.randperm(6)].view_as(visual)
    with torch.no_grad():
        torch.testing.assert_close(network(shuffled, audio).event_logits, network(visual, audio).event_logits)


def test_only_the_temporal_encoder_knows_the_order_of_segments():
    """With a membrane that is reset at each segment nothing does: reversing the clip reverses the relevance."""
    visual, audio = inputs()
    for membrane, blind in (("reset", True), ("carry", False)):
        config = small_model()
        config.slots.temporal_encoder = {"block": "spiking", "membrane": membrane, "threshold": 0.1}
        torch.manual_seed(0)
        network = CaceNet(config, SHAPE).eval()
        with torch.no_grad():
            there = network(visual, audio).segment_relevance
            back = network(visual.flip(1), audio.flip(1)).segment_relevance.flip(1)
        assert torch.allclose(there, back, atol=1e-5) == blind


def test_enhancement_changes_the_relevance_and_nothing_else():
    network = build().eval()
    visual, audio = inputs()
    outputs = []
    for network.enhance in (False, True):
        torch.manual_seed(0)
        with torch.no_grad():
            outputs.append(network(visual, audio))
    off, on = outputs
    assert not torch.equal(off.segment_relevance, on.segment_relevance)
    for name in ("event_logits", "gate", "av_logits", "query", "key"):
        assert torch.equal(getattr(off, name), getattr(on, name))


def test_the_state_dict_remembers_whether_enhancement_was_on():
    network, other = build(), build(seed=1)
    network.enhance = True
    other.load_state_dict(network.state_dict())
    assert other.enhance


def test_unscaled_attention_is_softmax_of_plain_products():
    torch.manual_seed(0)
    attention = UnscaledAttention(4, 5, 3, 6).double()
    query, memory = torch.randn(2, 7, 4).double(), torch.randn(2, 9, 5).double()
    energy = attention.query(query) @ attention.key(memory).transpose(1, 2)
    want = energy.softmax(-1) @ attention.value(memory)
    torch.testing.assert_close(attention(query, memory), want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("visual", "audio", "message"),
    [
        ((2, 10, 2, 3, 4), (2, 10, 6), r"visual features must be \[B, T, H, W, 5\], not \[2, 10, 2, 3, 4\]"),
        ((2, 10, 3, 5), (2, 10, 6), r"visual features must be \[B, T, H, W, 5\], not \[2, 10, 3, 5\]"),
        ((2, 10, 2, 3, 5), (2, 9, 6), r"audio features must be \[2, 10, 6\] beside .*, not \[2, 9, 6\]"),
    ],
)
def test_wrong_shapes_are_named(visual: tuple, audio: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        build()(torch.zeros(visual), torch.zeros(audio))


@pytest.mark.parametrize("slot", ["visual_projection", "temporal_encoder", "feed_forward", "interaction", "event_head"])
def test_a_dense_block_may_have_the_norm_of_a_spiking_one(slot: str):
    config = small_model()
    plain = CaceNet(config, SHAPE)
    getattr(config.slots, slot)["norm"] = "batch"
    network = CaceNet(config, SHAPE)
    added = network.state_dict().keys() - plain.state_dict().keys()
    norms = {name for name, module in network.named_modules() if isinstance(module, ChannelBatchNorm)}
    assert norms and all(any(name.startswith(root) for root in network.slots()[slot]) for name in norms)
    assert sum(p.numel() for p in network.parameters()) > sum(p.numel() for p in plain.parameters())
    assert added


def test_the_norm_of_a_dense_feed_forward_block_comes_before_its_rectifier():
    block = FeedForward(3, 4, 0.0, DenseParts(norm="batch"))
    values = torch.randn(2, 5, 3)
    hidden = block.linear1(values).flatten(0, 1)
    normal = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(block(values).flatten(0, 1), block.linear2(normal.relu()))


def test_activations_of_dense_blocks_have_the_bits_of_a_spiking_block_s_levels():
    shared = BlockConfig(steps=4)
    assert DenseParts.of(Slot("dense-quantised"), shared).bits == 3
    assert DenseParts.of(Slot("dense-quantised", overrides={"steps": 15}), shared).bits == 4
    assert DenseParts.of(Slot(), shared) == DenseParts()
