"""Energy at equal accuracy, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from snn_cace.comparison.front import pareto_front, rivalries


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
    assert (snn.spiking, snn.rival) == ("snn", "control")
    assert snn.percent == pytest.approx(-20.0)
    half = 50 * 12.706205 * 0.02**0.5 / 2**0.5  # Student's t of one degree of freedom, in percent of 2 mJ
    assert snn.interval == pytest.approx((-20 - half, -20 + half))


def test_a_front_has_what_is_not_beaten_in_both():
    assert pareto_front([(3, 90), (1, 80), (2, 79), (4, 89), (1, 70)]) == [(1, 80), (3, 90)]
