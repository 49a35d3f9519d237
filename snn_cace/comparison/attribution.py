"""What the spikes themselves do: the chain dense → rectified → leaky → quantised → spiking, link by link.

Each link takes one step from the dense network to the spiking one: the shape and norm of its blocks, the memory of its
membranes, the bits of its values, and, last, its spikes. Differences of neighbours add up to the whole difference, in
accuracy and in energy. Accuracy is tested as everywhere (`comparison.statistics`). Energy is of each network at its
best count; its interval is Student's over seeds, since seeds are all that it varies with here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from snn_cace.comparison.summary import ControlOf

CHAIN = ("rectified", "leaky", "quantised")
"""Controls in the order of the chain."""
PARTS = {"rectified": "shape and norm", "leaky": "memory", "quantised": "bits", "spiking": "spikes"}
"""What the link that ends at each adds."""

Chain = list[tuple[str, str]]
"""Kinds and names of variants, from `dense` to `spiking`."""


def chain_of(variant: dict[str, Any], controls: Sequence[ControlOf], present: Collection[str]) -> Chain:
    """The chain of a spiking variant: its ANN, those of its controls that are there, and itself."""
    own = {control.kind: control.name for control in controls if control.of == variant["name"]}
    between = [(kind, own[kind]) for kind in CHAIN if own.get(kind) in present]
    return [("dense", variant["dense_counterpart"]), *between, ("spiking", variant["name"])]


def pairs_of(chain: Chain) -> list[tuple[str, str]]:
    """The later against the earlier of every two neighbours."""
    return [(later, earlier) for (_, earlier), (_, later) in pairwise(chain)]


def attribution(chain: Chain, variants: dict[str, dict[str, Any]], tests: list[dict[str, Any]]) -> dict[str, Any]:
    """The links of a chain and the whole, in accuracy and energy."""
    tested = {(test["a"], test["b"]): test for test in tests}
    (_, first), (_, last) = chain[0], chain[-1]

    def link(kind: str, earlier: str, later: str) -> dict[str, Any]:
        before, after = variants[earlier], variants[later]
        return {
            "part": PARTS[kind],
            "from": earlier,
            "to": later,
            "accuracy": tested.get((later, earlier)),
            "energy": {model: energy_difference(before, after, model) for model in before["best"]},
        }

    links = [link(kind, earlier, later) for (_, earlier), (kind, later) in pairwise(chain)]
    return {"variant": last, "dense": first, "links": links, "whole": link("spiking", first, last) | {"part": "whole"}}


def energy_difference(before: dict[str, Any], after: dict[str, Any], model: str) -> dict[str, Any]:
    """Millijoules per clip of one variant less another's, each at its best count, paired over common seeds; None for
    the interval of one seed.
    """
    by_seed = [dict(zip(v["seeds"], v["best"][model]["values"], strict=True)) for v in (before, after)]
    common = sorted(by_seed[0].keys() & by_seed[1].keys())
    differences = np.array([by_seed[1][seed] - by_seed[0][seed] for seed in common])
    interval = None
    if len(differences) > 1:
        half = stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / len(differences) ** 0.5
        interval = [float(differences.mean() - half), float(differences.mean() + half)]
    return {"difference_mj": float(differences.mean()), "ci95_mj": interval}
