"""F-scores of what is heard and seen apart, as the programs of LLP's authors compute them (Tian et al., ECCV 2020).

Per clip and class, hits, false finds and misses are counted over segments; or over events, which are runs of segments:
a found one is a hit where it overlaps a true one by half or more, a true one is missed where no found one does so.
F = 2 hits / (2 hits + false + missed) is averaged over the classes of a clip that have any of them, 1 where none has,
and then over clips. `audio`, `visual` and `audio_visual` (heard and seen at once) are three such means, `type` is the
mean of these, and `event` counts what is heard and what is seen together.
"""

from __future__ import annotations

import numpy as np


def runs(row: np.ndarray) -> np.ndarray:
    """Where runs begin and end in `[T]` of bool: `[n, 2]`, half-open."""
    return np.flatnonzero(np.diff(np.pad(row.astype(np.int8), 1))).reshape(-1, 2)


def by_segment(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Hits, false finds and misses of a class, `[T]` of bool each."""
    return np.array([(found & true).sum(), (found & ~true).sum(), (~found & true).sum()])


def by_event(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The same of events."""
    found, true = runs(found)[:, None], runs(true)[None]
    common = (np.minimum(found[..., 1], true[..., 1]) - np.maximum(found[..., 0], true[..., 0])).clip(0)
    either = found[..., 1] - found[..., 0] + true[..., 1] - true[..., 0] - common
    match = common >= 0.5 * either
    hits = match.any(1)
    return np.array([hits.sum(), (~hits).sum(), (~match.any(0)).sum()])


def f_score(counts: np.ndarray) -> float:
    """The mean over classes of their F, of `[C, 3]`."""
    counts = counts[counts.any(1)]
    return float((2 * counts[:, 0] / (counts[:, 0] + counts.sum(1))).mean()) if len(counts) else 1.0


def apart(classes: np.ndarray) -> np.ndarray:
    """Classes `[N, T, 2 C + 1]` of segments, 1 where they are there, as what is heard, seen and both at once,
    `[N, 3, C, T]` of bool.
    """
    heard, seen = np.split(classes[..., :-1] == 1, 2, axis=-1)
    return np.stack([heard, seen, heard & seen], 1).swapaxes(2, 3)


def parsing_scores(predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """F-scores in percent by name, `segment_f1_audio` and so on, of classes `[N, T, 2 C + 1]`: heard, then seen, then
    background.
    """
    found, true = apart(predicted), apart(target)
    scores: dict[str, float] = {}
    for name, count in (("segment", by_segment), ("event", by_event)):
        rows = zip(found.reshape(-1, found.shape[-1]), true.reshape(-1, true.shape[-1]), strict=True)
        counts = np.array([count(*row) for row in rows]).reshape(*found.shape[:3], 3)
        means = [100 * float(np.mean([f_score(clip[kind]) for clip in counts])) for kind in range(3)]
        scores |= {
            f"{name}_f1_{kind}": mean for kind, mean in zip(("audio", "visual", "audio_visual"), means, strict=True)
        }
        scores[f"{name}_f1_type"] = float(np.mean(means))
        scores[f"{name}_f1_event"] = 100 * float(np.mean([f_score(clip[0] + clip[1]) for clip in counts]))
    return scores
