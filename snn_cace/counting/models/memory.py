"""Arithmetic and traffic at one price per byte, as SpikingJelly's `SimpleEnergyProfiler` has it, after STEP.

Every weight is read as often as it is used. Every membrane, and every accumulator that is held until the last step, is
read and written at every simulation step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from snn_cace.counting.costs import ModuleCount, Operations
from snn_cace.counting.models.base import EnergyModel, Price, price
from snn_cace.counting.models.compute import Compute


@dataclass
class Memory(EnergyModel):
    """Price of a byte, wherever it lies, beside arithmetic."""

    name, title, heading = "memory", "arithmetic with weight and state traffic", "with traffic"
    charges = "charges for every membrane and weight that is read"

    word_bytes: int = 4
    byte: Price = price(
        24.96, "3.12 pJ per bit, as SpikingJelly's SimpleEnergyProfiler takes it from STEP, openreview SzwU2XrXIS"
    )

    arithmetic: Compute = field(default_factory=Compute)

    def picojoules(self, part: Operations, module: ModuleCount, weight_reads: float) -> float:
        words = weight_reads + part.state_reads + part.state_writes + 2 * part.partial_sums + part.zero_flags
        arithmetic = self.arithmetic.picojoules(part, module, weight_reads)
        return arithmetic + self.byte.picojoules * self.word_bytes * words
