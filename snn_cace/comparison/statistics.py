"""Is one variant better than another? Paired over seeds and clips, corrected for the number of tests.

The interval is a percentile bootstrap that draws seeds and clips anew together, so it carries both uncertainties. Clips
of one data set may share recordings; where its reader names them, seeds and each kind of recording are drawn anew too,
each kind by itself, and the interval holds all of these intervals: drawing clips and all recordings at once would count
the same noise several times.

Tests ask whether the mean difference is zero: a paired t test over seeds (clips as they are), and sign-flip
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

from snn_cace.comparison.schema import Difference
from snn_cace.contracts import ENOUGH_SEEDS

RESAMPLES = 9999
CHUNK = 1000
"""Resamples at a time."""
SIGNIFICANT = 0.05
NOBODY = -1
"""Where a segment has no recording of a kind."""


def paired_difference(a: np.ndarray, b: np.ndarray, groups: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]:
    """Is a better than b? Scores `[seeds, clips]` or `[seeds, clips, T]` in percent, the same seeds and clips in both;
    NaN in padding.

    groups: by kind of recording, which one is in each segment, `[clips, T]`; -1 for none.

    One seed cannot say anything about seeds: its p value over seeds is 1.
    """
    difference = a - b
    seeds, clips = difference.shape[:2]
    by_segment = difference.reshape(seeds, clips, -1)
    numbered = np.arange(clips)[:, None].repeat(by_segment.shape[2], axis=1)
    units = {"clip": numbered} | {name: or_clip(ids, numbered) for name, ids in (groups or {}).items()}
    sums = {name: sums_by_unit(by_segment, ids) for name, ids in units.items()}
    intervals = [np.percentile(resampled_means(*found), [2.5, 97.5]) for found in sums.values()]
    own = ~np.isnan(by_segment[0])
    of_seeds = by_segment[:, own].mean(1)
    over_seeds = p_over_seeds(of_seeds)
    over_units = {f"p_over_{name}s": p_by_sign_flips(totals.mean(0)) for name, (totals, _) in sums.items()}
    counted = " or ".join(f"{totals.shape[1]} {name}s" for name, (totals, _) in sums.items())
    return {
        "difference": float(of_seeds.mean()),
        "ci95": [float(min(low for low, _ in intervals)), float(max(high for _, high in intervals))],
        "p_value": max(over_seeds, *over_units.values()),
        "p_over_seeds": over_seeds,
        **over_units,
        "method": f"bootstrap over {seeds} seeds and {counted}; p: the largest of a paired t test over seeds and sign "
        f"flips over {' or '.join(f'{name}s' for name in sums)}",
    }


def or_clip(ids: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """Recordings `[clips, T]`; a segment without one goes with its clip."""
    return np.where(ids == NOBODY, ids.max() + 1 + clips, ids)


def sums_by_unit(difference: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences `[seeds, clips, T]` summed over the segments of each unit, `[seeds, units]`, and how many segments
    each has, `[units]`. ids: the unit of each segment, `[clips, T]`.
    """
    own = ~np.isnan(difference[0])
    _, places = np.unique(ids[own], return_inverse=True)
    places = places.ravel()
    totals = np.stack([np.bincount(places, of_seed[own]) for of_seed in difference])
    return totals, np.bincount(places).astype(float)


def resampled_means(totals: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Means of differences over segments, with seeds and units of `sums_by_unit` drawn anew."""
    seeds, units = totals.shape
    rng = np.random.default_rng(0)
    means = []
    for start in range(0, RESAMPLES, CHUNK):
        rows = min(CHUNK, RESAMPLES - start)
        of_seeds, of_units = (rng.multinomial(n, np.full(n, 1 / n), rows) for n in (seeds, units))
        means.append(((of_seeds @ totals / seeds) * of_units).sum(1) / np.maximum(1, of_units @ segments))
    return np.concatenate(means)


def student_interval(values: Sequence[float] | np.ndarray) -> list[float]:
    """The 95 % interval of the mean of two values at least, by Student's distribution: from, to."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return [float(np.mean(values) - half), float(np.mean(values) + half)]


def p_over_seeds(differences: np.ndarray) -> float:
    """Paired t test of the seeds' mean differences, `[seeds]`."""
    if len(differences) < 2 or not differences.any():
        return 1.0
    if np.ptp(differences) < 1e-9 * abs(differences.mean()):
        return 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def p_by_sign_flips(differences: np.ndarray) -> float:
    """Sign-flip permutation of differences by clip or by recording, `[units]`."""
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
) -> list[Difference]:
    """The first of each of `pairs` against the second, over the seeds that both have. scores: `[clips]` or `[clips, T]`
    by variant and seed. groups: as in `paired_difference`. A difference is `shown` over five seeds at least.
    """
    tests: list[Any] = []
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
