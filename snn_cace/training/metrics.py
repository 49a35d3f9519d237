"""Segment accuracy as the paper computes it, per class, and the confusion matrix behind both."""

from __future__ import annotations

from torchmetrics.classification import MulticlassConfusionMatrix

PADDING = -1
"""The class, true and predicted, of a segment that is none of its clip's."""


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
