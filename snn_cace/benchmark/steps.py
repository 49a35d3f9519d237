"""Training steps, inference and whole runs of the network, as `snn-cace train` runs them."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snn_cace.analysis.anytime import simulation_steps
from snn_cace.analysis.stopwatch import Row, Run, side_by_side
from snn_cace.benchmark.machine import (
    SEGMENTS,
    Sizes,
    at_precision,
    beside_products,
    beside_rates,
    matmul_flops,
    product_kind,
)
from snn_cace.config import DataConfig, Experiment, Precision
from snn_cace.contracts import NetworkOutput
from snn_cace.data.batches import Batch, ClipData
from snn_cace.data.synthetic import write_synthetic
from snn_cace.model import build_network
from snn_cace.processes import start_worker, workers
from snn_cace.runtime import feature_dtype, peak_memory_mb, use_tensor_cores
from snn_cace.training.module import EventLocaliser
from snn_cace.training.run import train

FEW_STEPS = 3


def clips(
    sizes: Sizes, batch: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """A batch of random features, `[B, T, H, W, Cv]` and `[B, T, Ca]`, with labels `[B, T, C + 1]`."""
    generator = torch.Generator().manual_seed(0)
    shape = sizes.shape
    classes = torch.randint(shape.classes + 1, (batch, SEGMENTS), generator=generator)
    made = {
        "visual": torch.rand(batch, SEGMENTS, *sizes.patches, shape.visual_channels, generator=generator),
        "audio": torch.rand(batch, SEGMENTS, shape.audio_channels, generator=generator),
        "labels": torch.eye(shape.classes + 1)[classes],
    }
    return {name: values.to(device, dtype) for name, values in made.items()}


def with_steps(experiment: Experiment, steps: int) -> Experiment:
    """The experiment with S = `steps` in every slot that spikes."""
    changed = copy.deepcopy(experiment)
    for name in simulation_steps(experiment):
        getattr(changed.model.slots, name).steps = steps
    return changed


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")


class TrainingStep:
    """One step as training takes it once the contrast is on, without Lightning around it: the module's own losses,
    backward pass, clipping and optimiser, every option of `experiment.training` included.
    """

    def __init__(self, experiment: Experiment, sizes: Sizes, device: torch.device) -> None:
        torch.manual_seed(0)
        self.training, self.device = experiment.training, device
        self.module = EventLocaliser(experiment, sizes.shape).to(device, feature_dtype(self.training.precision)).train()
        self.module.network.enhance = experiment.model.contrast.enabled
        self.module.on_fit_start()
        self.parameters = list(self.module.parameters())
        self.optimiser: torch.optim.Optimizer = self.module.configure_optimizers()["optimizer"]

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Returns the loss, detached."""
        use_tensor_cores(self.training.precision, self.device)
        with autocast(self.training.precision, self.device):
            loss, _ = self.module.losses(batch, contrastive_on=self.module.experiment.model.contrast.enabled)
        self.optimiser.zero_grad()
        loss.backward()
        if self.training.gradient_clip:
            nn.utils.clip_grad_norm_(self.parameters, self.training.gradient_clip)
        self.optimiser.step()
        return loss.detach()


def step_of(experiment: Experiment, sizes: Sizes, batch: int, device: torch.device) -> Run:
    """A training step on one batch of random features, over and over."""
    dtype = feature_dtype(experiment.training.precision)
    return partial(TrainingStep(experiment, sizes, device), clips(sizes, batch, device, dtype))


def measure_training(
    named: dict[str, Experiment], sizes: Sizes, batches: dict[str, int], device: torch.device
) -> dict[str, Row]:
    """Training steps of several experiments, in turns with the matrix product whose rate they are held against."""
    runs = {name: step_of(experiment, sizes, batches[name], device) for name, experiment in named.items()}
    rows, rates = beside_rates(runs, device)
    found = {}
    for name, run in runs.items():
        kind = product_kind(named[name].training.precision, device)
        row = beside_products(rows[name], matmul_flops(run), rates[kind])
        found[name] = row | {"samples_per_second": batches[name] / row["seconds"]}
    return found


def peak_memory(experiment: Experiment, sizes: Sizes, batch: int, device: torch.device, threads: int) -> float:
    """MiB that a few training steps need, PyTorch included; for a process of its own."""
    torch.set_num_threads(threads)
    step = step_of(experiment, sizes, batch, device)
    for _ in range(FEW_STEPS):
        step()
    return peak_memory_mb(device)


def measure_inference(
    named: dict[str, Experiment], sizes: Sizes, batches: dict[str, int], device: torch.device
) -> dict[str, dict[str, Row]]:
    """Latency of one clip and throughput of a batch, all in turns."""
    runs: dict[str, Run] = {}
    for name, experiment in named.items():
        torch.manual_seed(0)
        dtype = feature_dtype(experiment.training.precision)
        network = build_network(experiment, sizes.shape).to(device, dtype).eval()
        for kind, size in (("latency", 1), ("throughput", batches[name])):
            run = partial(infer, network, clips(sizes, size, device, dtype), experiment.training.precision)
            runs[f"{kind} {name}"] = at_precision(run, experiment.training.precision, device)
    rows, rates = beside_rates(runs, device)
    found: dict[str, dict[str, Row]] = {name: {} for name in named}
    for name, experiment in named.items():
        for kind, size in (("latency", 1), ("throughput", batches[name])):
            flops = matmul_flops(runs[f"{kind} {name}"])
            rate = rates[product_kind(experiment.training.precision, device)]
            row = beside_products(rows[f"{kind} {name}"], flops, rate)
            found[name][kind] = row | {"samples_per_second": size / row["seconds"]}
    return found


def infer(network: Callable[..., NetworkOutput], batch: Batch, precision: Precision) -> None:
    with torch.no_grad(), autocast(precision, batch["visual"].device):
        network(batch["visual"], batch["audio"])


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns, run where nothing else has used memory."""
    with ProcessPoolExecutor(1, workers(), start_worker) as pool:
        return pool.submit(function, *arguments).result()


class Epoch:
    """One pass over all clips of a directory in AVE's layout, for training; `read_seconds`: what reading them took."""

    def __init__(self, experiment: Experiment, sizes: Sizes, directory: str, batch: int, device: torch.device) -> None:
        dtype = feature_dtype(experiment.training.precision)
        started = time.perf_counter()
        data = ClipData(DataConfig(directory=directory, batch_size=batch), dtype, device=device)
        self.loader = data.loader("all")
        self.read_seconds = time.perf_counter() - started
        self.step, self.device = TrainingStep(experiment, sizes, device), device

    def __call__(self) -> None:
        for batch in self.loader:
            self.step({name: values.to(self.device, non_blocking=True) for name, values in batch.items()})


def epochs(
    named: dict[str, Experiment], sizes: Sizes, counts: Sequence[int], batch: int, device: torch.device
) -> dict[str, dict[str, Row]]:
    """By experiment and number of clips: seconds of an epoch with data loading, in turns, seconds that reading the
    clips took before, and the peak memory of a process that does nothing else.
    """
    found: dict[str, dict[str, Row]] = {name: {} for name in named}
    for count in counts:
        with tempfile.TemporaryDirectory() as directory:
            write_clips(Path(directory), sizes, count)
            passes = {name: Epoch(e, sizes, directory, batch, device) for name, e in named.items()}
            rows = side_by_side(passes, device, repeats=3, warm_up=1)
            for name, experiment in named.items():
                arguments = (experiment, sizes, directory, batch, device, torch.get_num_threads())
                found[name][str(count)] = rows[name] | {
                    "read_seconds": passes[name].read_seconds,
                    "samples_per_second": count / rows[name]["seconds"],
                    "peak_memory_mb": in_own_process(memory_of_epoch, *arguments),
                }
    return found


def memory_of_epoch(
    experiment: Experiment, sizes: Sizes, directory: str, batch: int, device: torch.device, threads: int
) -> float:
    """MiB that reading and an epoch need, PyTorch included; for a process of its own."""
    torch.set_num_threads(threads)
    Epoch(experiment, sizes, directory, batch, device)()
    return peak_memory_mb(device)


def write_clips(directory: Path, sizes: Sizes, count: int) -> None:
    shape = sizes.shape
    write_synthetic(directory, count, None, (*sizes.patches, shape.visual_channels), shape.audio_channels, "float16", 0)


def whole_run(experiment: Experiment, directory: str, output: str, number: int, device: Any) -> dict[str, float]:
    """`snn-cace train` for `number` epochs over the clips in `directory`, evaluated at each; for its own process."""
    experiment = copy.deepcopy(experiment)
    experiment.data.directory, experiment.data.keep_as = directory, "float16"
    experiment.training.epochs, experiment.training.device = number, device
    started = time.perf_counter()
    metrics = train(experiment, output, quiet=True)
    return {
        "seconds": metrics["train_seconds"],
        "seconds_with_reading_and_testing": time.perf_counter() - started,
        "peak_memory_mb": metrics["peak_memory_mb"],
    }


def whole_runs(
    named: dict[str, Experiment], sizes: Sizes, count: int, number: int, device: torch.device
) -> dict[str, Any]:
    """Every experiment trained as users train it, on `count` random clips of AVE's layout."""
    found: dict[str, Any] = {"clips": count, "epochs": number, "runs": {}}
    with tempfile.TemporaryDirectory() as directory:
        write_clips(Path(directory) / "data", sizes, count)
        for index, (name, experiment) in enumerate(named.items()):
            arguments = (experiment, f"{directory}/data", f"{directory}/{index}", number, device.type)
            found["runs"][name] = in_own_process(whole_run, *arguments)
    return found
