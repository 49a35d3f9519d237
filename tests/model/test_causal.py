"""Causal networks: no segment sees a later one, and segment by segment they say what they say of whole clips."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from small import small_experiment, small_model, write_ave

from neurons import CODINGS, NODES, READOUTS
from neurons.streaming import restore, snapshot, stream
from snn_cace.config import Experiment, ModelConfig
from snn_cace.contracts import ClipOutput, FeatureShape
from snn_cace.counting.operations import count_operations
from snn_cace.errors import InputError
from snn_cace.model import CaceNet
from snn_cace.training.checkpoints import load_checkpoint
from snn_cace.training.losses import loss_terms, targets_from_labels
from snn_cace.training.run import train

SHAPE = FeatureShape(visual_channels=5, audio_channels=6, classes=3)
SEGMENTS = 7
PER_SEGMENT = ("segment_relevance", "gate", "running_event_logits", "running_av_logits", "query")
RANDOM = ("poisson",)


def config_of(*spiking: str, window: int = 4, temporal: str = "dense", **shared: object) -> ModelConfig:
    config = small_model(causal=True, window=window, guidance="co")
    for slot in spiking:
        getattr(config.slots, slot)["block"] = "spiking"
    config.slots.temporal_encoder["block"] = temporal
    for key, value in shared.items():
        setattr(config.spiking, key, value)
    config.spiking.__post_init__()
    return config


def build(config: ModelConfig) -> CaceNet:
    torch.manual_seed(0)
    network = CaceNet(config, SHAPE)
    network.enhance = True
    network(*clips(seed=5))  # batch norms get statistics
    return network.eval()


def clips(seed: int = 1, segments: int = SEGMENTS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    visual = torch.randn(2, segments, 2, 3, 5, generator=generator)
    return visual, torch.randn(2, segments, 6, generator=generator)


@torch.no_grad()
def whole(network: CaceNet, visual: torch.Tensor, audio: torch.Tensor) -> ClipOutput:
    return network(visual, audio)


@torch.no_grad()
def by_segment(network: CaceNet, visual: torch.Tensor, audio: torch.Tensor) -> ClipOutput:
    with stream(network):
        parts = [network(visual[:, t : t + 1], audio[:, t : t + 1]) for t in range(visual.shape[1])]
    return ClipOutput(
        **{name: torch.cat([getattr(p, name) for p in parts], 1) for name in PER_SEGMENT},
        **{name: getattr(parts[-1], name) for name in ("event_logits", "av_logits")},
        key=parts[-1].key,
    )


def assert_same(one: ClipOutput, other: ClipOutput, segments: int = SEGMENTS) -> None:
    for name in PER_SEGMENT:
        torch.testing.assert_close(
            getattr(one, name)[:, :segments], getattr(other, name)[:, :segments], rtol=1e-5, atol=1e-5, msg=name
        )


EVERYWHERE = ("visual_projection", "feed_forward", "interaction", "event_head")
KINDS = {
    "dense": config_of(),
    "narrow": config_of(window=1),
    "wide": config_of(window=50),
    "spiking": config_of(*EVERYWHERE, temporal="spiking"),
    "braincog": config_of(temporal="braincog"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_segment_sees_a_later_one(kind: str):
    network = build(KINDS[kind])
    visual, audio = clips()
    before = whole(network, visual, audio)
    visual[:, 4:], audio[:, 4:] = 9.0, -9.0
    after = whole(network, visual, audio)
    assert_same(before, after, segments=4)
    assert not torch.allclose(before.event_logits, after.event_logits)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("segments", [1, 3, SEGMENTS])
def test_the_running_logits_are_those_of_the_clip_so_far(kind: str, segments: int):
    network = build(KINDS[kind])
    visual, audio = clips()
    full = whole(network, visual, audio)
    prefix = whole(network, visual[:, :segments], audio[:, :segments])
    torch.testing.assert_close(full.running_event_logits[:, segments - 1], prefix.event_logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(full.running_av_logits[:, segments - 1], prefix.av_logits, rtol=1e-5, atol=1e-5)


def test_a_window_as_long_as_the_clip_decides_as_the_network_without_one():
    """The head alone: classes of the whole clip, by the same weights."""
    network = build(config_of(window=SEGMENTS))
    fused = torch.randn(2, SEGMENTS, 8)
    running = network.head.classify(fused)
    network.head.look_back.window = None
    torch.testing.assert_close(running[:, -1], network.head.classify(fused))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_says_what_the_whole_clip_run_says(kind: str):
    network = build(KINDS[kind])
    assert_same(by_segment(network, *clips()), whole(network, *clips()))
    assert_same(by_segment(network, *clips(2)), whole(network, *clips(2)))  # nothing is left of the stream before


@pytest.mark.parametrize("membrane", ["carry", "reset"])
@pytest.mark.parametrize("node", NODES)
def test_every_node_streams(node: str, membrane: str):
    try:
        config = config_of("feed_forward", "interaction", temporal="spiking", node=node, membrane=membrane)
    except ValueError:
        pytest.skip("weights per simulation step do not carry membranes")
    network = build(config)
    assert_same(by_segment(network, *clips()), whole(network, *clips()))


@pytest.mark.parametrize("coding", [coding for coding in CODINGS if coding not in RANDOM])
@pytest.mark.parametrize("readout", READOUTS)
def test_every_coding_and_readout_streams(coding: str, readout: str):
    network = build(config_of("visual_projection", "feed_forward", temporal="spiking", coding=coding, readout=readout))
    assert_same(by_segment(network, *clips()), whole(network, *clips()))


def test_recurrent_spikes_go_on_within_a_stream():
    config = config_of(temporal="spiking")
    config.slots.temporal_encoder["direction"] = "recurrent"
    network = build(config)
    assert_same(by_segment(network, *clips()), whole(network, *clips()))


def test_a_stream_goes_on_from_a_snapshot():
    network = build(KINDS["spiking"])
    visual, audio = clips()
    with torch.no_grad(), stream(network):
        network(visual[:, :1], audio[:, :1])
        kept = snapshot(network)
        first = network(visual[:, 1:2], audio[:, 1:2])
        network(visual[:, 2:3], audio[:, 2:3])
        restore(network, kept)
        again = network(visual[:, 1:2], audio[:, 1:2])
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in PER_SEGMENT)


@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_of_a_causal_network_is_counted(kind: str):
    count = count_operations(build(KINDS[kind]), *clips())
    assert sum((module.static.macs for module in count.modules), 0.0) > 0


def test_losses_are_those_of_the_segments_that_are_events():
    """By hand: the mean over event segments of the cross-entropy of their own running logits."""
    network = build(KINDS["dense"])
    output = whole(network, *clips())
    labels = torch.zeros(2, SEGMENTS, 4)
    labels[..., -1] = 1
    labels[0, 2:5] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    terms = loss_terms(output, targets_from_labels(labels), temperature=0.1, reference=False)
    by_hand = torch.nn.functional.cross_entropy(output.running_event_logits[0, 2:5], torch.tensor([1, 1, 1]))
    torch.testing.assert_close(terms["event"], by_hand)


def test_a_causal_run_trains_and_predicts_by_the_segments_so_far(tmp_path: Path):
    experiment = small_experiment(write_ave(tmp_path / "ave"), epochs=2, block="spiking")
    experiment.model.causal = True
    metrics = train(experiment, tmp_path / "run", quiet=True)
    assert 0 <= metrics["test"]["segment_accuracy"] <= 100
    trained = load_checkpoint(tmp_path / "run")
    assert trained.network.window == 10
    with (
        h5py.File(tmp_path / "ave" / "visual_feature.h5") as visual,
        h5py.File(tmp_path / "ave/audio_feature.h5") as audio,
    ):
        clip = torch.tensor(visual["avadataset"][9:10]), torch.tensor(audio["avadataset"][9:10])
    output = whole(trained.network, *clip)
    with np.load(tmp_path / "run" / "test_predictions.npz") as stored:
        assert stored["segment_class"][0].tolist() == output.segment_predictions()[0].tolist()


def test_a_bidirectional_encoder_is_not_causal():
    config = ModelConfig(causal=True)
    config.slots.temporal_encoder["direction"] = "bidirectional"
    with pytest.raises(InputError, match=r"direction: bidirectional sees later .*; set it to forward or recurrent"):
        Experiment(model=config)
    config.slots.temporal_encoder |= {"direction": "recurrent", "block": "spiking"}
    assert Experiment(model=config).model.causal
