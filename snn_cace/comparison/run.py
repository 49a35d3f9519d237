"""ANN against SNN over seeds: run what has not run yet, measure every run, write one JSON and the report on it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_cace.comparison.engine import Engine, Launcher, Task, default_jobs, open_engine, train_all
from snn_cace.comparison.summary import Published, Run, network_of, summarise
from snn_cace.comparison.tuning import ENERGY_MODEL, Tuned, Tuning, tune
from snn_cace.config import Experiment, Seed, check_file_name, different_keys, put_over, read_config
from snn_cace.errors import InputError
from snn_cace.files import write_json
from snn_cace.processes import end_children, ready_to_compute, sole_writer, start_worker, workers
from snn_cace.provenance import usable_cores
from snn_cace.training.checkpoints import RunFiles

if TYPE_CHECKING:
    from snn_cace.comparison.measurements import BitMatchedBaseline

    Baselines = dict[tuple[str, ...], list[BitMatchedBaseline]]


@dataclass
class Comparison:
    """Experiments to set side by side.

    Args:
        name: of the comparison; its runs go to runs/NAME unless --output says otherwise.
        experiments: config files, beside this one's directory; the first is what the others are held against.
        seeds: each experiment is trained once with each.
        common: what is put over every experiment.
        tuning: the search that every experiment gets before its seeds are trained with the best setting.
        energy: a file of prices, beside this one's directory, in place of the package's own.
        pairs: names of two experiments each that are tested against each other, besides all against the first and
            spiking ones against their own network's first ANN.
        published: by experiment, `{accuracy: 72.7, note: how it was reached}`, shown beside what was measured.
    """

    name: str = "comparison"
    experiments: list[str] = field(default_factory=list)
    seeds: list[Seed] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    common: dict[str, Any] = field(default_factory=dict)
    tuning: Tuning = field(default_factory=Tuning)
    energy: str | None = None
    pairs: list[tuple[str, str]] = field(default_factory=list)
    published: dict[str, Published] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_file_name(self.name)
        if self.tuning.trials and self.tuning.training_seed in self.seeds:
            raise InputError(f"tuning.training_seed {self.tuning.training_seed} is one of the seeds to compare with")


@dataclass
class Variant:
    """An experiment's file, and by dotted key or nested, what is put over it."""

    file: Path
    changes: dict[str, Any] = field(default_factory=dict)

    def read(self) -> Experiment:
        return read_config(self.file, Experiment, self.changes)


@dataclass
class Launch:
    """Where runs run, see `comparison.engine`."""

    launcher: Launcher = "local"
    jobs: int | None = None
    address: str | None = None


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
    variants = [Variant(config_path.parent / file, changes) for file in comparison.experiments]
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
        comparison.pairs,
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
    runs = plan_runs(variants, seeds, where, output) if not tuning.trials else []
    with sole_writer(output):
        ready_to_compute()
        tuned: list[Tuned] = []
        with open_engine(launch.launcher, launch.jobs, launch.address) as engine:
            prepare_data(runs[0].experiment if runs else variants[0].read())
            if tuning.trials:
                print(f"tuning: {tuning.trials} trials of each of {len(variants)} variants", flush=True)
                tuned = tune(tuning, [(variant.file, variant.changes) for variant in variants], output, engine, prices)
                best = [
                    Variant(variant.file, put_over(variant.changes, search.best.settings))
                    for variant, search in zip(variants, tuned, strict=True)
                ]
                runs = plan_runs(best, seeds, where, output)
            failed = train_missing(runs, engine)
        finished = [run for run in runs if run.finished]
        if not finished:
            raise InputError(failed[0]["reason"])
        print("measuring operations, energy, firing rates and latency", flush=True)
        measure_missing(finished, launch.jobs or default_jobs())
        result = summarise(name, runs, failed, prices, pairs, published)
        result["tuning"] = tuning_json(tuning, tuned) if tuned else None
        write_json(output / "comparison.json", result)
        text = write_report(output / "comparison.json", output)
        print(f"\n{text}\nreport: {output / 'report.html'}")
        return result


def raise_for_failed(result: dict[str, Any], output: Path) -> None:
    """An InputError where some run failed."""
    if result["failed"]:
        reason = result["failed"][0]["reason"]
        raise InputError(f"{reason}; the others are compared in {output / 'report.html'}")


def tuning_json(tuning: Tuning, tuned: Sequence[Tuned]) -> dict[str, Any]:
    """What comparison.json holds of a search."""
    how = {key: value for key, value in vars(tuning).items() if key not in ("ranges", "spiking")}
    return {**how, "energy_model": ENERGY_MODEL, "variants": [search.as_json() for search in tuned]}


def measure_missing(runs: list[Run], jobs: int) -> None:
    """Measure each run once, several at a time, ANNs last, since the spiking runs say what they are held against; then,
    with nothing beside, latency of all, where any is new.
    """
    from snn_cace.analysis.anytime import simulation_steps
    from snn_cace.comparison.measurements import measure_alone

    spiking = [run for run in runs if simulation_steps(run.experiment)]
    with measuring(jobs) as measure_each:
        new = measure_each([run for run in spiking if not measured(run.files, [])], {})
        baselines = bit_matched_baselines(spiking)
        dense = [run for run in runs if run not in spiking and not measured(run.files, matching(run, baselines))]
        new += measure_each(dense, baselines)
    if new:
        variants: dict[str, list[Path]] = {}
        for run in runs:
            variants.setdefault(run.experiment.name, []).append(run.files.directory)
        measure_alone(list(variants.values()))


def matching(run: Run, baselines: Baselines) -> list[BitMatchedBaseline]:
    """The baselines that an ANN's own network is asked for."""
    return baselines.get(network_of(run.experiment), [])


@contextmanager
def measuring(jobs: int) -> Iterator[Callable[[list[Run], Baselines], int]]:
    """What measures runs, `jobs` at a time, and returns how many; in processes that go on from one call to the next."""
    from snn_cace.comparison.measurements import measure

    def each(runs: list[Run], baselines: Baselines) -> int:
        arguments = [(run.files.directory, matching(run, baselines)) for run in runs]
        if jobs == 1:
            for one in arguments:
                measure(*one)
        else:
            for future in [pool.submit(measure, *one) for one in arguments]:
                future.result()
        return len(runs)

    # Its processes start when they are given work.
    with ProcessPoolExecutor(jobs, workers(), start_worker, (max(1, usable_cores() // jobs),)) as pool:
        try:
            yield each
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_children()
            raise


def bit_matched_baselines(spiking: list[Run]) -> Baselines:
    """By network, the ANNs that measured spiking runs are fairly held against, conservatively and event-driven."""
    from snn_cace.analysis.quantised import LARGEST_BITS
    from snn_cace.comparison.summary import Compared, Measured

    found: dict[tuple[str, ...], set[BitMatchedBaseline]] = {}
    for run in spiking:
        within = Compared.of(Measured.of(run))
        both = {(within.bits, tuple(within.slots)), (within.bits, (*within.slots, *within.readers))}
        found.setdefault(network_of(run.experiment), set()).update(both if within.bits <= LARGEST_BITS else ())
    return {network: sorted(baselines) for network, baselines in found.items()}


def measured(files: RunFiles, baselines: list[BitMatchedBaseline]) -> bool:
    """Whether a run has its measurements, of an ANN as each of `baselines` too."""
    from snn_cace.comparison.measurements import baseline_key, measurements_file, read_measurements

    if not measurements_file(files).is_file():
        return False
    record = read_measurements(files)
    wanted = {baseline_key(*baseline) for baseline in baselines} if record.kind == "ann" else set()
    return record.latency_ms is not None and wanted <= record.quantised.keys()


def prepare_data(experiment: Experiment) -> None:
    """Read the data's layout once, before any run starts: bad data fails here, and AV-Digits is made once."""
    import torch

    from snn_cace.data.batches import ClipData

    ClipData(experiment.data, torch.float32, supervision=experiment.training.supervision)


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
