"""Integer arithmetic, and every weight, membrane and value that moves, at a price that grows with its memory.

Lemaire et al., arXiv 2210.13107, as SpikingJelly's `LemaireEnergyProfiler` has it, but for addressing, which is left
out. A weight, membrane or value lies in a memory as large as all weights that its module reads, its membranes or its
largest tensor; a spike's accumulate reads and writes the sum that it adds to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snn_cace.counting.costs import ModuleCount, Operations
from snn_cace.counting.models.base import EnergyModel, Price, price
from snn_cace.errors import InputError

WORD_BYTES = 4


@dataclass
class AccessPrices:
    """picojoules of a 32-bit access to a memory of each of `sizes_bytes`, which grow; linear in between, constant below
    and above.
    """

    source: str = (
        "a 64-bit access to caches of 8 KB, 32 KB and 1 MB: Horowitz 2014; charged for each 32-bit word, as Lemaire et "
        "al. do; linear in between, constant below and above"
    )
    sizes_bytes: list[float] = field(default_factory=lambda: [8192, 32768, 1048576])
    picojoules: list[float] = field(default_factory=lambda: [10, 20, 100])


@dataclass
class Sram(EnergyModel):
    """Prices of integer arithmetic, and of memory by its size.

    Raises:
        InputError: sizes that do not grow, or that have no price each.
    """

    name, title, heading = "sram", "all traffic priced by memory size", "by memory size"
    charges = "charges more where a memory is large"

    add: Price = price(0.1, "32-bit integer add at 45 nm: Horowitz 2014, as Lemaire et al. take it (arXiv 2210.13107)")
    multiply: Price = price(3.1, "32-bit integer multiply at 45 nm: Horowitz 2014, as Lemaire et al. take it")
    access: AccessPrices = field(default_factory=AccessPrices)

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes, prices = self.access.sizes_bytes, self.access.picojoules
        if len(sizes) != len(prices) or sorted(set(sizes)) != sizes:
            raise InputError("sram.access: sizes_bytes must grow, and picojoules name one price for each")
        if min(prices) < 0:
            raise InputError("sram.access: prices of energy must not be negative")

    def picojoules(self, part: Operations, module: ModuleCount, weight_reads: float) -> float:
        add, multiply = self.add.picojoules, self.multiply.picojoules
        arithmetic = (
            (add + multiply) * (part.macs + part.transcendental)
            + min(add + multiply, module.bits * add) * part.narrow_macs
            + add * (part.acs + part.comparisons)
        )
        values = part.value_reads * module.bits / (8 * WORD_BYTES) + part.value_writes + part.zero_flags
        return (
            arithmetic
            + self.access_to(module.weights) * weight_reads
            + self.access_to(module.state) * (part.state_reads + part.state_writes)
            + self.access_to(module.buffer) * (values + 2 * part.synops)
        )

    def access_to(self, words: float) -> float:
        """picojoules of an access to a memory of so many words."""
        return float(np.interp(words * WORD_BYTES, self.access.sizes_bytes, self.access.picojoules))

    def sources(self) -> list[tuple[str, Any, str]]:
        access = self.access
        steps = zip(access.picojoules, access.sizes_bytes, strict=True)
        listed = ", ".join(f"{cost:g} at {size:g} B" for cost, size in steps)
        return [*super().sources(), (f"{self.name}.access, pJ", listed, access.source)]
