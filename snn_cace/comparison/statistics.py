"""Is one variant better than another? Paired over seeds and clips, corrected for the number of variants.

The interval is a percentile bootstrap that draws seeds and clips anew together, so it carries both uncertainties. Two
tests ask whether the mean difference is zero: a paired t test over seeds (clips as they are) and a sign-flip
permutation over clips (seeds as they are). The p value is the larger of the two, so that a difference counts only where
neither the choice of seeds nor that of clips explains it (an intersection-union test: Berger, Technometrics 24, 1982).
Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979) is over all pairs that a comparison tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

RESAMPLES = 9999
SIGNIFICANT = 0.05


def paired_difference(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Is a better than b? Scores `[seeds, clips]` in percent, the same seeds and clips in both.

    One seed cannot say anything about seeds: its p value over seeds is 1.
    """
    difference = a - b
    rng = np.random.default_rng(0)
    seeds, clips = difference.shape
    means = [
        difference[np.ix_(rng.integers(0, seeds, seeds), rng.integers(0, clips, clips))].mean()
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    over_seeds, over_clips = p_over_seeds(difference.mean(1)), p_over_clips(difference.mean(0))
    return {
        "difference": float(difference.mean()),
        "ci95": [float(low), float(high)],
        "p_value": max(over_seeds, over_clips),
        "p_over_seeds": over_seeds,
        "p_over_clips": over_clips,
        "method": f"bootstrap over {seeds} seeds and {clips} clips; p: the larger of a paired t test over seeds and "
        "sign flips over clips",
    }


def p_over_seeds(differences: np.ndarray) -> float:
    """Paired t test of the seeds' mean differences, `[seeds]`."""
    if len(differences) < 2 or not differences.any():
        return 1.0
    if np.ptp(differences) < 1e-9 * abs(differences.mean()):
        return 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def p_over_clips(differences: np.ndarray) -> float:
    """Sign-flip permutation of the clips' mean differences, `[clips]`."""
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


def compare_with_baseline(
    scores: dict[str, dict[int, np.ndarray]], baseline: str, pairs: Sequence[tuple[str, str]] = ()
) -> list[dict[str, Any]]:
    """Every other variant against the baseline, and the first of each of `pairs` against the second, over the seeds
    that both have. scores: `[clips]` by variant, seed.
    """
    tests = []
    for variant, other in [*((variant, baseline) for variant in scores if variant != baseline), *pairs]:
        common = sorted(scores[variant].keys() & scores[other].keys())
        if not common:
            continue
        a, b = (np.stack([scores[name][seed] for seed in common]) for name in (variant, other))
        tests.append({"a": variant, "b": other, "seeds": common, **paired_difference(a, b)})
    for test, corrected in zip(tests, holm([test["p_value"] for test in tests]), strict=True):
        test["p_holm"] = corrected
        test["shown"] = corrected < SIGNIFICANT and not test["ci95"][0] <= 0 <= test["ci95"][1]
    return tests
