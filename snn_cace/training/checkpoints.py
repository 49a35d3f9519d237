"""Checkpoints and run directories: how a trained network is stored, and read back."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from snn_cace.config import Experiment, as_dict, from_dict
from snn_cace.contracts import FeatureShape
from snn_cace.errors import InputError, one_line
from snn_cace.files import replacing
from snn_cace.model import Network, build_network

PREFIX = "network."
"""Where a Lightning checkpoint of `training.EventLocaliser` keeps the network's entries."""


@dataclasses.dataclass
class RunFiles:
    """Where a run's files lie."""

    directory: Path

    def __post_init__(self) -> None:
        self.config = self.directory / "config.yaml"
        self.provenance = self.directory / "provenance.json"
        self.metrics = self.directory / "metrics.json"
        self.history = self.directory / "history.json"
        self.predictions = self.directory / "test_predictions.npz"
        self.tensorboard = self.directory / "tensorboard"
        self.checkpoints = self.directory / "checkpoints"
        self.best, self.last = self.checkpoints / "best.ckpt", self.checkpoints / "last.ckpt"


@dataclasses.dataclass
class Trained:
    """A network with the experiment that made it; epoch: the last that it trained, 0 of weights made elsewhere."""

    network: Network
    experiment: Experiment
    path: Path
    epoch: int = 0


def hyper_parameters(experiment: Experiment, shape: FeatureShape) -> dict[str, Any]:
    """What a checkpoint says of its network, in plain types, so that it loads with `weights_only=True`."""
    return {"experiment": as_dict(experiment), "shape": dataclasses.asdict(shape)}


def find_checkpoint(path: str | Path) -> Path:
    """`path` itself, or the best checkpoint of the run directory `path`."""
    path = Path(path)
    if path.is_dir():
        best = RunFiles(path).best
        if not best.is_file():
            raise InputError(f"{path} holds no checkpoints/best.ckpt; give a checkpoint file or a run that has trained")
        return best
    if not path.is_file():
        raise InputError(f"no checkpoint {path}")
    return path


def read_tensors(path: Path) -> Any:
    """What `torch.load` reads with `weights_only=True`, on the CPU.

    Raises:
        InputError: no such file, or one whose parts do not have the checksums that they were saved with.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        altered = first_altered(path)
    except Exception as error:
        reason = f"{one_line(error).partition('. ')[0]}; copy it again"
        if "weights_only" in str(error):  # PyTorch's advice is to trust the file
            reason = "not a checkpoint"
        elif isinstance(error, FileNotFoundError | PermissionError):
            reason = one_line(error)
        raise InputError(f"{path} is not a readable PyTorch file of tensors: {reason}") from None
    if altered is not None:
        raise InputError(f"{path} is damaged: {altered} does not have the checksum it was saved with; copy it again")
    return content


def first_altered(path: Path) -> str | None:
    """The first part of a PyTorch file that is not as it was saved; None also of PyTorch's old format, before ZIP."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return None
        with zipfile.ZipFile(file) as parts:
            return parts.testzip()


def write_tensors(path: str | Path, content: Any) -> None:
    """Write what `read_tensors` reads; whole or not at all. An OSError where the disk is full."""
    buffer = io.BytesIO()  # PyTorch's own writer calls a full disk a RuntimeError
    torch.save(content, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: str | Path) -> Trained:
    """The network in a checkpoint file, or in a run directory's best checkpoint, in evaluation mode.

    Raises:
        InputError: no such file, unreadable, not a checkpoint of this project, or of another shape.
    """
    path = find_checkpoint(path)
    content = read_tensors(path)
    try:
        return trained_network(content, path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is damaged, or another program's: {one_line(error)[:200]}") from None


def trained_network(content: Any, path: Path) -> Trained:
    """The network in what a checkpoint file holds."""
    parameters = content.get("hyper_parameters", {}) if isinstance(content, dict) else {}
    if "experiment" not in parameters or "shape" not in parameters:
        raise InputError(
            f"{path} is not a checkpoint of snn-cace; for the original authors' weights use import-reference"
        )
    experiment = from_dict(parameters["experiment"], Experiment, where=f"{path}, experiment")
    network = build_network(experiment, FeatureShape(**parameters["shape"]))
    load_state(network, {key.removeprefix(PREFIX): value for key, value in content["state_dict"].items()}, path)
    return Trained(network.eval(), experiment, path, int(content.get("epoch", 0)))


def load_state(network: Network, state: dict[str, Any], path: Path) -> None:
    """Load `state` into `network`, which takes the dtype of its entries.

    Raises:
        InputError: a missing or unknown entry, or one of another shape: the first is named.
    """
    wanted = network.state_dict()
    # Spiking blocks had one once, which only a conversion changed.
    state = {key: value for key, value in state.items() if not (key.endswith(".spike_value") and value == 1)}
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


def save_checkpoint(path: str | Path, network: Network, experiment: Experiment) -> None:
    """Write a checkpoint that `load_checkpoint` reads; whole or not at all."""
    state = {PREFIX + key: value for key, value in network.state_dict().items()}
    write_tensors(path, {"hyper_parameters": hyper_parameters(experiment, network.shape), "state_dict": state})
