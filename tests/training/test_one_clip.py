"""Batches of one clip train: every network, with every block, norm and coding in every slot it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import PEERS, SEGMENTS, peer_experiment, small_experiment, write_ave

from neurons.norm import ChannelBatchNorm
from snn_cace.config import Experiment, as_dict, from_dict
from snn_cace.contracts import FeatureShape
from snn_cace.model.braincog import PerSegmentBatchNorm
from snn_cace.networks import find_network
from snn_cace.training.module import EventLocaliser
from snn_cace.training.run import train

NORMS = ("batch", "threshold", "layer", "none")


def clip(classes: int = 3, segments: int = SEGMENTS) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.eye(classes + 1)[torch.arange(segments) % (classes + 1)][None]
    visual = torch.rand(1, segments, 2, 3, 8, generator=generator)
    return {"visual": visual, "audio": torch.rand(1, segments, 6, generator=generator), "labels": labels}


def step(experiment: Experiment, segments: int = SEGMENTS) -> EventLocaliser:
    """One training step on one clip, whose loss and gradients are numbers."""
    torch.manual_seed(0)
    module = EventLocaliser(experiment, FeatureShape(visual_channels=8, audio_channels=6, classes=3)).train()
    loss, _ = module.losses(clip(segments=segments), experiment.model.contrast.enabled)
    loss.backward()
    gradients = [p.grad for p in module.network.parameters() if p.grad is not None]
    assert torch.isfinite(loss) and gradients and all(torch.isfinite(g).all() for g in gradients)
    return module


def spiking(network: str, weak: bool, slots: dict[str, str], **block: Any) -> Experiment:
    plain = as_dict(peer_experiment(None, network, weak))
    there = find_network(network).slots(peer_experiment(None, network, weak).model, weak)
    for slot in set(slots) & set(there):
        plain["model"]["slots"][slot]["block"] = slots[slot]
    plain["model"]["spiking"] |= block
    return from_dict(plain, Experiment, "one clip")


ALL = dict.fromkeys(("visual_projection", "temporal_encoder", "feed_forward", "interaction", "event_head"), "spiking")


@pytest.mark.parametrize(("network", "weak"), sorted({(network, weak) for network, weak, _ in PEERS}))
@pytest.mark.parametrize("norm", NORMS)
def test_a_clip_trains_every_network_with_every_norm_in_all_slots(network: str, weak: bool, norm: str):
    for steps in (1, 4):
        step(spiking(network, weak, ALL, norm=norm, steps=steps))
    step(spiking(network, weak, {}))


@pytest.mark.parametrize("slot", ALL)
@pytest.mark.parametrize("segments", [1, SEGMENTS])
def test_a_clip_trains_every_slot_alone_with_every_coding_and_of_a_single_segment(slot: str, segments: int):
    for coding in ("constant", "poisson", "latency", "learned", "threshold", "integer"):
        experiment = spiking("cace", False, {slot: "spiking"}, coding=coding, membrane="reset")
        experiment.model.top_segments = 1
        step(experiment, segments)


@pytest.mark.parametrize("steps", [1, 15])
def test_a_clip_trains_the_originals_encoder(steps: int):
    step(spiking("cace", False, {"temporal_encoder": "braincog"}, steps=steps, norm="batch"))


def test_a_single_value_per_channel_is_normalised_with_running_statistics_that_stay():
    norm = ChannelBatchNorm(2).train()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0]))
    found = norm(torch.tensor([[3.0, 5.0]]))
    torch.testing.assert_close(found, torch.ones(1, 2), rtol=1e-4, atol=0)
    assert norm.running_mean.tolist() == [1.0, 2.0] and norm.running_var.tolist() == [4.0, 9.0]
    segments = PerSegmentBatchNorm(2).train()
    segments.load_state_dict(norm.state_dict())
    found = segments(torch.tensor([[[3.0, 5.0]], [[1.0, 2.0]]]))
    torch.testing.assert_close(found[:, 0], torch.tensor([[1.0, 1.0], [0.0, 0.0]]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(segments.running_var, torch.tensor([4.0, 9.0]))


@pytest.mark.parametrize("batch_size", [1, 5])
def test_training_ends_whose_last_batch_is_one_clip(tmp_path: Path, batch_size: int):
    """Six clips: all alone, or the last."""
    experiment = small_experiment(write_ave(tmp_path / "ave"), epochs=2, block="spiking")
    experiment.data.batch_size = batch_size
    experiment.model.slots.event_head["block"] = "spiking"
    assert 0 <= train(experiment, tmp_path / "run", quiet=True)["test"]["segment_accuracy"] <= 100
