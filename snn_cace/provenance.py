"""Provenance of runs and figures: command, data, processor, versions, revision."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snn_cace.data.readers.base import Reader


def environment(device: str) -> dict[str, Any]:
    """What the figures were made with."""
    import torch

    packages = ("snn-cace", "torch", "spikingjelly", "lightning", "numpy", "scipy")
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "processor": processor(),
        "cores": usable_cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "revision": revision(),
        **{package: version(package) for package in packages},
    }


def origin(reader: Reader, device: str) -> dict[str, Any]:
    """What provenance.json of a run holds beside its config: command line, data and environment.

    reader: of the clips.
    """
    import torch

    return {
        "command": shlex.join(sys.argv),
        "data": reader.fingerprint(),
        "threads": torch.get_num_threads(),
        "environment": environment(device),
    }


def usable_cores() -> int:
    """Cores this process may run on, where the system tells; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, family and model, where the system tells."""
    information = Path("/proc/cpuinfo")
    if not information.is_file():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in information.read_text(encoding="utf-8").splitlines())
    first: dict[str, str] = {}
    for name, _, value in lines:
        first.setdefault(name.strip(), value.strip())
    return f"{first.get('model name', 'processor')}, family {first.get('cpu family')}, model {first.get('model')}"


def revision() -> str | None:
    """The git revision of this code, with a plus where files have changed; None where it is no checkout of its own."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
