"""The plan of a comparison: its experiments, what varies, the controls made of each, and a run for every seed."""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from snn_cace.config import (
    ClosedUnitInterval,
    Experiment,
    NonNegativeInt,
    PositiveInt,
    Seed,
    carried_slots,
    check_file_name,
    different_keys,
    dotted,
    put_over,
    read_config,
)
from snn_cace.data.readers import reader_name
from snn_cace.errors import InputError
from snn_cace.files import read_json
from snn_cace.training.checkpoints import RunFiles


@dataclass
class Published:
    """A published accuracy of what a variant is, in percent, and by which protocol it was reached."""

    accuracy: float
    note: str


@dataclass(frozen=True)
class ControlOf:
    """The variant `name` is the control `kind` of the spiking variant `of`."""

    name: str
    of: str
    kind: str


Control = Literal["rectified", "leaky", "quantised", "dense-quantised"]


@dataclass
class Tuning:
    """How every variant is tuned before its seeds are trained with the best setting.

    Args:
        trials: of each variant; 0 does not tune.
        sampler: `random`, or `tpe`, which learns from the trials before its batch.
        batch: trials that are drawn, and thinned out, together; null takes all.
        seed: of the draws.
        training_seed: that trials are trained with; none of the comparison's.
        rungs: epochs after which a batch is thinned out.
        keep: share of a batch that goes on at each rung.
        ranges: by key, `{low: 0.1, high: 1.0}`, with `log: true`, whole numbers where both are, or
            `{choices: [...]}`; of every variant.
        spiking: likewise, of variants in which anything spikes.
        energy: count each finished trial's operations too, for a front of accuracy and energy.
    """

    trials: NonNegativeInt = 0
    sampler: Literal["random", "tpe"] = "random"
    batch: PositiveInt | None = None
    seed: Seed = 0
    training_seed: Seed = 1000
    rungs: list[PositiveInt] = field(default_factory=list)
    keep: ClosedUnitInterval = 0.5
    ranges: dict[str, Any] = field(default_factory=dict)
    spiking: dict[str, Any] = field(default_factory=dict)
    energy: bool = False


@dataclass
class Comparison:
    """Experiments to set side by side.

    Args:
        name: of the comparison; its runs go to runs/NAME unless --output says otherwise.
        experiments: config files, found from this file's directory, or mappings that are experiments themselves: a
            `name`, the `base` that it changes (a file, or the name of an experiment above it), and what differs. The
            first is what the others are compared with.
        rows: mappings of keys to what differs, each with a `name` that is added to the experiment's: every experiment
            is varied by each of them, and its first row is what its others are compared with too.
        vary: in place of rows: by key, a list of values, in every combination.
        seeds: each experiment is trained once with each.
        common: what is put over every experiment.
        tuning: the search that every experiment gets before its seeds are trained with the best setting.
        energy: a file of prices, beside this one's directory, in place of the package's own.
        energy_models: those to report, of `snn_cace.counting.models`; where none is named, the light ones.
        pairs: names of two experiments each that are tested against each other, besides all against the first and
            spiking ones against their own network's first ANN.
        published: by experiment, `{accuracy: 72.7, note: how it was reached}`, shown beside what was measured.
        controls: what is made from each experiment that spikes, with its settings, seeds and tuning: its blocks
            `rectified`, `leaky` (where a membrane carries) and `quantised`, see `neurons.controls`; or
            `dense-quantised`, the dense blocks with activations of as many bits.
    """

    name: str = "comparison"
    experiments: list[str | dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    vary: dict[str, Any] = field(default_factory=dict)
    seeds: list[Seed] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    common: dict[str, Any] = field(default_factory=dict)
    tuning: Tuning = field(default_factory=Tuning)
    energy: str | None = None
    energy_models: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    published: dict[str, Published] = field(default_factory=dict)
    controls: list[Control] = field(default_factory=lambda: ["rectified", "leaky", "quantised"])

    def __post_init__(self) -> None:
        check_file_name(self.name)
        refuse_seed("common", self.common)
        refuse_seed("vary", self.vary)
        refuse_seed("tuning.ranges", self.tuning.ranges | self.tuning.spiking)
        for number, row in enumerate(self.rows, start=1):
            refuse_seed(f"rows, row {number}", row)
            if not isinstance(row.get("name", ""), str):
                raise InputError(f"rows, row {number}: name {row['name']!r} is no text; put it in quotation marks")
        if self.rows and self.vary:
            raise InputError(f"comparison {self.name}: give either rows or vary")
        for key, values in dotted(self.vary).items():
            if not isinstance(values, list) or not values:
                raise InputError(f"vary: {key} needs a list of values, not {values!r}")
        if self.tuning.trials and self.tuning.training_seed in self.seeds:
            raise InputError(f"tuning.training_seed {self.tuning.training_seed} is one of the seeds to compare with")


@dataclass
class Variant:
    """An experiment's file, and by dotted key or nested, what is put over it. control: which it is, of which one."""

    file: Path
    changes: dict[str, Any] = field(default_factory=dict)
    control: ControlOf | None = None

    def read(self) -> Experiment:
        return read_config(self.file, Experiment, self.changes)


@dataclass
class Run:
    """One experiment with one seed, in its own run directory."""

    experiment: Experiment
    seed: int
    files: RunFiles

    @property
    def finished(self) -> bool:
        return self.files.metrics.is_file()

    @property
    def label(self) -> str:
        return f"{self.experiment.name}, seed {self.seed}"


def listed_experiments(comparison: Comparison, where: Path) -> list[Variant]:
    """The experiments that a comparison lists, as files and what is put over each.

    Raises:
        InputError: a mapping without a `name` or a `base`.
    """
    named: dict[str, Variant] = {}
    found = []
    for number, listed in enumerate(comparison.experiments, start=1):
        if isinstance(listed, str):
            found.append(Variant(where.parent / listed))
        else:
            own = dict(listed)
            name, base = own.get("name"), own.pop("base", None)
            if not isinstance(name, str) or not isinstance(base, str):
                raise InputError(f"{where}: experiment {number} needs a name and a base")
            above = named.get(base) or Variant(where.parent / base)
            found.append(Variant(above.file, put_over(above.changes, own)))
        named[found[-1].read().name] = found[-1]
    return found


def rows_of(comparison: Comparison) -> list[dict[str, Any]]:
    """What every experiment is varied by, each with the `name` that it adds; once as it is where nothing varies."""
    varied = dotted(comparison.vary).items()
    combinations = itertools.product(*([(key, value) for value in values] for key, values in varied))
    return comparison.rows or [{"name": suffix(choice), **dict(choice)} for choice in combinations]


def suffix(choice: Sequence[tuple[str, Any]]) -> str:
    """A name for a combination: psi-0.15."""
    return "-".join(f"{key.rpartition('.')[2]}-{value}".lower().replace("_", "-") for key, value in choice)


def varied_experiments(comparison: Comparison, where: Path, changes: dict[str, Any]) -> list[list[Variant]]:
    """Every row of every experiment, experiment by experiment, with `changes` below what a row changes."""
    found: list[list[Variant]] = []
    for listed in listed_experiments(comparison, where):
        base = Variant(listed.file, put_over(listed.changes, changes))
        found.append([])
        for row in rows_of(comparison):
            name = "-".join(filter(None, (base.read().name, row.get("name"))))
            found[-1].append(Variant(base.file, put_over(base.changes, row, {"name": name})))
    return found


def with_controls(variants: Sequence[Variant], kinds: Sequence[Control]) -> list[Variant]:
    """Each variant, and behind each that spikes its controls of these kinds."""
    result = []
    for variant in variants:
        result.append(variant)
        experiment = variant.read()
        for kind in kinds:
            blocks = control_blocks(experiment, kind)
            if blocks:
                name = f"{experiment.name}-{kind}"
                changes = put_over(variant.changes, {"name": name, "model": {"slots": blocks}})
                result.append(Variant(variant.file, changes, ControlOf(name, experiment.name, kind)))
    return result


def control_blocks(experiment: Experiment, kind: Control) -> dict[str, Any]:
    """The block of each slot that spikes in the control `kind` of an experiment; empty where there is no such control.
    Slots whose membrane does not carry have nothing to remember: `leaky`, they are rectified.
    """
    spiking = {name: slot for name, slot in experiment.model.slots.every().items() if slot.spikes}
    carried = carried_slots(experiment.model)
    if kind == "leaky" and not carried:
        return {}
    blocks = {}
    for name, slot in spiking.items():
        own = "rectified" if kind == "leaky" and name not in carried else kind
        blocks[name] = {"block": own if own == "dense-quantised" else slot.control(own)}
    return blocks


SEED_KEY = "training.seed"


OUTPUTS = ("comparison.json", "comparison.md", "card.md", "report.html", "figures", "tuning", "runs.csv")
"""What a comparison writes beside the directories that are called by their experiments."""


def refuse_seed(where: str, settings: dict[str, Any]) -> None:
    """Raise InputError where settings name a training seed, which `seeds` alone decides."""
    if SEED_KEY in dotted(put_over(settings)):
        raise InputError(f"{where}: {SEED_KEY} is each of `seeds` in turn; leave it out, and name seeds there")


def plan_runs(variants: Sequence[Variant], seeds: Sequence[int], where: Path, output: Path) -> list[Run]:
    """Every variant with every seed. where: the file that names them, for lines of error.

    Raises:
        InputError: nothing to compare, a name or seed used twice, different data sets, or a run directory that holds
            another experiment.
    """
    if not variants or not seeds:
        raise InputError(f"{where}: name at least one experiment and one seed")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{where}: a seed is named twice in {list(seeds)}; the same run counts once")
    runs = []
    names: set[str] = set()
    for variant in variants:
        base = variant.read()
        if base.name in names:
            raise InputError(f"{where}: two experiments are called '{base.name}'; give each its own name")
        names.add(base.name)
        if base.name in OUTPUTS:
            raise InputError(f"{where}: an experiment cannot be called '{base.name}', as a file of the comparison is")
        for seed in seeds:
            experiment = copy.deepcopy(base)
            experiment.training.seed = seed
            files = RunFiles(output / base.name / f"seed-{seed}")
            if files.config.is_file():
                changed = different_keys(read_config(files.config, Experiment), experiment)
                if changed:
                    raise InputError(f"{files.directory} holds a run with another {changed[0]}; give a fresh --output")
            runs.append(Run(experiment, seed, files))
    used = (run.experiment.data for run in runs)
    sources = {(reader_name(data), str(data.directory), str(data.avdigits)) for data in used}
    if len(sources) > 1:
        raise InputError(f"{where}: the experiments use different data: {sorted(sources)}")
    return runs


def check_names(comparison: Comparison, variants: Sequence[Variant]) -> None:
    """Raise InputError where `pairs` or `published` name no experiment of the comparison."""
    there = [variant.read().name for variant in variants]
    for key, names in {"pairs": itertools.chain(*comparison.pairs), "published": comparison.published}.items():
        unknown = next((name for name in names if name not in there), None)
        if unknown is not None:
            raise InputError(f"{key}: no experiment is called '{unknown}'; there are {', '.join(there)}")


@dataclass
class Plan:
    """A comparison's variants, controls included, and the pairs that are tested besides those that always are."""

    comparison: Comparison
    variants: list[Variant]
    pairs: list[tuple[str, str]]

    @property
    def controls(self) -> list[ControlOf]:
        return [variant.control for variant in self.variants if variant.control]


def make_plan(comparison: Comparison, where: Path, overrides: dict[str, Any]) -> Plan:
    """What a comparison trains, with `overrides` put over every experiment. where: its file.

    Raises:
        InputError: a file, key or name that is not there.
    """
    if SEED_KEY in dotted(put_over(overrides)):
        print(f"note: {SEED_KEY} is each of `seeds` in turn; --seeds names them", file=sys.stderr)
    varied = varied_experiments(comparison, where, put_over(comparison.common, overrides))
    variants = with_controls([row for rows in varied for row in rows], comparison.controls)
    against_first = [(row.read().name, first.read().name) for first, *others in varied for row in others]
    check_names(comparison, variants)
    return Plan(comparison, variants, [*comparison.pairs, *against_first])


def refuse_other_study(name: str, variants: Sequence[Variant], output: Path) -> None:
    """Raise InputError where `output` holds a comparison of another name, or of an experiment that is none of these."""
    path = output / "comparison.json"
    try:
        before = read_json(path)
        study, compared = before["name"], [variant["name"] for variant in before["variants"]]
    except (OSError, ValueError, KeyError, TypeError):  # none, or nothing that could be lost
        return
    lost = set(compared) - {variant.read().name for variant in variants}
    if study != name or lost:
        which = f"'{study}'" if study != name else f"'{study}' with {min(lost)}, which is not compared now"
        raise InputError(f"{path} is of the comparison {which}; give a fresh --output")
