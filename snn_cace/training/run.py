"""Training one experiment with Lightning, and evaluating the result."""

from __future__ import annotations

import logging
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import ClusterEnvironment

from neurons import SpikingLayer
from snn_cace.config import Experiment, TrainingConfig, as_yaml, different_keys, read_config
from snn_cace.data.batches import ClipData
from snn_cace.errors import InputError
from snn_cace.files import write_json, write_text
from snn_cace.networks import find_network
from snn_cace.processes import end_by_kernel, flush_denormals, is_unused, sole_writer
from snn_cace.provenance import origin
from snn_cace.runtime import feature_dtype, peak_memory_mb, pick_device, use_tensor_cores
from snn_cace.training.callbacks import LossHistory, StopOnBadLoss, WholeCheckpoints, epoch_progress
from snn_cace.training.checkpoints import RunFiles, load_checkpoint, read_tensors
from snn_cace.training.evaluation import evaluate_network, save_arrays
from snn_cace.training.module import EventLocaliser
from snn_cace.training.ranks import is_first, join

PLACES = {
    "device": "kept on the device that trains",
    "memory": "kept in memory",
    "mapped": "kept in a mapped file",
    "disk": "read from disk as they are needed",
}
"""Where clips are kept, in words for the log."""
LIGHTNING_PRECISION: dict[Any, Any] = {"32": "32-true", "tf32": "32-true", "bf16-mixed": "bf16-mixed", "64": "64-true"}


def prepare_directory(experiment: Experiment, files: RunFiles, resume: bool) -> None:
    """Refuse a used directory, or one that resumes another experiment; else write its config.

    A run that broke off before its first checkpoint resumes from the start.

    Raises:
        InputError: naming the directory and what to do.
    """
    directory = files.directory
    if not resume:
        if not is_unused(directory):
            raise InputError(f"{directory} is not empty; give a fresh --output, or --resume to go on with its run")
        write_text(files.config, as_yaml(experiment))
        return
    if not files.config.is_file():
        raise InputError(f"{directory} holds no run to resume: no config.yaml")
    if files.metrics.is_file():
        raise InputError(f"{directory} holds a finished run; give a fresh --output")
    before = read_config(files.config, Experiment)
    changed = different_keys(before, experiment)
    if changed:
        raise InputError(
            f"{directory} was started with another {changed[0]}; resume with the same config, or start afresh"
        )


def train(
    experiment: Experiment,
    output: str | Path,
    resume: bool = False,
    quiet: bool = False,
    until: int | None = None,
    test: bool = True,
) -> dict[str, Any]:
    """Train `experiment` into the run directory `output` and return what its metrics.json says.

    until: after so many epochs a run that has more to go waits unfinished, to be resumed; it returns nothing. test:
    whether the finished network reads the test split.

    Raises:
        InputError: bad data, a used directory, a run that cannot be resumed, or a loss that is no longer a number.
    """
    training, files = experiment.training, RunFiles(Path(output))
    with lightning_quiet():
        environment = join(training.devices, training.nodes)
    if not is_first():
        end_by_kernel()  # Lightning started this process, beside the one that holds the directory
    with sole_writer(output) if is_first() else nullcontext():
        device = pick_device(training.device)
        flush_denormals()
        use_tensor_cores(training.precision, device)
        data = clips_of(experiment, device)
        L.seed_everything(training.seed, verbose=False)
        module = EventLocaliser(experiment, data.shape)  # first: what is wrong with it leaves no directory behind
        module.to(feature_dtype(training.precision))
        untouched = is_unused(files.directory)
        if is_first():
            prepare_directory(experiment, files, resume)
            if not files.provenance.is_file():
                write_json(files.provenance, origin(data.reader, device.type))
        checkpoint = files.last if resume and files.last.is_file() else None
        if checkpoint is not None:
            refuse_other_parameters(checkpoint, module)
        if not quiet:
            print(describe_run(module, data))
        epochs = min(training.epochs, until or training.epochs)
        with lightning_quiet():
            trainer = make_trainer(training, files, environment, quiet, epochs, f"val/{module.metrics.picked_by}")
        started = time.perf_counter()
        with lightning_quiet(), interruptible(trainer), taken_back(files, untouched and is_first()):
            trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
        unfinished = epochs < training.epochs and not trainer.should_stop
        if unfinished or not trainer.is_global_zero:
            return {}
        return finish(experiment, data, files, time.perf_counter() - started, quiet, test)


def refuse_other_parameters(checkpoint: Path, module: EventLocaliser) -> None:
    """Raise InputError of a checkpoint that is damaged, for which Lightning does not ask, or whose optimiser trained
    other parameters, as that of another version of this package may.
    """
    groups = read_tensors(checkpoint)["optimizer_states"][0]["param_groups"]
    trained, here = sum(len(group["params"]) for group in groups), sum(1 for _ in module.parameters())
    if trained != here:
        raise InputError(
            f"{checkpoint} trained {trained} parameters where this version has {here}; start afresh in another --output"
        )


@contextmanager
def taken_back(files: RunFiles, fresh: bool) -> Iterator[None]:
    """Where bad input ends a fresh run before its first checkpoint, its directory is left as it was, so that the same
    command runs once the input is mended.
    """
    try:
        yield
    except InputError:
        if fresh and not files.last.is_file():
            for path in (files.config, files.provenance, files.history):
                path.unlink(missing_ok=True)
            for directory in (files.checkpoints, files.tensorboard):
                shutil.rmtree(directory, ignore_errors=True)
        raise


def clips_of(experiment: Experiment, device: torch.device) -> ClipData:
    """What `experiment` trains on and is evaluated on.

    Raises:
        InputError: there are none, or the network or a loss term cannot take them.
    """
    training, model = experiment.training, experiment.model
    evaluated = "test" if training.protocol == "paper" else "val"
    dtype = feature_dtype(training.precision)
    data = ClipData(experiment.data, dtype, training.seed, evaluated, device, training.supervision)
    if training.energy_weight and data.layout.lengths is not None:
        raise InputError("training.energy_weight: it is of clips of one length; these differ. Set it to 0")
    find_network(model.network).check_patches(model, data.layout.height * data.layout.width)
    return data


def finish(
    experiment: Experiment, data: ClipData, files: RunFiles, seconds: float, quiet: bool, with_test: bool
) -> dict[str, Any]:
    """Evaluate the best checkpoint on the held-out splits and write metrics.json, which marks the run as finished."""
    best, device = load_checkpoint(files.best), pick_device(experiment.training.device)
    val = evaluate_network(best.network, data.loader("val"), experiment, device, quiet)
    held_out = {"val": val.summary()}
    if with_test:
        test = evaluate_network(best.network, data.loader("test"), experiment, device, quiet)
        save_arrays(files.predictions, test.predictions)
        held_out["test"] = test.summary()
    health = {layer: vars(activity) for layer, activity in val.activity.items()}
    unhealthy = [line for layer, activity in val.activity.items() if (line := activity.warning(layer))]
    metrics = {
        "best_epoch": best.epoch,
        "protocol": experiment.training.protocol,
        "selected_on": data.evaluation_split,
        "train_seconds": seconds,
        "peak_memory_mb": peak_memory_mb(device),
        **held_out,
        "activity": health,
        "warnings": unhealthy,
    }
    write_json(files.metrics, metrics)
    return metrics


@contextmanager
def lightning_quiet() -> Iterator[None]:
    """Without Lightning's notes on hardware, services and its own deprecations; its errors still come through."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def interruptible(trainer: L.Trainer) -> Iterator[None]:
    """Ctrl-C as KeyboardInterrupt, where Lightning tidies up and then exits with code 1."""
    try:
        yield
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


def make_trainer(
    training: TrainingConfig, files: RunFiles, environment: ClusterEnvironment, quiet: bool, epochs: int, picked_by: str
) -> L.Trainer:
    best, last = (
        ModelCheckpoint(
            dirpath=files.checkpoints,
            filename=path.stem,
            monitor=monitor,
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        for path, monitor in ((files.best, picked_by), (files.last, None))
    )
    callbacks: list[Callback] = [LearningRateMonitor("epoch"), LossHistory(files.history), StopOnBadLoss(), best, last]
    if training.patience:
        callbacks.append(EarlyStopping(picked_by, mode="max", patience=training.patience))
    if not quiet:
        callbacks.append(epoch_progress())
    return L.Trainer(
        accelerator="gpu" if pick_device(training.device).type == "cuda" else "cpu",
        devices=training.devices,
        # The contrastive projector has no gradient until its loss comes on.
        strategy="ddp_find_unused_parameters_true" if training.devices * training.nodes > 1 else "auto",
        precision=LIGHTNING_PRECISION[training.precision],
        max_epochs=epochs,
        deterministic=training.deterministic,
        use_distributed_sampler=False,
        num_nodes=training.nodes,
        gradient_clip_val=training.gradient_clip or None,
        callbacks=callbacks,
        plugins=[WholeCheckpoints(), environment],
        logger=TensorBoardLogger(files.directory, name=files.tensorboard.name, version=""),
        num_sanity_val_steps=0,
        enable_progress_bar=not quiet,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def describe_run(module: EventLocaliser, data: ClipData) -> str:
    """The lines a run starts with: data, parameters, the kernel each spiking layer runs on, and whether the first one
    reads values where it could read events.
    """
    experiment = module.experiment
    parameters = sum(p.numel() for p in module.network.parameters())
    splits = ", ".join(f"{split} {len(order)}" for split, order in data.layout.orders.items())
    background = f", {data.background} without an event to train on" if data.background else ""
    lines = [
        f"{experiment.name}: {parameters:,} parameters, clips: {splits}{background}",
        f"features: {data.kept_bytes / 2**20:,.0f} MiB, {PLACES[data.place]}",
        f"protocol {experiment.training.protocol}: the best epoch is picked on the {data.evaluation_split} split",
    ]
    device = pick_device(experiment.training.device)
    layers = [layer for layer in module.network.modules() if isinstance(layer, SpikingLayer)]
    kernels = sorted({layer.implementation(device) for layer in layers})
    if layers:
        lines.append(f"{len(layers)} spiking layers on {device.type}: {', '.join(kernels)}")
    model = experiment.model
    projection = model.slots.slot("visual_projection")
    if projection.spikes and projection.spiking(model.spiking).coding == "constant":
        seen = data.reader.read("visual", data.layout.orders["train"][:1])
        if ((seen != 0) & (seen != 1)).any():
            lines.append("visual features are no events of 0 and 1: the spiking visual_projection multiplies them")
    return "\n".join(lines)
