"""How often what `compare` prints is wrong: false positives and coverage, with variances from real runs and wider ones.

.venv/bin/python benchmarks/false_positives.py COMPARISON_DIRECTORY VARIANT [REPEATS]

Differences of two variants are drawn as mean + seed effect + clip effect + rest: seed effects normal, clip effects and
rest from those of VARIANT less the comparison's first; seed effects also half and twice as large. Each is put through
the same interval and tests as a comparison.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from snn_cace.comparison import statistics
from snn_cace.comparison.statistics import SIGNIFICANT, paired_tests
from snn_cace.comparison.summary import segment_scores
from snn_cace.training.checkpoints import RunFiles

SEEDS, MEANS, SCALES, RESAMPLES, REPEATS = (3, 5, 10), (0.0, 3.0), (0.5, 1.0, 2.0), 999, 400


def differences(directory: Path, second: str) -> tuple[str, np.ndarray]:
    """Percent by seed and clip `[S, N]`, of the variant `second` less the first."""
    result = json.loads((directory / "comparison.json").read_text())
    first = result["baseline"]
    scores = {
        (run["variant"], run["seed"]): segment_scores(RunFiles(Path(run["directory"]))).mean(1)
        for run in result["runs"]
    }
    seeds = sorted(seed for name, seed in scores if name == first and (second, seed) in scores)
    return f"{second} less {first}", np.stack([scores[second, seed] - scores[first, seed] for seed in seeds])


def main(directory: Path, variant: str, repeats: int) -> None:
    statistics.RESAMPLES = RESAMPLES
    name, found = differences(directory, variant)
    seeds, clips = found.shape
    clip_effects = found.mean(0) - found.mean()
    rest = found - found.mean(1, keepdims=True) - clip_effects
    rest *= np.sqrt(seeds / max(1, seeds - 1))
    seed_deviation = found.mean(1).std(ddof=1)  # at most, since some of it is the rest
    clip_share = np.sqrt(max(0.0, 1 - rest.var() / seeds / clip_effects.var()))
    print(
        f"{name}: {seeds} seeds, {clips} clips; standard deviations in points: seeds {seed_deviation:.2f}, "
        f"clips {clip_share * clip_effects.std():.1f}, rest {rest.std():.1f}; {repeats} draws, {RESAMPLES} resamples\n"
    )
    headings = ("seeds", "seed effects, times ours", "true difference, points", "p below 0.05, %", "in the interval, %")
    print(f"| {' | '.join(headings)} |\n| {' | '.join(['---'] * len(headings))} |")
    rng = np.random.default_rng(0)
    for number, scale, mean in itertools.product(SEEDS, SCALES, MEANS):
        certain = covered = 0
        for _ in range(repeats):
            drawn = mean + rng.normal(0, scale * seed_deviation, (number, 1))
            drawn = drawn + clip_share * rng.choice(clip_effects, clips) + rng.choice(rest.ravel(), (number, clips))
            same = {seed: np.zeros(clips) for seed in range(number)}
            (test,) = paired_tests({"same": same, "drawn": dict(enumerate(drawn))}, [("drawn", "same")])
            low, high = test["ci95"]
            covered += low <= mean <= high
            certain += test["p_holm"] < SIGNIFICANT and not low <= 0 <= high
        shares = (f"{100 * part / repeats:.1f}" for part in (certain, covered))
        print(f"| {number} | {scale:g} | {mean:.0f} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else REPEATS)
