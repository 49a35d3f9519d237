"""Energy per clip by several models, from counted operations and a file of prices. Never one number.

- `compute`: arithmetic alone, 32-bit float at 45 nm, which is what most publications quote.
- `memory`: `compute`, a read of every weight at every use, and a read and a write of every membrane, and of every
  accumulator that is held until the last step, at every simulation step, all at one price per byte (SpikingJelly's
  `SimpleEnergyProfiler`, after STEP).
- `sram`: 32-bit integer arithmetic, and every weight, membrane and value that moves, at a price that grows with the
  memory it lies in (Lemaire et al., arXiv 2210.13107, as SpikingJelly's `LemaireEnergyProfiler` has it, but for
  addressing, which is left out).

None has leakage, routing, or a memory hierarchy that reuses a weight for several segments.

The bit-matched baseline of a block that spikes over S simulation steps and outputs one of S + 1 rates is no 32-bit
dense block but one whose activations have ceil(log2(S + 1)) bits (Yan et al., arXiv 2409.08290). With b-bit activations
a MAC is b shifted additions: b ACs, never more than the MAC's own price. Its values and states take b bits of memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np

from snn_cace.config import read_config
from snn_cace.counting.operations import ModuleCount
from snn_cace.counting.rules import Operations
from snn_cace.errors import InputError

MODELS = ("compute", "memory", "sram")
WORD_BITS = 32
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


def energy(modules: Iterable[ModuleCount], model: str, prices: EnergyPrices, bits: int = WORD_BITS) -> Energy:
    """Energy of `modules` by `model`, with activations and states of `bits` bits."""
    total = Energy()
    for module in modules:
        total += Energy(
            *(part_energy(part, module, model, prices, bits) for part in (module.static, module.event_driven))
        )
    return total


def part_energy(
    part: Operations, module: ModuleCount, model: str, prices: EnergyPrices, bits: int = WORD_BITS
) -> float:
    """Picojoules of one module's static or event-driven operations."""
    if model == "sram":
        return sram_energy(part, module, prices.sram, bits)
    compute = prices.compute
    mac = compute.mac.picojoules if bits == WORD_BITS else min(compute.mac.picojoules, bits * compute.ac.picojoules)
    arithmetic = (
        mac * part.macs
        + compute.ac.picojoules * part.acs
        + compute.comparison.picojoules * part.comparisons
        + compute.special.picojoules * part.transcendental
    )
    if model == "compute":
        return arithmetic
    states = (part.state_reads + part.state_writes) * bits / WORD_BITS + 2 * part.partial_sums
    return arithmetic + prices.memory.byte.picojoules * prices.memory.word_bytes * (part.weight_reads + states)


def sram_energy(part: Operations, module: ModuleCount, prices: SramPrices, bits: int) -> float:
    """After Lemaire et al.: a weight, membrane or value lies in a memory as large as all weights that its module reads,
    its membranes or its largest tensor; a spike's accumulate reads and writes the sum that it adds to.
    """
    add, multiply = prices.add.picojoules, prices.multiply.picojoules
    mac = add + multiply if bits == WORD_BITS else min(add + multiply, bits * add)
    arithmetic = mac * part.macs + add * (part.acs + part.comparisons) + (add + multiply) * part.transcendental

    def access(words: float) -> float:
        return float(np.interp(words * SRAM_WORD_BYTES, prices.access.sizes_bytes, prices.access.picojoules))

    narrow = bits / WORD_BITS
    return (
        arithmetic
        + access(module.weights) * part.weight_reads
        + access(module.state * narrow) * (part.state_reads + part.state_writes) * narrow
        + access(module.buffer * narrow) * (part.value_reads + part.value_writes) * narrow
        + access(module.buffer) * 2 * part.synops
    )


def matched_bits(simulation_steps: int) -> int:
    """Bits that tell S + 1 firing rates apart: ceil(log2(S + 1))."""
    return ceil(log2(simulation_steps + 1))


def break_even_rate(spiking: Energy, baseline: float, firing_rate: float) -> float | None:
    """The firing rate at which spiking blocks cost as much as `baseline` picojoules, if all fire alike more or less.

    Above it they cost more. None: they cost more even in silence. May exceed 1: then no rate makes them cost more.
    """
    if spiking.static >= baseline:
        return None
    if spiking.event_driven == 0:
        return float("inf")
    return firing_rate * (baseline - spiking.static) / spiking.event_driven


def energies_mj(modules: Iterable[ModuleCount], prices: EnergyPrices, bits: int = WORD_BITS) -> dict[str, float]:
    """Millijoules per clip by every model."""
    chosen = list(modules)
    return {model: energy(chosen, model, prices, bits).millijoules for model in MODELS}


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
