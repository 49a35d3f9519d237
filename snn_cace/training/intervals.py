"""Mean average precision of events in time, as ActivityNet's, ActionFormer's and UnAV-100's programs compute it.

A network says of segments what they hold; what is scored are intervals. They are made class by class, with p the
probability of a class in each segment and m its largest over the clip:

- an interval is a run of segments with p >= k m / 10, for k = 1 ... 9, from the first one's beginning to the last one's
  end; its score is the mean of p over it, less that over a quarter of its length on either side, at least a segment, as
  far as the clip goes (outer-inner contrast, Shou et al., ECCV 2018): a piece of an event scores less than all of it;
- of the intervals of a class, the best keeps its score, and every other is multiplied by exp(-o^2 / SIGMA), o being
  their overlap, and so on with what is left (Gaussian soft suppression, Bodla et al., ICCV 2017);
- the `MOST` best of a clip count, if their score is above `LEAST`.

Overlap is intersection over union in time. SIGMA, MOST and LEAST are those of UnAV-100's authors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from snn_cace.training.metrics import PADDING

LEVELS = np.arange(1, 10) / 10
SIGMA, MOST, LEAST = 0.4, 100, 0.001
OVERLAPS = np.linspace(0.1, 0.9, 9)
"""Above or at which an interval finds an event."""


def overlap(interval: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of `[start, end, ...]` with each of `others` `[n, 2 or more]`: `[n]`; 0 of none."""
    common = (np.minimum(interval[1], others[:, 1]) - np.maximum(interval[0], others[:, 0])).clip(0)
    return common / np.maximum(interval[1] - interval[0] + others[:, 1] - others[:, 0] - common, 1e-12)


def intervals(scores: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """What is found in a clip of t segments, best first.

    Shape: scores `[t, C]` in (0, 1), borders `[t + 1]` to `[n, 4]`: start, end, class and score.
    """
    above = scores >= LEVELS[:, None, None] * scores.max(0)
    edges = np.diff(np.pad(above.transpose(0, 2, 1).astype(np.int8), ((0, 0), (0, 0), (1, 1))))
    (_, classes, first), (_, _, end) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    classes, first, end = np.unique([classes, first, end], axis=1)
    sums = np.pad(scores.cumsum(0, dtype=np.float64), ((1, 0), (0, 0)))
    within, length = sums[end, classes] - sums[first, classes], end - first
    reach = -(-length // 4)
    before, behind = np.maximum(first - reach, 0), np.minimum(end + reach, len(scores))
    around = sums[behind, classes] - sums[before, classes] - within
    contrast = within / length - around / np.maximum(behind - before - length, 1)
    found = np.column_stack([borders[first], borders[end], classes, contrast])
    kept: list[np.ndarray] = []
    while len(found) and len(kept) < MOST:
        place = found[:, 3].argmax()
        best, found = found[place], np.delete(found, place, axis=0)
        if best[3] <= LEAST:
            break
        kept.append(best)
        same = found[:, 2] == best[2]
        found[same, 3] *= np.exp(-(overlap(best, found[same]) ** 2) / SIGMA)
    return np.array(kept).reshape(-1, 4)


def average_precisions(events: list[np.ndarray], found: list[np.ndarray]) -> np.ndarray:
    """The average precision of each class that has events, at each of `OVERLAPS`: `[classes, 9]` in [0, 1].

    From the best score down, an interval takes the event of its clip and class that it overlaps most and that is left,
    if by enough. Precision is the largest at that recall or beyond, and its mean is over the events.

    Shape: of each clip events `[n, 3]` (start, end, class), and found as `intervals` gives it.
    """
    results = []
    for index in np.unique(np.concatenate([of_clip[:, 2] for of_clip in events])):
        wanted = [of_clip[of_clip[:, 2] == index] for of_clip in events]
        pairs = [(clip, row) for clip, rows in enumerate(found) for row in rows[rows[:, 2] == index]]
        pairs.sort(key=lambda pair: -pair[1][3])
        taken = [np.zeros((len(OVERLAPS), len(of_clip)), bool) for of_clip in wanted]
        right = np.zeros((len(OVERLAPS), len(pairs)), bool)
        for place, (clip, row) in enumerate(pairs):
            overlaps = overlap(row, wanted[clip])
            for event in (-overlaps).argsort(kind="stable"):
                free = (overlaps[event] >= OVERLAPS) & ~taken[clip][:, event] & ~right[:, place]
                taken[clip][free, event] = True
                right[free, place] = True
        precision = right.cumsum(1) / np.arange(1, len(pairs) + 1)
        best_beyond = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        results.append((best_beyond * right).sum(1) / sum(map(len, wanted)))
    return np.array(results)


def interval_scores(clips: Any, predictions: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean over classes in percent at each of `OVERLAPS`, `mean_average_precision_0.1` and so on, and the mean of
    these, `mean_average_precision`; nothing where the reader of `clips` knows no times, or there is no event.
    """
    times = [time for row in predictions["index"].tolist() if (time := clips.reader.timeline(row)) is not None]
    if len(times) < len(predictions["index"]) or not any(len(time.events) for time in times):
        return {}
    lengths = (predictions["segment_target"][..., 0] != PADDING).sum(1)
    found = [
        intervals(expit(logits[:length]), time.borders)
        for logits, length, time in zip(predictions["segment_logits"], lengths, times, strict=True)
    ]
    means = 100 * average_precisions([time.events for time in times], found).mean(0)
    named = {f"mean_average_precision_{at:.1f}": float(value) for at, value in zip(OVERLAPS, means, strict=True)}
    return {"mean_average_precision": float(means.mean()), **named}
