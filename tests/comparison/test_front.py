"""Energy at equal accuracy, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from snn_cace.comparison.front import pareto_front, rivalries
from snn_cace.report.conclusions import equal_accuracy_sentence


def variant(name: str, kind: str, accuracy: float, values: list[float]) -> dict[str, Any]:
    best = {"compute": {"mean": sum(values) / len(values), "values": values}}
    return {
        "name": name,
        "kind": kind,
        "seeds": list(range(len(values))),
        "test_segment_accuracy": {"mean": accuracy},
        "best": best,
    }


def test_a_rival_is_the_cheapest_network_without_spikes_within_half_a_point():
    variants = [
        variant("ann", "ann", 80.0, [4.0, 4.0]),
        variant("control", "control", 79.5, [2.0, 2.0]),
        variant("cheap", "control", 79.4, [1.0, 1.0]),
        variant("snn", "snn", 80.0, [1.5, 1.7]),
        variant("worse", "snn", 79.8, [0.9, 0.9]),
        variant("better", "snn", 81.0, [0.1, 0.1]),
    ]
    snn, worse, better = rivalries(variants, "compute")
    assert (worse.spiking, worse.rival, better.spiking, better.rival) == ("worse", "cheap", "better", None)
    assert (snn.spiking, snn.rival, snn.points, snn.is_equal) == ("snn", "control", 0.5, True)
    assert snn.percent == pytest.approx(-20.0)
    half = 50 * 12.706205 * 0.02**0.5 / 2**0.5  # Student's t of one degree of freedom, in percent of 2 mJ
    assert snn.interval == pytest.approx((-20 - half, -20 + half))


def test_what_is_paid_for_in_accuracy_comes_after_what_is_saved_at_equal_accuracy():
    variants = [
        variant("control", "control", 84.0, [2.0, 2.0]),
        variant("poor", "snn", 80.0, [1.0, 1.0]),
        variant("good", "snn", 83.6, [1.9, 1.9]),
    ]
    good, poor = rivalries(variants, "compute")
    assert (good.spiking, good.is_equal, poor.spiking, poor.is_equal) == ("good", True, "poor", False)
    assert (good.percent, poor.percent) == (pytest.approx(-5), pytest.approx(-50))
    said = equal_accuracy_sentence([good, poor])
    assert "cheaper by 1, cheaper and less accurate by 1, of 2 energy models" in said


def test_a_front_has_what_is_not_beaten_in_both():
    assert pareto_front([(3, 90), (1, 80), (2, 79), (4, 89), (1, 70)]) == [(1, 80), (3, 90)]
