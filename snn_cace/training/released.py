"""Runs made of the original authors' state dicts, CACE-Net's and its peers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from snn_cace.config import Experiment, TrainingConfig, as_yaml
from snn_cace.contracts import FeatureShape
from snn_cace.errors import InputError
from snn_cace.files import write_text
from snn_cace.model import build_network
from snn_cace.networks import find_network, title_of
from snn_cace.networks.spec import Original
from snn_cace.processes import refuse_used
from snn_cace.training.checkpoints import RunFiles, load_state, read_tensors, save_checkpoint


def rename(state: dict[str, torch.Tensor], names: dict[str, str]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """A released state dict, with or without `module.` before its names, under our names, and the entries
    that its own forward pass never reads; a convolution of kernel 1 is a linear layer.
    """
    renamed: dict[str, torch.Tensor] = {}
    unused: list[str] = []
    for key, value in state.items():
        bare = key.removeprefix("module.")
        prefix = next((old for old in names if bare.startswith(old + ".")), None)
        if prefix is None:
            unused.append(bare)
        else:
            renamed[names[prefix] + bare[len(prefix) :]] = value.squeeze(-1) if value.ndim == 3 else value
    return renamed, unused


def import_weights(weights: Path, files: RunFiles, spiking: bool = False, peer: Experiment | None = None) -> list[str]:
    """Make a run directory from a released state dict of the original, at the paper's settings, or of the network that
    the experiment `peer` describes.

    Returns the state dict's entries that the network does not use.

    Raises:
        InputError: unreadable weights, an entry that is missing or of another shape, or a used directory.
    """
    refuse_used(files.directory)
    state = read_tensors(weights)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{weights} is not a state dict, names to tensors")
    experiment = peer or published_experiment(reference_slot(state) if spiking else None)
    experiment.name = f"reference {weights.name}"
    model, weak = experiment.model, experiment.training.supervision == "weak"
    original = find_network(model.network).original(model, weak)
    renamed, unused = rename(state, original.names)
    network = build_network(experiment, reference_shape(renamed, weights, original, title_of(model.network)))
    load_state(network, renamed | original.extra, weights)
    save_checkpoint(files.best, network, experiment)
    write_text(files.config, as_yaml(experiment))
    return [key for key in unused if state_scalar(key) not in ("threshold", "alpha")]


def published_experiment(temporal_encoder: dict[str, Any] | None) -> Experiment:
    """CACE-Net at the paper's settings."""
    training = TrainingConfig(seed=3917, precision="64", protocol="paper", losses="reference")
    experiment = Experiment(training=training)
    if temporal_encoder is not None:
        experiment.model.slots.temporal_encoder = temporal_encoder
    return experiment


def reference_shape(state: dict[str, torch.Tensor], weights: Path, original: Original, title: str) -> FeatureShape:
    """The features that renamed weights were trained on; the sound's width is fixed at 128 in all originals."""
    for entry in (original.first, original.last):
        if entry not in state:
            raise InputError(f"{weights} lacks what the original stores for '{entry}'; is it a {title} state dict?")
    return FeatureShape(state[original.first].shape[-1], 128, state[original.last].shape[0] - original.background)


def reference_slot(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """The original's spiking encoder; threshold and surrogate slope are scalars of its state dict."""
    scalars = {state_scalar(key): float(value) for key, value in state.items() if value.ndim == 0}
    return {
        "block": "braincog",
        "surrogate": "quadratic_gate",
        "threshold": scalars.get("threshold", 0.5),
        "alpha": scalars.get("alpha", 2.0),
    }


def state_scalar(key: str) -> str:
    """The last part of an entry's name: `threshold` and `alpha` are settings of the node, which the config keeps."""
    return key.rsplit(".", 1)[-1]
