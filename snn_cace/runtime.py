"""Devices, precisions and progress: what training and evaluation share."""

from __future__ import annotations

import copy
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tqdm import tqdm

from neurons import EventDriven, fold
from neurons.kernels.dispatch import INTERPRETED
from neurons.norm import Module
from snn_cace.errors import InputError


def feature_dtype(precision: Any) -> torch.dtype:
    """What features and weights are held in: float64 for precision 64, else float32 (bf16-mixed casts as it goes)."""
    return torch.float64 if precision == "64" else torch.float32


def use_tensor_cores(precision: Any, device: torch.device) -> None:
    """Have CUDA round what it multiplies to TF32 where the precision says so, and nowhere else (cuDNN would)."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where PyTorch sees it.

    Raises:
        InputError: `cuda` where there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but PyTorch sees no CUDA device; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def executing(network: Module, execution: str, device: torch.device) -> Iterator[Module]:
    """A network for inference: as it is (`dense`, `onnx`), or a copy with batch norms folded, whose linear layers skip
    zeros (`event`), also round weights to eight bits (`event-int8`), or skip zeros where that is faster (`auto`).

    Raises:
        InputError: skipping zeros on another device than a CPU, or without Numba.
    """
    if execution != "dense" and device.type != "cpu":
        raise InputError(f"--execution {execution} runs on a CPU; give --device cpu, or leave it out")
    if execution in ("dense", "onnx"):
        yield network
        return
    if INTERPRETED:
        raise InputError(f"--execution {execution} needs Numba, and NUMBA_DISABLE_JIT unset; or leave it out")
    folded = fold(copy.deepcopy(network).eval())
    with EventDriven(folded, always=execution == "event", int8=execution == "event-int8"):
        yield folded


def peak_memory_mb(device: torch.device) -> float:
    """MiB that this process needed so far: on a GPU what its tensors took, else all of it, PyTorch included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def progress(iterable: Iterable[Any], what: str, quiet: bool) -> Iterable[Any]:
    """A progress bar on standard error, where that is a terminal."""
    return tqdm(iterable, desc=what, leave=False, disable=quiet or None)
