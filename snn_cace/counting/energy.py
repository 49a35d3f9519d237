"""Energy per clip by several models, from counted operations and prices. Never one number.

The models are in `snn_cace.counting.models`, a file each. None has leakage or routing. How often a weight is read is a
setting, the same for every network: at every use, once a segment (all patches and simulation steps that use it share
one read), or once a clip. The models themselves read at every use; `memory/segment`, `sram/clip` and so on are the same
prices with reuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

from snn_cace.config import nested, with_base
from snn_cace.counting.models import MODELS, EnergyModel
from snn_cace.counting.operations import ModuleCount
from snn_cace.errors import InputError

REUSE = {"segment": "weight_reads_per_segment", "clip": "weight_reads_per_clip"}
"""What shares one read of a weight, and the count of such reads."""
MILLIJOULES_PER_PICOJOULE = 1e-9
Prices = dict[str, EnergyModel]
"""Every model at its prices, by name."""


def read_prices(path: str | Path | None = None) -> Prices:
    """Every model, at its own prices or those that the file at `path` puts over them: `compute: {mac: {picojoules: 3,
    source: mine}}`. A model that builds on another takes that one's prices of the file.

    Raises:
        InputError: no such file, an unknown model or key, or a value out of range.
    """
    given = {} if path is None else with_base(Path(path), dict)
    if unknown := sorted(given.keys() - MODELS.keys()):
        raise InputError(f"{path}: no energy model {unknown[0]}; there are {', '.join(MODELS)}")
    found: Prices = {}
    for name, model in MODELS.items():
        found[name] = put_into(model(), given.get(name) or {}, f"{path}: {name}")
        for part, inner in vars(found[name]).items():
            if isinstance(inner, EnergyModel):
                setattr(found[name], part, found[inner.name])
    return found


def reported(prices: Prices, names: Sequence[str] = ()) -> Prices:
    """The models that a comparison reports: arithmetic alone and those that it names, else those that are `compared`.

    Raises:
        InputError: no such model.
    """
    if unknown := sorted(set(names) - prices.keys()):
        raise InputError(f"energy_models: no {unknown[0]}; there are {', '.join(prices)}")
    return {name: model for name, model in prices.items() if (name in ("compute", *names) if names else model.compared)}


def put_into(model: Any, values: Any, where: str) -> Any:
    """`model`, a dataclass, with `values` in place of some of its fields, mapping by mapping.

    Raises:
        InputError: an unknown key, or a value of another type than the one it replaces, naming it.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where} must be a mapping of keys to values, not {values!r}")
    changed = {}
    for key, value in nested(values, type(model), where).items():
        before = vars(model).get(key)
        if before is None:
            raise InputError(f"{where}: no key {key}; there are {', '.join(vars(model))}")
        if is_dataclass(before):
            value = put_into(before, value, f"{where}.{key}")
        numbers = value if isinstance(before, list) and isinstance(value, list) else [value]
        wanted = str if isinstance(before, str) else type(before) if is_dataclass(before) else int | float
        if not all(isinstance(number, wanted) and not isinstance(number, bool) for number in numbers):
            raise InputError(f"{where}.{key}: {value!r} cannot stand for {before!r}")
        changed[key] = value
    if "picojoules" in changed and not changed.get("source") and hasattr(model, "source"):
        raise InputError(f"{where}: say where the price is from, as its source")
    return replace(model, **changed)


def with_reuse(prices: Prices) -> list[str]:
    """The models with traffic where weights are reused: `memory/segment` and so on."""
    return [f"{name}/{shared}" for name, model in prices.items() if model.has_traffic for shared in REUSE]


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


def energy(modules: Iterable[ModuleCount], model: str, prices: Prices) -> Energy:
    """Energy of `modules` by one of `prices`, or of `with_reuse`."""
    name, _, shared = model.partition("/")
    total = Energy()
    for module in modules:
        spent = (
            prices[name].picojoules(part, module, getattr(part, REUSE[shared] if shared else "weight_reads"))
            for part in (module.static, module.event_driven)
        )
        total += Energy(*spent)
    return total


def break_even_rate(spiking: Energy, baseline: float, firing_rate: float) -> float | None:
    """The firing rate at which spiking blocks cost as much as `baseline` picojoules, if all fire alike more or less.

    Above it they cost more. None: they cost more even in silence. May exceed 1: then no rate makes them cost more.
    """
    if spiking.static >= baseline:
        return None
    if spiking.event_driven == 0:
        return float("inf")
    return firing_rate * (baseline - spiking.static) / spiking.event_driven


def energies_mj(modules: Iterable[ModuleCount], prices: Prices) -> dict[str, float]:
    """Millijoules per clip by every model, with reuse of weights and without."""
    chosen = list(modules)
    return {model: energy(chosen, model, prices).millijoules for model in (*prices, *with_reuse(prices))}


def sources(prices: Prices) -> list[dict[str, Any]]:
    """Every constant with its value and source, for the report."""
    rows = [row for model in prices.values() for row in model.sources()]
    return [{"name": name, "value": value, "source": source} for name, value, source in rows]
