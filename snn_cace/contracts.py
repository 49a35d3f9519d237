"""Shared data types: the shape of features, and the network's named outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch.nn import functional as F

ENOUGH_SEEDS = 5
"""Over fewer, no difference is called shown."""


LabelKind = Literal["single", "multi-label", "by-modality"]
"""What a segment has: one class, or any number of events at once, or these heard and seen apart: the first half of the
classes is heard, the second seen.
"""


@dataclass(frozen=True)
class FeatureShape:
    """What a data set hands to the network: channels of pictures and sound, the number of event classes, and what a
    segment has of them. class_names: of the events, where they are known; they change nothing in a network.
    """

    visual_channels: int
    audio_channels: int
    classes: int
    labels: LabelKind = "single"
    class_names: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return (
            f"{self.visual_channels} channels of pictures, {self.audio_channels} of sound, {self.classes} classes "
            f"({self.labels})"
        )


class Decided:
    """What decides something of each segment, the same way for every loss, metric and record."""

    label_kind: ClassVar[LabelKind] = "single"

    def segment_predictions(self) -> torch.Tensor:
        raise NotImplementedError

    def segment_targets(self, labels: torch.Tensor) -> torch.Tensor:
        """What `segment_predictions` should be, of labels `[B, T, C + 1]`."""
        return labels.argmax(-1)

    def right(self, labels: torch.Tensor) -> torch.Tensor:
        """Whether all that is predicted of a segment is so, `[B, T]`."""
        return self.segment_predictions() == self.segment_targets(labels)


@dataclass
class ClipOutput(Decided):
    """What a network says of a batch of clips, the class of each and which segments are events; None where it does not.

    segment_relevance: `[B, T]` logits, is this segment an event. event_logits: `[B, C]` logits, which class the clip
    shows, in CACE-Net and CMBS with gamma times the av logits added; of weak networks `[B, C + 1]`, background last.
    gate: `[B, T]` in (0, 1), both modalities' temporal gates in one. av_logits: as event_logits, from the two streams
    before they interact. query, key: `[B, T, d_model]`, the two views of the contrastive loss. Of causal networks,
    running_event_logits and running_av_logits: `[B, T, C]`, the same from the segments up to each; the last are
    event_logits and av_logits. Of weak networks, clip_logits: `[B, C + 1]`, what is compared with the clip's label.
    """

    segment_relevance: torch.Tensor
    event_logits: torch.Tensor
    gate: torch.Tensor | None = None
    av_logits: torch.Tensor | None = None
    query: torch.Tensor | None = None
    key: torch.Tensor | None = None
    running_event_logits: torch.Tensor | None = None
    running_av_logits: torch.Tensor | None = None
    clip_logits: torch.Tensor | None = None

    def class_logits(self) -> torch.Tensor:
        """The logits that decide each segment's class: `[B, T, C]`, or `[B, 1, C]` where the clip's decide them all; of
        weak networks C + 1 of them.
        """
        return self.event_logits.unsqueeze(1) if self.running_event_logits is None else self.running_event_logits

    def segment_predictions(self) -> torch.Tensor:
        """The clip's class, of a causal network that of the segments so far, where the segment relevance is above 0,
        background (index C) elsewhere: `[B, T]`. A weak network may call a whole clip background.
        """
        background = self.event_logits.shape[-1] - (self.clip_logits is not None)
        return torch.where(self.segment_relevance > 0, self.class_logits().argmax(-1), background)

    def segment_confidence(self) -> torch.Tensor:
        """How probable the network finds its own prediction of each segment, `[B, T]`: the probability that it is an
        event times that of the clip's class where it says event, the probability that it is none elsewhere.
        """
        event = self.segment_relevance.float().sigmoid()
        clip_class = self.class_logits().float().softmax(-1).amax(-1)
        return torch.where(self.segment_relevance > 0, event * clip_class, 1 - event)


@dataclass
class SegmentOutput(Decided):
    """What a network says that classifies segments one by one, AVEL: segment_logits `[B, T, C + 1]`, background last.

    segment_relevance: `[B, T]`, by how much the largest event is above background. event_logits, clip_logits: as of
    `ClipOutput`, the largest over segments.
    """

    segment_relevance: torch.Tensor
    event_logits: torch.Tensor
    segment_logits: torch.Tensor
    clip_logits: torch.Tensor | None = None

    def class_logits(self) -> torch.Tensor:
        return self.segment_logits

    def segment_predictions(self) -> torch.Tensor:
        return self.segment_logits.argmax(-1)

    def segment_confidence(self) -> torch.Tensor:
        return self.segment_logits.float().softmax(-1).amax(-1)


@dataclass
class EventsOutput(Decided):
    """What a network says of segments with several events at once. segment_logits: `[B, T, C]`, is each event there,
    whatever the others are, the segment relevance included. av_logits: `[B, T, C]`, as segment_logits, from the two
    streams before they interact. The others are those of `ClipOutput`.
    """

    label_kind: ClassVar[LabelKind] = "multi-label"
    segment_relevance: torch.Tensor
    segment_logits: torch.Tensor
    gate: torch.Tensor
    av_logits: torch.Tensor
    query: torch.Tensor | None = None
    key: torch.Tensor | None = None
    clip_logits: torch.Tensor | None = None

    def class_logits(self) -> torch.Tensor:
        return self.segment_logits

    def events(self) -> torch.Tensor:
        """Which events each segment has, `[B, T, C]` of bool: those whose logit is above 0."""
        return self.segment_logits > 0

    def segment_predictions(self) -> torch.Tensor:
        """Which classes each segment has, `[B, T, C + 1]` of bool: its events, or background, the last."""
        events = self.events()
        return torch.cat([events, ~events.any(-1, keepdim=True)], -1)

    def segment_targets(self, labels: torch.Tensor) -> torch.Tensor:
        return labels.bool()

    def right(self, labels: torch.Tensor) -> torch.Tensor:
        return super().right(labels).all(-1)

    def segment_confidence(self) -> torch.Tensor:
        """How probable the network finds its own prediction of each segment, `[B, T]`: the product over classes."""
        return F.logsigmoid(self.segment_logits.float().abs()).sum(-1).exp()


@dataclass
class ParsedOutput(EventsOutput):
    """The same of what is heard and seen apart, learned from labels of clips. segment_logits: `[B, T, 2 C]`, heard and
    then seen. clip_logits: `[B, 3, C]`, of the whole clip, of what is heard and of what is seen in it.
    """

    label_kind: ClassVar[LabelKind] = "by-modality"

    def events(self) -> torch.Tensor:
        """As of `EventsOutput`, as far as the whole clip has them too (Tian et al., ECCV 2020)."""
        assert self.clip_logits is not None
        return super().events() & (self.clip_logits[:, 0] > 0).repeat(1, 2).unsqueeze(1)


NetworkOutput = ClipOutput | SegmentOutput | EventsOutput
