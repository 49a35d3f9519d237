"""Evaluation of a trained network on a split: accuracy, losses, and predictions clip by clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from neurons import LayerActivity, RateMonitor, padded, run_layers
from snn_cace.config import Experiment
from snn_cace.contracts import NetworkOutput
from snn_cace.data.batches import Batch
from snn_cace.files import replacing
from snn_cace.model import Network
from snn_cace.runtime import feature_dtype, progress, use_tensor_cores
from snn_cace.training.intervals import interval_scores
from snn_cace.training.losses import Targets, loss_terms, targets_from_labels, validation_loss
from snn_cace.training.metrics import PADDING, metrics_of
from snn_cace.training.parsing import parsing_scores

PREDICTED = (
    "segment_relevance",
    "event_logits",
    "gate",
    "av_logits",
    "segment_logits",
    "clip_logits",
    "segment_class",
    "index",
)
"""What `predict` writes, as far as the network says it."""


@dataclass
class Evaluation:
    """A network over a split of N clips.

    scores: `segment_accuracy`, percent of segments, and what else is known of such data (`EventMetrics`,
    `interval_scores`, `parsing_scores`). losses: means over clips. class_accuracy: percent of each class's segments.
    confusion: counts of segments, rows true, columns predicted; with several events a segment, of each class.
    predictions: clip by clip, what `predict` writes
    (`segment_relevance` `[N, T]`, `event_logits` `[N, C]`, `gate` `[N, T]`, `av_logits` `[N, C]`, of AVEL
    `segment_logits` `[N, T, C + 1]`, of weak networks `clip_logits` `[N, C + 1]`, `segment_class` `[N, T]`, `index`
    `[N]`, the rows on disk) and `segment_target` `[N, T]`; both classes are -1 in padding. With several events a
    segment, logits are `segment_logits` `[N, T, C]`, and both classes `[N, T, C + 1]`, 1 where a segment has it.
    activity: of each spiking layer.
    """

    scores: dict[str, float]
    losses: dict[str, float]
    class_accuracy: list[float | None]
    confusion: list[Any]
    predictions: dict[str, np.ndarray]
    activity: dict[str, LayerActivity]

    @property
    def segment_accuracy(self) -> float:
        return self.scores["segment_accuracy"]

    def summary(self) -> dict[str, Any]:
        """Scores and losses alone, as metrics.json keeps them."""
        return self.scores | self.losses


def run_network(
    network: Network,
    loader: DataLoader,
    experiment: Experiment,
    device: torch.device,
    quiet: bool,
    before: Callable[[Batch], None] | None = None,
) -> Iterator[tuple[Batch, NetworkOutput]]:
    """Each batch with the network's output, in evaluation mode, without gradients, in the experiment's precision.

    `before` sees each batch before the network does.
    """
    precision = experiment.training.precision
    use_tensor_cores(precision, device)
    network = network.to(device=device, dtype=feature_dtype(precision)).eval()
    run_layers(network, experiment.training.fused)
    torch.manual_seed(experiment.training.seed)
    for batch in progress(loader, "evaluating", quiet):
        moved = {name: values.to(device, non_blocking=True) for name, values in batch.items()}
        if before is not None:
            before(moved)
        halved = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")
        with torch.no_grad(), halved, padding_of(network, moved):
            yield moved, network(moved["visual"], moved["audio"])


def padding_of(network: Network, batch: Batch) -> AbstractContextManager[None]:
    """Within it, `network` runs this batch, whose clips may be padded."""
    return padded(network, batch.get("lengths"), batch["audio"].shape[1])


class EvaluatedBatch(NamedTuple):
    """What the network makes of a batch: predicted and target classes of segments `[B, T]`, multi-label
    `[B, T, C + 1]` of bool, every loss term by name, and `loss`, what is reported for them. targets: what it was held
    against.
    """

    predicted: torch.Tensor
    target: torch.Tensor
    terms: dict[str, torch.Tensor]
    targets: Targets

    def compared(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The predicted and target classes of the clips' own segments, for metrics."""
        return self.targets.of_clips(self.predicted), self.targets.of_clips(self.target)

    def marked(self, classes: torch.Tensor) -> torch.Tensor:
        """Classes `[B, T]` or `[B, T, C + 1]` with `PADDING` where a segment is none of the clip's."""
        own = self.targets.own
        classes = classes.to(torch.int8) if classes.dtype is torch.bool else classes
        if own is None:
            return classes
        return classes.masked_fill(~own.view(*own.shape, *[1] * (classes.ndim - 2)), PADDING)


def evaluate_batch(
    output: NetworkOutput,
    labels: torch.Tensor,
    experiment: Experiment,
    contrastive_on: bool,
    lengths: torch.Tensor | None = None,
) -> EvaluatedBatch:
    """One evaluation step, the same while training validates and in every verb that evaluates.

    Shape: labels `[B, T, C + 1]`; lengths `[B]`, the segments of each clip where some are padded.
    """
    contrast, reference = experiment.model.contrast, experiment.training.losses == "reference"
    targets = targets_from_labels(labels, None, lengths, output.label_kind)
    terms = loss_terms(output, targets, contrast.temperature, reference)
    terms["loss"] = validation_loss(terms, contrast, contrastive_on, reference)
    return EvaluatedBatch(output.segment_predictions(), output.segment_targets(labels), terms, targets)


def evaluate_network(
    network: Network, loader: DataLoader, experiment: Experiment, device: torch.device, quiet: bool = False
) -> Evaluation:
    """Accuracy, losses and predictions of a network in one pass over a split."""
    metrics = metrics_of(network.shape).to(device)
    totals: dict[str, float] = {}
    parts: dict[str, list[np.ndarray]] = {}
    clips = 0
    monitor = RateMonitor(network)
    monitor.start()
    for batch, output in run_network(network, loader, experiment, device, quiet):
        contrastive_on = experiment.model.contrast.enabled
        found = evaluate_batch(output, batch["labels"], experiment, contrastive_on, batch.get("lengths"))
        metrics.update(*found.compared())
        for name, value in found.terms.items():
            totals[name] = totals.get(name, 0.0) + value.item() * len(found.predicted)
        clips += len(found.predicted)
        named = vars(output) | {
            "segment_class": found.marked(found.predicted),
            "segment_target": found.marked(found.target),
            "index": batch["index"],
        }
        for name in (*PREDICTED, "segment_target"):
            if named.get(name) is None:
                continue
            values = named[name].float() if named[name].dtype is torch.bfloat16 else named[name]
            parts.setdefault(name, []).append(values.cpu().numpy())
    monitor.stop()
    predictions = {name: np.concatenate(values) for name, values in parts.items()}
    scores = metrics.scores() | interval_scores(loader.dataset, predictions)
    if network.shape.labels == "by-modality":
        scores |= parsing_scores(predictions["segment_class"], predictions["segment_target"])
    return Evaluation(
        scores=scores,
        losses={name: total / clips for name, total in totals.items()},
        class_accuracy=metrics.class_accuracy(),
        confusion=metrics.compute().tolist(),
        predictions=predictions,
        activity=monitor.activity(),
    )


def save_arrays(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an .npz file; whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
