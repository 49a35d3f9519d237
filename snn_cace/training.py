"""Training one experiment with Lightning, and evaluating what came of it."""

from __future__ import annotations

import itertools
import logging
import math
import resource
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from neurons import RateMonitor, RateRegulariser, SpikingLayer, run_layers, scale_surrogates
from snn_cace.checkpoints import (
    DIGEST,
    RunFiles,
    digest_of,
    hyper_parameters,
    load_checkpoint,
    read_tensors,
    verify_digest,
)
from snn_cace.config import Experiment, TrainingConfig, as_yaml, different_keys, read_config
from snn_cace.contracts import FeatureShape, NetworkOutput
from snn_cace.data.batches import Batch, ClipData
from snn_cace.errors import InputError
from snn_cace.evaluation import evaluate_batch, evaluate_network, save_arrays
from snn_cace.files import write_json, write_text
from snn_cace.losses import distillation_loss, loss_terms, targets_from_labels, training_loss
from snn_cace.metrics import SegmentMetrics, segment_predictions
from snn_cace.model import CaceNet
from snn_cace.processes import end_by_kernel, is_unused, ready_to_compute, sole_writer
from snn_cace.runtime import feature_dtype, keep_freed_memory, pick_device, use_tensor_cores
from snn_cace.transfer import initialise, initialise_thresholds

CALIBRATION_BATCHES = 8
"""Training batches over which activations of a network to start from are recorded."""
PLACES = {
    "device": "kept on the device that trains",
    "memory": "kept in memory",
    "mapped": "kept in a mapped file",
    "disk": "read from disk as they are needed",
}
"""Where clips are kept, in words for the log."""
LIGHTNING_PRECISION: dict[Any, Any] = {"32": "32-true", "tf32": "32-true", "bf16-mixed": "bf16-mixed", "64": "64-true"}


class EventLocaliser(L.LightningModule):
    """The network under training: losses and accuracy logged by name, Adam with milestones.

    Every epoch starts from random numbers of its own, made from the seed and the epoch's number, so that a resumed run
    draws what an uninterrupted one would have drawn.
    """

    def __init__(self, experiment: Experiment, shape: FeatureShape) -> None:
        super().__init__()
        self.save_hyperparameters(hyper_parameters(experiment, shape))
        self.experiment = experiment
        self.network = CaceNet(experiment.model, shape)
        run_layers(self.network, experiment.training.fused, experiment.training.recompute)
        # In a tuple, so that it is no part of this module, which holds the network already.
        self.compiled_network = (compiled(self.network, experiment.training.compile),)
        self.metrics = SegmentMetrics(num_classes=shape.classes + 1)
        self.activity = RateMonitor(self.network)
        training = experiment.training
        self.regulariser = (
            RateRegulariser(self.network, training.firing_rate_target) if training.firing_rate_weight else None
        )
        # In a list, so that it is no part of this module: a teacher is neither trained nor saved.
        self.teacher: list[CaceNet] = []
        if training.distillation.teacher:
            self.teacher.append(fitting_network(training.distillation.teacher, shape, "training.distillation.teacher"))

    def on_fit_start(self) -> None:
        self.teacher = [
            teacher.to(self.device, feature_dtype(self.experiment.training.precision)).eval()
            for teacher in self.teacher
        ]

    @property
    def contrastive_on(self) -> bool:
        contrast = self.experiment.model.contrast
        return contrast.enabled and self.current_epoch >= contrast.start * self.experiment.training.epochs

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        # Not at the epoch's start: data loaders draw from the same generator after that, but only in some epochs.
        if batch_index == 0:
            seed = self.experiment.training.seed * 1_000_003 + self.current_epoch
            torch.manual_seed(seed + 10_007 * self.global_rank)

    def on_train_epoch_start(self) -> None:
        self.network.enhance = self.network.enhance or self.contrastive_on
        training = self.experiment.training
        progress = self.current_epoch / max(1, training.epochs - 1)
        scale_surrogates(self.network, 1 + progress * (training.surrogate_slope - 1))

    def terms(self, output: NetworkOutput, batch: Batch) -> dict[str, torch.Tensor]:
        reference = self.experiment.training.losses == "reference"
        targets = targets_from_labels(batch["labels"])
        return loss_terms(output, targets, self.experiment.model.contrast.temperature, reference)

    def losses(self, batch: Batch, contrastive_on: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """What a training step minimises, a scalar, and the terms that are logged, by name."""
        if self.regulariser is not None:
            self.regulariser.start()
        (network,) = self.compiled_network
        output = network(batch["visual"], batch["audio"])
        terms = self.terms(output, batch)
        loss = training_loss(terms, self.experiment.model.contrast, contrastive_on)
        if self.regulariser is not None:
            terms["firing_rate"] = self.regulariser.penalty()
            loss = loss + self.experiment.training.firing_rate_weight * terms["firing_rate"]
        for teacher in self.teacher:
            distillation = self.experiment.training.distillation
            with torch.no_grad():
                wanted = teacher(batch["visual"], batch["audio"])
            terms["distillation"] = distillation_loss(output, wanted, distillation.temperature)
            loss = loss + distillation.weight * terms["distillation"]
        right = segment_predictions(output) == batch["labels"].argmax(-1)
        terms["segment_accuracy"] = 100 * right.float().mean()
        return loss, terms

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        loss, terms = self.losses(batch, self.contrastive_on)
        values = {f"train/{name}": value.detach() for name, value in (terms | {"loss": loss}).items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(batch["labels"]), sync_dist=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.metrics.reset()
        self.activity.start()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        output = self.network(batch["visual"], batch["audio"])
        found = evaluate_batch(output, batch, self.experiment, self.contrastive_on)
        self.metrics.update(found.predicted, found.target)
        values = {f"val/{name}": value for name, value in found.terms.items()}
        self.log_dict(values, batch_size=len(batch["labels"]), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        self.log("val/segment_accuracy", self.metrics.segment_accuracy(), prog_bar=True, sync_dist=True)
        self.activity.stop()
        for layer, activity in self.activity.activity().items():
            values = {f"{name}/{layer}": value for name, value in vars(activity).items()}
            self.log_dict(values, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Lightning adds nothing after this hook.
        checkpoint[DIGEST] = digest_of(checkpoint)

    def configure_optimizers(self) -> Any:
        training = self.experiment.training
        optimiser = make_optimiser(self.parameters(), training)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, training.milestones, gamma=training.decay)
        return {"optimizer": optimiser, "lr_scheduler": schedule}


def compiled(network: CaceNet, how: str) -> Callable[..., NetworkOutput]:
    """The network as training runs it: itself, or compiled."""
    if how == "off":
        return network
    return cast(Any, torch.compile(network, mode=None if how == "default" else how))


def make_optimiser(parameters: Iterable[torch.nn.Parameter], training: TrainingConfig) -> torch.optim.Adam:
    # Lightning refuses to clip gradients for a fused optimiser under mixed precision.
    return torch.optim.Adam(parameters, lr=training.learning_rate, fused=training.precision != "bf16-mixed")


class LossHistory(Callback):
    """Keeps every epoch's logged values in `history.json`, for the report; written whole after each epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self.epochs.append({"epoch": trainer.current_epoch, **dict(sorted(finite.items()))})
        if trainer.is_global_zero:
            write_json(self.path, self.epochs)

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = state["epochs"]


class StopOnBadLoss(Callback):
    """Ends training with one clear line when the loss is no longer a number.

    At once on a CPU; on CUDA, where asking after each batch would keep the device waiting, at the end of the epoch,
    before it is evaluated.
    """

    def __init__(self) -> None:
        self.losses: list[torch.Tensor] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        self.losses.append(outputs["loss"].detach())
        if not outputs["loss"].is_cuda:
            self.check(trainer.current_epoch, batch_index)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.check(trainer.current_epoch, 0)

    def check(self, epoch: int, first: int) -> None:
        """Raise InputError naming the first bad batch among the losses since the last check, whose first is `first`."""
        losses, self.losses = self.losses, []
        for index, loss in enumerate(torch.stack(losses).tolist() if losses else []):
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss is {loss} in epoch {epoch}, batch {first + index}; "
                    "lower training.learning_rate or training.gradient_clip"
                )


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


def train(experiment: Experiment, output: str | Path, resume: bool = False, quiet: bool = False) -> dict[str, Any]:
    """Train `experiment` into the run directory `output` and return what its metrics.json says.

    Raises:
        InputError: bad data, a used directory, a run that cannot be resumed, or a loss that is no longer a number.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:
        # Lightning started this process, beside the one that holds the directory.
        end_by_kernel()
        return train_alone(experiment, RunFiles(Path(output)), resume, quiet)
    if Path(output).exists() and not Path(output).is_dir():
        raise InputError(f"{output} is a file; give a fresh --output")
    with sole_writer(output):
        return train_alone(experiment, RunFiles(Path(output)), resume, quiet)


def train_alone(experiment: Experiment, files: RunFiles, resume: bool, quiet: bool) -> dict[str, Any]:
    """`train`, by the one process that writes the run directory, or beside it on a device of its own."""
    training = experiment.training
    device = pick_device(training.device)
    ready_to_compute()
    keep_freed_memory()
    use_tensor_cores(training.precision, device)
    data = ClipData(
        experiment.data,
        feature_dtype(training.precision),
        training.seed,
        "test" if training.protocol == "paper" else "val",
        device,
    )
    if getattr(rank_zero_only, "rank", 0) == 0:
        prepare_directory(experiment, files, resume)
    L.seed_everything(training.seed, verbose=False)
    module = EventLocaliser(experiment, data.shape)
    module.to(feature_dtype(training.precision))
    checkpoint = files.last if resume and files.last.is_file() else None
    if checkpoint is not None:
        verify_digest(read_tensors(checkpoint), checkpoint)
    if training.initialise_from and checkpoint is None:
        source = fitting_network(training.initialise_from, data.shape, "training.initialise_from")
        copied = initialise(module.network, source)
        loader = itertools.islice(data.loader("train"), CALIBRATION_BATCHES)
        batches = ((batch["visual"], batch["audio"]) for batch in loader)
        thresholds = initialise_thresholds(module.network, source.to(data.dtype), batches)
        if not quiet:
            taken, kept = len(copied.taken), len(copied.kept) - len(thresholds)
            print(f"{training.initialise_from}: {taken} entries and {len(thresholds)} thresholds taken, {kept} anew")
    if not quiet:
        print(describe_run(module, data))
    with lightning_quiet():
        trainer = make_trainer(training, files, quiet)
    started = time.perf_counter()
    with lightning_quiet(), interruptible(trainer):
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    seconds = time.perf_counter() - started
    if not trainer.is_global_zero:
        return {}
    return finish(experiment, data, files, seconds, quiet)


def finish(experiment: Experiment, data: ClipData, files: RunFiles, seconds: float, quiet: bool) -> dict[str, Any]:
    """Evaluate the best checkpoint on both held-out splits and write metrics.json, which marks the run as finished."""
    content = torch.load(files.best, map_location="cpu", weights_only=True)
    network = load_checkpoint(files.best).network
    device = pick_device(experiment.training.device)
    val, test = (evaluate_network(network, data.loader(split), experiment, device, quiet) for split in ("val", "test"))
    save_arrays(files.predictions, test.predictions)
    health = {layer: vars(activity) for layer, activity in val.activity.items()}
    unhealthy = [line for layer, activity in val.activity.items() if (line := activity.warning(layer))]
    metrics = {
        "best_epoch": int(content["epoch"]),
        "protocol": experiment.training.protocol,
        "selected_on": data.evaluation_split,
        "train_seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "val": val.summary(),
        "test": test.summary(),
        "activity": health,
        "complaints": unhealthy,
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


def fitting_network(path: str, shape: FeatureShape, key: str) -> CaceNet:
    """The network of the checkpoint that config key `key` names.

    Raises:
        InputError: no such checkpoint, or of other features.
    """
    network = load_checkpoint(path).network
    if network.shape != shape:
        raise InputError(f"{key}: {path} was trained on {network.shape}, the data has {shape}")
    return network


def peak_memory_mb() -> float:
    """Largest CUDA memory allocated, or largest resident memory of this process (PyTorch itself included), in MiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def make_trainer(training: TrainingConfig, files: RunFiles, quiet: bool) -> L.Trainer:
    best, last = (
        ModelCheckpoint(
            dirpath=files.checkpoints,
            filename=path.stem,
            monitor=monitor,
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        for path, monitor in ((files.best, "val/segment_accuracy"), (files.last, None))
    )
    callbacks: list[Callback] = [
        LearningRateMonitor("epoch"),
        LossHistory(files.history),
        StopOnBadLoss(),
        best,
        last,
    ]
    if not quiet:
        callbacks.append(TQDMProgressBar(leave=False))
    return L.Trainer(
        accelerator="gpu" if pick_device(training.device).type == "cuda" else "cpu",
        devices=training.devices,
        # The contrastive projector has no gradient until its loss comes on.
        strategy="ddp_find_unused_parameters_true" if training.devices > 1 else "auto",
        precision=LIGHTNING_PRECISION[training.precision],
        max_epochs=training.epochs,
        gradient_clip_val=training.gradient_clip or None,
        callbacks=callbacks,
        logger=TensorBoardLogger(files.directory, name="tensorboard", version=""),
        num_sanity_val_steps=0,
        enable_progress_bar=not quiet,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def describe_run(module: EventLocaliser, data: ClipData) -> str:
    """The lines a run starts with: data, parameters, and the kernel each spiking layer runs on."""
    experiment = module.experiment
    parameters = sum(p.numel() for p in module.network.parameters())
    splits = ", ".join(f"{split} {len(order)}" for split, order in data.layout.orders.items())
    lines = [
        f"{experiment.name}: {parameters:,} parameters, clips: {splits}",
        f"features: {data.kept_bytes / 2**20:,.0f} MiB, {PLACES[data.place]}",
        f"protocol {experiment.training.protocol}: the best epoch is picked on the {data.evaluation_split} split",
    ]
    device = pick_device(experiment.training.device)
    layers = [layer for layer in module.network.modules() if isinstance(layer, SpikingLayer)]
    kernels = sorted({layer.implementation(device) for layer in layers})
    if layers:
        lines.append(f"{len(layers)} spiking layers on {device.type}: {', '.join(kernels)}")
    return "\n".join(lines)
