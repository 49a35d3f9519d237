"""Segment accuracy as the paper computes it, per class, and the confusion matrix behind both; of segments with several
events at once, F-scores too.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torchmetrics.classification import MulticlassConfusionMatrix, MultilabelConfusionMatrix

from snn_cace.contracts import FeatureShape

PADDING = -1
"""The class, true and predicted, of a segment that is none of its clip's."""


class SegmentMetrics(MulticlassConfusionMatrix):
    """Counts of segments, `[C + 1, C + 1]`: rows are true classes, columns predicted ones, background last.

    picked_by: of the scores, the one by which training picks its best epoch.
    """

    picked_by: ClassVar[str] = "segment_accuracy"

    def segment_accuracy(self) -> float:
        """Percent of all segments, background included."""
        counts = self.compute().double()
        return float(100 * counts.diagonal().sum() / counts.sum().clamp(min=1))

    def class_accuracy(self) -> list[float | None]:
        """Percent of each class's own segments; None for a class without any."""
        counts = self.compute().double()
        rows = zip(counts.diagonal().tolist(), counts.sum(1).tolist(), strict=True)
        return [100 * right / total if total else None for right, total in rows]

    def scores(self) -> dict[str, float]:
        """What metrics.json says, by name."""
        return {"segment_accuracy": self.segment_accuracy()}


class EventMetrics(MultilabelConfusionMatrix):
    """Counts of segments by class, `[C + 1, 2, 2]`: rows are whether it is there, columns whether it is predicted;
    background, which is no event, last.

    Shape: predictions and targets `[..., C + 1]` of bool, as of `EventsOutput`.
    """

    picked_by: ClassVar[str] = "segment_f1_micro"
    right: torch.Tensor
    segments: torch.Tensor

    def __init__(self, num_classes: int, **options: Any) -> None:
        super().__init__(num_labels=num_classes, **options)
        for name in ("right", "segments"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        preds, target = preds.flatten(0, -2), target.flatten(0, -2)
        super().update(preds.int(), target.int())
        self.right += (preds == target).all(-1).sum()
        self.segments += len(preds)

    def segment_accuracy(self) -> float:
        """Percent of segments of which all is right: every event that is there, and no other."""
        return float(100 * self.right / self.segments.clamp(min=1))

    def class_accuracy(self) -> list[float | None]:
        """Percent of each class's own segments in which it is predicted; None for a class without any."""
        counts = self.compute().tolist()
        return [100 * right / (missed + right) if missed + right else None for _, (missed, right) in counts]

    def f1(self) -> tuple[float, float]:
        """Percent, of all events together (micro), and the mean over those that occur or are predicted (macro)."""
        counts = self.compute()[:-1].double()
        right, wrong = counts[:, 1, 1], counts[:, 0, 1] + counts[:, 1, 0]
        there = right + wrong > 0
        of_each = (2 * right / (2 * right + wrong))[there]
        micro = 2 * right.sum() / (2 * right + wrong).sum().clamp(min=1)
        return 100 * float(micro), 100 * float(of_each.mean()) if len(of_each) else 0.0

    def scores(self) -> dict[str, float]:
        micro, macro = self.f1()
        return {"segment_accuracy": self.segment_accuracy(), "segment_f1_micro": micro, "segment_f1_macro": macro}


def metrics_of(shape: FeatureShape) -> SegmentMetrics | EventMetrics:
    """The metrics of a network for features of this shape."""
    kind = SegmentMetrics if shape.labels == "single" else EventMetrics
    return kind(num_classes=shape.classes + 1, sync_on_compute=False)
