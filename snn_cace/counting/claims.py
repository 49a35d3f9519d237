"""Whether somebody's claimed numbers hold: a card of claims beside an audit of the same network.

MACs and ACs are those of the audit's table, neuron updates included. A number without these holds too: MACs of layers
that read no spikes, F, and SynOps. Each finding names a mistake by the number that it would give. With A ACs or SynOps,
firing rate r, and T simulation steps:

| claimed | means |
| --- | --- |
| additions of r A | rate applied twice: A is already of spikes alone |
| additions of A / T | steps forgotten |
| additions of A + F | first layer counted as accumulates, though it reads values |
| energy of MACs and ACs alone | memory left out |
| a baseline of 16 bits or more | baseline not quantised: T steps are worth ceil(log2(T + 1)) bits |
| an epoch picked on the split that is reported | test split used for picking |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, log2
from typing import Any

from snn_cace.counting.energy import MILLIJOULES_PER_PICOJOULE
from snn_cace.counting.models import MODELS
from snn_cace.counting.units import count, microjoules, rate_percent
from snn_cace.errors import InputError

TOLERANCE = 0.05
"""Numbers within this share of each other are the same."""


@dataclass
class Accuracy:
    """percent: of the network. seeds: that it is the mean of. split: that it is of. picked_on: that the epoch or the
    settings were picked on.
    """

    percent: float | None = None
    seeds: int = 1
    split: str = "test"
    picked_on: str = "validation"


@dataclass
class Baseline:
    """The network that is compared with: its bits of activations, MACs per clip, and energy in millijoules."""

    bits: int = 32
    macs: float | None = None
    energy_mj: float | None = None


@dataclass
class Claims:
    """A card of claims, per clip.

    Args:
        claim: in words.
        simulation_steps: T.
        firing_rate: spikes per neuron and simulation step.
        macs: multiply-accumulates.
        acs: accumulates.
        energy_mj: of the network, in millijoules.
        energy_model: by which, one of `snn_cace.counting.models`.
        accuracy: of the network.
        baseline: what it is compared with.
    """

    claim: str = ""
    simulation_steps: int | None = None
    firing_rate: float | None = None
    macs: float | None = None
    acs: float | None = None
    energy_mj: float | None = None
    energy_model: str = "compute"
    accuracy: Accuracy = field(default_factory=Accuracy)
    baseline: Baseline | None = None

    def __post_init__(self) -> None:
        if self.energy_model not in MODELS:
            raise InputError(f"energy_model: no {self.energy_model}; there are {', '.join(MODELS)}")
        if self.simulation_steps is not None and self.simulation_steps < 1:
            raise InputError(f"simulation_steps: {self.simulation_steps} must be at least 1")


def close(claimed: float | None, found: float) -> bool:
    return claimed is not None and abs(claimed - found) <= TOLERANCE * max(abs(found), abs(claimed), 1e-12)


def check_claims(claims: Claims, audit: dict[str, Any]) -> list[str]:
    """What of the claims does not hold, a sentence each; audit: `Audit.as_json` of the network."""
    return [*counts(claims, audit), *energies(claims, audit), *comparisons(claims, audit)]


def counts(claims: Claims, audit: dict[str, Any]) -> Iterator[str]:
    """Of operations, rates and steps."""
    event, steps = audit["counts"]["event_driven"], claims.simulation_steps or audit["simulation_steps"]
    macs, acs, synops = (event["operations"][key] for key in ("macs", "acs", "synops"))
    conservative = audit["counts"]["conservative"]["operations"]
    analog = sum(m["macs"] for m in event["modules"] if not m["synops"] and not m["neuron_updates"])
    rate = audit["firing_rate"] if claims.firing_rate is None else claims.firing_rate
    if claims.simulation_steps not in (None, audit["simulation_steps"]):
        yield f"simulation steps: {claims.simulation_steps} claimed, {audit['simulation_steps']} ran"
    measured = audit["firing_rate"]
    if measured is None and claims.firing_rate:
        yield f"firing rate: {rate_percent(claims.firing_rate)} % claimed, but nothing fires here"
    if measured is not None and claims.firing_rate is not None and not close(claims.firing_rate, measured):
        claimed = rate_percent(claims.firing_rate)
        yield f"firing rate: {claimed} % claimed, {rate_percent(measured)} % measured on these inputs"
    if claims.acs is not None and not any(close(claims.acs, a) for a in (acs, synops, conservative["acs"])):
        mistakes = {
            "steps forgotten": lambda a: a / steps,
            "rate applied twice": lambda a: a * (rate or 1.0),
            "rate applied twice and steps forgotten": lambda a: a * (rate or 1.0) / steps,
            "first layer counted as accumulates": lambda a: a + analog,
        }
        why = [
            name
            for name, mistaken in mistakes.items()
            for a in (acs, synops)
            if close(claims.acs, mistaken(a)) and not close(a, mistaken(a))
        ]
        found = f"ACs: {count(claims.acs)} claimed, {count(acs)} counted, {count(synops)} of them SynOps"
        yield found + (f": {why[0]}" if why else "")
    if claims.macs is not None and not any(close(claims.macs, m) for m in (macs, analog, conservative["macs"])):
        few = claims.macs < TOLERANCE * analog
        yield f"MACs: {count(claims.macs)} claimed, {count(macs)} counted" + (
            ": first layer counted as accumulates" if few else ""
        )


def energies(claims: Claims, audit: dict[str, Any]) -> Iterator[str]:
    """Of the network's own energy."""
    if claims.energy_mj is None:
        return
    if claims.energy_model == "compute":
        if claims.macs is not None and claims.acs is not None:
            spent = priced(audit, claims.macs, claims.acs)
            if not close(claims.energy_mj, spent):
                claimed, own = microjoules(claims.energy_mj), microjoules(spent)
                yield f"energy: {claimed} µJ claimed, but its own MACs and ACs cost {own} µJ"
        with_memory = audit["counts"]["event_driven"]["energy_mj"]["memory"]
        yield f"memory left out: with traffic of weights and membranes the network takes {microjoules(with_memory)} µJ"
    found = [audit["counts"][name]["energy_mj"][claims.energy_model] for name in audit["counts"]]
    if not any(close(claims.energy_mj, spent) for spent in found):
        yield (
            f"energy: {microjoules(claims.energy_mj)} µJ claimed, {microjoules(min(found))} to "
            f"{microjoules(max(found))} µJ counted by {claims.energy_model}"
        )


def priced(audit: dict[str, Any], macs: float, acs: float) -> float:
    """Millijoules of so many MACs and ACs, at the prices of the audit."""
    prices = {row["name"]: row["value"] for row in audit["prices"]}
    return MILLIJOULES_PER_PICOJOULE * (prices["compute.mac, pJ"] * macs + prices["compute.ac, pJ"] * acs)


def comparisons(claims: Claims, audit: dict[str, Any]) -> Iterator[str]:
    """Of the baseline, and of how the network was picked."""
    steps = claims.simulation_steps or audit["simulation_steps"]
    bits = ceil(log2(steps + 1))
    if claims.baseline is not None and claims.baseline.bits >= 16 and audit["against_twin"]:
        ratio = audit["against_twin"][claims.energy_model]["ratio"]
        yield (
            f"baseline not quantised: {steps} steps are worth {bits} bits, not {claims.baseline.bits}; against "
            f"values of {bits} bits what spikes takes {100 * ratio:.0f} % by {claims.energy_model}"
        )
    if claims.baseline is not None and claims.baseline.macs and claims.baseline.energy_mj:
        spent = priced(audit, claims.baseline.macs, 0.0)
        if claims.energy_model == "compute" and not close(claims.baseline.energy_mj, spent):
            claimed = microjoules(claims.baseline.energy_mj)
            yield f"baseline: {claimed} µJ claimed, but its MACs of 32 bits cost {microjoules(spent)} µJ"
    if claims.accuracy.picked_on == claims.accuracy.split:
        yield f"{claims.accuracy.split} split used for picking: accuracy on it is not held out"
    if claims.accuracy.percent is not None and claims.accuracy.seeds < 5:
        yield f"accuracy of {claims.accuracy.seeds} seed(s): too few to tell a difference from chance"
