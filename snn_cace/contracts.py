"""What rooms hand to each other: the shape of features, and the network's named outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

ENOUGH_SEEDS = 5
"""Over fewer, no difference is called shown."""


@dataclass(frozen=True)
class FeatureShape:
    """What a data set hands to the network: channels of pictures and sound, and the number of event classes."""

    visual_channels: int
    audio_channels: int
    classes: int


@dataclass
class NetworkOutput:
    """What a network says of a batch of clips; None where it has none.

    segment_relevance: `[B, T]` logits, is this segment an event. event_logits: `[B, C]` logits, which class the clip
    shows, in CACE-Net and CMBS with gamma times the av logits added; of weak networks `[B, C + 1]`, background last.
    gate: `[B, T]` in (0, 1), both modalities' temporal gates in one. av_logits: as event_logits, from the two streams
    before they interact. query, key: `[B, T, d_model]`, the two views of the contrastive loss. Of causal networks,
    running_event_logits and running_av_logits: `[B, T, C]`, the same from the segments up to each; the last are
    event_logits and av_logits. Of AVEL, segment_logits: `[B, T, C + 1]`, the class of each segment; its
    segment_relevance is by how much the largest event is above background. Of weak networks, clip_logits: `[B, C + 1]`,
    what is held against the clip's label.
    """

    segment_relevance: torch.Tensor
    event_logits: torch.Tensor
    gate: torch.Tensor | None = None
    av_logits: torch.Tensor | None = None
    query: torch.Tensor | None = None
    key: torch.Tensor | None = None
    running_event_logits: torch.Tensor | None = None
    running_av_logits: torch.Tensor | None = None
    segment_logits: torch.Tensor | None = None
    clip_logits: torch.Tensor | None = None

    @property
    def classes(self) -> int:
        """C, event classes, which is the index of background."""
        return self.event_logits.shape[-1] - (self.clip_logits is not None)
