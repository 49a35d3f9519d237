"""ANN against SNN over seeds: run what has not run yet, measure every run, test the differences, write one JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from snn_cace.checkpoints import RunFiles
from snn_cace.config import Experiment, as_dict, as_yaml, read_config
from snn_cace.errors import InputError
from snn_cace.files import write_json, write_text

MEASURED_CLIPS = 32
"""Test clips over which operations and firing rates are counted."""
RESAMPLES = 9999
POLL_SECONDS = 2.0


@dataclass
class Comparison:
    """Experiments to set side by side.

    Args:
        name: of the comparison; its runs go to runs/NAME unless --output says otherwise.
        experiments: config files, beside this one's directory; the first is what the others are held against.
        seeds: each experiment is trained once with each.
    """

    name: str = "comparison"
    experiments: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1])


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
    def measurements(self) -> Path:
        return self.files.directory / "measurements.json"

    def read(self, path: Path) -> Any:
        return json.loads(path.read_text(encoding="utf-8"))


def plan_runs(comparison: Comparison, config_path: Path, output: Path, overrides: Sequence[str]) -> list[Run]:
    """Every experiment with every seed.

    Raises:
        InputError: nothing to compare, a name used twice, different data sets, or a run directory that holds another
            experiment.
    """
    if not comparison.experiments or not comparison.seeds:
        raise InputError(f"{config_path}: name at least one experiment and one seed")
    runs = []
    names: set[str] = set()
    for file in comparison.experiments:
        base = read_config(config_path.parent / file, Experiment, overrides)
        if base.name in names:
            raise InputError(f"{config_path}: two experiments are called '{base.name}'; give each its own name")
        names.add(base.name)
        for seed in comparison.seeds:
            experiment = read_config(config_path.parent / file, Experiment, [*overrides, "--training.seed", str(seed)])
            files = RunFiles(output / base.name / f"seed-{seed}")
            if files.config.is_file() and as_dict(read_config(files.config, Experiment)) != as_dict(experiment):
                raise InputError(f"{files.directory} holds a run of another config; give a fresh --output")
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
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Train what is missing, measure, and write comparison.json, comparison.md and report.html into `output`."""
    from snn_cace.report.comparison import markdown, write_report

    output = Path(output)
    runs = plan_runs(comparison, config_path, output, overrides)
    prepare_data(runs[0])
    train_missing(runs, jobs or default_jobs())
    print("measuring operations, firing rates and latency", flush=True)
    for run in runs:
        measure(run)
    result = summarise(comparison.name, runs)
    write_json(output / "comparison.json", result)
    write_text(output / "comparison.md", markdown(result))
    write_report(output / "comparison.json", output / "report.html")
    print(f"\n{markdown(result)}\nreport: {output / 'report.html'}")
    return result


def default_jobs() -> int:
    """One run per core, so that small networks do not wait on threads; one at a time where there is a GPU."""
    import torch

    return 1 if torch.cuda.is_available() else usable_cores()


def usable_cores() -> int:
    """Cores this process may run on, where the system tells; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare_data(run: Run) -> None:
    """Read the data's layout once, before any run starts: bad data fails here, and AV-Digits is made once."""
    import torch

    from snn_cace.data.batches import ClipData

    ClipData(run.experiment.data, torch.float32)


def train_missing(runs: list[Run], jobs: int) -> None:
    """Train unfinished runs, `jobs` at a time, each in a process of its own; a broken-off run goes on where it stopped.

    Raises:
        InputError: a run failed; its own message is passed on.
    """
    missing = [run for run in runs if not run.finished]
    print(f"{len(runs)} runs, {len(runs) - len(missing)} finished before, {jobs} at a time", flush=True)
    threads = max(1, usable_cores() // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(train_in_process, run, threads) for run in missing]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def train_in_process(run: Run, threads: int) -> None:
    """Train one run with `snn-cace train`; what it prints goes to a log beside its directory."""
    directory = run.files.directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    name = f"{run.experiment.name}, seed {run.seed}"
    command = [sys.executable, "-m", "snn_cace", "train", "--quiet", "--output", str(directory)]
    config = directory.parent / f"{directory.name}.yaml"
    log = directory.parent / f"{directory.name}.log"
    if run.files.config.is_file():
        command.append("--resume")
    else:
        write_text(config, as_yaml(run.experiment))
        command += ["--config", str(config)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with log.open("w") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, env=environment)
        try:
            follow(process, run, name)
        except BaseException:
            process.kill()
            raise
        finally:
            config.unlink(missing_ok=True)
    if process.returncode:
        said = [line for line in log.read_text().splitlines() if line.strip()]
        raise InputError(f"{name} failed: {said[-1] if said else f'exit code {process.returncode}'} (all of it: {log})")
    accuracy = run.read(run.files.metrics)["test"]["segment_accuracy"]
    print(f"  {name}: finished, test segment accuracy {accuracy:.2f} %", flush=True)


def follow(process: subprocess.Popen, run: Run, name: str) -> None:
    """Print each epoch as the run's history grows, until the process ends."""
    shown = 0
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        history = run.read(run.files.history) if run.files.history.is_file() else []
        if len(history) > shown:
            shown = len(history)
            accuracy = history[-1].get("val/segment_accuracy", float("nan"))
            epochs = run.experiment.training.epochs
            print(f"  {name}: epoch {shown}/{epochs}, val segment accuracy {accuracy:.2f} %", flush=True)


def measure(run: Run) -> None:
    """Count operations, firing rates and latency of a finished run's best checkpoint, once."""
    if run.measurements.is_file():
        return
    from snn_cace.analysis.latency import latency_ms
    from snn_cace.analysis.operations import count_operations
    from snn_cace.checkpoints import load_checkpoint
    from snn_cace.data.batches import ClipData
    from snn_cace.runtime import feature_dtype, pick_device

    network = load_checkpoint(run.files.directory).network
    training = run.experiment.training
    data = ClipData(run.experiment.data, feature_dtype("32"))
    clips = data.dataset("test").__getitems__(range(min(MEASURED_CLIPS, len(data.dataset("test")))))
    count = count_operations(network, clips["visual"], clips["audio"])
    device = pick_device(training.device)
    latency = latency_ms(network.to(device), clips["visual"].to(device), clips["audio"].to(device))
    write_json(
        run.measurements,
        {
            "kind": "snn" if count.firing_rates else "ann",
            "parameters": sum(p.numel() for p in network.parameters()),
            "clips": len(clips["index"]),
            "total": vars(count.total),
            "slots": {slot: vars(operations) for slot, operations in count.slots.items()},
            "spiking_slots": [s for s, slot in vars(run.experiment.model.slots).items() if slot.block != "dense"],
            "activation_sparsity": count.activation_sparsity,
            "firing_rates": count.firing_rates,
            "latency_ms": latency,
            "device": device.type,
        },
    )


def summarise(name: str, runs: list[Run]) -> dict[str, Any]:
    """What comparison.json holds; see DESIGN: means over seeds, and `runs` with every seed's own history."""
    import torch

    by_variant: dict[str, list[Run]] = {}
    for run in runs:
        by_variant.setdefault(run.experiment.name, []).append(run)
    slots = sorted({slot for run in runs for slot in run.read(run.measurements)["spiking_slots"]})
    first = runs[0].experiment
    variants = [summarise_variant(variant, members, slots) for variant, members in by_variant.items()]
    scores = {variant: np.stack([clip_scores(run) for run in members]) for variant, members in by_variant.items()}
    baseline = next(iter(scores))
    return {
        "name": name,
        "dataset": first.data.directory or "AV-Digits",
        "dataset_config": as_dict(first.data.avdigits) if first.data.directory is None else {},
        "protocol": first.training.protocol,
        "precision": first.training.precision,
        "machine": {
            "cores": usable_cores(),
            "torch": torch.__version__,
            "device": runs[0].read(runs[0].measurements)["device"],
        },
        "measured_clips": runs[0].read(runs[0].measurements)["clips"],
        "compared_slots": slots,
        "variants": variants,
        "tests": [
            {"a": other, "b": baseline, **paired_difference(scores[other], scores[baseline])}
            for other in scores
            if other != baseline
        ],
        "runs": [
            {
                "variant": run.experiment.name,
                "seed": run.seed,
                "directory": str(run.files.directory),
                "best_epoch": run.read(run.files.metrics)["best_epoch"],
                "history": run.read(run.files.history),
            }
            for run in runs
        ],
    }


def summarise_variant(name: str, runs: list[Run], slots: list[str]) -> dict[str, Any]:
    from snn_cace.analysis.operations import Operations

    metrics = [run.read(run.files.metrics) for run in runs]
    measured = [run.read(run.measurements) for run in runs]
    accuracies = [m["test"]["segment_accuracy"] for m in metrics]

    def mean_operations(parts: list[list[dict[str, float]]]) -> Operations:
        return Operations(**{k: fmean(sum(p[k] for p in part) for part in parts) for k in ("macs", "acs", "synops")})

    total = mean_operations([[m["total"]] for m in measured])
    blocks = mean_operations([[m["slots"][slot] for slot in slots] for m in measured])
    layers = {layer: fmean(m["firing_rates"][layer] for m in measured) for layer in measured[0]["firing_rates"]}
    return {
        "name": name,
        "kind": measured[0]["kind"],
        "seeds": [run.seed for run in runs],
        "test_segment_accuracy": {
            "mean": fmean(accuracies),
            "std": stdev(accuracies) if len(accuracies) > 1 else 0.0,
            "values": accuracies,
        },
        "parameters": measured[0]["parameters"],
        "macs": total.macs,
        "acs": total.acs,
        "synops": total.synops,
        "energy_mj": total.energy_mj,
        "spiking_blocks": {"macs": blocks.macs, "acs": blocks.acs, "energy_mj": blocks.energy_mj},
        "firing_rate": {"mean": fmean(layers.values()) if layers else None, "per_layer": layers},
        "activation_sparsity": fmean(m["activation_sparsity"] for m in measured),
        "train_seconds": fmean(m["train_seconds"] for m in metrics),
        "latency_ms": fmean(m["latency_ms"] for m in measured),
        "peak_memory_mb": fmean(m["peak_memory_mb"] for m in metrics),
    }


def clip_scores(run: Run) -> np.ndarray:
    """Percent of segments right, clip by clip of the test split, in the order of rows on disk: `[N]`."""
    with np.load(run.files.predictions) as stored:
        order = np.argsort(stored["index"])
        return 100 * (stored["segment_class"] == stored["segment_target"]).mean(1)[order]


def paired_difference(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Is a better than b? Scores `[seeds, clips]` in percent, the same seeds and clips in both.

    The interval is a percentile bootstrap that draws seeds and clips anew together, so it carries both uncertainties.
    The p value is a sign-flip permutation over clips of the seeds' mean difference: seeds are taken as fixed.
    """
    from scipy.stats import permutation_test

    difference = a - b
    rng = np.random.default_rng(0)
    seeds, clips = difference.shape
    means = [
        difference[np.ix_(rng.integers(0, seeds, seeds), rng.integers(0, clips, clips))].mean()
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    per_clip = difference.mean(0)
    p_value = 1.0
    if per_clip.any():
        p_value = permutation_test(
            (per_clip,), np.mean, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES, rng=0
        ).pvalue
    return {
        "difference": float(difference.mean()),
        "ci95": [float(low), float(high)],
        "p_value": float(p_value),
        "method": f"bootstrap over {seeds} seeds and {clips} clips; p: sign flips over clips, seeds fixed",
    }
