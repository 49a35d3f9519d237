"""Events on Loihi (Davies et al., IEEE Micro 38(1), 2018), at the prices of SANA-FE's `arch/loihi.yaml`.

Every neuron is accessed and updated at every simulation step. A spike leaves its neuron, goes as a message to every
core that reads it, and costs a synaptic operation for every weight that it reaches. `tests/counting/test_models.py`
runs the same network on SANA-FE where that is installed: same spikes, same energy.

Left out: leakage, the management processors, synchronisation, loading inputs. Loihi has no units for values: those
prices are assumptions, so a dense network's figure says little.
"""

from __future__ import annotations

from dataclasses import dataclass

from snn_cace.counting.costs import ModuleCount, Operations
from snn_cace.counting.models.base import EnergyModel, Price, price

SANAFE = "SPICE simulation of Loihi, Davies et al. 2018, as SANA-FE's arch/loihi.yaml has it"


@dataclass
class Loihi(EnergyModel):
    """Prices of events. cores: that read a neuron's spikes, a message each. hops_east_west, hops_north_south: links
    that a message passes. sparse: whether linear layers are stored as lists of weights.
    """

    name, title, heading, has_traffic = "loihi", "events on Loihi", "Loihi", False
    compared = False
    charges = "charges for a neuron at every step, and for values as if they were events"

    synapse_dense: Price = price(35.5, f"a synaptic operation, dense format: {SANAFE}")
    synapse_sparse: Price = price(33.6, f"a synaptic operation, sparse format: {SANAFE}")
    synapse_convolution: Price = price(24.0, f"a synaptic operation, convolutional format: {SANAFE}")
    neuron_access: Price = price(51.2, SANAFE)
    neuron_update: Price = price(21.6, SANAFE)
    spike_out: Price = price(69.3, SANAFE)
    axon_out: Price = price(111.0, f"a message to one core: {SANAFE}")
    hop_east_west: Price = price(3.0, SANAFE)
    hop_north_south: Price = price(4.2, SANAFE)
    value: Price = price(
        35.5, "assumption: a MAC as a dense synaptic operation with a graded event, which Loihi has not"
    )
    other: Price = price(21.6, "assumption: any other operation as a neuron's update, since Loihi has no unit for it")
    cores: float = 1.0
    hops_east_west: float = 1.0
    hops_north_south: float = 1.0
    sparse: int = 0

    def picojoules(self, part: Operations, module: ModuleCount, weight_reads: float) -> float:
        linear = self.synapse_sparse if self.sparse else self.synapse_dense
        synapse = self.synapse_convolution if "Conv" in module.kind else linear
        reached = synapse.picojoules * part.synops
        if module.spikes is not None:  # what spikes cause in the layer that fires them has no updates
            fired = 0.0 if part.neuron_updates else part.value_writes
            updated = (self.neuron_access.picojoules + self.neuron_update.picojoules) * part.neuron_updates
            return reached + updated + fired * (self.spike_out.picojoules + self.message())
        others = part.acs - part.synops + part.comparisons + part.transcendental
        return reached + self.value.picojoules * (part.macs + part.narrow_macs) + self.other.picojoules * others

    def message(self) -> float:
        """picojoules of sending one spike to all cores that read it."""
        hops = self.hop_east_west.picojoules * self.hops_east_west
        hops += self.hop_north_south.picojoules * self.hops_north_south
        return self.cores * (self.axon_out.picojoules + hops)
