"""Three levels of memory, as accelerators have them: DRAM, a buffer of SRAM, and a scratchpad beside each multiplier.

A weight comes from DRAM once a clip, from SRAM once a segment, and from a scratchpad at every use, in dense and spiking
networks alike. Membranes, sums that are held, and values that fit lie in SRAM; a tensor that does not fit also goes
through DRAM. Every number that moves is a word.

The prices are those of SATA_Sim (Yin et al., "SATA: Sparsity-aware training accelerator for spiking neural networks",
TCAD 2022), with the ratios of Eyeriss (Chen et al., ISCA 2016): an access to SRAM about 7 times that to a scratchpad,
to DRAM 200 times. Left out: clocks and leakage of idle units, which need a number of cycles. In SATA_Sim's ResNet-19
they are 96 % of the energy of computation and 71 % of SRAM's.
"""

from __future__ import annotations

from dataclasses import dataclass

from snn_cace.counting.costs import ModuleCount, Operations
from snn_cace.counting.models.base import Price, price
from snn_cace.counting.models.compute import Compute

SATA = "SATA_Sim (github.com/RuokaiYin/SATA_Sim)"


@dataclass
class Hierarchy(Compute):
    """Prices of 16-bit arithmetic at 65 nm and of a word from each level. buffer_words: values that SRAM holds."""

    name, title, heading, has_traffic = "hierarchy", "three levels of memory", "memory levels", False
    compared = False
    charges = "reads a weight from far once, however much fires"

    mac: Price = price(0.2779, f"16-bit multiply 0.239 pJ + accumulate 0.0389 pJ: {SATA}, energy_cal.py")
    ac: Price = price(0.0397, f"16-bit accumulate 0.0389 pJ + the spike's gate 0.0008 pJ: {SATA}, energy_configs.py")
    comparison: Price = price(0.0031, f"16-bit comparator 0.00309 pJ: {SATA}, energy_configs.py")
    special: Price = price(0.2779, "assumption: exp, tanh, a root or a division at the price of a MAC each")
    scratchpad: Price = price(0.2779, f"spad: {SATA}, SATA_mem/mem_configs.py")
    sram: Price = price(1.95, f"sram: {SATA}, SATA_mem/mem_configs.py")
    dram: Price = price(55.58, f"dram: {SATA}, SATA_mem/mem_configs.py")
    buffer_words: int = 32768

    def picojoules(self, part: Operations, module: ModuleCount, weight_reads: float) -> float:
        values = part.value_reads * module.bits / 32 + part.value_writes + part.zero_flags
        held = part.state_reads + part.state_writes + 2 * part.partial_sums
        from_dram = part.weight_reads_per_clip + (values if module.buffer > self.buffer_words else 0.0)
        return (
            super().picojoules(part, module, weight_reads)
            + self.scratchpad.picojoules * weight_reads
            + self.sram.picojoules * (part.weight_reads_per_segment + values + held)
            + self.dram.picojoules * from_dram
        )
