"""Timing: warm-up runs, then medians of repeated ones."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

WARM_UP, REPEATS = 3, 9

Run = Callable[[], Any]
Row = dict[str, Any]


def side_by_side(
    runs: Mapping[str, Run], device: torch.device, repeats: int = REPEATS, warm_up: int = WARM_UP
) -> dict[str, Row]:
    """Median seconds and quartiles of each of `runs`, and how many cores it had.

    They take turns, so that a machine that slows down slows all of them.
    """

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for run in runs.values():
        for _ in range(warm_up):
            run()
    wait()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    processor = dict.fromkeys(runs, 0.0)
    for _ in range(repeats):
        for name, run in runs.items():
            began, started = time.process_time(), time.perf_counter()
            run()
            wait()
            seconds[name].append(time.perf_counter() - started)
            processor[name] += time.process_time() - began
    rows = {}
    for name, spent in seconds.items():
        low, middle, high = statistics.quantiles(spent, n=4) if repeats > 1 else spent * 3
        rows[name] = {"seconds": middle, "quartile_1": low, "quartile_3": high, "cores": processor[name] / sum(spent)}
    return rows
