"""Is one variant better than another? Paired over seeds and clips, corrected for the number of tests.

The interval is a percentile bootstrap that draws seeds and clips anew together, so it carries both uncertainties. Clips
of one data set may share recordings; where its reader names them, recordings are drawn anew too, and a segment counts
as often as its clip and each of its recordings were drawn (the pigeonhole bootstrap: Owen, Annals of Applied Statistics
1, 2007). Tests ask whether the mean difference is zero: a paired t test over seeds (clips as they are), and sign-flip
permutations over clips and over each kind of recording (seeds as they are). The p value is the largest of them, so that
a difference counts only where none of these choices explains it (an intersection-union test: Berger, Technometrics 24,
1982). Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979) is over all pairs that a comparison
tests.

All of it is conditional on one data set and, where variants are tuned, on one search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from snn_cace.contracts import ENOUGH_SEEDS

RESAMPLES = 9999
CHUNK = 250
"""Resamples at a time."""
SIGNIFICANT = 0.05
NOBODY = -1
"""Where a segment has no recording of a kind."""


def paired_difference(a: np.ndarray, b: np.ndarray, groups: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]:
    """Is a better than b? Scores `[seeds, clips]` or `[seeds, clips, T]` in percent, the same seeds and clips in both.

    groups: by kind of recording, which one is in each segment, `[clips, T]` or several, `[clips, T, k]`; -1 for none.

    One seed cannot say anything about seeds: its p value over seeds is 1.
    """
    difference = a - b
    seeds, clips = difference.shape[:2]
    by_segment = difference.reshape(seeds, clips, -1)
    recordings = {name: ids.reshape(clips, by_segment.shape[2], -1) for name, ids in (groups or {}).items()}
    means = resampled_means(by_segment, recordings)
    low, high = np.percentile(means, [2.5, 97.5])
    by_clip = by_segment.mean(2)
    over_seeds, over_clips = p_over_seeds(by_clip.mean(1)), p_over_clips(by_clip.mean(0))
    over_recordings = {
        name: p_over_clips(sums_by_recording(by_segment.mean(0), ids[:, :, 0])) for name, ids in recordings.items()
    }
    kinds = "".join(f", {len(np.unique(ids[ids != NOBODY]))} {name}s" for name, ids in recordings.items())
    flips = " or ".join(["clips", *(f"{name}s" for name in recordings)])
    return {
        "difference": float(difference.mean()),
        "ci95": [float(low), float(high)],
        "p_value": max(over_seeds, over_clips, *over_recordings.values()),
        "p_over_seeds": over_seeds,
        "p_over_clips": over_clips,
        **{f"p_over_{name}s": p_value for name, p_value in over_recordings.items()},
        "method": f"bootstrap over {seeds} seeds, {clips} clips{kinds}; p: the largest of a paired t test over seeds "
        f"and sign flips over {flips}",
    }


def resampled_means(difference: np.ndarray, recordings: Mapping[str, np.ndarray]) -> np.ndarray:
    """Means of differences `[seeds, clips, T]` with seeds, clips and recordings `[clips, T, k]` drawn anew."""
    seeds, clips, segments = difference.shape
    flat = difference.reshape(seeds, -1) if recordings else difference.mean(2)
    rng = np.random.default_rng(0)

    def drawn(count: int, rows: int) -> np.ndarray:
        return rng.multinomial(count, np.full(count, 1 / count), rows)

    means = []
    for start in range(0, RESAMPLES, CHUNK):
        rows = min(CHUNK, RESAMPLES - start)
        values = drawn(seeds, rows) @ flat / seeds
        weights = np.repeat(drawn(clips, rows), flat.shape[1] // clips, axis=1)
        for ids in recordings.values():
            known, places = np.unique(ids, return_inverse=True)
            counts = np.ones((rows, len(known)), dtype=np.int64)
            named = known != NOBODY
            counts[:, named] = drawn(int(named.sum()), rows)
            for kept in places.reshape(clips * segments, -1).T:
                weights = weights * counts[:, kept]
        means.append((values * weights).sum(1) / np.maximum(1, weights.sum(1)))
    return np.concatenate(means)


def sums_by_recording(difference: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Differences `[clips, T]` summed over the segments that share a recording; without one, over those of a clip."""
    clips = np.arange(len(ids))[:, None]
    _, places = np.unique(np.where(ids == NOBODY, ids.max() + 1 + clips, ids), return_inverse=True)
    return np.bincount(places.ravel(), difference.ravel())


def p_over_seeds(differences: np.ndarray) -> float:
    """Paired t test of the seeds' mean differences, `[seeds]`."""
    if len(differences) < 2 or not differences.any():
        return 1.0
    if np.ptp(differences) < 1e-9 * abs(differences.mean()):
        return 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def p_over_clips(differences: np.ndarray) -> float:
    """Sign-flip permutation of differences by clip, or by recording, `[clips]`."""
    if not differences.any():
        return 1.0
    found = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES, rng=0
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p values: of m, the k-th smallest times m - k + 1, never below the one before, at most 1."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors))
    result = np.empty(len(p_values))
    result[order] = corrected
    return result.tolist()


def paired_tests(
    scores: dict[str, dict[int, np.ndarray]],
    pairs: Sequence[tuple[str, str]],
    groups: Mapping[str, np.ndarray] | None = None,
) -> list[dict[str, Any]]:
    """The first of each of `pairs` against the second, over the seeds that both have. scores: `[clips]` or `[clips, T]`
    by variant and seed. groups: as in `paired_difference`. A difference is `shown` over five seeds at least.
    """
    tests = []
    for variant, other in pairs:
        common = sorted(scores[variant].keys() & scores[other].keys())
        if not common:
            continue
        a, b = (np.stack([scores[name][seed] for seed in common]) for name in (variant, other))
        tests.append({"a": variant, "b": other, "seeds": common, **paired_difference(a, b, groups)})
    for test, corrected in zip(tests, holm([test["p_value"] for test in tests]), strict=True):
        test["p_holm"] = corrected
        certain = corrected < SIGNIFICANT and not test["ci95"][0] <= 0 <= test["ci95"][1]
        test["shown"] = certain and len(test["seeds"]) >= ENOUGH_SEEDS
    return tests


def compare_with_baseline(
    scores: dict[str, dict[int, np.ndarray]], baseline: str, groups: Mapping[str, np.ndarray] | None = None
) -> list[dict[str, Any]]:
    """`paired_tests` of every other variant against the baseline."""
    return paired_tests(scores, [(variant, baseline) for variant in scores if variant != baseline], groups)
