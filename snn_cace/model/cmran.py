"""CMRAN: cross-modal relation-aware networks (Xu et al., MM 2020), fully and weakly supervised."""

from __future__ import annotations

import torch
from torch import nn

from neurons import Dropout
from snn_cace.config import ModelConfig
from snn_cace.contracts import ClipOutput, FeatureShape
from snn_cace.model.attention import ChannelSpatialAttention
from snn_cace.model.blocks import event_classifier, interaction, relation_blocks, visual_projection
from snn_cace.model.localisation import LocalisationHead
from snn_cace.model.network import Network


class CmranNet(Network):
    """Pictures guided by sound, relations within and across modalities, one interaction, and a localisation head.

    There is no temporal encoder: permuting the segments permutes what it says of them. Weakly supervised, class logits
    are of C + 1 classes, pooled under sigmoid(segment_relevance).

    Shape: visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]` to a `ClipOutput`.
    """

    def __init__(self, config: ModelConfig, shape: FeatureShape, weak: bool = False) -> None:
        super().__init__(shape, weak)
        visual_dim, audio_dim = config.visual_dim, shape.audio_channels
        self.visual_projection = visual_projection(config, shape.visual_channels)
        self.dropout = Dropout(config.dropout)
        self.guidance: ChannelSpatialAttention | None = None
        if config.guidance == "audio":
            self.guidance = ChannelSpatialAttention(visual_dim, audio_dim, config.attention_dim)
        relations = relation_blocks(config, visual_dim, audio_dim)
        self.visual_relation, self.audio_relation, self.visual_cross, self.audio_cross = relations
        self.visual_interaction = interaction(config)
        self.head = LocalisationHead(config.d_model, event_classifier(config, self.scored))

    def forward(self, visual: torch.Tensor, audio: torch.Tensor) -> ClipOutput:
        self.check(visual, audio)
        patches = self.dropout(torch.relu(self.visual_projection(visual))).flatten(2, 3)
        picture = patches.mean(-2) if self.guidance is None else self.guidance(patches, audio)
        visual_memory = self.visual_relation(picture)
        audio_memory = self.audio_relation(audio)
        audio_stream = self.audio_cross(audio, visual_memory)
        visual_stream = self.visual_cross(picture, audio_memory)
        found = self.head(self.visual_interaction(visual_stream, audio_stream))
        return ClipOutput(
            segment_relevance=found.segment_relevance,
            event_logits=found.class_logits,
            clip_logits=self.pooled(found.segment_relevance.sigmoid(), found.class_logits) if self.weak else None,
        )

    def spatial_attentions(self) -> dict[str, nn.Module]:
        return {} if self.guidance is None else {"spatial": self.guidance.spatial}
