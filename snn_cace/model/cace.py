"""CACE-Net, top to bottom. The same class is the ANN and the SNN: slots decide which blocks spike."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import Linear

from neurons import Dropout, LookBack
from snn_cace.config import ModelConfig
from snn_cace.contracts import ClipOutput, EventsOutput, FeatureShape, ParsedOutput
from snn_cace.model.attention import GuidanceAttention
from snn_cace.model.blocks import event_classifier, interaction, relation_blocks, temporal_encoders, visual_projection
from snn_cace.model.localisation import LocalisationHead, mean_of_largest
from snn_cace.model.network import Network


class CaceNet(Network):
    """visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]` to a `ClipOutput`, of multi-label data an `EventsOutput`.

    A causal network (`model.causal`) sees no later segment, and says at each segment what it makes of those up to it.
    Within a stream (`neurons.streaming`) it takes one segment at a call, T = 1, and goes on from those before.

    `enhance` says whether the contrast-enhanced features are added; it is stored with the state dict, so a checkpoint
    is evaluated as it was trained.

    Weakly supervised, which the original is not, its class logits are of C + 1 classes and are pooled as CMRAN's are.
    There is no contrast then: that needs labels of segments.

    Where a segment may have several events, classes are scored segment by segment: what is otherwise pooled over a
    clip's segments is taken of each alone, and the segment relevance is added to each class's logit. Where they are
    heard and seen apart, the av logits of the two streams say so, and a clip's logits are pooled as the av logits are.

    Raises:
        ValueError: features whose shape is not the one the network was built for, naming both.
    """

    has_contrast = True

    def __init__(self, config: ModelConfig, shape: FeatureShape, weak: bool = False) -> None:
        super().__init__(shape, weak)
        self.alpha, self.gamma, self.top_segments = config.alpha, config.gamma, config.top_segments
        self.contrast_enabled = config.contrast.enabled
        self.enhance = False
        self.window = config.window if config.causal else None
        self.by_segment = shape.labels != "single"
        pooled_over = 1 if self.by_segment else self.window
        self.visual_look_back, self.audio_look_back = LookBack(pooled_over), LookBack(pooled_over)
        if self.by_segment and weak:
            self.clip_look_back = LookBack(None)
        d, visual_dim, audio_dim = config.d_model, config.visual_dim, shape.audio_channels

        self.visual_projection = visual_projection(config, shape.visual_channels)
        self.dropout = Dropout(config.dropout)
        self.guidance = GuidanceAttention(config, audio_dim)
        self.audio_temporal, self.visual_temporal = temporal_encoders(config, (audio_dim, d), (visual_dim, 2 * d))
        relations = relation_blocks(config, 2 * d, d)
        self.visual_relation, self.audio_relation, self.visual_cross, self.audio_cross = relations
        self.audio_gate = Linear(d, 1)
        self.visual_gate = Linear(d, 1)
        self.visual_av = Linear(d, self.scored)
        self.audio_av = Linear(d, self.scored)
        self.visual_interaction = interaction(config)
        self.audio_interaction = interaction(config)
        event = event_classifier(config, self.scored)
        contrast = config.contrast if self.has_contrast and not weak else None
        self.head = LocalisationHead(d, event, contrast, pooled_over)

    def forward(self, visual: torch.Tensor, audio: torch.Tensor) -> ClipOutput | EventsOutput:
        self.check(visual, audio)
        patches = self.dropout(torch.relu(self.visual_projection(visual)))
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
        visual_av = mean_of_largest(self.visual_av(visual_stream), self.top_segments, self.visual_look_back)
        audio_av = mean_of_largest(self.audio_av(audio_stream), self.top_segments, self.audio_look_back)
        av_logits = (visual_av + audio_av) / 2

        visual_stream = self.visual_interaction(visual_stream, audio_stream)
        audio_stream = self.audio_interaction(audio_stream, visual_stream)
        found = self.head((visual_stream + audio_stream) / 2, self.enhance and self.contrast_enabled)
        event_logits = found.class_logits + self.gamma * av_logits
        gate = (audio_gate * visual_gate).squeeze(-1)
        if self.by_segment:
            segment_logits = found.segment_relevance.unsqueeze(-1) + event_logits
            if not self.weak:
                return EventsOutput(found.segment_relevance, segment_logits, gate, av_logits, found.query, found.key)
            apart = torch.cat([audio_av, visual_av], -1)
            pooled = mean_of_largest(torch.cat([segment_logits, apart], -1), self.top_segments, self.clip_look_back)
            clip_logits = pooled.unflatten(1, (3, -1))
            return ParsedOutput(found.segment_relevance, apart, gate, av_logits, clip_logits=clip_logits)
        causal = self.window is not None
        return ClipOutput(
            segment_relevance=found.segment_relevance,
            event_logits=self.last(event_logits) if causal else event_logits,
            gate=gate,
            av_logits=self.last(av_logits) if causal else av_logits,
            query=found.query,
            key=found.key,
            running_event_logits=event_logits if causal else None,
            running_av_logits=av_logits if causal else None,
            clip_logits=self.pooled(found.segment_relevance.sigmoid(), event_logits) if self.weak else None,
        )

    def spatial_attentions(self) -> dict[str, nn.Module]:
        return self.guidance.spatial_attentions()

    def get_extra_state(self) -> dict[str, bool]:
        return {"enhance": self.enhance}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.enhance = state["enhance"]
