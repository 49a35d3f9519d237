"""The verb `predict`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn_cace.commands import Execution, Split, fitting_data, writing
from snn_cace.config import Experiment

if TYPE_CHECKING:
    from snn_cace.training.checkpoints import Trained


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
        execution: dense; event, where linear layers skip zeros; or auto, where each does so if it was faster when it
            was first timed. On a CPU, equal to rounding.
        quiet: no progress bars.
    """
    from snn_cace.runtime import executing, pick_device
    from snn_cace.training.evaluation import PREDICTED, evaluate_network, save_arrays

    data = fitting_data(trained, experiment)
    with writing(output, "predictions.npz") as path:
        device = pick_device(experiment.training.device)
        with executing(trained.network, execution, device) as network:
            found = evaluate_network(network, data.loader(split), experiment, device, quiet)
        save_arrays(path, {name: found.predictions[name] for name in PREDICTED if name in found.predictions})
        print(f"{len(found.predictions['index'])} clips: {path}")
