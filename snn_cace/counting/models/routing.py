"""Few bits, memory and routing: what a spike costs beside a value of as many bits (Yan et al., arXiv 2409.08290v4).

An SNN of T simulation steps is compared with a network whose activations have ceil(log2(T + 1)) bits, which is our
control `quantised`. Per weight that is used, at firing rate r and for b bits:

    spiking:    T r (add + weight_bits * memory + sparse * hops)
    quantised:  b dense * hops + weight_bits * memory + mac

A membrane is read and written at every step. Spikes travel as addressed events, values over links that are set up
beforehand; that is why a spike is dear. Left out, as the authors do: control, and DRAM. Their network moves values that
are zero too, so compare the two by the conservative count.
"""

from __future__ import annotations

from dataclasses import dataclass

from snn_cace.counting.costs import ModuleCount, Operations
from snn_cace.counting.models.base import EnergyModel, Price, price

FITTED = "not read in the article: fitted to the crossovers that it prints (5.7 % at T = 5 and others)"


@dataclass
class Routing(EnergyModel):
    """Prices at 22 nm. weight_bits, state_bits, value_bits: of weights, of membranes, and of values that are not
    quantised. hops: links that a value or spike passes.
    """

    name, title, heading = "routing", "few bits, memory and routing", "routing"
    compared = False
    charges = "charges more to send a spike than a value"

    add: Price = price(0.05448, "accumulate, compare or subtract at 22 nm: Yan et al., as quoted from v4 by others")
    mac: Price = price(0.0165, f"a MAC of at most 3-bit values, idle where they are zero: {FITTED}")
    memory: Price = price(0.0388, f"a bit of SRAM, for weights and membranes: {FITTED}")
    sparse: Price = price(3.0, "a spike over one hop, normalised from Loihi: Yan et al., as quoted from v4 by others")
    dense: Price = price(0.25, "a bit over one hop of circuit-switched links: Yan et al., as quoted from v4 by others")
    weight_bits: int = 4
    state_bits: int = 8
    value_bits: int = 8
    hops: float = 1.0

    def picojoules(self, part: Operations, module: ModuleCount, weight_reads: float) -> float:
        wide, narrow = self.value_bits, min(module.bits, self.value_bits)
        return (
            self.mac_of(wide) * (part.macs + part.transcendental)
            + self.mac_of(narrow) * part.narrow_macs
            + self.add.picojoules * (part.acs + part.comparisons)
            + self.memory.picojoules * self.weight_bits * weight_reads
            + self.memory.picojoules * self.state_bits * (part.state_reads + part.state_writes + 2 * part.partial_sums)
            + self.sparse.picojoules * self.hops * part.synops
            + self.dense.picojoules * self.hops * (wide * part.macs + narrow * part.narrow_macs)
        )

    def mac_of(self, bits: int) -> float:
        """picojoules of a MAC of values of so many bits, in proportion above 3."""
        return self.mac.picojoules * max(1.0, bits / 3)
