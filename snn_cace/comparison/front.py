"""Energy at equal accuracy: each spiking network beside the cheapest network without spikes that is as accurate.

A control has the shape of one spiking network. Another control, of another penalty or of fewer bits, may be cheaper at
the same accuracy, so what spikes save must hold against all of them: the ANNs and every control of a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snn_cace.comparison.attribution import energy_difference
from snn_cace.comparison.schema import Variant

EQUAL_POINTS = 0.5
"""Points of accuracy by which the cheaper network may be worse, and still counts as as accurate."""


@dataclass
class Rivalry:
    """A spiking network against the cheapest network without spikes that is as accurate, by one energy model.

    rival: None where no network without spikes is as accurate; the rest is of no use then. points: accuracy less the
    rival's. percent: energy less the rival's, of the rival's. interval: 95 %, Student's over seeds that both have; None
    of one seed.
    """

    spiking: str
    rival: str | None
    points: float = 0.0
    percent: float = 0.0
    interval: tuple[float, float] | None = None

    @property
    def is_equal(self) -> bool:
        """Whether the spiking network is as accurate as its rival, so that what it saves is not paid in accuracy."""
        return self.points >= -EQUAL_POINTS


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Pairs of energy and accuracy than which none is better in both, by growing energy."""
    best: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return best


def rivalries(variants: Sequence[Variant], model: str) -> list[Rivalry]:
    """Each spiking variant of comparison.json against its rival by an energy model: most saved at equal accuracy first,
    then at a lower one, without a rival last.
    """
    silent = [variant for variant in variants if variant["kind"] != "snn"]
    found = []
    for spiking in (variant for variant in variants if variant["kind"] == "snn"):
        rivals = [variant for variant in silent if accuracy(variant) >= accuracy(spiking) - EQUAL_POINTS]
        rival = min(rivals, key=lambda variant: variant["best"][model]["mean"], default=None)
        found.append(rivalry(spiking, rival, model) if rival else Rivalry(spiking["name"], None))
    return sorted(found, key=lambda one: (one.rival is None, not one.is_equal, one.percent))


def rivalry(spiking: Variant, rival: Variant, model: str) -> Rivalry:
    difference, percent = energy_difference(rival, spiking, model), 100 / rival["best"][model]["mean"]
    interval = difference["ci95_mj"]
    return Rivalry(
        spiking["name"],
        rival["name"],
        accuracy(spiking) - accuracy(rival),
        percent * difference["difference_mj"],
        None if interval is None else (percent * interval[0], percent * interval[1]),
    )


def accuracy(variant: Variant) -> float:
    return variant["test_segment_accuracy"]["mean"]
