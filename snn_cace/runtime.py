"""Devices, precisions and progress: what training and evaluation share."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from typing import Any

import torch
from tqdm import tqdm

from snn_cace.errors import InputError


def feature_dtype(precision: Any) -> torch.dtype:
    """What features and weights are held in: float64 for precision 64, else float32 (bf16-mixed casts as it goes)."""
    return torch.float64 if precision == "64" else torch.float32


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where PyTorch sees it.

    Raises:
        InputError: `cuda` where there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but PyTorch sees no CUDA device; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def progress(iterable: Iterable[Any], what: str, quiet: bool) -> Iterable[Any]:
    """A progress bar on standard error."""
    return tqdm(iterable, desc=what, leave=False, disable=quiet)


def workers() -> Any:
    """Where processes come from: forks of one that has imported what takes seconds to import, and done nothing else."""
    context = multiprocessing.get_context("forkserver")
    modules = ("comparison", "training", "measurements", "benchmark", "model.dropout_cpu")
    context.set_forkserver_preload([f"snn_cace.{module}" for module in modules])
    return context
