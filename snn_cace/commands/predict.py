"""The verb `predict`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn_cace.commands import Split, fitting_data, writing
from snn_cace.config import Experiment

if TYPE_CHECKING:
    from snn_cace.training.checkpoints import Trained


def predict(trained: Trained, experiment: Experiment, output: str, split: Split = "test", quiet: bool = False) -> None:
    """A checkpoint's outputs for every clip of a split, as .npz.

    Args:
        output: directory to write predictions.npz into.
        split: which clips.
        quiet: no progress bars.
    """
    from snn_cace.runtime import pick_device
    from snn_cace.training.evaluation import PREDICTED, evaluate_network, save_arrays

    data = fitting_data(trained, experiment)
    with writing(output, "predictions.npz") as path:
        device = pick_device(experiment.training.device)
        found = evaluate_network(trained.network, data.loader(split), experiment, device, quiet)
        save_arrays(path, {name: found.predictions[name] for name in PREDICTED if name in found.predictions})
        print(f"{len(found.predictions['index'])} clips: {path}")
