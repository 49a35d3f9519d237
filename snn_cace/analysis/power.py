"""Measured energy: joules per clip by the GPU's own meter (NVML), where there is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

MEASURED_SECONDS = 2.0
"""NVML's energy counter moves every 20 to 100 ms, so a run must be much longer."""


def energy_counter(device: torch.device) -> Callable[[], float] | None:
    """A function that reads the device's energy since the driver was loaded, in joules; None without CUDA or NVML."""
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000


def joules_per_clip(
    run: Callable[[], Any], clips: int, counter: Callable[[], float], seconds: float = MEASURED_SECONDS
) -> dict[str, float]:
    """Energy of `run`, which handles `clips` clips and waits for the device, over at least `seconds`.

    joules_per_clip: all that the device drew while it ran, its idle draw included. idle_watts: its draw at rest just
    before. clips: how many were run.
    """
    run()
    before, started = counter(), time.perf_counter()
    time.sleep(min(1.0, seconds / 2))
    idle = (counter() - before) / (time.perf_counter() - started)
    before, started, done = counter(), time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        run()
        done += clips
    return {"joules_per_clip": (counter() - before) / done, "idle_watts": idle, "clips": done}
