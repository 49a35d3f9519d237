"""How long one clip takes."""

from __future__ import annotations

import statistics
import time

import torch

from snn_cace.model import CaceNet

WARM_UP = 3
REPEATS = 20


def latency_ms(network: CaceNet, visual: torch.Tensor, audio: torch.Tensor) -> float:
    """Median milliseconds of a forward pass over one clip, batch size 1, after a warm-up; CUDA is synchronised.

    Shape: visual `[B, T, H, W, Cv]`, audio `[B, T, Ca]`; the first clip is used.
    """
    network.eval()
    clip = visual[:1], audio[:1]
    durations = []
    with torch.no_grad():
        for repeat in range(WARM_UP + REPEATS):
            started = time.perf_counter()
            network(*clip)
            if visual.is_cuda:
                torch.cuda.synchronize(visual.device)
            if repeat >= WARM_UP:
                durations.append(time.perf_counter() - started)
    return 1000 * statistics.median(durations)
