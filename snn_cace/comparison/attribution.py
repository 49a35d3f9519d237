"""Attribution of the difference between ANN and SNN: the chain dense → rectified → leaky → quantised → spiking.

Each link takes one step from the dense network to the spiking one: the shape and norm of its blocks, the memory of its
membranes, the bits of its values, and, last, its spikes. Differences of neighbours add up to the whole difference; in
energy `elsewhere` is one of them. Accuracy is tested as everywhere (`comparison.statistics`). Energy is of each network
at its best count; its interval is Student's over seeds, since seeds are all that it varies with here.

The energy of the last link is that of the modules that spike or read spikes, at each network's best count. All others
are the same in both. What they differ by, since zeros are skipped and training leaves other zeros, is `elsewhere`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from snn_cace.comparison.schema import Attribution, Difference, EnergyDifference, Link, Variant
from snn_cace.comparison.statistics import student_interval

if TYPE_CHECKING:
    from snn_cace.comparison.plan import ControlOf

PARTS = {"rectified": "shape and norm", "leaky": "memory", "quantised": "bits", "spiking": "spikes"}
"""What each kind adds to the one before, in the order of the chain."""


@dataclass(frozen=True)
class Chain:
    """Kinds and names of variants, from `dense` to `spiking`. has_memory: the spiking one carries a leaky
    membrane, as its controls do. alone: it carries what none of them has.
    """

    members: list[tuple[str, str]]
    has_memory: bool
    alone: bool = False

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The later against the earlier of every two neighbours."""
        return [(later, earlier) for (_, earlier), (_, later) in pairwise(self.members)]

    @property
    def whole(self) -> tuple[str, str]:
        """The spiking one against the dense one."""
        return self.members[-1][1], self.members[0][1]

    def is_complete(self, tests: Sequence[Difference]) -> bool:
        """Whether there is a control, and every link and the whole were tested: seeds that failed may leave none."""
        return len(self.members) > 2 and {*self.pairs, self.whole} <= {(test["a"], test["b"]) for test in tests}

    def adds(self, earlier: str, later: str) -> str:
        """What lies between two kinds: `memory, bits and spikes` where no control tells them apart."""
        order = [kind for kind in PARTS if self.has_memory or kind != "leaky"]
        first = order.index(earlier) + 1 if earlier in order else 0
        *others, last = (PARTS[kind] for kind in order[first : order.index(later) + 1])
        if self.alone and later == "spiking" and PARTS["leaky"] not in others:
            others.append(PARTS["leaky"])
        return f"{', '.join(others)} and {last}" if others else last


def chain_of(
    variant: Variant, controls: Sequence[ControlOf], present: Collection[str], has_memory: bool, alone: bool
) -> Chain:
    """The chain of a spiking variant: its ANN, those of its controls that are there, and itself."""
    own = {control.kind: control.name for control in controls if control.of == variant["name"]}
    between = [(kind, own[kind]) for kind in PARTS if own.get(kind) in present]
    dense = variant["dense_counterpart"]
    assert dense is not None
    return Chain([("dense", dense), *between, ("spiking", variant["name"])], has_memory, alone)


def attribution(chain: Chain, variants: dict[str, Variant], tests: list[Difference]) -> Attribution:
    """The links of a chain and the whole, in accuracy and energy."""
    tested = {(test["a"], test["b"]): test for test in tests}

    def link(part: str, earlier: str, later: str) -> Link:
        before, after = variants[earlier], variants[later]
        return {
            "part": part,
            "from": earlier,
            "to": later,
            "accuracy": tested[later, earlier],
            "energy": {model: energy_difference(before, after, model) for model in before["best"]},
        }

    links = [link(chain.adds(a, b), earlier, later) for (a, earlier), (b, later) in pairwise(chain.members)]
    last, first = chain.whole
    found: Attribution = {"variant": last, "dense": first, "links": links, "whole": link("whole", first, last)}
    control, spiking, models = variants[links[-1]["from"]], variants[last], links[-1]["energy"]
    found["elsewhere"] = {model: energy_difference(control, spiking, model, "elsewhere") for model in models}
    links[-1]["energy"] = {model: energy_difference(control, spiking, model, "touched") for model in models}
    return found


Where = Literal["everywhere", "touched", "elsewhere"]


def energies_of(variant: Variant, model: str, where: Where) -> dict[int, float]:
    """Millijoules per clip by seed, at a variant's best count: of all of it, of what spikes touch, or of the rest."""
    best = variant["best"][model]
    whole = np.array(best["values"])
    if where != "everywhere":
        touched = np.array(variant["counts"][best["count"]]["touched_values_mj"][model])
        whole = touched if where == "touched" else whole - touched
    return dict(zip(variant["seeds"], whole.tolist(), strict=True))


def energy_difference(before: Variant, after: Variant, model: str, where: Where = "everywhere") -> EnergyDifference:
    """Millijoules per clip of one variant less another's, each at its best count, paired over common seeds; None for
    the interval of one seed.
    """
    by_seed = [energies_of(variant, model, where) for variant in (before, after)]
    common = sorted(by_seed[0].keys() & by_seed[1].keys())
    differences = np.array([by_seed[1][seed] - by_seed[0][seed] for seed in common])
    interval = student_interval(differences) if len(differences) > 1 else None
    return {"difference_mj": float(differences.mean()), "ci95_mj": interval}
