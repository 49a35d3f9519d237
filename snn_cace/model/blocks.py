"""Slots filled as a config says: the blocks that several networks are built from."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from neurons import BlockConfig, SpikingCrossAttention, SpikingLinear, SpikingMLP
from neurons.config import Kind
from snn_cace.config import ModelConfig
from snn_cace.model.dense import DenseParts, rounded_linear
from snn_cace.model.network import FILLED
from snn_cace.model.relation import FeedForward, Interaction, RelationBlock, RoundedAttention
from snn_cace.model.temporal import temporal_encoder


def visual_projection(config: ModelConfig, inputs: int) -> nn.Module:
    """The layer that every patch goes through first: `[..., inputs]` to `[..., visual_dim]`."""
    width = config.visual_dim
    return fill(
        config,
        "visual_projection",
        lambda dense: rounded_linear(inputs, width, dense),
        lambda block, kind: SpikingLinear(inputs, width, block, kind=kind),
    )


def temporal_encoders(config: ModelConfig, *sizes: tuple[int, int]) -> list[nn.Module]:
    """Temporal encoders of several modalities, by their `(inputs, outputs)`."""
    with independent_stream("temporal_encoder"):
        slot = config.slots.slot("temporal_encoder")
        encoders = [temporal_encoder(inputs, outputs, slot, config.spiking, config.causal) for inputs, outputs in sizes]
    for encoder in encoders:
        setattr(encoder, FILLED, "temporal_encoder")
    return encoders


def event_classifier(config: ModelConfig, classes: int, bias: bool = True, sequence: bool = False) -> nn.Module:
    """Features `[B, T, d_model]` to class logits `[B, T, classes]`. What it classifies is one vector, T = 1, which no
    membrane carries over to another, or a `sequence` of segments.
    """
    d = config.d_model

    def spiking(block: BlockConfig, kind: Kind) -> nn.Module:
        block = block if sequence else dataclasses.replace(block, membrane="reset")
        return SpikingMLP(d, d, classes, 0.0, block, kind)

    return fill(config, "event_head", lambda dense: rounded_linear(d, classes, dense, bias), spiking)


def fill(
    config: ModelConfig,
    slot: str,
    dense: Callable[[DenseParts], nn.Module],
    spiking: Callable[[BlockConfig, Kind], nn.Module],
) -> nn.Module:
    """The block that the config puts into `slot`, with initial weights from random numbers of its own."""
    chosen = config.slots.slot(slot)
    with independent_stream(slot):
        if chosen.is_dense:
            block = dense(DenseParts.of(chosen, config.spiking))
        else:
            block = spiking(chosen.spiking(config.spiking), chosen.kind)
    setattr(block, FILLED, slot)
    return block


def relation_blocks(config: ModelConfig, visual: int, audio: int) -> list[RelationBlock]:
    """Of pictures, of sound, and both again across modalities, from so many channels `[B, T, channels]` each."""
    d, dropout = config.d_model, config.relation_dropout
    window = config.window if config.causal else None

    def block(inputs: int, layers: int, hidden: int) -> RelationBlock:
        feed_forward = fill(
            config,
            "feed_forward",
            lambda dense: FeedForward(d, hidden, dropout, dense),
            lambda spiking, kind: SpikingMLP(d, hidden, d, dropout, spiking, kind),
        )
        return RelationBlock(inputs, d, config.heads, layers, dropout, feed_forward, window)

    within = [block(inputs, config.encoder_layers, config.encoder_feed_forward) for inputs in (visual, audio)]
    across = [block(inputs, config.decoder_layers, config.decoder_feed_forward) for inputs in (visual, audio)]
    return within + across


def interaction(config: ModelConfig) -> Interaction:
    """An interaction block with the attention that the config names."""
    window = config.window if config.causal else None
    heads = config.interaction_heads or config.heads
    attention = fill(
        config,
        "interaction",
        lambda dense: RoundedAttention(config.d_model, heads, config.interaction_dropout, window, dense),
        lambda block, kind: SpikingCrossAttention(config.d_model, heads, block, window, kind),
    )
    return Interaction(config.d_model, attention, config.relation_dropout)


@contextmanager
def independent_stream(name: str) -> Iterator[None]:
    """Random numbers of their own for a slot, drawn from the seed and the state of the main stream.

    What a slot draws does not move the main stream: with the same seed, blocks that an ANN and an SNN share start with
    identical weights whatever their slots hold.
    """
    main = torch.get_rng_state().numpy().tobytes()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(name.encode() + main))
        yield
