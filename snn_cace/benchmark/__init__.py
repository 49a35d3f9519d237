"""How fast everything is on this machine, each figure beside what limits it and beside its peers, in one run.

Every timing warms up, repeats, and reports the median with quartiles; CUDA is synchronised. What is compared takes
turns. Beside each stands the share of the process's cores that it really had (`cores`): on a shared machine a figure
with less than its threads is noise. Peak memory of a training step is that of a process of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

import torch

from snn_cace.analysis.anytime import simulation_steps
from snn_cace.analysis.stopwatch import Row
from snn_cace.benchmark.breakdown import breakdowns
from snn_cace.benchmark.layers import large_lif_layer, lif_layers, temporal_encoders
from snn_cace.benchmark.machine import Sizes, limits
from snn_cace.benchmark.parts import parts
from snn_cace.benchmark.reading import reading
from snn_cace.benchmark.steps import (
    epochs,
    in_own_process,
    measure_inference,
    measure_training,
    peak_memory,
    whole_runs,
    with_steps,
)
from snn_cace.benchmark.trained import trained_networks
from snn_cace.config import Experiment
from snn_cace.processes import ready_to_compute

__all__ = ["Amounts", "Sizes", "benchmark"]


@dataclass
class Amounts:
    """How much is measured: the batch of training steps; simulation steps, batch sizes and clips of an epoch to try;
    the batch of temporal encoders and LIF layers; epochs and clips of whole training runs, none where 0; and epochs,
    clips and batch of the networks that are timed fresh and trained, with the directory of their clips, if any.
    """

    batch: int
    steps: Sequence[int]
    batches: Sequence[int]
    clips: Sequence[int]
    encoder_batch: int
    epochs: int = 0
    run_clips: int = 0
    trained_epochs: int = 0
    trained_clips: int = 256
    trained_batch: int = 16
    directory: str | None = None


def benchmark(
    experiments: Sequence[Experiment], sizes: Sizes, amounts: Amounts, device: torch.device, compiled: bool = False
) -> dict[str, Any]:
    """All measurements; `experiments[0]` is what the others' ratios are against.

    Experiments with the original's encoder are measured in float64 too, as the original trains.
    """
    ready_to_compute()
    say = partial(print, flush=True)
    named = {experiment.name: experiment for experiment in experiments}
    trained = named | {f"{e.name}, float64": in_float64(e) for e in experiments if is_original(e)}
    say("limits of the machine")
    found = limits(device)
    result: dict[str, Any] = {
        "batch": amounts.batch,
        "encoder_batch": amounts.encoder_batch,
        "threads": torch.get_num_threads(),
        "shape": vars(sizes.shape) | {"patches": sizes.patches},
        "limits": found,
    }
    result |= networks(named, trained, sizes, amounts, device, say)
    if device.type == "cpu":
        say("where the time goes")
        sizes_of_batch = sorted({amounts.batch, *amounts.batches[:1]})
        result["breakdowns"] = breakdowns(named, sizes, sizes_of_batch, device, found["matmul_flops_float32"])
    result |= reading_clips(named, result["training"], sizes, amounts, device, say)
    say("what each speed-up gains")
    spiking_one = next((e for e in experiments if simulation_steps(e)), None)
    result["parts"] = parts(experiments[0], spiking_one, sizes, amounts.batch, device, found, compiled)
    say("temporal encoders")
    result["temporal_encoders"] = temporal_encoders(device, found, amounts.encoder_batch)
    say("LIF layers")
    result["lif"] = lif_layers(device, found, amounts.steps, amounts.encoder_batch, compiled)
    result["lif"]["large"] = large_lif_layer(device, found, amounts.steps)
    if amounts.trained_epochs and device.type == "cpu":
        say(f"fresh networks beside the same after {amounts.trained_epochs} epochs")
        how = (amounts.trained_clips, amounts.trained_epochs, amounts.trained_batch, amounts.directory)
        result["trained"] = trained_networks(named, sizes, *how)
    if amounts.epochs:
        say(f"whole runs of {amounts.epochs} epochs")
        result["whole_runs"] = whole_runs(trained, sizes, amounts.run_clips, amounts.epochs, device)
    return result


def networks(
    named: dict[str, Experiment],
    trained: dict[str, Experiment],
    sizes: Sizes,
    amounts: Amounts,
    device: torch.device,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Training steps and inference: side by side, and against simulation steps and batch size."""
    result: dict[str, Any] = {}
    say("training steps")
    result["training"] = training_rows(trained, sizes, dict.fromkeys(trained, amounts.batch), device)
    baseline = next(iter(named))
    first = result["training"][baseline]["seconds"]
    for row in result["training"].values():
        row["times_first"] = row["seconds"] / first
    say("inference")
    result["inference"] = measure_inference(named, sizes, dict.fromkeys(named, amounts.batch), device)
    first = result["inference"][baseline]["latency"]["seconds"]
    for rows in result["inference"].values():
        rows["latency"]["times_first"] = rows["latency"]["seconds"] / first
    say("training steps and inference against simulation steps and batch size")
    result["against_steps"] = {
        name: tried({s: with_steps(experiment, s) for s in amounts.steps}, sizes, amounts.batch, device)
        for name, experiment in named.items()
        if simulation_steps(experiment)
    }
    result["against_batch"] = {
        name: tried(dict.fromkeys(amounts.batches, experiment), sizes, None, device)
        for name, experiment in named.items()
    }
    return result


def reading_clips(
    named: dict[str, Experiment],
    steps: dict[str, Row],
    sizes: Sizes,
    amounts: Amounts,
    device: torch.device,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Epochs with data loading, beside the training `steps` that they hold; and reading alone."""
    say("epochs by clips")
    result = epochs(named, sizes, amounts.clips, amounts.batch, device)
    for name, rows in result.items():
        for count, row in rows.items():
            row["times_steps"] = row["seconds"] / (ceil(int(count) / amounts.batch) * steps[name]["seconds"])
    return {"epochs": result, "reading": reading(sizes, max(amounts.clips), amounts.batch) if amounts.clips else {}}


def training_rows(
    named: dict[str, Experiment], sizes: Sizes, batches: dict[str, int], device: torch.device
) -> dict[str, Row]:
    """Training steps in turns, each with the peak memory of a process that does nothing else."""
    rows = measure_training(named, sizes, batches, device)
    for name, row in rows.items():
        arguments = (named[name], sizes, batches[name], device, torch.get_num_threads())
        row["peak_memory_mb"] = in_own_process(peak_memory, *arguments)
    return rows


def tried(by_number: dict[int, Experiment], sizes: Sizes, batch: int | None, device: torch.device) -> dict[str, Row]:
    """Training steps and inference by number, which is the batch where none is given."""
    named = {str(number): experiment for number, experiment in by_number.items()}
    batches = {name: batch or int(name) for name in named}
    steps = training_rows(named, sizes, batches, device)
    inference = measure_inference(named, sizes, batches, device)
    return {name: steps[name] | inference[name] for name in named}


def is_original(experiment: Experiment) -> bool:
    return any(slot.block == "braincog" for slot in vars(experiment.model.slots).values())


def in_float64(experiment: Experiment) -> Experiment:
    changed = copy.deepcopy(experiment)
    changed.training.precision = "64"
    return changed
