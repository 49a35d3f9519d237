"""What rooms hand to each other: the shape of features, and the network's named outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class FeatureShape:
    """What a data set hands to the network: channels of pictures and sound, and the number of event classes."""

    visual_channels: int
    audio_channels: int
    classes: int


@dataclass
class NetworkOutput:
    """What the network says of a batch of clips.

    segment_relevance: `[B, T]` logits, is this segment an event. event_logits: `[B, C]` logits, which class the clip
    shows, with gamma times the av logits added. gate: `[B, T]` in (0, 1), the product of both modalities' temporal
    gates. av_logits: `[B, C]` logits from the two streams before they interact. query, key: `[B, T, d_model]`, the two
    views of the contrastive loss. Of causal networks, running_event_logits and running_av_logits: `[B, T, C]`, the same
    from the segments up to each; the last are event_logits and av_logits.
    """

    segment_relevance: torch.Tensor
    event_logits: torch.Tensor
    gate: torch.Tensor
    av_logits: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor
    running_event_logits: torch.Tensor | None = None
    running_av_logits: torch.Tensor | None = None
