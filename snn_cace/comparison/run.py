"""ANN against SNN over seeds: run what has not run yet, measure every run, write one JSON and the report on it."""

from __future__ import annotations

import copy
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_cace.comparison.provenance import usable_cores
from snn_cace.comparison.summary import Run, read, summarise
from snn_cace.config import Experiment, as_yaml, check_file_name, different_keys, read_config
from snn_cace.errors import InputError
from snn_cace.files import write_json, write_text
from snn_cace.processes import end_by_kernel, end_children, ready_to_compute, sole_writer, start_worker, workers
from snn_cace.training.checkpoints import RunFiles

if TYPE_CHECKING:
    from snn_cace.comparison.measurements import BitMatchedBaseline

POLL_SECONDS = 2.0


@dataclass
class Comparison:
    """Experiments to set side by side.

    Args:
        name: of the comparison; its runs go to runs/NAME unless --output says otherwise.
        experiments: config files, beside this one's directory; the first is what the others are held against.
        seeds: each experiment is trained once with each.
        energy: a file of prices, beside this one's directory, in place of the package's own.
    """

    name: str = "comparison"
    experiments: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    energy: str | None = None

    def __post_init__(self) -> None:
        check_file_name(self.name)


def plan_runs(comparison: Comparison, config_path: Path, output: Path, overrides: dict[str, Any] | None) -> list[Run]:
    """Every experiment with every seed.

    Raises:
        InputError: nothing to compare, a name or seed used twice, different data sets, or a run directory that holds
            another experiment.
    """
    if not comparison.experiments or not comparison.seeds:
        raise InputError(f"{config_path}: name at least one experiment and one seed")
    if len(set(comparison.seeds)) < len(comparison.seeds):
        raise InputError(f"{config_path}: a seed is named twice in {comparison.seeds}; the same run counts once")
    runs = []
    names: set[str] = set()
    for file in comparison.experiments:
        base = read_config(config_path.parent / file, Experiment, overrides)
        if base.name in names:
            raise InputError(f"{config_path}: two experiments are called '{base.name}'; give each its own name")
        names.add(base.name)
        for seed in comparison.seeds:
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
        raise InputError(f"{config_path}: the experiments use different data: {sorted(sources)}")
    return runs


def run_comparison(
    comparison: Comparison,
    config_path: Path,
    output: str | Path,
    jobs: int | None = None,
    overrides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train what is missing, measure, and write comparison.json, comparison.md and report.html into `output`.

    A run that fails does not keep the others from being compared; it is named in the report.

    Raises:
        InputError: nothing could be compared, or, at the end, some run failed.
    """
    from snn_cace.counting.energy import read_prices

    jobs = jobs or default_jobs()
    prices = read_prices(config_path.parent / comparison.energy if comparison.energy else None)
    runs = plan_runs(comparison, config_path, Path(output), overrides)
    with sole_writer(output):
        return train_and_summarise(comparison.name, runs, prices, Path(output), jobs)


def train_and_summarise(name: str, runs: list[Run], prices: Any, output: Path, jobs: int) -> dict[str, Any]:
    """What `run_comparison` does once it has the directory to itself."""
    from snn_cace.report.comparison import write_report

    ready_to_compute()
    prepare_data(runs[0])
    failed = train_missing(runs, jobs)
    finished = [run for run in runs if run.finished]
    if not finished:
        raise InputError(failed[0]["reason"])
    print("measuring operations, energy, firing rates and latency", flush=True)
    measure_missing(finished, jobs)
    result = summarise(name, runs, failed, prices)
    write_json(output / "comparison.json", result)
    text = write_report(output / "comparison.json", output)
    print(f"\n{text}\nreport: {output / 'report.html'}")
    if failed:
        raise InputError(f"{failed[0]['reason']}; the others are compared in {output / 'report.html'}")
    return result


def measure_missing(runs: list[Run], jobs: int) -> None:
    """Measure each run once, several at a time, ANNs last, since the spiking runs say what they are held against; then,
    with nothing beside, latency of all, where any is new.
    """
    from snn_cace.analysis.anytime import simulation_steps
    from snn_cace.comparison.measurements import measure_alone

    spiking = [run for run in runs if simulation_steps(run.experiment)]
    new = measure_each([run for run in spiking if not measured(run.files, [])], [], jobs)
    baselines = bit_matched_baselines(spiking)
    dense = [run for run in runs if run not in spiking and not measured(run.files, baselines)]
    if measure_each(dense, baselines, jobs) + new:
        measure_alone([run.files.directory for run in runs])


def measure_each(runs: list[Run], baselines: list[BitMatchedBaseline], jobs: int) -> int:
    """Measure runs, `jobs` at a time; returns how many."""
    from snn_cace.comparison.measurements import measure

    if jobs > 1 and runs:
        threads = max(1, usable_cores() // jobs)
        with ProcessPoolExecutor(min(jobs, len(runs)), workers(), start_worker, (threads,)) as pool:
            try:
                for future in [pool.submit(measure, run.files.directory, baselines) for run in runs]:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                end_children()
                raise
    else:
        for run in runs:
            measure(run.files.directory, baselines)
    return len(runs)


def bit_matched_baselines(spiking: list[Run]) -> list[BitMatchedBaseline]:
    """The ANNs that measured spiking runs are fairly held against, conservatively and event-driven."""
    from snn_cace.analysis.quantised import LARGEST_BITS
    from snn_cace.comparison.summary import Compared, Measured

    found = set()
    for run in spiking:
        within = Compared.of(Measured.of(run))
        found |= {(within.bits, tuple(within.slots)), (within.bits, (*within.slots, *within.readers))}
    return sorted(baseline for baseline in found if baseline[0] <= LARGEST_BITS)


def measured(files: RunFiles, baselines: list[BitMatchedBaseline]) -> bool:
    """Whether a run has its measurements, of an ANN as each of `baselines` too."""
    from snn_cace.comparison.measurements import baseline_key, measurements_file, read_measurements

    if not measurements_file(files).is_file():
        return False
    record = read_measurements(files)
    wanted = {baseline_key(*baseline) for baseline in baselines} if record.kind == "ann" else set()
    return record.latency_ms is not None and wanted <= record.quantised.keys()


def default_jobs() -> int:
    """One run per core, so that small networks do not wait on threads; one at a time where there is a GPU."""
    import torch

    return 1 if torch.cuda.is_available() else usable_cores()


def prepare_data(run: Run) -> None:
    """Read the data's layout once, before any run starts: bad data fails here, and AV-Digits is made once."""
    import torch

    from snn_cace.data.batches import ClipData

    ClipData(run.experiment.data, torch.float32)


def train_missing(runs: list[Run], jobs: int) -> list[dict[str, Any]]:
    """Train unfinished runs, `jobs` at a time, each in a process of its own; a broken-off run goes on where it stopped.

    No process is left when this returns or raises. Returns the runs that failed: variant, seed and the reason in their
    own words.
    """
    missing = [run for run in runs if not run.finished]
    print(f"{len(runs)} runs, {len(runs) - len(missing)} finished before, {jobs} at a time", flush=True)
    threads = max(1, usable_cores() // jobs)
    failed: list[dict[str, Any]] = []
    running: list[TrainingProcess] = []
    try:
        while missing or running:
            while missing and len(running) < jobs:
                running.append(TrainingProcess(missing.pop(0), threads))
            wait([training.process.sentinel for training in running], POLL_SECONDS)
            for training in running:
                training.show_epochs()
            ended = [training for training in running if not training.process.is_alive()]
            running = [training for training in running if training not in ended]
            for training in ended:
                reason = training.outcome()
                if reason:
                    failed.append(
                        {"variant": training.run.experiment.name, "seed": training.run.seed, "reason": reason}
                    )
    finally:
        for training in running:
            training.process.kill()
            training.process.join()
    return failed


class TrainingProcess:
    """One run that trains in a process of its own; what it prints goes to a log beside its directory."""

    def __init__(self, run: Run, threads: int) -> None:
        self.run, self.shown = run, 0
        directory = run.files.directory
        directory.parent.mkdir(parents=True, exist_ok=True)
        self.log = directory.parent / f"{directory.name}.log"
        target = train_here if run.experiment.training.devices == 1 else train_by_command
        self.process = workers().Process(target=target, args=(run, self.log, threads))
        self.process.start()

    def show_epochs(self) -> None:
        """Print each epoch that the run's history has gained."""
        history = read(self.run.files.history) if self.run.files.history.is_file() else []
        if len(history) > self.shown:
            self.shown = len(history)
            accuracy = history[-1].get("val/segment_accuracy", float("nan"))
            epochs = self.run.experiment.training.epochs
            print(f"  {self.run.label}: epoch {self.shown}/{epochs}, val segment accuracy {accuracy:.2f} %", flush=True)

    def outcome(self) -> str | None:
        """Print how the run ended; why it failed, if it did."""
        if self.process.exitcode:
            said = [line for line in self.log.read_text().splitlines() if line.strip()] if self.log.is_file() else []
            reason = said[-1].removeprefix("snn-cace: ") if said else f"exit code {self.process.exitcode}"
            line = f"{self.run.label} failed: {reason} (all of it: {self.log})"
            print(f"  {line}", flush=True)
            return line
        accuracy = read(self.run.files.metrics)["test"]["segment_accuracy"]
        print(f"  {self.run.label}: finished, test segment accuracy {accuracy:.2f} %", flush=True)
        return None


def print_into(log: Path) -> None:
    """All that this process prints from here on goes to `log`."""
    with log.open("w") as printed:
        for stream in (1, 2):
            os.dup2(printed.fileno(), stream)


def train_here(run: Run, log: Path, threads: int) -> None:
    """Train a run; bad input is one line in the log and exit code 2."""
    from snn_cace.training.run import train

    print_into(log)
    start_worker(threads)
    try:
        train(run.experiment, run.files.directory, resume=run.files.config.is_file(), quiet=True)
    except InputError as error:
        print(f"snn-cace: {error}", file=sys.stderr, flush=True)
        sys.exit(2)


def train_by_command(run: Run, log: Path, threads: int) -> None:
    """Train a run on several devices: Lightning starts one process for each by the command line that it finds."""
    command = [sys.executable, "-m", "snn_cace", "train", "--quiet", "--output", str(run.files.directory)]
    if run.files.config.is_file():
        command.append("--resume")
    else:
        config = log.with_suffix(".yaml")
        write_text(config, as_yaml(run.experiment))
        command += ["--config", str(config)]
    print_into(log)
    end_by_kernel()
    os.execve(sys.executable, command, os.environ | {"OMP_NUM_THREADS": str(threads)})
