"""Whether a network stays as fast while it trains: its last epochs beside its first, on features like real ones.

Numbers below 1.2e-38 (float32), denormals, arise only in trained networks, and processors compute with them many times
slower. Every network is trained twice, from the same weights on the same batches: with denormals computed, and flushed.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from snn_cace.analysis.stopwatch import side_by_side
from snn_cace.benchmark.machine import Sizes
from snn_cace.benchmark.steps import TrainingStep, in_own_process, infer
from snn_cace.config import DataConfig, Experiment
from snn_cace.data.batches import Batch, ClipData
from snn_cace.data.synthetic import write_synthetic
from snn_cace.processes import flush_denormals
from snn_cace.runtime import feature_dtype

SMALLEST = torch.finfo(torch.float32).tiny
TURNS = 7
"""Repeats of each timing in turns."""
WARM_UP = 3
"""Steps before the first epoch, so that none pays for compiling kernels."""
MOST_NAMED = 8
"""Places of denormals that are told."""


def trained_networks(
    named: dict[str, Experiment], sizes: Sizes, clips: int, epochs: int, batch: int, directory: str | None
) -> dict[str, Any]:
    """Every experiment trained with the contrast on, on the clips of `directory` or on correlated, rectified features.

    By experiment and by "computed" and "flushed": see `train_and_time`.
    """
    with TemporaryDirectory() as made:
        if directory is None:
            patches = (*sizes.patches, sizes.shape.visual_channels)
            write_synthetic(made, clips, None, patches, sizes.shape.audio_channels, "float16", correlated=True)
        threads = torch.get_num_threads()
        return {
            "epochs": epochs,
            "clips": clips,
            "batch": batch,
            "directory": Path(directory).name if directory else None,
            "networks": {
                name: {
                    kind: in_own_process(
                        train_and_time, experiment, directory or made, epochs, batch, threads, kind == "flushed"
                    )
                    for kind in ("computed", "flushed")
                }
                for name, experiment in named.items()
            },
        }


def train_and_time(
    experiment: Experiment, directory: str, epochs: int, batch: int, threads: int, flush: bool
) -> dict[str, Any]:
    """Train one network, on the CPU; for a process of its own.

    Returns:
        `epoch_seconds`, one after the other; `training` and `inference`, seconds of the trained and the fresh network
        in turns on the same clips, and their ratio; `losses`, the first and last epoch's last; and `denormals`, where
        most of them are: by module, the share of its output's gradients, and of Adam's moments.
    """
    torch.set_num_threads(threads)
    flush_denormals(flush)
    device, precision = torch.device("cpu"), experiment.training.precision
    data = ClipData(DataConfig(directory=directory, batch_size=batch), feature_dtype(precision))
    batches: list[Batch] = list(data.loader("train"))
    step = TrainingStep(experiment, Sizes(data.shape), device)
    fresh = copy.deepcopy(step)
    for _ in range(WARM_UP):
        step_without_learning(fresh, batches[0])
    seconds, losses = [], []
    for _ in range(epochs):
        started = time.perf_counter()
        for clips in batches:
            loss = step(clips)
        seconds.append(time.perf_counter() - started)
        losses.append(loss.item())
    found = {"epoch_seconds": seconds, "losses": [losses[0], losses[-1]], "denormals": denormals(step, batches[0])}
    runs: dict[str, Callable[[Batch], object]] = {
        "trained": partial(step_without_learning, step),
        "fresh": partial(step_without_learning, fresh),
    }
    found["training"] = in_turns(runs, batches[0], device)
    for one in (step, fresh):
        one.module.eval()
    runs = {
        name: partial(infer, one.module.network, precision=precision)
        for name, one in (("trained", step), ("fresh", fresh))
    }
    found["inference"] = in_turns(runs, batches[0], device)
    return found


def step_without_learning(step: TrainingStep, clips: Batch) -> None:
    """A whole step of Adam that leaves the weights as they are: its learning rate is zero."""
    rates = [group["lr"] for group in step.optimiser.param_groups]
    for group in step.optimiser.param_groups:
        group["lr"] = 0.0
    step(clips)
    for group, rate in zip(step.optimiser.param_groups, rates, strict=True):
        group["lr"] = rate


def in_turns(runs: Mapping[str, Callable[[Batch], object]], clips: Batch, device: torch.device) -> dict[str, Any]:
    rows = side_by_side({name: partial(run, clips) for name, run in runs.items()}, device, repeats=TURNS)
    return rows | {"ratio": rows["trained"]["seconds"] / rows["fresh"]["seconds"]}


def denormals(step: TrainingStep, clips: Batch) -> dict[str, float]:
    """Shares of denormal numbers among what flows back through each module's output and in Adam's moments.

    Zero everywhere when they are flushed; one more step is taken to see them.
    """
    seen: Counter[str] = Counter()
    total: Counter[str] = Counter()

    def count(name: str, values: torch.Tensor) -> None:
        seen[name] += int(((values != 0) & (values.abs() < SMALLEST)).sum())
        total[name] += values.numel()

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.requires_grad:
                count(f"output of {name}", output.detach())
                output.register_hook(lambda gradient: count(f"gradient of {name}", gradient))

        return hook

    modules = step.module.network.named_modules()
    handles = [module.register_forward_hook(watch(name)) for name, module in modules if name]
    step_without_learning(step, clips)
    for handle in handles:
        handle.remove()
    for state in step.optimiser.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            count(f"Adam's {name}", state[name])
    shares = {name: seen[name] / total[name] for name in seen if seen[name]}
    return dict(sorted(shares.items(), key=lambda item: -item[1])[:MOST_NAMED])
