"""Clips of different lengths in one batch: every network says of each what it says of that clip alone."""

from __future__ import annotations

import itertools

import pytest
import torch
from small import CLASSES, PEERS, peer_experiment

from neurons import LIF, BlockConfig, Rounding, SpikingCrossAttention, SpikingLinear, SpikingMLP, padded
from neurons.config import KINDS
from neurons.norm import ChannelBatchNorm
from snn_cace.config import Experiment, as_dict, from_dict, put_over
from snn_cace.contracts import FeatureShape
from snn_cace.model import Network, build_network
from snn_cace.model.braincog import BrainCogEncoder, PerSegmentBatchNorm
from snn_cace.networks import find_network

LENGTHS = torch.tensor([3, 6, 1, 5])
SHAPE = FeatureShape(visual_channels=8, audio_channels=6, classes=CLASSES)
BLOCKS = ("spiking", "rectified", "leaky", "quantised")


def clips(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of clips with `LENGTHS` segments; padding is not zero, so that whoever sees it says something else."""
    generator = torch.Generator().manual_seed(1)
    visual = torch.randn(4, 6, 2, 3, 8, dtype=dtype, generator=generator)
    return visual, torch.randn(4, 6, 6, dtype=dtype, generator=generator)


def network_of(experiment: Experiment) -> Network:
    torch.manual_seed(0)
    network = build_network(experiment, SHAPE).double()
    network.enhance = True
    with padded(network, LENGTHS):
        network(*clips())  # batch norms and rounding have seen something
    return network.eval()


def largest_difference(network: Network) -> float:
    visual, audio = clips()
    with torch.no_grad(), padded(network, LENGTHS):
        together = vars(network(visual, audio))
    differences = [0.0]
    for clip, length in enumerate(LENGTHS.tolist()):
        with torch.no_grad():
            alone = vars(network(visual[clip : clip + 1, :length], audio[clip : clip + 1, :length]))
        for name, values in alone.items():
            if values is not None and name != "key":  # whose noise is drawn anew
                of_clip = together[name][clip : clip + 1]
                of_clip = of_clip[:, :length] if of_clip.shape[1:2] == (6,) else of_clip
                differences.append(float((of_clip - values).abs().max()))
    return max(differences)


@pytest.mark.parametrize(("network", "weak", "spiking"), PEERS)
def test_every_network_says_of_a_padded_clip_what_it_says_of_it_alone(network: str, weak: bool, spiking: bool):
    assert largest_difference(network_of(peer_experiment(None, network, weak, spiking))) < 1e-9


def filled(block: str, causal: bool = False, **spiking: object) -> Experiment:
    """CACE-Net with every slot filled by a block; of the temporal encoder, both directions where it may."""
    changes: dict[str, object] = {"model.causal": causal, "model.window": 3}
    for slot in find_network("cace").slots(peer_experiment(None, "cace").model, False):
        changes[f"model.slots.{slot}.block"] = block
    if not causal:
        changes["model.slots.temporal_encoder.direction"] = "bidirectional"
    changes |= {f"model.spiking.{key}": value for key, value in spiking.items()}
    return from_dict(put_over(as_dict(peer_experiment(None, "cace")), changes), Experiment, "test")


@pytest.mark.parametrize(("block", "causal"), itertools.product(BLOCKS, (False, True)))
def test_every_block_in_every_slot(block: str, causal: bool):
    assert largest_difference(network_of(filled(block, causal, membrane="carry", norm="batch"))) < 1e-9


@pytest.mark.parametrize("block", ["dense-quantised", "braincog", "braincog-leaky", "braincog-quantised"])
def test_temporal_encoders_of_other_kinds(block: str):
    changes = {"model.slots.temporal_encoder.block": block}
    experiment = from_dict(put_over(as_dict(peer_experiment(None, "cace")), changes), Experiment, "test")
    assert largest_difference(network_of(experiment)) < 1e-9


@pytest.mark.parametrize("causal", [False, True])
def test_dense_networks_that_are_causal_too(causal: bool):
    assert largest_difference(network_of(filled("dense", causal))) < 1e-9


@pytest.mark.parametrize(
    ("block", "encoder", "coding"),
    [
        ("quantised",) * 2 + ("constant",),
        ("spiking", "braincog", "threshold"),
        ("dense", "dense-quantised", "constant"),
    ],
)
def test_training_does_not_see_what_padding_holds(block: str, encoder: str, coding: str):
    """Neither do running statistics, gradients and the first size of a rounding step."""
    states = []
    for scale in (1.0, 100.0):
        torch.manual_seed(0)
        own = {
            f"model.slots.{slot}.norm": "batch" for slot in ("visual_projection", "feed_forward", "temporal_encoder")
        }
        own |= {"model.slots.temporal_encoder.block": encoder}
        if "braincog" in encoder or "dense" in encoder:
            own["model.slots.temporal_encoder.direction"] = "forward"
        plain = as_dict(filled(block, norm="batch", coding=coding, membrane="carry"))
        network = build_network(from_dict(put_over(plain, own), Experiment, "test"), SHAPE).double()
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        visual, audio = clips()
        for clip, length in enumerate(LENGTHS.tolist()):
            visual[clip, length:] *= scale
            audio[clip, length:] *= scale
        with padded(network, LENGTHS):
            network(visual, audio).event_logits.sum().backward()
        gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        states.append(gradients | dict(network.named_buffers()))
    for name, values in states[0].items():
        assert torch.allclose(values.double(), states[1][name].double(), rtol=1e-9, atol=1e-12), name


def test_batch_statistics_are_those_of_the_clips_own_segments():
    values = torch.randn(4, 6, 5, dtype=torch.float64)
    own = torch.arange(6) < LENGTHS[:, None]
    norm, other = ChannelBatchNorm(5).double(), ChannelBatchNorm(5).double()
    with padded(norm, LENGTHS):
        found = norm(values)
        memory = norm(torch.cat([values, values], 1))
        of_clips = norm(values[:, :1])
    assert torch.allclose(found[own], other(values[own]), rtol=1e-12)
    assert torch.allclose(memory[:, :6][own], found[own]) and not found[~own].any()
    assert torch.allclose(of_clips, ChannelBatchNorm(5).double()(values[:, :1]))
    stepped = torch.stack([values, 2 * values])
    with padded(norm, LENGTHS):
        found = norm(stepped, steps_first=True)
    assert torch.allclose(found[:, own], ChannelBatchNorm(5).double()(stepped[:, own]))


def test_the_original_s_norm_sees_the_clips_that_a_segment_has():
    """Of one length it is the same as without, number for number; segment 5 is of one clip: running statistics."""
    values = torch.randn(6, 8, 5, dtype=torch.float64)
    norms = [PerSegmentBatchNorm(5).double() for _ in range(3)]
    with padded(norms[1], torch.full((4,), 6)):
        assert torch.allclose(norms[1](values), norms[0](values), rtol=1e-12)
    assert torch.allclose(norms[1].running_var, norms[0].running_var, rtol=1e-12)
    with padded(norms[2], LENGTHS):
        found = norms[2](values)
    third = values[3][[1, 3, 5, 7]]  # two copies of clips 1 and 3, the only ones with a fourth segment
    want = torch.nn.functional.batch_norm(third, None, None, training=True)
    assert torch.allclose(found[3][[1, 3, 5, 7]], want, rtol=1e-9)
    assert not found[3][[0, 2, 4, 6]].any()


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_by_themselves(kind: str):
    config = BlockConfig(steps=3, membrane="carry", norm="none")
    values, memory = torch.randn(4, 6, 8, dtype=torch.float64), torch.randn(4, 12, 8, dtype=torch.float64)
    blocks = [
        SpikingLinear(8, 4, config, "bidirectional", kind),
        SpikingMLP(8, 4, 8, 0.0, config, kind),
        SpikingCrossAttention(8, 2, config, kind=kind),
        BrainCogEncoder(8, 4, LIF(), 3, kind=kind),
    ]
    for block in blocks:
        block.double().eval()
        attends = isinstance(block, SpikingCrossAttention)
        with torch.no_grad(), padded(block, LENGTHS):
            together = block(values, memory) if attends else block(values)
        for clip, length in enumerate(LENGTHS.tolist()):
            query = values[clip : clip + 1, :length]
            of_clip = torch.cat([memory[clip : clip + 1, start : start + length] for start in (0, 6)], 1)
            with torch.no_grad():
                alone = block(query, of_clip) if attends else block(query)
            assert torch.allclose(together[clip : clip + 1, :length], alone, rtol=0, atol=1e-9)


def test_rounding_starts_from_the_clips_own_values():
    values = torch.ones(4, 6, 2)
    values[torch.arange(6) >= LENGTHS[:, None]] = -50
    rounding = Rounding(2, 2)
    with padded(rounding, LENGTHS):
        rounding(values)
    assert rounding.range == (0, 3) and float(rounding.size) == pytest.approx(2 / 3**0.5)
