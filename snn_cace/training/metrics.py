"""Segment accuracy as the paper computes it, per class, and the confusion matrix behind both."""

from __future__ import annotations

import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from snn_cace.contracts import NetworkOutput


def class_logits(output: NetworkOutput) -> torch.Tensor:
    """The logits that decide each segment's class: `[B, T, C]`, or `[B, 1, C]` where the clip's decide them all; of
    AVEL and of weak networks C + 1 of them.
    """
    if output.segment_logits is not None:
        return output.segment_logits
    return output.event_logits.unsqueeze(1) if output.running_event_logits is None else output.running_event_logits


def segment_predictions(output: NetworkOutput) -> torch.Tensor:
    """The clip's class, of a causal network that of the segments so far, where the segment relevance is above 0,
    background (index C) elsewhere: `[B, T]`. A weak network may call a whole clip background. AVEL says of each segment
    which of C + 1 it is.
    """
    found = class_logits(output).argmax(-1)
    if output.segment_logits is not None:
        return found
    return torch.where(output.segment_relevance > 0, found, output.classes)


def segment_confidence(output: NetworkOutput) -> torch.Tensor:
    """How probable the network finds its own prediction of each segment, `[B, T]`: the probability that it is an event
    times that of the clip's class where it says event, the probability that it is none elsewhere. Of AVEL, that of
    the segment's class.
    """
    event = output.segment_relevance.float().sigmoid()
    clip_class = class_logits(output).float().softmax(-1).amax(-1)
    if output.segment_logits is not None:
        return clip_class
    return torch.where(output.segment_relevance > 0, event * clip_class, 1 - event)


class SegmentMetrics(MulticlassConfusionMatrix):
    """Counts of segments, `[C + 1, C + 1]`: rows are true classes, columns predicted ones, background last."""

    def segment_accuracy(self) -> float:
        """Percent of all segments, background included."""
        counts = self.compute().double()
        return float(100 * counts.diagonal().sum() / counts.sum().clamp(min=1))

    def class_accuracy(self) -> list[float | None]:
        """Percent of each class's own segments; None for a class without any."""
        counts = self.compute().double()
        rows = zip(counts.diagonal().tolist(), counts.sum(1).tolist(), strict=True)
        return [100 * right / total if total else None for right, total in rows]
