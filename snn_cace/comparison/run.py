"""ANN against SNN over seeds: run what has not run yet, measure every run, write one JSON and the report on it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from snn_cace.comparison.engine import Engine, Launcher, Task, default_jobs, open_engine, train_all
from snn_cace.comparison.plan import Comparison, Run, Tuning, Variant, make_plan, plan_runs, refuse_other_study
from snn_cace.comparison.schema import Result
from snn_cace.comparison.summary import summarise
from snn_cace.comparison.tuning import ENERGY_MODEL, Tuned, tune
from snn_cace.config import put_over
from snn_cace.counting.energy import MILLIJOULES_PER_PICOJOULE, Prices, read_prices, reported
from snn_cace.counting.models import Compute
from snn_cace.errors import InputError
from snn_cace.files import read_json, write_json
from snn_cace.processes import end_children, flush_denormals, sole_writer, start_worker, workers
from snn_cace.provenance import usable_cores
from snn_cace.training.checkpoints import RunFiles

if TYPE_CHECKING:
    from snn_cace.data.batches import ClipData


def run_comparison(
    comparison: Comparison,
    config_path: Path,
    output: str | Path,
    overrides: dict[str, Any] | None = None,
    launcher: Launcher = "local",
    jobs: int | None = None,
    address: str | None = None,
) -> Result:
    """Plan, tune if asked to, train what is missing, measure, summarise into comparison.json, and write the report on
    it (comparison.md, report.html) into `output`.

    A run that fails does not keep the others from being compared; it is named in the report. launcher, jobs, address:
    where runs run, see `comparison.engine`.

    Raises:
        InputError: nothing could be compared, or, at the end, some run failed.
    """
    output = Path(output)
    plan = make_plan(comparison, config_path, overrides or {})
    price_file = config_path.parent / comparison.energy if comparison.energy else None
    prices = reported(read_prices(price_file), comparison.energy_models)
    refuse_other_study(comparison.name, plan.variants, output)
    tuning, variants, tuned = comparison.tuning, plan.variants, list[Tuned]()
    if not tuning.trials:
        plan_runs(variants, comparison.seeds, config_path, output)  # an error comes before anything is written
    with sole_writer(output):
        flush_denormals()
        with open_engine(launcher, jobs, address) as engine:
            data = prepare_data(variants)
            if tuning.trials:
                print(f"tuning: {tuning.trials} trials of each of {len(variants)} variants", flush=True)
                tuned = tune(tuning, variants, output, engine, prices)
                variants = with_best(variants, tuned)
            runs = plan_runs(variants, comparison.seeds, config_path, output)
            failed = train_missing(runs, engine)
        measure_missing(runs, failed, jobs or default_jobs())
        groups = data.reader.recordings(np.sort(data.layout.orders["test"]))
        result = summarise(plan, runs, failed, prices, groups)
        result["encoders"] = encoders_json(data.reader.encoder_macs(), prices)
        result["tuning"] = tuning_json(tuning, tuned) if tuned else None
        report(result, output)
    if failed:
        raise InputError(f"{failed[0]['reason']}; the others are compared in {output / 'report.html'}")
    return result


def with_best(variants: Sequence[Variant], tuned: Sequence[Tuned]) -> list[Variant]:
    """Each variant with the best setting of its search."""
    return [
        replace(variant, changes=put_over(variant.changes, search.best.settings))
        for variant, search in zip(variants, tuned, strict=True)
    ]


def report(result: Result, output: Path) -> None:
    """Write comparison.json and the report made of it, and print the summary."""
    from snn_cace.report.comparison import write_report

    write_json(output / "comparison.json", result)
    text = write_report(output / "comparison.json", output)
    print(f"\n{text}\nreport: {output / 'report.html'}")


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


def measure_missing(planned: list[Run], failed: list[dict[str, Any]], jobs: int) -> None:
    """Measure each finished run once, several at a time; then, with nothing beside, latency of all, where any is new.

    Raises:
        InputError: no run finished, in the words of the first that failed.
    """
    from snn_cace.comparison.measurements import measure_latency_and_power

    runs = [run for run in planned if run.finished]
    if not runs:
        raise InputError(failed[0]["reason"])
    print("measuring operations, energy, firing rates and latency", flush=True)
    missing = [run for run in runs if not measured(run.files)]
    if not missing:
        return
    measure_each(missing, jobs)
    print("  latency, with nothing beside it", flush=True)
    variants: dict[str, list[Path]] = {}
    for run in runs:
        variants.setdefault(run.experiment.name, []).append(run.files.directory)
    measure_latency_and_power(list(variants.values()))


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
    record = read_json(file) if file.is_file() else {}
    return record.get("version") == VERSION and record.get("latency_ms") is not None


def prepare_data(variants: Sequence[Variant]) -> ClipData:
    """The clips of all variants, before any run starts: bad data fails here, AV-Digits is made once, and what a clip
    costs is counted in every network, untrained, so that what cannot be counted fails before hours of training.

    Raises:
        InputError: bad data, or an operation or a node without a counting rule, naming it and the experiment.
    """
    import torch

    from snn_cace.counting.operations import UncountedOperationError, count_operations
    from snn_cace.data.batches import ClipData
    from snn_cace.model import build_network

    experiments = [variant.read() for variant in variants]
    first = experiments[0]
    data = ClipData(first.data, torch.float32, supervision=first.training.supervision)
    if data.shape.labels != "single":
        raise InputError(f"{data.directory}: compare needs one class a segment; train and evaluate these one by one")
    clip = data.dataset("train").__getitems__([0])
    for experiment in experiments:
        try:
            count_operations(build_network(experiment, data.shape), clip["visual"], clip["audio"])
        except UncountedOperationError as error:
            raise InputError(f"{experiment.name}: {error}") from None
    return data


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
