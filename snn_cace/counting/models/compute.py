"""Arithmetic alone, 32-bit float at 45 nm, which is what most publications quote (Horowitz, ISSCC 2014)."""

from __future__ import annotations

from dataclasses import dataclass

from snn_cace.counting.costs import ModuleCount, Operations
from snn_cace.counting.models.base import EnergyModel, Price, price


@dataclass
class Compute(EnergyModel):
    """Prices of a multiply-accumulate, an accumulate, a comparison, and of exp, tanh, a root or a division (special).

    An activation of b bits makes a MAC b shifted additions: b ACs, never more than the MAC's own price.
    """

    name, title, heading, has_traffic = "compute", "arithmetic alone", "arithmetic", False
    charges = "charges for no memory"

    mac: Price = price(
        4.6, "32-bit float multiply 3.7 pJ + add 0.9 pJ at 45 nm: Horowitz, ISSCC 2014, doi 10.1109/ISSCC.2014.6757323"
    )
    ac: Price = price(0.9, "32-bit float add at 45 nm: Horowitz 2014")
    comparison: Price = price(0.9, "assumption: a comparison is a subtraction")
    special: Price = price(
        4.6, "assumption: exp, tanh, sigmoid, square root and division at the price of a MAC each; real units need more"
    )

    def picojoules(self, part: Operations, module: ModuleCount, weight_reads: float) -> float:
        return (
            self.mac.picojoules * part.macs
            + min(self.mac.picojoules, module.bits * self.ac.picojoules) * part.narrow_macs
            + self.ac.picojoules * part.acs
            + self.comparison.picojoules * part.comparisons
            + self.special.picojoules * part.transcendental
        )
