"""Whether every process that computes, and each of its threads, flushes denormal numbers."""

from __future__ import annotations

import os
from pathlib import Path

SPY = """
import os, sys
def ask(module, given, result):
    if not type(module).__name__.endswith("Net"):
        return
    import numpy as np
    import torch
    from neurons.kernels.threads import shared_among_threads
    found = []
    def product(start, stop):
        # By NumPy: what counts operations would count PyTorch's.
        found.append(float((np.full(64, 1e-30, np.float32) * np.float32(1e-10)).max()))
    shared_among_threads(product, torch.get_num_threads(), 1)
    with open(os.environ["SPIED"], "a") as file:
        print(os.getpid(), max(found), file=file)
if "SPIED" in os.environ and "/bin/" not in sys.argv[0]:
    import torch
    torch.nn.modules.module.register_module_forward_hook(ask)
"""
"""A sitecustomize.py: after each module's forward pass, whether denormals are flushed in every thread here."""


def spied(path: Path) -> tuple[set[str], int]:
    """What `SPY` found in all threads, and how many processes it asked."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return {largest for _, largest in lines}, len({pid for pid, _ in lines})


def spying(directory: Path) -> dict[str, str]:
    """An environment in which each process of two threads writes into `directory` / spied.txt what it found."""
    (directory / "site").mkdir()
    (directory / "site" / "sitecustomize.py").write_text(SPY)
    spy = {"PYTHONPATH": str(directory / "site"), "OMP_NUM_THREADS": "2", "SPIED": str(directory / "spied.txt")}
    return os.environ | spy
