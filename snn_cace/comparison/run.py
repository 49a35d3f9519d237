"""ANN against SNN over seeds: run what has not run yet, measure every run, write one JSON and the report on it."""

from __future__ import annotations

import copy
import itertools
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from snn_cace.comparison.engine import Engine, Launcher, Task, default_jobs, open_engine, train_all
from snn_cace.comparison.summary import ControlOf, Published, Run, summarise
from snn_cace.comparison.tuning import ENERGY_MODEL, Tuned, Tuning, tune
from snn_cace.config import (
    Experiment,
    Seed,
    carried_slots,
    check_file_name,
    different_keys,
    dotted,
    put_over,
    read_config,
)
from snn_cace.counting.energy import MILLIJOULES_PER_PICOJOULE, Prices
from snn_cace.counting.models import Compute
from snn_cace.data.ave import encoder_macs, shared_recordings
from snn_cace.errors import InputError
from snn_cace.files import write_json
from snn_cace.processes import end_children, ready_to_compute, sole_writer, start_worker, workers
from snn_cace.provenance import usable_cores
from snn_cace.training.checkpoints import RunFiles

if TYPE_CHECKING:
    from snn_cace.data.batches import ClipData


Control = Literal["rectified", "leaky", "quantised", "dense-quantised"]


@dataclass
class Comparison:
    """Experiments to set side by side.

    Args:
        name: of the comparison; its runs go to runs/NAME unless --output says otherwise.
        experiments: config files, found from this file's directory, or mappings that are experiments themselves: a
            `name`, the `base` that it changes (a file, or the name of an experiment above it), and what differs. The
            first is what the others are held against.
        rows: mappings of keys to what differs, each with a `name` that is added to the experiment's: every experiment
            is varied by each of them, and its first row is what its others are held against too.
        vary: in place of rows: by key, a list of values, in every combination.
        seeds: each experiment is trained once with each.
        common: what is put over every experiment.
        tuning: the search that every experiment gets before its seeds are trained with the best setting.
        energy: a file of prices, beside this one's directory, in place of the package's own.
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


def rows_of(comparison: Comparison) -> list[dict[str, Any]]:
    """What every experiment is varied by, each with the `name` that it adds; once as it is where nothing varies."""
    varied = dotted(comparison.vary).items()
    combinations = itertools.product(*([(key, value) for value in values] for key, values in varied))
    return comparison.rows or [{"name": suffix(choice), **dict(choice)} for choice in combinations]


def suffix(choice: Sequence[tuple[str, Any]]) -> str:
    """A name for a combination: psi-0.15."""
    return "-".join(f"{key.rpartition('.')[2]}-{value}".lower().replace("_", "-") for key, value in choice)


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
    spiking = {name: slot for name, slot in vars(experiment.model.slots).items() if slot.spikes}
    carried = carried_slots(experiment.model)
    if kind == "leaky" and not carried:
        return {}
    blocks = {}
    for name, slot in spiking.items():
        own = "rectified" if kind == "leaky" and name not in carried else kind
        blocks[name] = {"block": own if own == "dense-quantised" else slot.control(own)}
    return blocks


@dataclass
class Launch:
    """Where runs run, see `comparison.engine`."""

    launcher: Launcher = "local"
    jobs: int | None = None
    address: str | None = None


SEED_KEY = "training.seed"
OUTPUTS = ("comparison.json", "comparison.md", "report.html", "figures", "tuning", "runs.csv")
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
    sources = {(str(run.experiment.data.directory), str(run.experiment.data.avdigits)) for run in runs}
    if len(sources) > 1:
        raise InputError(f"{where}: the experiments use different data: {sorted(sources)}")
    return runs


def run_comparison(
    comparison: Comparison,
    config_path: Path,
    output: str | Path,
    launch: Launch | None = None,
    overrides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Tune if asked to, train what is missing, measure, and write comparison.json, comparison.md and report.html into
    `output`.

    A run that fails does not keep the others from being compared; it is named in the report.

    Raises:
        InputError: nothing could be compared, or, at the end, some run failed.
    """
    changes = put_over(comparison.common, overrides or {})
    if SEED_KEY in dotted(put_over(overrides or {})):
        print(f"note: {SEED_KEY} is each of `seeds` in turn; --seeds names them", file=sys.stderr)
    varied = varied_experiments(comparison, config_path, changes)
    variants = with_controls([row for rows in varied for row in rows], comparison.controls)
    against_first = [(row.read().name, first.read().name) for first, *others in varied for row in others]
    prices = config_path.parent / comparison.energy if comparison.energy else None
    check_names(comparison, variants)
    result = compare_variants(
        comparison.name,
        variants,
        comparison.seeds,
        config_path,
        Path(output),
        launch,
        prices,
        comparison.tuning,
        [*comparison.pairs, *against_first],
        comparison.published,
    )
    raise_for_failed(result, Path(output))
    return result


def check_names(comparison: Comparison, variants: Sequence[Variant]) -> None:
    """Raise InputError where `pairs` or `published` name no experiment of the comparison."""
    there = [variant.read().name for variant in variants]
    for key, names in (
        ("pairs", [name for pair in comparison.pairs for name in pair]),
        ("published", comparison.published),
    ):
        unknown = next((name for name in names if name not in there), None)
        if unknown is not None:
            raise InputError(f"{key}: no experiment is called '{unknown}'; there are {', '.join(there)}")


def compare_variants(
    name: str,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    where: Path,
    output: Path,
    launch: Launch | None = None,
    price_file: Path | None = None,
    tuning: Tuning | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    published: dict[str, Published] | None = None,
) -> dict[str, Any]:
    """What `run_comparison` does, of any variants, and without an error for runs that failed beside others that did
    not. where: the file that names them.
    """
    from snn_cace.counting.energy import read_prices
    from snn_cace.report.comparison import write_report

    launch, tuning = launch or Launch(), tuning or Tuning()
    prices = read_prices(price_file)
    refuse_other_study(name, variants, output)
    runs = plan_runs(variants, seeds, where, output) if not tuning.trials else []
    with sole_writer(output):
        ready_to_compute()
        tuned: list[Tuned] = []
        with open_engine(launch.launcher, launch.jobs, launch.address) as engine:
            experiments = [variant.read() for variant in variants]
            data = prepare_data(experiments[0])
            check_countable(experiments, data)
            if tuning.trials:
                print(f"tuning: {tuning.trials} trials of each of {len(variants)} variants", flush=True)
                tuned = tune(tuning, [(variant.file, variant.changes) for variant in variants], output, engine, prices)
                best = [
                    Variant(variant.file, put_over(variant.changes, search.best.settings), variant.control)
                    for variant, search in zip(variants, tuned, strict=True)
                ]
                runs = plan_runs(best, seeds, where, output)
            failed = train_missing(runs, engine)
        finished = [run for run in runs if run.finished]
        if not finished:
            raise InputError(failed[0]["reason"])
        print("measuring operations, energy, firing rates and latency", flush=True)
        measure_missing(finished, launch.jobs or default_jobs())
        controls = [variant.control for variant in variants if variant.control]
        groups = shared_recordings(data.directory, np.sort(data.layout.orders["test"]))
        result = summarise(name, runs, failed, prices, pairs, published, controls, groups)
        result["encoders"] = encoders_json(encoder_macs(data.directory), prices)
        result["tuning"] = tuning_json(tuning, tuned) if tuned else None
        write_json(output / "comparison.json", result)
        text = write_report(output / "comparison.json", output)
        print(f"\n{text}\nreport: {output / 'report.html'}")
        return result


def refuse_other_study(name: str, variants: Sequence[Variant], output: Path) -> None:
    """Raise InputError where `output` holds a comparison of another name, or of an experiment that is none of these."""
    path = output / "comparison.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        study, compared = before["name"], [variant["name"] for variant in before["variants"]]
    except (OSError, ValueError, KeyError, TypeError):  # none, or nothing that could be lost
        return
    lost = set(compared) - {variant.read().name for variant in variants}
    if study != name or lost:
        which = f"'{study}'" if study != name else f"'{study}' with {min(lost)}, which is not compared now"
        raise InputError(f"{path} is of the comparison {which}; give a fresh --output")


def raise_for_failed(result: dict[str, Any], output: Path) -> None:
    """An InputError where some run failed."""
    if result["failed"]:
        reason = result["failed"][0]["reason"]
        raise InputError(f"{reason}; the others are compared in {output / 'report.html'}")


def encoders_json(macs: dict[str, float] | None, prices: Prices) -> dict[str, Any] | None:
    """What the encoders that made the features cost a clip: MACs by modality, and millijoules by arithmetic alone."""
    if macs is None:
        return None
    spent = sum(macs.values()) * cast(Compute, prices["compute"]).mac.picojoules * MILLIJOULES_PER_PICOJOULE
    return {"macs": macs, "energy_mj": {"compute": spent}}


def tuning_json(tuning: Tuning, tuned: Sequence[Tuned]) -> dict[str, Any]:
    """What comparison.json holds of a search."""
    how = {key: value for key, value in vars(tuning).items() if key not in ("ranges", "spiking")}
    return {**how, "energy_model": ENERGY_MODEL, "variants": [search.as_json() for search in tuned]}


def measure_missing(runs: list[Run], jobs: int) -> None:
    """Measure each run once, several at a time; then, with nothing beside, latency of all, where any is new."""
    from snn_cace.comparison.measurements import measure_alone

    missing = [run for run in runs if not measured(run.files)]
    if not missing:
        return
    measure_each(missing, jobs)
    print("  latency, with nothing beside it", flush=True)
    variants: dict[str, list[Path]] = {}
    for run in runs:
        variants.setdefault(run.experiment.name, []).append(run.files.directory)
    measure_alone(list(variants.values()))


def measure_each(runs: list[Run], jobs: int) -> None:
    """Measure runs, `jobs` at a time, each in a process of its own threads."""
    from snn_cace.comparison.measurements import measure

    if jobs == 1:
        for run in runs:
            measure(run.files.directory)
            print(f"  {run.label}: measured", flush=True)
        return
    with ProcessPoolExecutor(jobs, workers(), start_worker, (max(1, usable_cores() // jobs),)) as pool:
        try:
            futures = {pool.submit(measure, run.files.directory): run for run in runs}
            for future in as_completed(futures):
                future.result()
                print(f"  {futures[future].label}: measured", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_children()
            raise


def measured(files: RunFiles) -> bool:
    """Whether a run has its measurements, by this version."""
    from snn_cace.analysis.record import VERSION
    from snn_cace.comparison.measurements import measurements_file

    file = measurements_file(files)
    record = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return record.get("version") == VERSION and record.get("latency_ms") is not None


def prepare_data(experiment: Experiment) -> ClipData:
    """The data's clips, before any run starts: bad data fails here, and AV-Digits is made once."""
    import torch

    from snn_cace.data.batches import ClipData

    return ClipData(experiment.data, torch.float32, supervision=experiment.training.supervision)


def check_countable(experiments: Sequence[Experiment], data: ClipData) -> None:
    """Count what a clip costs in every network, untrained: what cannot be counted fails before hours of training.

    Raises:
        InputError: an operation or a node without a counting rule, naming it and the experiment.
    """
    from snn_cace.counting.operations import UncountedOperationError, count_operations
    from snn_cace.model import build_network

    clip = data.dataset("train").__getitems__([0])
    for experiment in experiments:
        try:
            count_operations(build_network(experiment, data.shape), clip["visual"], clip["audio"])
        except UncountedOperationError as error:
            raise InputError(f"{experiment.name}: {error}") from None


def train_missing(runs: list[Run], engine: Engine) -> list[dict[str, Any]]:
    """Train unfinished runs; a broken-off one goes on where it stopped. Returns the runs that failed: variant, seed and
    the reason in their own words.
    """
    missing = [run for run in runs if not run.finished]
    print(f"{len(runs)} runs, {len(runs) - len(missing)} finished before, {engine.slots} at a time", flush=True)
    failed = train_all([Task(run) for run in missing], engine)
    return [
        {"variant": run.experiment.name, "seed": run.seed, "reason": failed[run.label]}
        for run in missing
        if run.label in failed
    ]
