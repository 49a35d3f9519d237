"""What is counted of a network: operations, by module, and by what causes them. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

WORD_BITS = 32
COUNTS = ("event_driven", "conservative", "zero_skipping")
"""The counts: see `snn_cace.counting.operations`."""


@dataclass
class Operations:
    """Operations and words of memory traffic.

    macs: multiply-accumulates. acs: accumulates. synops: those of the ACs that spikes cause in matrix products.
    comparisons. transcendental: exp, sigmoid, tanh, square root, division. neuron_updates: neurons times simulation
    steps. weight_reads: words of parameters, one per use, as SpikingJelly's memory counter has it; per segment, one for
    all patches and simulation steps of a segment that use it; per clip, one for all segments too. state_reads,
    state_writes: words of membranes and LSTM states. value_reads, value_writes: words that operations take and output.
    partial_sums: words of accumulators that are held from one simulation step to the next. narrow_macs: those of the
    MACs' kind whose activation has the module's few bits. zero_flags: words of bits that say which values are zero.
    """

    macs: float = 0.0
    acs: float = 0.0
    synops: float = 0.0
    comparisons: float = 0.0
    transcendental: float = 0.0
    neuron_updates: float = 0.0
    weight_reads: float = 0.0
    state_reads: float = 0.0
    state_writes: float = 0.0
    value_reads: float = 0.0
    value_writes: float = 0.0
    partial_sums: float = 0.0
    weight_reads_per_segment: float = 0.0
    weight_reads_per_clip: float = 0.0
    narrow_macs: float = 0.0
    zero_flags: float = 0.0

    def __add__(self, other: Operations) -> Operations:
        return Operations(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, factor: float) -> Operations:
        return Operations(*(getattr(self, f.name) * factor for f in fields(self)))


@dataclass
class Cost:
    """What does not depend on how much the network fires, and what spikes cause."""

    static: Operations = field(default_factory=Operations)
    event_driven: Operations = field(default_factory=Operations)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.static + other.static, self.event_driven + other.event_driven)

    def __mul__(self, factor: float) -> Cost:
        return Cost(self.static * factor, self.event_driven * factor)

    @classmethod
    def of(cls, **static: float) -> Cost:
        return cls(Operations(**static))


@dataclass
class ModuleCount:
    """One module's own operations per clip, without its children's.

    name: in the network. kind: its class. parameters: numbers that it holds itself. weights: numbers that its
    operations read, whoever holds them. state: words of membrane or LSTM state that it keeps for one clip. buffer:
    words of the largest tensor that it takes or outputs, for one clip and, of spiking layers, one simulation step.
    bits: of the activations of its `narrow_macs`. static: operations that do not depend on how much the network fires.
    event_driven: those that spikes cause. spikes: fired, where it is a spiking layer. zeros, elements: what rectifiers
    and spiking layers output.
    """

    name: str
    kind: str
    parameters: int = 0
    weights: int = 0
    state: float = 0.0
    buffer: float = 0.0
    bits: int = WORD_BITS
    static: Operations = field(default_factory=Operations)
    event_driven: Operations = field(default_factory=Operations)
    spikes: float | None = None
    zeros: float = 0.0
    elements: float = 0.0

    @property
    def total(self) -> Operations:
        return self.static + self.event_driven

    @property
    def firing_rate(self) -> float | None:
        """Spikes per neuron per simulation step."""
        return None if self.spikes is None else self.spikes / self.static.neuron_updates


@dataclass
class Count:
    """Operations per clip.

    counted: by count, module by module. readers: modules that read rates, in which the first two counts differ.
    sources: by spiking layer or coding and by module, what its spikes cause there, event-driven. idle: leaf modules
    that never ran, but for dropout, which does nothing in evaluation.
    """

    counted: dict[str, list[ModuleCount]]
    readers: list[str] = field(default_factory=list)
    sources: dict[str, dict[str, Operations]] = field(default_factory=dict)
    idle: list[str] = field(default_factory=list)

    @property
    def modules(self) -> list[ModuleCount]:
        """Counted conservatively."""
        return self.counted["conservative"]

    @property
    def total(self) -> Operations:
        return summed(self.modules)

    @property
    def activation_sparsity(self) -> float:
        """The share of zeros in what rectifiers and spiking layers output, as NeuroBench defines it."""
        return sum(m.zeros for m in self.modules) / max(1.0, sum(m.elements for m in self.modules))


def summed(modules: Iterable[ModuleCount]) -> Operations:
    return sum((module.total for module in modules), Operations())
