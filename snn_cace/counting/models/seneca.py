"""Instructions on SENECA, a digital neuromorphic processor at 22 nm (Tang et al., Front. Neurosci. 17, 2023, Table 8).

Its processing elements load, compute and store 16-bit words. A synaptic operation loads its share of a word of
weights, adds, and loads and stores the neuron's sum once for a group of spikes. With 4-bit weights and groups of 16
this is 1.4 + 3.7 / 4 + (3.7 + 3.9) / 16 = 2.8 pJ, as the article says; the split is ours, since of the article only
abstract and table could be read. Left out: leakage, idle clocks, DRAM, and all but one instruction of the RISC-V
controller for each event.
"""

from __future__ import annotations

from dataclasses import dataclass

from snn_cace.counting.costs import ModuleCount, Operations
from snn_cace.counting.models.base import EnergyModel, Price, price

TABLE = "Tang et al. 2023, Table 8 (pmc.ncbi.nlm.nih.gov/articles/PMC10326429/table/T8)"


@dataclass
class Seneca(EnergyModel):
    """Prices of instructions. weights_per_word: in 16 bits. group: spikes that one load and store of a sum serves.
    instructions: of the controller for each spike.
    """

    name, title, heading = "seneca", "instructions on SENECA", "SENECA"
    compared = False
    charges = "charges for events and for loads"

    arithmetic: Price = price(1.4, f"ADD, SUB or MUL, 16-bit float: {TABLE}")
    comparison: Price = price(1.2, f"GTH, MAX or MIN: {TABLE}")
    load: Price = price(3.7, f"MLD, a 16-bit word: {TABLE}")
    store: Price = price(3.9, f"MST, a 16-bit word: {TABLE}")
    capture: Price = price(0.5, f"EVC, a neuron that may fire: {TABLE}")
    event: Price = price(1.1, f"per generated event: {TABLE}")
    transmission: Price = price(2.0, f"NOC, a 32-bit event: {TABLE}")
    controller: Price = price(11.6, f"RISC-V, per instruction: {TABLE}")
    weights_per_word: int = 4
    group: int = 16
    instructions: float = 1.0

    def picojoules(self, part: Operations, module: ModuleCount, weight_reads: float) -> float:
        moved = self.load.picojoules + self.store.picojoules
        fires = module.spikes is not None
        fired = part.value_writes if fires and not part.neuron_updates else 0.0
        each = self.event.picojoules + self.transmission.picojoules + self.instructions * self.controller.picojoules
        written = 0.0 if fires else part.value_writes
        return (
            self.arithmetic.picojoules * (2 * (part.macs + part.narrow_macs) + part.acs)
            + self.comparison.picojoules * part.comparisons
            + self.controller.picojoules * part.transcendental
            + self.load.picojoules / self.weights_per_word * weight_reads
            + moved / self.group * part.synops
            + self.load.picojoules * (part.state_reads + part.value_reads + part.zero_flags)
            + self.store.picojoules * (part.state_writes + written)
            + moved * part.partial_sums
            + self.capture.picojoules * part.neuron_updates
            + each * fired
        )
