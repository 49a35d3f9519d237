"""A data set and an experiment small enough to train in a second."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch

from snn_cace.config import AVDigitsConfig, DataConfig, Experiment, ModelConfig, as_dict, as_yaml, from_dict
from snn_cace.contracts import FeatureShape
from snn_cace.data.readers.ave import AveReader
from snn_cace.model import CaceNet
from snn_cace.networks import find_network

CLIPS, SEGMENTS, CLASSES = 12, 10, 3
SPLIT_ROWS = {"train": [0, 1, 2, 3, 4, 5], "val": [6, 7, 8], "test": [9, 10, 11]}


def write_ave(
    directory: Path,
    visual: np.ndarray | None = None,
    audio: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    orders: dict[str, list[int]] | None = None,
    name: str = "avadataset",
    clips: int = CLIPS,
) -> Path:
    """An AVE directory of small random features, or of the arrays given."""
    rng = np.random.default_rng(0)
    directory.mkdir(parents=True, exist_ok=True)
    if labels is None:
        classes = np.full((clips, SEGMENTS), CLASSES)
        for row in range(clips):
            classes[row, row % 4 : row % 4 + 5] = row % CLASSES
        labels = np.eye(CLASSES + 1)[classes]
    arrays = {
        "visual_feature": rng.random((clips, SEGMENTS, 2, 3, 8), np.float32) if visual is None else visual,
        "audio_feature": rng.random((clips, SEGMENTS, 6), np.float32) if audio is None else audio,
        "labels": labels,
    }
    for file, values in arrays.items():
        with h5py.File(directory / f"{file}.h5", "w") as out:
            out[name] = values
    for split, rows in (orders or SPLIT_ROWS).items():
        with h5py.File(directory / f"{split}_order.h5", "w") as out:
            out["order"] = np.array(rows)
    return directory


def ave_reader(directory: Path) -> AveReader:
    return AveReader(DataConfig(directory=str(directory)))


def small_model(**changes: object) -> ModelConfig:
    sizes = {
        "visual_dim": 8,
        "attention_dim": 8,
        "d_model": 8,
        "heads": 2,
        "encoder_feed_forward": 16,
        "decoder_feed_forward": 16,
    }
    return ModelConfig(**(sizes | changes))


def small_experiment(directory: Path | None, epochs: int = 3, block: str = "dense") -> Experiment:
    """On an AVE directory, or on an AV-Digits of a few clips."""
    experiment = Experiment(name=f"small-{block}", model=small_model())
    experiment.data.directory = None if directory is None else str(directory)
    experiment.data.avdigits = AVDigitsConfig(train_clips=27, val_clips=9, test_clips=9)
    experiment.data.batch_size = 4
    experiment.model.slots.temporal_encoder["block"] = block
    experiment.training.epochs = epochs
    experiment.training.milestones = [1]
    experiment.training.device = "cpu"
    return experiment


def settled_network(experiment: Experiment) -> CaceNet:
    """A network on features as `write_ave` has them, whose batch norms have seen some, in evaluation mode."""
    torch.manual_seed(0)
    network = CaceNet(experiment.model, FeatureShape(visual_channels=8, audio_channels=6, classes=CLASSES))
    network.enhance = True
    network(torch.randn(4, SEGMENTS, 2, 3, 8), torch.randn(4, SEGMENTS, 6))
    return network.eval()


def write_variants(directory: Path, epochs: int) -> None:
    """An AVE directory, and dense.yaml and spiking.yaml on it."""
    write_ave(directory / "ave")
    for block in ("dense", "spiking"):
        (directory / f"{block}.yaml").write_text(as_yaml(small_experiment(directory / "ave", epochs, block)))


def peer_experiment(directory: Path | None, network: str, weak: bool = False, spiking: bool = False) -> Experiment:
    """A small experiment of `network`, fully or weakly supervised, dense or with all of its slots `feed_forward` and
    `temporal_encoder` spiking.
    """
    plain = as_dict(small_experiment(directory))
    plain["name"] = "-".join([network, *["weak"] * weak, *["snn"] * spiking])
    plain["training"]["supervision"] = "weak" if weak else "full"
    plain["model"] |= {"network": network, "guidance": "co" if network == "cace" else "audio"}
    plain["model"]["contrast"]["enabled"] = network == "cace" and not weak
    plain["model"]["avel"] |= {"units": 6, "hidden": 8}
    if spiking:
        there = find_network(network).slots(small_model(network=network), weak)
        for slot in {"feed_forward", "temporal_encoder"} & set(there):
            plain["model"]["slots"][slot]["block"] = "spiking"
    return from_dict(plain, Experiment, "peer_experiment")


PEERS = [
    (network, weak, spiking)
    for network in ("cace", "avel", "cmran", "cmbs")
    for weak in (False, True)
    for spiking in (False, True)
]
"""Arguments of `peer_experiment`."""
