"""What a model of energy is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from snn_cace.counting.costs import ModuleCount, Operations
from snn_cace.errors import InputError


@dataclass
class Price:
    """picojoules of one operation, and where the figure is from."""

    picojoules: float
    source: str


def price(picojoules: float, source: str) -> Any:
    """A field of a model whose default is this price."""
    return field(default_factory=lambda: Price(picojoules, source))


@dataclass
class EnergyModel(ABC):
    """A published model of energy. Its fields are its prices, which a file may replace (`energy:` of a comparison).

    name: its key in configs, files of prices and JSON. title: as sentences and figures call it. heading: its column's.
    has_traffic: whether it prices reads of weights, so that it depends on their reuse. compared: whether a comparison
    reports it unless its `energy_models` name others; `audit` reports all. charges: what makes it differ from the
    others, as the rest of a sentence.

    Raises:
        InputError: a negative price, naming it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    heading: ClassVar[str]
    has_traffic: ClassVar[bool] = True
    compared: ClassVar[bool] = True
    charges: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        MODELS[cls.name] = cls

    def __post_init__(self) -> None:
        for name, value in self.prices().items():
            if value.picojoules < 0:
                raise InputError(f"{self.name}.{name}: prices of energy must not be negative")

    @abstractmethod
    def picojoules(self, part: Operations, module: ModuleCount, weight_reads: float) -> float:
        """Energy per clip of `part` of a module's operations, whose weights are read so many times."""

    def prices(self) -> dict[str, Price]:
        """Its prices of one operation each, by name."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Price)}

    def sources(self) -> list[tuple[str, Any, str]]:
        """Name, value and source of every constant, for the report."""
        return [(f"{self.name}.{name}, pJ", p.picojoules, p.source) for name, p in self.prices().items()]


MODELS: dict[str, type[EnergyModel]] = {}
"""Every model that has been defined, by name."""
