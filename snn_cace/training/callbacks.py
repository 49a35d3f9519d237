"""Callbacks of training: the history that the report reads, checkpoints, and the end of a run."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ProgressBar, TQDMProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO

from snn_cace.errors import InputError
from snn_cace.files import write_json
from snn_cace.training.checkpoints import write_tensors


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


class EpochLines(ProgressBar):
    """A line an epoch of what a bar would show: files and pipes keep every state of a bar."""

    def disable(self) -> None:
        """Asked of all processes but the first, which alone prints."""

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            values = [f"{name} {float(value):.4g}" for name, value in trainer.progress_bar_metrics.items()]
            print(f"epoch {trainer.current_epoch}: {', '.join(values)}", flush=True)


def epoch_progress() -> ProgressBar:
    """A bar where standard output is a terminal, else lines."""
    return TQDMProgressBar(leave=False) if sys.stdout.isatty() else EpochLines()


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that replace the one before whole or not at all, also where the run directory lies on another disk
    than the system's temporary files, through which Lightning would copy them.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        write_tensors(path, checkpoint)


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
