"""The loss terms, each a function of named outputs, and the targets they are held against.

The original's quirks are reproduced under `losses: reference` and mended under `corrected`:

- The gate is already a product of sigmoids, yet goes through a sigmoid again inside its loss. Corrected: it is taken as
  the probability it is.
- A clip without any event is trained as class 0. Corrected: it takes no part in the two class losses.
- The validation loss leaves out the av and contrastive terms. Corrected: it is the training loss.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional as F

from snn_cace.config import ContrastConfig
from snn_cace.contracts import NetworkOutput

IGNORED = -100
LEAST_LOG = -100.0
"""Log-probabilities are cut off here, as PyTorch's binary cross-entropy does; unlike it, NaN passes through."""


class Targets(NamedTuple):
    """is_event `[B, T]` of zeros and ones; segment_class `[B, T]`, background being the last class; clip_class `[B]`.

    clip_class is the largest class index present in any segment, and 0 for a clip without any event.
    """

    is_event: torch.Tensor
    segment_class: torch.Tensor
    clip_class: torch.Tensor

    @property
    def has_event(self) -> torch.Tensor:
        """`[B]`, whether any segment is an event."""
        return self.is_event.any(1)


def targets_from_labels(labels: torch.Tensor) -> Targets:
    """Targets of one-hot labels `[B, T, C + 1]`, background last."""
    is_event, foreground_class = labels[..., :-1].max(-1)
    return Targets(is_event, labels.argmax(-1), foreground_class.amax(1))


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """`[...]` in half precision as float32, all else as it is."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def relevance_loss(output: NetworkOutput, targets: Targets) -> torch.Tensor:
    """Binary cross-entropy of the segment relevance `[B, T]`, a scalar."""
    logits = at_least_float32(output.segment_relevance)
    return F.binary_cross_entropy_with_logits(logits, targets.is_event.to(logits))


def gate_loss(output: NetworkOutput, targets: Targets, reference: bool) -> torch.Tensor:
    """Binary cross-entropy of the gate `[B, T]`, a scalar; `reference` squashes it a second time."""
    gate = at_least_float32(output.gate)
    if reference:
        return F.binary_cross_entropy_with_logits(gate, targets.is_event.to(gate))
    right = torch.where(targets.is_event.bool(), gate, 1 - gate)
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
        wanted = wanted.unsqueeze(1).expand(-1, running.shape[1]).flatten()
        logits, there = running.flatten(0, 1), targets.is_event.bool().flatten()
    if not reference:
        wanted = wanted.masked_fill(~there, IGNORED)
    total = F.cross_entropy(at_least_float32(logits), wanted, ignore_index=IGNORED, reduction="sum")
    return total / (wanted != IGNORED).sum().clamp(min=1)


def contrastive_anchor_terms(
    query: torch.Tensor, key: torch.Tensor, is_event: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The supervised contrastive loss of every anchor, `[B, 2T]`: a clip's T query entries, then its T key entries.

    With z the 2T entries of a clip, s = z z^T / temperature and P(i) the positives of anchor i:

        term(i) = logsumexp of s(i, j) over all j != i  -  logsumexp of s(i, j) over P(i)  +  log |P(i)|

    An event anchor's positives are all other event entries of both views; a background anchor's only positive is its
    own other view. Other clips play no part. Equals the original, which sums exp(s) directly and overflows float32
    (CACE-Net, MM '24, section 3.3; Khosla et al., arXiv:2004.11362).

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
    everything = similarity.masked_fill(itself, -torch.inf).logsumexp(-1)
    positives = similarity.masked_fill(~positive, -torch.inf).logsumexp(-1)
    return everything - positives + positive.sum(-1).to(similarity).log()


def contrastive_loss(output: NetworkOutput, targets: Targets, temperature: float) -> torch.Tensor:
    """Mean of `contrastive_anchor_terms` over all anchors of all clips, a scalar."""
    return contrastive_anchor_terms(output.query, output.key, targets.is_event, temperature).mean()


def loss_terms(output: NetworkOutput, targets: Targets, temperature: float, reference: bool) -> dict[str, torch.Tensor]:
    """Every term by name, scalars: `relevance`, `gate`, `event`, `av`, `contrastive`."""
    return {
        "relevance": relevance_loss(output, targets),
        "gate": gate_loss(output, targets, reference),
        "event": class_loss(output.event_logits, targets, reference, output.running_event_logits),
        "av": class_loss(output.av_logits, targets, reference, output.running_av_logits),
        "contrastive": contrastive_loss(output, targets, temperature),
    }


def distillation_loss(student: NetworkOutput, teacher: NetworkOutput, temperature: float) -> torch.Tensor:
    """How far a student's clip classes `[B, C]` and segment relevance `[B, T]` are from its teacher's, a scalar.

    temperature^2 KL(teacher || student) of the event logits over the temperature (Hinton et al., arXiv:1503.02531),
    plus the binary cross-entropy of the relevance against the teacher's probabilities, less that of the teacher with
    itself: zero where both agree.
    """
    mine, wanted = (at_least_float32(output.event_logits) / temperature for output in (student, teacher))
    classes = F.kl_div(mine.log_softmax(-1), wanted.log_softmax(-1), log_target=True, reduction="batchmean")
    logits, target = (at_least_float32(output.segment_relevance) for output in (student, teacher))
    probability = target.sigmoid()
    relevance = F.binary_cross_entropy_with_logits(logits, probability)
    relevance = relevance - F.binary_cross_entropy_with_logits(target, probability)
    return temperature**2 * classes + relevance


def training_loss(terms: dict[str, torch.Tensor], contrast: ContrastConfig, contrastive_on: bool) -> torch.Tensor:
    """The sum of scalars that is minimised: four terms of weight 1, and the contrastive one once it is on."""
    total = terms["relevance"] + terms["gate"] + terms["event"] + terms["av"]
    return total + contrast.coefficient * terms["contrastive"] if contrastive_on else total


def validation_loss(
    terms: dict[str, torch.Tensor], contrast: ContrastConfig, contrastive_on: bool, reference: bool
) -> torch.Tensor:
    """What is reported as loss in evaluation: the training loss, or the original's three terms of it."""
    if reference:
        return terms["relevance"] + terms["event"] + terms["gate"]
    return training_loss(terms, contrast, contrastive_on)
