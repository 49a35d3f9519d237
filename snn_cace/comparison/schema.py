"""comparison.json, typed: all that a report reads. `comparison.summary` writes it.

Energies are millijoules per clip, by energy model (`compute`, `memory/segment`, ...). Accuracies and sparsities are
percent and shares as their names say. `counts` and `best` name one of `counting.operations.COUNTS`.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

VERSION = 1
"""Of this layout. A file without one is older; `report.comparison.read_result` brings it into these terms."""


class Spread(TypedDict):
    """Mean, sample standard deviation and values over seeds."""

    mean: float
    std: float
    values: list[float]


class Best(Spread):
    """Energy at the count in which a network costs least, and which count that is."""

    count: str


class Blocks(TypedDict):
    """What is compared of a network: the slots that spike, and modules elsewhere that read rates. share: of the whole
    network's energy.
    """

    energy_mj: dict[str, float]
    slots: list[str]
    parameters: int
    share: dict[str, float]


class CountedBeside(TypedDict, total=False):
    """What the dense blocks cost that those of a spiking network replace; not there where nothing spikes."""

    break_even: dict[str, Any] | None
    replaced_blocks_energy_mj: dict[str, float] | None
    replaced_blocks_parameters: int | None


class Counted(CountedBeside):
    """Operations and energies by one count. touched_values_mj: by seed, of the modules that spike or read spikes, which
    are the same in each count; older files have none.
    """

    operations: dict[str, float]
    energy_mj: dict[str, float]
    energy_values_mj: dict[str, list[float]]
    touched_values_mj: NotRequired[dict[str, list[float]]]
    spiking_blocks: Blocks
    modules: list[dict[str, Any]]


class FiringRate(TypedDict):
    """Spikes per neuron per simulation step; mean is None where nothing spikes."""

    mean: float | None
    per_layer: dict[str, float]


class Variant(TypedDict):
    """One network over its seeds. kind: `ann`, `control` or `snn`. control: of which variant it is which control."""

    name: str
    kind: str
    network: str
    dense_counterpart: str | None
    seeds: list[int]
    test_segment_accuracy: Spread
    parameters: int
    counts: dict[str, Counted]
    best: dict[str, Best]
    readers: list[str]
    simulation_steps: dict[str, int]
    firing_rate: FiringRate
    activation_sparsity: float
    train_seconds: float
    latency_ms: float
    peak_memory_mb: float
    joules_per_clip: float | None
    state_bytes: float
    idle_modules: list[str]
    pointing: dict[str, Any] | None
    class_accuracy: list[float]
    confusion: list[list[int]]
    config: dict[str, Any]
    published: NotRequired[dict[str, Any] | None]
    control: NotRequired[dict[str, str] | None]
    layers: NotRequired[dict[str, Any]]
    anytime: NotRequired[dict[str, Any]]
    raster: NotRequired[Any]


class Difference(TypedDict):
    """Accuracy of variant a less b's, in points, paired over seeds and clips. shown: beyond doubt, by five seeds."""

    a: str
    b: str
    seeds: list[int]
    difference: float
    ci95: list[float]
    p_value: float
    p_holm: float
    shown: bool
    method: str


class EnergyDifference(TypedDict):
    """Of one variant less another's, each at its best count; the interval is None of one seed."""

    difference_mj: float
    ci95_mj: list[float] | None


Link = TypedDict(
    "Link", {"part": str, "from": str, "to": str, "accuracy": Difference, "energy": dict[str, EnergyDifference]}
)
"""A step of a chain: what it adds, and its differences; the last one's energy is of what spikes touch alone."""


class Attribution(TypedDict):
    """The chain from the dense network to the spiking variant. elsewhere: the last step's energy outside these
    modules, where training left other zeros; older files count it to the last link.
    """

    variant: str
    dense: str
    links: list[Link]
    elsewhere: NotRequired[dict[str, EnergyDifference]]
    whole: Link


class Result(TypedDict):
    """The file. baseline, dense_baseline: names of the first variant and of the first ANN. runs: one a variant and
    seed. failed: runs that did, and why.
    """

    version: int
    name: str
    dataset: str
    dataset_config: dict[str, Any]
    protocol: str
    precision: str
    environment: dict[str, Any]
    measured_clips: int
    test_clips: int
    classes: list[str]
    compared_slots: list[str]
    attention: dict[str, Any] | None
    baseline: str
    dense_baseline: str | None
    energy_models: list[str]
    reusing_models: list[str]
    prices: list[dict[str, Any]]
    variants: list[Variant]
    tests: list[Difference]
    attribution: list[Attribution]
    failed: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    encoders: NotRequired[dict[str, Any] | None]
    tuning: NotRequired[dict[str, Any] | None]
