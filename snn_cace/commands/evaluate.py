"""The verbs `evaluate` and `predict`."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

from snn_cace.commands import Execution, Split, fitting_data, writing
from snn_cace.config import Experiment

if TYPE_CHECKING:
    from snn_cace.data.batches import ClipData
    from snn_cace.training.checkpoints import Trained
    from snn_cace.training.evaluation import Evaluation


def evaluate(
    trained: Trained,
    experiment: Experiment,
    output: str | None = None,
    split: Split = "test",
    execution: Execution = "dense",
    quiet: bool = False,
) -> None:
    """Accuracy, losses and confusion matrix of a checkpoint on a split.

    Args:
        output: directory to write evaluation.json into; printed where it is left out.
        split: which clips.
        execution: dense; event, where linear layers skip zeros; event-int8, which also rounds their weights to 8 bits;
            or auto, where each skips zeros if that was faster when it was first timed. On a CPU.
        quiet: no progress bars.
    """
    from snn_cace.files import write_json

    data = fitting_data(trained, experiment)
    with writing(output, "evaluation.json") if output else nullcontext() as path:
        found, names = evaluated(trained, experiment, data, split, execution, quiet), data.reader.class_names()
        result = {
            "checkpoint": str(trained.path),
            "data": str(data.directory),
            "split": split,
            "execution": execution,
            **found.summary(),
            "class_accuracy": dict(zip(names, found.class_accuracy, strict=True)),
            "classes": names,
            "confusion": found.confusion,
        }
        if path:
            write_json(path, result)
            print(f"{split}: segment accuracy {found.segment_accuracy:.3f} %; {path}")
        else:
            print(json.dumps(result, indent=2))


def predict(
    trained: Trained,
    experiment: Experiment,
    output: str,
    split: Split = "test",
    execution: Execution = "dense",
    quiet: bool = False,
) -> None:
    """A checkpoint's outputs for every clip of a split, as .npz.

    Args:
        output: directory to write predictions.npz into.
        split: which clips.
        execution: dense; event, where linear layers skip zeros; event-int8, which also rounds their weights to 8 bits;
            or auto, where each skips zeros if that was faster when it was first timed. On a CPU.
        quiet: no progress bars.
    """
    from snn_cace.training.evaluation import PREDICTED, save_arrays

    data = fitting_data(trained, experiment)
    with writing(output, "predictions.npz") as path:
        predictions = evaluated(trained, experiment, data, split, execution, quiet).predictions
        save_arrays(path, {name: predictions[name] for name in PREDICTED if name in predictions})
        print(f"{len(predictions['index'])} clips: {path}")


def evaluated(
    trained: Trained, experiment: Experiment, data: ClipData, split: Split, execution: Execution, quiet: bool
) -> Evaluation:
    from snn_cace.runtime import executing, pick_device
    from snn_cace.training.evaluation import evaluate_network

    device = pick_device(experiment.training.device)
    with executing(trained.network, execution, device) as network:
        return evaluate_network(network, data.loader(split), experiment, device, quiet)
