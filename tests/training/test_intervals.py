"""Mean average precision in time: by hand, and as ActionFormer's evaluation computes it, restated with loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.classification import MultilabelF1Score

from snn_cace.contracts import EventsOutput
from snn_cace.training.intervals import OVERLAPS, SIGMA, average_precisions, intervals
from snn_cace.training.metrics import EventMetrics


def restated(events: list[np.ndarray], found: list[np.ndarray], index: int, at: float) -> float:
    """Of one class at one overlap, with loops for everything."""
    ranked = sorted(
        ((row[3], clip, row[0], row[1]) for clip, rows in enumerate(found) for row in rows if row[2] == index),
        reverse=True,
    )
    wanted = [(clip, row[0], row[1]) for clip, rows in enumerate(events) for row in rows if row[2] == index]
    taken: set[int] = set()
    points, right = [], 0
    for place, (_, clip, start, end) in enumerate(ranked, start=1):
        best = None
        for number, (of_clip, begin, stop) in enumerate(wanted):
            common = max(0.0, min(end, stop) - max(start, begin))
            shared = common / (end - start + stop - begin - common)
            if of_clip == clip and shared >= at and number not in taken and (best is None or shared > best[0]):
                best = shared, number
        if best is not None:
            taken.add(best[1])
            right += 1
            points.append((place, right))
    precisions = [max(r / p for p, r in points[i:]) for i in range(len(points))]
    return sum(precisions) / len(wanted)


def test_average_precision_by_hand():
    """Class 0 has two events in clip 0, class 1 one in clip 1. Overlaps: [0, 8] with [0, 10] 0.8, [0, 4] 0.4."""
    events = [np.array([[0, 10, 0], [20, 30, 0]], float), np.array([[0, 10, 1]], float)]
    found = [np.array([[0, 8, 0, 0.9], [0, 10, 0, 0.8], [20, 30, 0, 0.7]]), np.array([[0, 4, 1, 0.9], [5, 9, 0, 0.95]])]
    precisions = average_precisions(events, found)
    # Of class 0 the false one of clip 1 is first; then right, a second one of the same event, right: 1/2 becomes 2/4.
    assert precisions[0, :8] == pytest.approx([(1 / 2 + 2 / 4) / 2] * 8)
    # At 0.9 the event is found by the next: wrong, wrong, right, right: the better 2/4 counts for both.
    assert precisions[0, 8] == pytest.approx((2 / 4 + 2 / 4) / 2)
    assert precisions[1] == pytest.approx([1, 1, 1, 1, 0, 0, 0, 0, 0])
    assert average_precisions(events, [np.zeros((0, 4))] * 2).tolist() == [[0] * 9] * 2


def test_average_precision_is_the_authors():
    rng = np.random.default_rng(0)
    events, found = [], []
    for _ in range(6):
        spans = np.sort(rng.random((5, 2)) * 20, 1)
        events.append(np.column_stack([spans, rng.integers(0, 3, 5)]))
        near = np.sort(np.repeat(spans, 3, 0) + rng.normal(0, 1, (15, 2)), 1)
        found.append(np.column_stack([near, rng.integers(0, 4, 15), rng.random(15)]))
    precisions = average_precisions(events, found)
    assert precisions.shape == (3, 9) and 0.01 < precisions.mean() < 0.5
    for index in range(3):
        for at, value in zip(OVERLAPS, precisions[index], strict=True):
            assert value == pytest.approx(restated(events, found, index, at)), (index, at)


def test_intervals_are_runs_at_every_level_and_the_lesser_of_two_that_overlap_counts_less():
    scores = np.array([[0.8, 0.0], [0.4, 0.0], [0.0, 0.0], [0.2, 0.0005]])
    found = intervals(scores, np.array([0.0, 1.0, 2.0, 3.0, 5.0]))
    # Class 1 stays below the least score. Up to level 0.16 the last segment is a run too, up to 0.4 the first two are.
    assert found[:, :3].tolist() == [[0, 2, 0], [0, 1, 0], [3, 5, 0]]
    # Both have a mean of 0.6, and 0 beside them; the first alone 0.8, and 0.4 beside it, and half in common with both.
    assert found[:, 3] == pytest.approx([0.6, (0.8 - 0.4) * np.exp(-(0.5**2) / SIGMA), 0.2])
    assert intervals(np.full((4, 1), 0.7), np.arange(5.0)).tolist() == [pytest.approx([0, 4, 0, 0.7])]
    assert intervals(np.zeros((3, 2)), np.arange(4.0)).shape == (0, 4)


def test_f_scores_by_hand():
    """Two segments: events 0 and 1, of which 0 is found, and background, where 0 is found falsely."""
    output = EventsOutput(
        torch.zeros(1, 2), torch.tensor([[[1.0, -1, -1], [1, -1, -1]]]), torch.zeros(1, 2), torch.zeros(1, 2, 3)
    )
    labels = torch.tensor([[[1, 1, 0, 0], [0, 0, 0, 1]]])
    predicted, target = output.segment_predictions(), output.segment_targets(labels)
    assert predicted.tolist() == [[[True, False, False, False]] * 2]
    metrics = EventMetrics(4)
    metrics.update(predicted[0], target[0])
    # Right 1, too many 1, missed 1: micro 2 / (2 + 2). Class 0: 2 / 3, class 1: 0; class 2 has no part in the macro.
    assert metrics.scores() == {
        "segment_accuracy": 0.0,
        "segment_f1_micro": pytest.approx(50),
        "segment_f1_macro": pytest.approx(100 / 3),
    }
    assert metrics.class_accuracy() == [100, 0, None, 0]
    assert output.segment_confidence()[0, 0] == pytest.approx(torch.sigmoid(torch.tensor(1.0)).item() ** 3)


def test_f_scores_are_torchmetrics_of_the_events():
    generator = torch.Generator().manual_seed(0)
    predicted, target = (torch.rand(2, 50, 5, generator=generator) > 0.6).unbind()
    metrics = EventMetrics(5)
    metrics.update(predicted, target)
    for average in ("micro", "macro"):
        want = MultilabelF1Score(4, average=average)(predicted[:, :4].int(), target[:, :4].int())
        assert metrics.scores()[f"segment_f1_{average}"] == pytest.approx(100 * float(want))
    assert metrics.segment_accuracy() == pytest.approx(100 * float((predicted == target).all(1).float().mean()))
