"""Segment accuracy by hand."""

from __future__ import annotations

import pytest
import torch

from snn_cace.contracts import ClipOutput
from snn_cace.training.metrics import SegmentMetrics


def test_a_segment_takes_the_clips_class_where_its_relevance_is_above_zero():
    output = ClipOutput(
        segment_relevance=torch.tensor([[1.0, 0.0, -1.0], [0.1, 2.0, 3.0]]),
        event_logits=torch.tensor([[0.0, 5.0], [1.0, -1.0]]),
        gate=None,
        av_logits=None,
        query=None,
        key=None,
    )
    assert output.segment_predictions().tolist() == [[1, 2, 2], [0, 0, 0]]


def test_accuracy_per_class_and_confusion_by_hand():
    metrics = SegmentMetrics(num_classes=4)
    metrics.update(torch.tensor([[0, 0, 3], [1, 3, 3]]), torch.tensor([[0, 1, 3], [1, 1, 3]]))
    assert metrics.segment_accuracy() == pytest.approx(100 * 4 / 6)
    assert metrics.class_accuracy() == pytest.approx([100, 100 / 3, None, 100])
    assert metrics.compute().tolist() == [[1, 0, 0, 0], [1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 2]]
