"""The Lightning module: one step of training and of validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import lightning as L
import torch

from neurons import RateMonitor, RateObserver, RateRegulariser, count_over_processes, run_layers, sum_over_processes
from neurons.collective import process_count
from snn_cace.config import Experiment, TrainingConfig
from snn_cace.contracts import FeatureShape, NetworkOutput
from snn_cace.data.batches import Batch
from snn_cace.model import Network, build_network
from snn_cace.training.checkpoints import hyper_parameters
from snn_cace.training.energy import EnergyRegulariser
from snn_cace.training.evaluation import evaluate_batch, padding_of
from snn_cace.training.losses import loss_terms, targets_from_labels, training_loss
from snn_cace.training.metrics import metrics_of


class EventLocaliser(L.LightningModule):
    """The network under training: losses and accuracy logged by name, Adam with milestones.

    Where several processes train it, each runs its share of a batch, and all see the losses of the whole batch.

    Every epoch starts from random numbers of its own, made from the seed and the epoch's number, so that a resumed run
    draws what an uninterrupted one would have drawn.
    """

    def __init__(self, experiment: Experiment, shape: FeatureShape) -> None:
        super().__init__()
        self.save_hyperparameters(hyper_parameters(experiment, shape))
        self.experiment = experiment
        self.network = build_network(experiment, shape)
        run_layers(self.network, experiment.training.fused)
        # In a tuple, so that it is no part of this module, which holds the network already.
        self.compiled_network = (compiled(self.network, experiment.training.compile),)
        self.metrics = metrics_of(shape)
        self.activity = RateMonitor(self.network)
        self.clips, self.totals = 0, dict[str, torch.Tensor]()
        training = experiment.training
        self.regulariser = (
            RateRegulariser(self.network, training.firing_rate_target) if training.firing_rate_weight else None
        )
        self.energy = EnergyRegulariser(self.network, experiment, shape) if training.energy_weight else None
        self.observers: list[RateObserver] = [o for o in (self.regulariser, self.energy) if o is not None]

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
        self.clips, self.totals = 0, {}
        self.network.enhance = self.network.enhance or self.contrastive_on

    def losses(self, batch: Batch, contrastive_on: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """What a training step minimises, a scalar, and the terms that are logged, by name."""
        for observer in self.observers:
            observer.start()
        (network,) = self.compiled_network
        with padding_of(self.network, batch):
            output = whole_output(network(batch["visual"], batch["audio"]))
        labels, clip_labels, lengths = (gathered(batch, name) for name in ("labels", "clip_labels", "lengths"))
        assert labels is not None
        targets = targets_from_labels(labels, clip_labels, lengths, output.label_kind)
        training, contrast = self.experiment.training, self.experiment.model.contrast
        terms = loss_terms(output, targets, contrast.temperature, training.losses == "reference")
        loss = training_loss(terms, contrast, contrastive_on)
        if self.regulariser is not None:
            terms["firing_rate"] = self.regulariser.penalty()
            loss = loss + training.firing_rate_weight * terms["firing_rate"]
        if self.energy is not None:
            terms["energy_share"] = self.energy.share(batch)
            loss = loss + training.energy_weight * torch.relu(terms["energy_share"] - training.energy_target)
        terms["segment_accuracy"] = 100 * targets.of_clips(output.right(labels)).float().mean()
        return loss, terms

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        loss, terms = self.losses(batch, self.contrastive_on)
        # Summed here and logged once: Lightning takes longer to log a batch than a small network to see it.
        clips = count_over_processes(len(batch["labels"]), loss.device)
        self.clips += clips
        for name, value in (terms | {"loss": loss}).items():
            self.totals[name] = self.totals.get(name, 0) + clips * value.detach()
        if self.trainer.is_last_batch:
            means = {f"train/{name}": total / self.clips for name, total in self.totals.items()}
            self.log_dict(means, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.metrics.reset()
        self.activity.start()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        with padding_of(self.network, batch):
            output = whole_output(self.network(batch["visual"], batch["audio"]))
        lengths = gathered(batch, "lengths")
        found = evaluate_batch(output, gather_rows(batch["labels"]), self.experiment, self.contrastive_on, lengths)
        self.metrics.update(*found.compared())
        values = {f"val/{name}": value for name, value in found.terms.items()}
        self.log_dict(values, batch_size=len(found.target), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        scores = {f"val/{name}": value for name, value in self.metrics.scores().items()}
        self.log_dict(scores, prog_bar=True, sync_dist=True)
        self.activity.stop()
        self.activity.add_processes()
        if self.activity.spikes:
            self.log("firing_rate", self.activity.firing_rate, prog_bar=True, sync_dist=True)
        for layer, activity in self.activity.activity().items():
            values = {f"{name}/{layer}": value for name, value in vars(activity).items()}
            self.log_dict(values, sync_dist=True)

    def configure_optimizers(self) -> Any:
        training = self.experiment.training
        optimiser = make_optimiser(self.parameters(), training)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, training.milestones, gamma=training.decay)
        return {"optimizer": optimiser, "lr_scheduler": schedule}


def gathered(batch: Batch, name: str) -> torch.Tensor | None:
    """What a batch has of this name, of all processes; None where it has none."""
    return gather_rows(batch[name]) if name in batch else None


def whole_output(output: NetworkOutput) -> NetworkOutput:
    """The outputs of the whole batch, whose clips the processes share."""
    gathered: dict[str, Any] = {
        name: None if rows is None else gather_rows(rows) for name, rows in vars(output).items()
    }
    return type(output)(**gathered)


def compiled(network: Network, how: str) -> Callable[..., NetworkOutput]:
    """The network as training runs it: itself, or compiled."""
    if how == "off":
        return network
    return cast(Any, torch.compile(network, mode=None if how == "default" else how))


def make_optimiser(parameters: Iterable[torch.nn.Parameter], training: TrainingConfig) -> torch.optim.Adam:
    """Adam, with decoupled weight decay (Loshchilov and Hutter, ICLR 2019) where there is any."""
    # Lightning refuses to clip gradients for a fused optimiser under mixed precision.
    options: dict[str, Any] = {"lr": training.learning_rate, "fused": training.precision != "bf16-mixed"}
    if training.weight_decay:
        return torch.optim.AdamW(parameters, weight_decay=training.weight_decay, **options)
    return torch.optim.Adam(parameters, **options)


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """The rows of all processes in the order of the whole batch, `[b, ...]` to `[B, ...]`, differentiable: process r of
    P holds rows r, r + P, r + 2 P and so on; b may differ by one, and be 0.
    """
    processes = process_count()
    if processes == 1:
        return rows
    whole = rows.new_zeros(count_over_processes(len(rows), rows.device), *rows.shape[1:])
    whole[torch.distributed.get_rank() :: processes] = rows
    return sum_over_processes(whole)
