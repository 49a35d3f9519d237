"""The verbs `convert` and `import-reference`."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from snn_cace.commands import fitting_data
from snn_cace.config import Experiment, Guidance, PositiveFloat, PositiveInt, as_yaml, read_config
from snn_cace.errors import InputError
from snn_cace.processes import sole_writer

if TYPE_CHECKING:
    from snn_cace.training.checkpoints import Trained


def convert(
    trained: Trained,
    experiment: Experiment,
    output: str,
    slots: str = "feed_forward,visual_projection",
    steps: PositiveInt = 16,
    percentile: PositiveFloat = 99.9,
    quiet: bool = False,
) -> None:
    """An ANN's rectified blocks as spiking ones, calibrated, without training.

    Args:
        output: run directory to make.
        slots: slots to convert, by comma.
        steps: simulation steps S of converted slots.
        percentile: of activations that a rate of 1 means, up to 100.
        quiet: no progress bars.
    """
    from snn_cace.files import write_text
    from snn_cace.runtime import pick_device
    from snn_cace.training.checkpoints import RunFiles, refuse_used, save_checkpoint
    from snn_cace.training.evaluation import evaluate_network
    from snn_cace.training.run import CALIBRATION_BATCHES
    from snn_cace.training.transfer import convert as convert_network
    from snn_cace.training.transfer import converted_config

    files, data = RunFiles(Path(output)), fitting_data(trained, experiment)
    refuse_used(files)
    if percentile > 100:
        raise InputError(f"convert needs a --percentile up to 100, not {percentile}")
    converted = converted_config(trained.experiment, slots.split(","), steps)
    batches = ((batch["visual"], batch["audio"]) for batch in islice(data.loader("train"), CALIBRATION_BATCHES))
    network = convert_network(trained.network.to(data.dtype), converted, batches, percentile)
    experiment = replace(experiment, name=f"{trained.experiment.name}-converted", model=converted.model)
    with sole_writer(output):
        refuse_used(files)
        save_checkpoint(files.best, network, experiment)
        write_text(files.config, as_yaml(experiment))
    device = pick_device(experiment.training.device)
    for name, version in (("ann", trained.network), ("converted", network)):
        found = evaluate_network(version, data.loader("val"), experiment, device, quiet)
        print(f"{name}: val segment accuracy {found.segment_accuracy:.2f} %")
    print(f"run: {output}")


def import_reference(
    weights: str,
    output: str,
    spiking: Literal["braincog"] | None = None,
    guidance: Guidance = "co",
    peer: str | None = None,
) -> None:
    """A run directory from the original authors' released weights.

    Args:
        weights: a released .pth.tar state dict.
        output: run directory to make.
        spiking: the weights are of the spiking network.
        guidance: of the weights' network.
        peer: config file of the weights' network, where that is not CACE-Net: configs/ave/cmbs-weak.yaml.
    """
    from snn_cace.training.checkpoints import RunFiles, import_weights

    experiment = read_config(peer, Experiment) if peer else None
    with sole_writer(output):
        unused = import_weights(Path(weights), RunFiles(Path(output)), guidance, spiking, experiment)
    print(f"{len(unused)} entries of {weights} that the network does not use:")
    for key in unused:
        print(f"  {key}")
    print(f"run: {output}")
