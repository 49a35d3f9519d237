"""A run repeated from what its directory says, and whether the numbers agree."""

from __future__ import annotations

from pathlib import Path

import torch

from snn_cace.config import Experiment, dotted, read_config
from snn_cace.errors import InputError
from snn_cace.files import read_json
from snn_cace.training.checkpoints import RunFiles
from snn_cace.training.run import train


def rerun(source: str | Path, output: str | Path, quiet: bool = False) -> tuple[list[str], list[str]]:
    """Train the run in `source` again into `output`; returns which circumstances differ, and which numbers.

    Raises:
        InputError: no finished run in `source`, or `output` is used.
    """
    first, second = RunFiles(Path(source)), RunFiles(Path(output))
    if not first.metrics.is_file():
        raise InputError(f"{source} holds no finished run: no metrics.json")
    if first.provenance.is_file():
        # Sums are rounded in another order with another number.
        torch.set_num_threads(read_json(first.provenance)["threads"])
    train(read_config(first.config, Experiment), output, quiet=quiet)
    return other_circumstances(first, second), other_numbers(first, second)


def other_circumstances(first: RunFiles, second: RunFiles) -> list[str]:
    """Data, versions and machine that are not the same."""
    if not first.provenance.is_file():
        return ["provenance.json: the first run has none"]
    then, now = read_json(first.provenance), read_json(second.provenance)
    lines = [] if then["data"] == now["data"] else ["data: other labels, splits or features"]
    known = now["environment"]
    return lines + [
        f"{key}: {value} then, {known.get(key)} now"
        for key, value in then["environment"].items()
        if known.get(key) != value
    ]


def other_numbers(first: RunFiles, second: RunFiles) -> list[str]:
    """The first epoch whose logged values differ, and results that do."""
    lines = []
    for then, now in zip(read_json(first.history), read_json(second.history), strict=False):
        differing = {key: abs(then[key] - now.get(key, float("nan"))) for key in then if then[key] != now.get(key)}
        if differing:
            key = max(differing, key=lambda name: differing[name])
            lines.append(f"history: from epoch {then['epoch']} on, {key} by {differing[key]:.3g}")
            break
    before, after = read_json(first.metrics), read_json(second.metrics)
    compared = ("best_epoch", "val", "test")
    then, now = (dotted({key: found.get(key) for key in compared}) for found in (before, after))
    return lines + [f"metrics: {key} was {then[key]}, is {now.get(key)}" for key in then if then[key] != now.get(key)]
