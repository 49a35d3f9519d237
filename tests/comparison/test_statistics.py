"""What the statistics say of made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from snn_cace.comparison import statistics
from snn_cace.comparison.statistics import holm, or_clip, paired_difference, paired_tests, sums_by_unit


def test_a_constant_advantage_is_certain_and_equal_scores_are_no_difference():
    scores = np.random.default_rng(0).uniform(0, 100, (3, 50))
    better = paired_difference(scores + 5, scores)
    assert better["difference"] == pytest.approx(5)
    assert better["ci95"] == pytest.approx([5, 5])
    assert better["p_value"] < 0.001
    same = paired_difference(scores, scores)
    assert (same["difference"], same["ci95"], same["p_value"]) == (0, [0, 0], 1)


def test_noise_alone_is_not_significant_and_swapping_sides_mirrors_the_result():
    rng = np.random.default_rng(1)
    a, b = rng.normal(80, 10, (2, 3, 200))
    found, mirrored = paired_difference(a, b), paired_difference(b, a)
    assert found["ci95"][0] < 0 < found["ci95"][1]
    assert found["p_value"] > 0.05
    assert mirrored["difference"] == pytest.approx(-found["difference"])
    assert mirrored["ci95"] == pytest.approx([-found["ci95"][1], -found["ci95"][0]])


def test_seeds_that_disagree_are_no_evidence_however_many_clips_there_are():
    """Seeds that differ by -10, 10, -10, 12 on every clip: clips alone would be certain of +0.5."""
    a = np.repeat([[-10.0], [10], [-10], [12]], 500, axis=1) + 50
    found = paired_difference(a, np.full_like(a, 50))
    low, high = found["ci95"]
    assert high - low > 10
    assert found["p_over_clips"] < 0.001
    assert found["p_value"] == found["p_over_seeds"] > 0.5


def test_clips_that_disagree_are_no_evidence_however_alike_the_seeds():
    """Two clips, one 10 better, one 9 worse, in every seed."""
    a = np.tile([[10.0, -9.0]], (5, 1)) + 0.01 * np.arange(5)[:, None]
    found = paired_difference(a, np.zeros_like(a))
    assert found["p_over_seeds"] < 0.001
    assert found["p_value"] == found["p_over_clips"] == 1


def test_one_seed_says_nothing_about_seeds():
    scores = np.random.default_rng(0).uniform(0, 100, (1, 50))
    assert paired_difference(scores + 5, scores)["p_value"] == 1


def test_holm_by_hand():
    """0.01 x 4, 0.02 x 3 = 0.06, 0.03 x 2 = 0.06, 0.5: in order, never falling, back in their places."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.7, 0.9]) == [1, 1]
    assert holm([]) == []


def test_only_common_seeds_are_compared_and_a_difference_needs_test_and_interval():
    rng = np.random.default_rng(0)
    base = {seed: rng.normal(80, 10, 100) for seed in range(5)}
    base |= {5: rng.normal(80, 10, 100)}
    better = {seed: base[seed] + rng.normal(5, 1, 100) for seed in (1, 2, 3, 4, 5)} | {7: base[0]}
    same = {seed: base[seed] + rng.normal(0, 1, 100) for seed in range(5)}
    scores = {"base": base, "better": better, "same": same}
    first, second = paired_tests(scores, [("better", "base"), ("same", "base")])
    assert (first["a"], first["b"], first["seeds"], first["shown"]) == ("better", "base", [1, 2, 3, 4, 5], True)
    assert (second["a"], second["shown"]) == ("same", False)
    assert first["p_holm"] == pytest.approx(2 * first["p_value"])
    assert paired_tests({"base": base, "other": {9: base[0]}}, [("other", "base")]) == []


def test_four_seeds_show_nothing_however_certain_they_are():
    base = {seed: np.random.default_rng(seed).normal(80, 1, 200) for seed in range(4)}
    better = {seed: base[seed] + 9 for seed in base}
    (test,) = paired_tests({"base": base, "better": better}, [("better", "base")])
    assert test["p_holm"] < 0.001 and not test["shown"]


def test_a_recording_that_decides_alone_is_no_evidence_however_many_clips_share_it():
    """Four utterances, each in a quarter of 400 clips of two segments; two are 10 better, two 9 worse."""
    utterance = np.repeat(np.arange(4), 100)[:, None].repeat(2, axis=1)
    a = np.where(utterance < 2, 10.0, -9.0)[None].repeat(5, axis=0) + 0.01 * np.arange(5)[:, None, None]
    alone, grouped = (paired_difference(a, np.zeros_like(a), g) for g in (None, {"utterance": utterance}))
    width = [test["ci95"][1] - test["ci95"][0] for test in (alone, grouped)]
    assert width[1] > 5 * width[0]
    assert grouped["p_value"] == grouped["p_over_utterances"] > 0.5
    assert "4 utterances" in grouped["method"] and "flips over clips or utterances" in grouped["method"]


def test_intervals_cover_the_truth_where_clips_share_recordings(monkeypatch: pytest.MonkeyPatch):
    """400 simulations: 100 clips of four segments, 60 recordings with effects of their own. Without recordings, the
    interval is too narrow.
    """
    rng, covered = np.random.default_rng(0), {False: 0, True: 0}
    monkeypatch.setattr(statistics, "RESAMPLES", 499)
    monkeypatch.setattr(statistics, "p_by_sign_flips", lambda differences: 1.0)
    for _ in range(400):
        recording = rng.integers(0, 60, (100, 4))
        drawn = rng.normal(0, 5, 60)[recording] + rng.normal(0, 3, (5, 100, 4)) + rng.normal(0, 0.3, (5, 1, 1))
        for named in covered:
            groups = {"recording": recording} if named else None
            low, high = paired_difference(drawn, np.zeros_like(drawn), groups)["ci95"]
            covered[named] += low <= 0 <= high
    assert covered[False] / 400 < 0.85
    assert 0.92 < covered[True] / 400 < 0.98


def test_a_segment_without_a_recording_counts_with_its_clip():
    ids, clips = np.array([[3, -1], [3, 4], [-1, -1]]), np.array([[0, 0], [1, 1], [2, 2]])
    totals, segments = sums_by_unit(np.array([[[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]]), or_clip(ids, clips))
    assert sorted(zip(totals[0].tolist(), segments.tolist(), strict=True)) == [(2, 1), (11, 2), (20, 1), (300, 2)]
