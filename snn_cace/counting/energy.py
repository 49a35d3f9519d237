"""Energy per clip by several models, from counted operations and a file of prices. Never one number.

- `compute`: arithmetic alone, 32-bit float at 45 nm, which is what most publications quote.
- `memory`: `compute`, a read of every weight at every use, and a read and a write of every membrane, and of every
  accumulator that is held until the last step, at every simulation step, all at one price per byte (SpikingJelly's
  `SimpleEnergyProfiler`, after STEP).
- `sram`: 32-bit integer arithmetic, and every weight, membrane and value that moves, at a price that grows with the
  memory it lies in (Lemaire et al., arXiv 2210.13107, as SpikingJelly's `LemaireEnergyProfiler` has it, but for
  addressing, which is left out).

None has leakage or routing. How often a weight is read is a setting, the same for every network: at every use, once a
segment (all patches and simulation steps that use it share one read), or once a clip. `MODELS` read at every use;
`memory/segment`, `sram/clip` and so on are the same prices with reuse.

An activation of b bits makes a MAC b shifted additions: b ACs, never more than the MAC's own price; it takes b bits of
memory traffic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from snn_cace.config import read_config
from snn_cace.counting.operations import ModuleCount
from snn_cace.counting.rules import WORD_BITS, Operations
from snn_cace.errors import InputError

MODELS = ("compute", "memory", "sram")
REUSE = {"segment": "weight_reads_per_segment", "clip": "weight_reads_per_clip"}
"""What shares one read of a weight, and the count of such reads."""
REUSING = tuple(f"{model}/{shared}" for model in MODELS[1:] for shared in REUSE)
"""The models with traffic where weights are reused."""
SRAM_WORD_BYTES = 4
MILLIJOULES_PER_PICOJOULE = 1e-9


@dataclass
class Price:
    """picojoules of one operation, and where the figure is from."""

    picojoules: float
    source: str


@dataclass
class ComputePrices:
    """Of 32-bit arithmetic."""

    mac: Price
    ac: Price
    comparison: Price
    special: Price


@dataclass
class MemoryPrices:
    """Of a byte of weights or states, wherever it lies."""

    word_bytes: int
    byte: Price


@dataclass
class AccessPrices:
    """picojoules of a 32-bit access to a memory of each of `sizes_bytes`, which grow."""

    source: str
    sizes_bytes: list[float]
    picojoules: list[float]


@dataclass
class SramPrices:
    """Of integer arithmetic, and of memory by its size."""

    add: Price
    multiply: Price
    access: AccessPrices


@dataclass
class EnergyPrices:
    """The constants behind every energy; `energy.yaml` beside this file is the default.

    Raises:
        InputError: a negative price, or sizes that do not grow.
    """

    compute: ComputePrices
    memory: MemoryPrices
    sram: SramPrices

    def __post_init__(self) -> None:
        access = self.sram.access
        if len(access.sizes_bytes) != len(access.picojoules) or sorted(set(access.sizes_bytes)) != access.sizes_bytes:
            raise InputError("sram.access: sizes_bytes must grow, and picojoules name one price for each")
        prices = [*vars(self.compute).values(), self.memory.byte, self.sram.add, self.sram.multiply]
        if min([price.picojoules for price in prices] + access.picojoules) < 0:
            raise InputError("prices of energy must not be negative")


def read_prices(path: str | Path | None = None) -> EnergyPrices:
    """The prices in the file at `path`, or those that come with the package.

    Raises:
        InputError: no such file, an unknown or missing key, or a value out of range.
    """
    with resources.as_file(resources.files("snn_cace.counting") / "energy.yaml") as default:
        return read_config(path or default, EnergyPrices)


@dataclass
class Energy:
    """Picojoules per clip: what is spent however much the network fires, and what spikes cause."""

    static: float = 0.0
    event_driven: float = 0.0

    @property
    def total(self) -> float:
        return self.static + self.event_driven

    @property
    def millijoules(self) -> float:
        return self.total * MILLIJOULES_PER_PICOJOULE

    def __add__(self, other: Energy) -> Energy:
        return Energy(self.static + other.static, self.event_driven + other.event_driven)


def energy(modules: Iterable[ModuleCount], model: str, prices: EnergyPrices) -> Energy:
    """Energy of `modules` by one of `MODELS` or `REUSING`."""
    total = Energy()
    for module in modules:
        total += Energy(*(part_energy(part, module, model, prices) for part in (module.static, module.event_driven)))
    return total


def part_energy(part: Operations, module: ModuleCount, model: str, prices: EnergyPrices) -> float:
    """Picojoules of one module's static or event-driven operations."""
    priced, _, shared = model.partition("/")
    weight_reads = getattr(part, REUSE[shared]) if shared else part.weight_reads
    if priced == "sram":
        return sram_energy(part, module, prices.sram, weight_reads)
    compute = prices.compute
    arithmetic = (
        compute.mac.picojoules * part.macs
        + min(compute.mac.picojoules, module.bits * compute.ac.picojoules) * part.narrow_macs
        + compute.ac.picojoules * part.acs
        + compute.comparison.picojoules * part.comparisons
        + compute.special.picojoules * part.transcendental
    )
    if priced == "compute":
        return arithmetic
    words = weight_reads + part.state_reads + part.state_writes + 2 * part.partial_sums + part.zero_flags
    return arithmetic + prices.memory.byte.picojoules * prices.memory.word_bytes * words


def sram_energy(part: Operations, module: ModuleCount, prices: SramPrices, weight_reads: float) -> float:
    """After Lemaire et al.: a weight, membrane or value lies in a memory as large as all weights that its module reads,
    its membranes or its largest tensor; a spike's accumulate reads and writes the sum that it adds to.
    """
    add, multiply = prices.add.picojoules, prices.multiply.picojoules
    arithmetic = (
        (add + multiply) * (part.macs + part.transcendental)
        + min(add + multiply, module.bits * add) * part.narrow_macs
        + add * (part.acs + part.comparisons)
    )

    def access(words: float) -> float:
        return float(np.interp(words * SRAM_WORD_BYTES, prices.access.sizes_bytes, prices.access.picojoules))

    values = part.value_reads * module.bits / WORD_BITS + part.value_writes + part.zero_flags
    return (
        arithmetic
        + access(module.weights) * weight_reads
        + access(module.state) * (part.state_reads + part.state_writes)
        + access(module.buffer) * (values + 2 * part.synops)
    )


def break_even_rate(spiking: Energy, baseline: float, firing_rate: float) -> float | None:
    """The firing rate at which spiking blocks cost as much as `baseline` picojoules, if all fire alike more or less.

    Above it they cost more. None: they cost more even in silence. May exceed 1: then no rate makes them cost more.
    """
    if spiking.static >= baseline:
        return None
    if spiking.event_driven == 0:
        return float("inf")
    return firing_rate * (baseline - spiking.static) / spiking.event_driven


def energies_mj(modules: Iterable[ModuleCount], prices: EnergyPrices) -> dict[str, float]:
    """Millijoules per clip by every model, with reuse of weights and without."""
    chosen = list(modules)
    return {model: energy(chosen, model, prices).millijoules for model in (*MODELS, *REUSING)}


def sources(prices: EnergyPrices) -> list[dict[str, Any]]:
    """Every constant with its value and source, for the report."""
    rows: list[tuple[str, Any, str]] = [
        (f"compute.{name}, pJ", price.picojoules, price.source) for name, price in vars(prices.compute).items()
    ]
    rows.append(("memory.byte, pJ", prices.memory.byte.picojoules, prices.memory.byte.source))
    rows += [
        (f"sram.{name}, pJ", price.picojoules, price.source)
        for name, price in (("add", prices.sram.add), ("multiply", prices.sram.multiply))
    ]
    access = prices.sram.access
    steps = ", ".join(
        f"{cost:g} at {size:g} B" for size, cost in zip(access.sizes_bytes, access.picojoules, strict=True)
    )
    rows.append(("sram.access, pJ", steps, access.source))
    return [{"name": name, "value": value, "source": source} for name, value, source in rows]
