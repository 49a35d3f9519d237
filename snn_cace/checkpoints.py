"""Checkpoints and run directories: what a trained network is on disk, and how one is read back."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import torch

from snn_cace.config import Experiment, as_dict, from_dict
from snn_cace.errors import InputError
from snn_cace.files import replacing
from snn_cace.model import CaceNet, FeatureShape

PREFIX = "network."
"""Where a Lightning checkpoint of `training.EventLocaliser` keeps the network's entries."""


@dataclasses.dataclass
class Trained:
    """A network with the experiment that made it."""

    network: CaceNet
    experiment: Experiment
    path: Path


def hyper_parameters(experiment: Experiment, shape: FeatureShape) -> dict[str, Any]:
    """What a checkpoint says of its network, in plain types, so that it loads with `weights_only=True`."""
    return {"experiment": as_dict(experiment), "shape": dataclasses.asdict(shape)}


def find_checkpoint(path: str | Path) -> Path:
    """`path` itself, or the best checkpoint of the run directory `path`."""
    path = Path(path)
    if path.is_dir():
        best = path / "checkpoints" / "best.ckpt"
        if not best.is_file():
            raise InputError(f"{path} holds no checkpoints/best.ckpt; give a checkpoint file or a run that has trained")
        return best
    if not path.is_file():
        raise InputError(f"no checkpoint {path}")
    return path


def read_tensors(path: Path) -> Any:
    """What `torch.load` reads with `weights_only=True`, on the CPU."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} is not a readable PyTorch file of tensors: {reason}") from None


def load_checkpoint(path: str | Path) -> Trained:
    """The network in a checkpoint file, or in a run directory's best checkpoint, in evaluation mode.

    Raises:
        InputError: no such file, unreadable, not a checkpoint of this project, or of another shape.
    """
    path = find_checkpoint(path)
    content = read_tensors(path)
    parameters = content.get("hyper_parameters", {}) if isinstance(content, dict) else {}
    if "experiment" not in parameters or "shape" not in parameters:
        raise InputError(
            f"{path} is not a checkpoint of snn-cace; for the original authors' weights use import-reference"
        )
    experiment = from_dict(parameters["experiment"], Experiment, where=f"{path}, experiment")
    network = CaceNet(experiment.model, FeatureShape(**parameters["shape"]))
    state = {key.removeprefix(PREFIX): value for key, value in content["state_dict"].items()}
    load_state(network, state, path)
    return Trained(network.eval(), experiment, path)


def load_state(network: CaceNet, state: dict[str, Any], path: Path) -> None:
    """Load `state` into `network`, which takes the dtype of its entries.

    Raises:
        InputError: a missing or unknown entry, or one of another shape: the first is named.
    """
    wanted = network.state_dict()
    for key in wanted:
        if key not in state:
            raise InputError(f"{path} lacks the entry {key}: it was made for another network")
        value = state[key]
        if isinstance(value, torch.Tensor) and value.shape != wanted[key].shape:
            raise InputError(
                f"{path}: {key} has shape {list(value.shape)}, the network has {list(wanted[key].shape)}; "
                "the checkpoint was made for another shape"
            )
    unknown = [key for key in state if key not in wanted]
    if unknown:
        raise InputError(f"{path} has an entry the network does not know: {unknown[0]}")
    dtype = next(v.dtype for v in state.values() if isinstance(v, torch.Tensor) and v.is_floating_point())
    network.to(dtype)
    network.load_state_dict(state)


def save_checkpoint(path: str | Path, network: CaceNet, experiment: Experiment) -> None:
    """Write a checkpoint that `load_checkpoint` reads; whole or not at all."""
    content = {
        "hyper_parameters": hyper_parameters(experiment, network.shape),
        "state_dict": {PREFIX + key: value for key, value in network.state_dict().items()},
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)
