"""The loss terms, each a function of named outputs, and the targets they are compared with.

The originals' quirks are reproduced under `losses: reference` and mended under `corrected`:

- The gate is already a product of sigmoids, yet goes through a sigmoid again inside its loss. Corrected: it is taken as
  the probability it is.
- A clip without any event is trained as class 0. Corrected: it takes no part in the two class losses.
- The validation loss leaves out the av and contrastive terms. Corrected: it is the training loss.
- AVEL, and every peer under weak supervision, feed probabilities to a loss that takes logits. Corrected: cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional as F

from neurons.padding import within
from snn_cace.config import ContrastConfig
from snn_cace.contracts import EventsOutput, LabelKind, NetworkOutput, ParsedOutput, SegmentOutput

IGNORED = -100
MINIMISED = ("clip", "audio", "visual", "segment", "relevance", "gate", "event", "av")
"""The terms of weight 1, in the order in which they are added."""
REPORTED = ("clip", "segment", "relevance", "event", "gate")
"""Those that the originals report in evaluation."""
LEAST_LOG = -100.0
"""Log-probabilities are cut off here, as PyTorch's binary cross-entropy does; unlike it, NaN passes through."""


class Targets(NamedTuple):
    """is_event `[B, T]` of zeros and ones; segment_class `[B, T]`, background being the last class; clip_class `[B]`;
    clip_labels `[B, C + 1]`; labels `[B, T, C + 1]`. own: which segments are no padding, `[B, T]`; None where none is
    padded. Where a segment may have several events, the classes mean nothing.

    clip_class is the largest class index present in any segment, and 0 for a clip without any event. clip_labels are
    those given for weak supervision, else one-hot: clip_class, or background for a clip without any event; where a
    segment may have several events, all that any segment has.
    """

    is_event: torch.Tensor
    segment_class: torch.Tensor
    clip_class: torch.Tensor
    clip_labels: torch.Tensor
    labels: torch.Tensor
    own: torch.Tensor | None = None

    def of_clips(self, values: torch.Tensor) -> torch.Tensor:
        """Values `[B, T, ...]`; where clips are padded, those of their own segments alone, `[n, ...]`."""
        return values if self.own is None else values[self.own]

    @property
    def has_event(self) -> torch.Tensor:
        """`[B]`, whether any segment is an event."""
        return self.is_event.any(1)


def targets_from_labels(
    labels: torch.Tensor,
    clip_labels: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    kind: LabelKind = "single",
) -> Targets:
    """Targets of one-hot labels `[B, T, C + 1]`, background last, and of clips' own `[B, C + 1]`, if any. Of another
    `kind` a segment has any number of events.

    lengths: segments of each clip, `[B]`, where some are padded; padding is labelled as background.

    Raises:
        ValueError: a segment without a class, or with several. Not on CUDA, where asking would keep the device waiting;
            labels from files are checked as they are read.
    """
    asked = kind == "single" and not labels.is_cuda
    if asked and not (((labels == 0) | (labels == 1)).all() and (labels.sum(-1) == 1).all()):
        raise ValueError("labels must be one-hot: each segment has one class, background being the last")
    is_event, foreground_class = labels[..., :-1].max(-1)
    clip_class = foreground_class.amax(1)
    if clip_labels is None and kind != "single":
        clip_labels = labels.amax(1)
    if clip_labels is None:
        background = labels.shape[-1] - 1
        known = torch.where(is_event.any(1), clip_class, background)
        clip_labels = F.one_hot(known, background + 1).to(labels)
    own = None if lengths is None else within(lengths, labels.shape[1])
    return Targets(is_event, labels.argmax(-1), clip_class, clip_labels, labels, own)


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """`[...]` in half precision as float32, all else as it is."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def relevance_loss(relevance: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Binary cross-entropy of the segment relevance `[B, T]`, a scalar."""
    logits = targets.of_clips(at_least_float32(relevance))
    return F.binary_cross_entropy_with_logits(logits, targets.of_clips(targets.is_event).to(logits))


def gate_loss(gate: torch.Tensor, targets: Targets, reference: bool) -> torch.Tensor:
    """Binary cross-entropy of the gate `[B, T]`, a scalar; `reference` squashes it a second time."""
    gate, is_event = targets.of_clips(at_least_float32(gate)), targets.of_clips(targets.is_event)
    if reference:
        return F.binary_cross_entropy_with_logits(gate, is_event.to(gate))
    right = torch.where(is_event.bool(), gate, 1 - gate)
    return -right.log().clamp(min=LEAST_LOG).mean()


def class_loss(
    logits: torch.Tensor, targets: Targets, reference: bool, running: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of clip logits `[B, C]`; `reference` takes an all-background clip as class 0, else it is left out.

    Of a causal network, mean of the cross-entropies of the `running` logits `[B, T, C]` over the segments that are
    events, whose class they decide; `reference` over all segments. Zero, with a gradient of zero, where there is none.
    """
    wanted, there = targets.clip_class, targets.has_event
    if running is not None:
        wanted = wanted.unsqueeze(1).expand(-1, running.shape[1])
        logits, there = running.flatten(0, 1), targets.is_event.bool().flatten()
        wanted = (wanted if targets.own is None else wanted.masked_fill(~targets.own, IGNORED)).flatten()
    if not reference:
        wanted = wanted.masked_fill(~there, IGNORED)
    total = F.cross_entropy(at_least_float32(logits), wanted, ignore_index=IGNORED, reduction="sum")
    return total / (wanted != IGNORED).sum().clamp(min=1)


def label_loss(logits: torch.Tensor, labels: torch.Tensor, reference: bool) -> torch.Tensor:
    """Cross-entropy of logits `[..., C + 1]` and labels that are one-hot or, where several are set, share equally, a
    scalar.

    `reference`: the multi-label soft margin of their softmax p, mean over all entries of softplus(p) - y p, which takes
    p for a logit: between 0.68 and 0.72 of 29 classes, whatever is learned.
    """
    logits, labels = (values.flatten(0, -2) for values in (at_least_float32(logits), labels))
    if reference:
        return F.multilabel_soft_margin_loss(logits.softmax(-1), labels.to(logits))
    return F.cross_entropy(logits, labels.to(logits) / labels.sum(-1, keepdim=True))


def events_loss(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Binary cross-entropy of each class's logits `[B, T, C]`, mean over own segments and classes, a scalar."""
    own = targets.of_clips(at_least_float32(logits))
    return F.binary_cross_entropy_with_logits(own, targets.of_clips(targets.labels[..., :-1]).to(own))


def modality_losses(logits: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
    """Binary cross-entropies of clip logits `[B, 3, C]`, of the whole clip, what is heard and what is seen, each held
    against all that is heard or seen in it: nobody says which (Tian et al., ECCV 2020).
    """
    present = targets.clip_labels[:, :-1].unflatten(1, (2, -1)).amax(1)
    logits = at_least_float32(logits)
    each = (F.binary_cross_entropy_with_logits(of_one, present.to(of_one)) for of_one in logits.unbind(1))
    return dict(zip(("clip", "audio", "visual"), each, strict=True))


def contrastive_anchor_terms(
    query: torch.Tensor, key: torch.Tensor, is_event: torch.Tensor, temperature: float, own: torch.Tensor | None = None
) -> torch.Tensor:
    """The supervised contrastive loss of every anchor, `[B, 2T]`: a clip's T query entries, then its T key entries.

    With z the 2T entries of a clip, s = z z^T / temperature and P(i) the positives of anchor i:

        term(i) = logsumexp of s(i, j) over all j != i  -  logsumexp of s(i, j) over P(i)  +  log |P(i)|

    An event anchor's positives are all other event entries of both views; a background anchor's only positive is its
    own other view. Other clips play no part. Equals the original, which sums exp(s) directly and overflows float32
    (CACE-Net, MM '24, section 3.3; Khosla et al., arXiv:2004.11362).

    own: which segments are no padding, `[B, T]`; padding plays no part either, and its own terms mean nothing.

    Shape: query, key `[B, T, d]`, is_event `[B, T]`.
    """
    segments = query.shape[1]
    with torch.autocast(query.device.type, enabled=False):
        entries = torch.cat([at_least_float32(query), at_least_float32(key)], dim=1)
        similarity = entries @ entries.transpose(1, 2) / temperature
    event = is_event.bool().repeat(1, 2)
    itself = torch.eye(2 * segments, dtype=torch.bool, device=query.device)
    positive = (event.unsqueeze(1) & event.unsqueeze(2)) | itself.roll(segments, 0)
    positive &= ~itself
    left_out = itself
    if own is not None:
        there = own.repeat(1, 2)
        left_out = itself | (there.unsqueeze(2) & ~there.unsqueeze(1))
    everything = similarity.masked_fill(left_out, -torch.inf).logsumexp(-1)
    positives = similarity.masked_fill(~positive, -torch.inf).logsumexp(-1)
    return everything - positives + positive.sum(-1).to(similarity).log()


def loss_terms(output: NetworkOutput, targets: Targets, temperature: float, reference: bool) -> dict[str, torch.Tensor]:
    """Every term that the network's outputs have, by name, scalars.

    Weakly supervised `clip` alone, heard and seen apart `audio` and `visual` too; of AVEL `segment`; of the others
    `relevance` and `event`, with `gate`, `av` and `contrastive` where they have such outputs. Where a segment may have
    several events, `event` and `av` are binary cross-entropies of each class, under `reference` too: the originals know
    no such data.
    """
    if output.clip_logits is not None:
        if isinstance(output, ParsedOutput):
            return modality_losses(output.clip_logits, targets)
        return {"clip": label_loss(output.clip_logits, targets.clip_labels, reference)}
    if isinstance(output, SegmentOutput):
        labels = F.one_hot(targets.segment_class, output.segment_logits.shape[-1])
        own_logits, own_labels = targets.of_clips(output.segment_logits), targets.of_clips(labels)
        return {"segment": label_loss(own_logits, own_labels, reference)}
    terms = {"relevance": relevance_loss(output.segment_relevance, targets)}
    if output.gate is not None:
        terms["gate"] = gate_loss(output.gate, targets, reference)
    if isinstance(output, EventsOutput):
        terms |= {"event": events_loss(output.segment_logits, targets), "av": events_loss(output.av_logits, targets)}
    else:
        terms["event"] = class_loss(output.event_logits, targets, reference, output.running_event_logits)
        if output.av_logits is not None:
            terms["av"] = class_loss(output.av_logits, targets, reference, output.running_av_logits)
    if output.query is not None and output.key is not None:
        of_anchors = contrastive_anchor_terms(output.query, output.key, targets.is_event, temperature, targets.own)
        own = targets.own
        terms["contrastive"] = of_anchors.mean() if own is None else of_anchors[own.repeat(1, 2)].mean()
    return terms


def training_loss(terms: dict[str, torch.Tensor], contrast: ContrastConfig, contrastive_on: bool) -> torch.Tensor:
    """The sum of scalars that is minimised: all terms of weight 1, and the contrastive one once it is on."""
    total = total_of(terms, MINIMISED)
    return total + contrast.coefficient * terms["contrastive"] if contrastive_on else total


def total_of(terms: dict[str, torch.Tensor], names: Sequence[str]) -> torch.Tensor:
    """The sum of those of the named scalars that there are."""
    first, *others = (terms[name] for name in names if name in terms)
    return sum(others, start=first)


def validation_loss(
    terms: dict[str, torch.Tensor], contrast: ContrastConfig, contrastive_on: bool, reference: bool
) -> torch.Tensor:
    """What is reported as loss in evaluation: the training loss, or the terms of it that the originals report."""
    if reference:
        return total_of(terms, REPORTED)
    return training_loss(terms, contrast, contrastive_on)
