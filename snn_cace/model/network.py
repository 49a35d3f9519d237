"""CACE-Net, top to bottom. The same class is the ANN and the SNN: slots decide which blocks spike."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from neurons import (
    BlockConfig,
    Dropout,
    Linear,
    LookBack,
    SpikingCrossAttention,
    SpikingLinear,
    SpikingMLP,
    rectified_dropout,
)
from snn_cace.config import ModelConfig, SlotConfig
from snn_cace.contracts import FeatureShape, NetworkOutput
from snn_cace.model.attention import GuidanceAttention
from snn_cace.model.localisation import LocalisationHead, windows
from snn_cace.model.relation import DenseAttention, FeedForward, Interaction, RelationBlock
from snn_cace.model.temporal import temporal_encoder


class CaceNet(nn.Module):
    """visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]` to a `NetworkOutput`.

    A causal network (`model.causal`) sees no later segment, and says at each segment what it makes of those up to it.
    Within a stream (`neurons.streaming`) it takes one segment at a call, T = 1, and goes on from those before.

    `enhance` says whether the contrast-enhanced features are added; it is stored with the state dict, so a checkpoint
    is evaluated as it was trained.

    Raises:
        ValueError: features whose shape is not the one the network was built for, naming both.
    """

    def __init__(self, config: ModelConfig, shape: FeatureShape) -> None:
        super().__init__()
        self.shape = shape
        self.alpha, self.gamma, self.top_segments = config.alpha, config.gamma, config.top_segments
        self.contrast_enabled = config.contrast.enabled
        self.enhance = False
        self.window = config.window if config.causal else None
        self.visual_look_back, self.audio_look_back = LookBack(self.window), LookBack(self.window)
        d, visual_dim, audio_dim = config.d_model, config.visual_dim, shape.audio_channels

        self.visual_projection = fill(
            config,
            "visual_projection",
            lambda: Linear(shape.visual_channels, visual_dim),
            lambda block: SpikingLinear(shape.visual_channels, visual_dim, block),
        )
        self.dropout = Dropout(config.dropout)
        self.guidance = GuidanceAttention(
            config.guidance,
            visual_dim,
            audio_dim,
            config.attention_dim,
            config.key_dim or max(1, visual_dim // 4),
            config.psi,
            config.beta,
            config.dropout,
            self.window,
        )
        with independent_stream("temporal_encoder"):
            slot = config.slots.temporal_encoder
            self.audio_temporal = temporal_encoder(audio_dim, d, slot, config.spiking, config.causal)
            self.visual_temporal = temporal_encoder(visual_dim, 2 * d, slot, config.spiking, config.causal)
        self.visual_relation = relation_block(config, 2 * d, config.encoder_layers, config.encoder_feed_forward)
        self.audio_relation = relation_block(config, d, config.encoder_layers, config.encoder_feed_forward)
        self.visual_cross = relation_block(config, 2 * d, config.decoder_layers, config.decoder_feed_forward)
        self.audio_cross = relation_block(config, d, config.decoder_layers, config.decoder_feed_forward)
        self.audio_gate = Linear(d, 1)
        self.visual_gate = Linear(d, 1)
        self.visual_av = Linear(d, shape.classes)
        self.audio_av = Linear(d, shape.classes)
        self.visual_interaction = interaction(config)
        self.audio_interaction = interaction(config)
        event = fill(
            config,
            "event_head",
            lambda: Linear(d, shape.classes),
            # What it classifies is one vector, not a sequence that membranes could carry over.
            lambda block: SpikingMLP(d, d, shape.classes, 0.0, dataclasses.replace(block, membrane="reset")),
        )
        self.head = LocalisationHead(d, event, config.contrast.strength, config.contrast.noise, self.window)

    def forward(self, visual: torch.Tensor, audio: torch.Tensor) -> NetworkOutput:
        self._check(visual, audio)
        patches = rectified_dropout(self.visual_projection(visual), self.dropout)
        guided = self.guidance(patches, audio)
        audio_seq = self.audio_temporal(guided.audio)
        visual_seq = self.visual_temporal(guided.visual)

        visual_memory = self.visual_relation(visual_seq)
        audio_memory = self.audio_relation(audio_seq)
        audio_stream = self.audio_cross(audio_seq, visual_memory)
        visual_stream = self.visual_cross(visual_seq, audio_memory)

        audio_gate = torch.sigmoid(self.audio_gate(audio_memory))
        visual_gate = torch.sigmoid(self.visual_gate(visual_memory))
        visual_stream = visual_stream + self.alpha * audio_gate * visual_stream
        audio_stream = audio_stream + self.alpha * visual_gate * audio_stream
        visual_av = self._top(self.visual_av(visual_stream), self.visual_look_back)
        av_logits = (visual_av + self._top(self.audio_av(audio_stream), self.audio_look_back)) / 2

        visual_stream = self.visual_interaction(visual_stream, audio_stream)
        audio_stream = self.audio_interaction(audio_stream, visual_stream)
        found = self.head((visual_stream + audio_stream) / 2, self.enhance and self.contrast_enabled)
        event_logits = found.class_logits + self.gamma * av_logits
        causal = self.window is not None
        return NetworkOutput(
            segment_relevance=found.segment_relevance,
            event_logits=event_logits[:, -1] if causal else event_logits,
            gate=(audio_gate * visual_gate).squeeze(-1),
            av_logits=av_logits[:, -1] if causal else av_logits,
            query=found.query,
            key=found.key,
            running_event_logits=event_logits if causal else None,
            running_av_logits=av_logits if causal else None,
        )

    def _top(self, class_logits: torch.Tensor, look_back: LookBack) -> torch.Tensor:
        """Mean of each class's largest segments: `[B, T, C]` to `[B, C]`; with a window, within it, to `[B, T, C]`."""
        if look_back.window is None:
            segments = min(self.top_segments, class_logits.shape[1])
            return class_logits.topk(segments, dim=1).values.mean(1)
        within = windows(class_logits, look_back)
        largest = within.topk(min(self.top_segments, within.shape[-1]), dim=-1).values
        there = largest > -torch.inf
        return largest.masked_fill(~there, 0.0).sum(-1) / there.sum(-1)

    def _check(self, visual: torch.Tensor, audio: torch.Tensor) -> None:
        want_visual, want_audio = self.shape.visual_channels, self.shape.audio_channels
        if visual.ndim != 5 or visual.shape[-1] != want_visual:
            raise ValueError(f"visual features must be [B, T, H, W, {want_visual}], not {list(visual.shape)}")
        if audio.ndim != 3 or audio.shape[-1] != want_audio or audio.shape[:2] != visual.shape[:2]:
            want = [*visual.shape[:2], want_audio]
            raise ValueError(f"audio features must be {want} beside {list(visual.shape)}, not {list(audio.shape)}")

    def slots(self) -> dict[str, list[str]]:
        """The names of the modules that fill each slot, dense or spiking."""
        return {
            "visual_projection": ["visual_projection"],
            "temporal_encoder": ["audio_temporal", "visual_temporal"],
            "feed_forward": [name for name, _ in self.named_modules() if name.endswith(".feed_forward")],
            "interaction": ["visual_interaction.attention", "audio_interaction.attention"],
            "event_head": ["head.event"],
        }

    def get_extra_state(self) -> dict[str, bool]:
        return {"enhance": self.enhance}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.enhance = state["enhance"]


def fill(
    config: ModelConfig, slot: str, dense: Callable[[], nn.Module], spiking: Callable[[BlockConfig], nn.Module]
) -> nn.Module:
    """The block that the config puts into `slot`, with initial weights from random numbers of its own."""
    chosen: SlotConfig = getattr(config.slots, slot)
    with independent_stream(slot):
        return dense() if chosen.block == "dense" else spiking(chosen.spiking(config.spiking))


def relation_block(config: ModelConfig, inputs: int, layers: int, hidden: int) -> RelationBlock:
    """A relation block with the feed-forward slot that the config names."""
    d, dropout = config.d_model, config.relation_dropout

    def feed_forward() -> nn.Module:
        return fill(
            config,
            "feed_forward",
            lambda: FeedForward(d, hidden, dropout),
            lambda block: SpikingMLP(d, hidden, d, dropout, block),
        )

    window = config.window if config.causal else None
    return RelationBlock(inputs, d, config.heads, layers, dropout, feed_forward, window)


def interaction(config: ModelConfig) -> Interaction:
    """An interaction block with the attention that the config names."""
    window = config.window if config.causal else None
    attention = fill(
        config,
        "interaction",
        lambda: DenseAttention(config.d_model, config.heads, config.interaction_dropout, window),
        lambda block: SpikingCrossAttention(config.d_model, config.heads, block, window),
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
