"""CMBS: cross-modal background suppression (Xia and Zhao, CVPR 2022), fully and weakly supervised.

CACE-Net descends from the fully supervised network: that one is CACE-Net without what it added. The weakly supervised
one is a network of its own.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import Linear

from neurons import Dropout, LookBack
from snn_cace.config import ModelConfig
from snn_cace.contracts import ClipOutput, FeatureShape
from snn_cace.model.attention import GuidanceAttention
from snn_cace.model.blocks import event_classifier, interaction, relation_blocks, visual_projection
from snn_cace.model.cace import CaceNet
from snn_cace.model.localisation import mean_of_largest
from snn_cace.model.network import Network


class CmbsNet(CaceNet):
    """Fully supervised: pictures guided by sound (`model.guidance: audio`), and no contrast.

    Shape: visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]` to a `ClipOutput`.
    """

    has_contrast = False


class WeakCmbsNet(Network):
    """Weakly supervised: no temporal encoder, each modality gated by itself, and class logits segment by segment.

    A segment's class logits are gamma sigmoid(V) C + gamma sigmoid(A) C, with V and A the two streams' own and C that
    of what they share; a clip's are the mean of the largest over segments. They are pooled under the mean of both
    gates, which is also the probability that a segment is an event. `reference` takes that probability for a logit, as
    the original's evaluation does: every segment is an event then.

    Shape: visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]` to a `ClipOutput`, segment_relevance the logit of gate.
    """

    def __init__(self, config: ModelConfig, shape: FeatureShape, weak: bool = True) -> None:
        super().__init__(shape, weak)
        self.alpha, self.gamma, self.top_segments = config.alpha, config.gamma, config.top_segments
        self.reference = config.reference
        d, visual_dim, audio_dim = config.d_model, config.visual_dim, shape.audio_channels
        self.visual_projection = visual_projection(config, shape.visual_channels)
        self.dropout = Dropout(config.dropout)
        self.guidance = GuidanceAttention(config, audio_dim)
        relations = relation_blocks(config, visual_dim, audio_dim)
        self.visual_relation, self.audio_relation, self.visual_cross, self.audio_cross = relations
        self.visual_gate, self.audio_gate = Linear(d, 1), Linear(d, 1)
        self.visual_av, self.audio_av = Linear(d, self.scored), Linear(d, self.scored)
        self.visual_interaction, self.audio_interaction = interaction(config), interaction(config)
        self.event = event_classifier(config, self.scored, bias=False, sequence=True)
        self.look_back = LookBack(None)

    def forward(self, visual: torch.Tensor, audio: torch.Tensor) -> ClipOutput:
        self.check(visual, audio)
        patches = self.dropout(torch.relu(self.visual_projection(visual)))
        guided = self.guidance(patches, audio)
        visual_memory = self.visual_relation(guided.visual)
        audio_memory = self.audio_relation(guided.audio)
        audio_stream = self.audio_cross(guided.audio, visual_memory)
        visual_stream = self.visual_cross(guided.visual, audio_memory)

        visual_gate = torch.sigmoid(self.visual_gate(visual_memory))
        audio_gate = torch.sigmoid(self.audio_gate(audio_memory))
        visual_stream = (1 - self.alpha) * visual_stream + self.alpha * visual_gate * visual_stream
        audio_stream = (1 - self.alpha) * audio_stream + self.alpha * audio_gate * audio_stream
        visual_class = torch.sigmoid(self.visual_av(visual_stream))
        audio_class = torch.sigmoid(self.audio_av(audio_stream))

        visual_stream = self.visual_interaction(visual_stream, audio_stream)
        audio_stream = self.audio_interaction(audio_stream, visual_stream)
        shared_class = self.event((visual_stream + audio_stream) / 2)
        class_logits = self.gamma * visual_class * shared_class + self.gamma * audio_class * shared_class
        event_logits = mean_of_largest(class_logits, self.top_segments, self.look_back)
        gate = ((audio_gate + visual_gate) / 2).squeeze(-1)
        return ClipOutput(
            segment_relevance=gate if self.reference else torch.logit(gate, eps=1e-6),
            event_logits=event_logits,
            gate=gate,
            clip_logits=self.pooled(gate, event_logits),
        )

    def spatial_attentions(self) -> dict[str, nn.Module]:
        return self.guidance.spatial_attentions()
