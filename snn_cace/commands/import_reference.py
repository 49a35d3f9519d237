"""The verb `import-reference`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from snn_cace.config import Experiment, read_config
from snn_cace.processes import sole_writer
from snn_cace.shipped import find_config


def import_reference(
    weights: str, output: str, spiking: Literal["braincog"] | None = None, peer: str | None = None
) -> None:
    """A run directory from the original authors' released weights.

    Args:
        weights: a released .pth.tar state dict.
        output: run directory to make.
        spiking: the weights are of the spiking network.
        peer: config of the weights' network, where that is not CACE-Net with co guidance: a file, or the name of a
            shipped one (ave/cmbs-weak).
    """
    from snn_cace.training.checkpoints import RunFiles
    from snn_cace.training.released import import_weights

    experiment = read_config(find_config(peer, study=False), Experiment) if peer else None
    with sole_writer(output):
        unused = import_weights(Path(weights), RunFiles(Path(output)), spiking is not None, experiment)
    print(f"{len(unused)} entries of {weights} that the network does not use:")
    for key in unused:
        print(f"  {key}")
    print(f"run: {output}")
