"""Where a step's time goes beyond its matrix products, by PyTorch's profiler."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from snn_cace.analysis.stopwatch import Row, Run, side_by_side
from snn_cace.benchmark.machine import Sizes, beside_products, matmul_flops
from snn_cace.benchmark.steps import clips, infer, step_of
from snn_cace.config import Experiment
from snn_cace.model import build_network

REPEATS = 3
KINDS = {
    "matrix products": (
        "aten::mm",
        "aten::addmm",
        "aten::bmm",
        "aten::baddbmm",
        "aten::mkldnn_convolution",
        "aten::convolution_backward",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
        "aten::_native_multi_head_attention",
    ),
    "LSTM": ("aten::mkldnn_rnn_layer", "aten::mkldnn_rnn_layer_backward"),
    "Adam and clipping": ("aten::_fused_adam_", "aten::linalg_vector_norm", "aten::_foreach_norm", "Optimizer"),
    "our kernels": ("ResidualNorm", "RectifiedDropout", "CountedDropout", "FiringRate"),
    "copies": ("aten::copy_", "aten::cat", "aten::clone"),
    "other operations": ("aten::",),
}
"""Kinds of work by how the names of its operations begin; the first that fits counts."""


def kind_of(operation: str) -> str | None:
    exact = next((kind for kind, names in KINDS.items() if operation in names), None)
    begun = (kind for kind, names in KINDS.items() if any(operation.startswith(n) for n in names if "::" not in n))
    return exact or next(begun, None) or ("other operations" if operation.startswith("aten::") else None)


def breakdowns(
    named: dict[str, Experiment], sizes: Sizes, batches: Sequence[int], device: torch.device, flops_per_second: float
) -> dict[str, Row]:
    """A training step at each of `batches` and inference of one clip, of every experiment: seconds, those of matrix
    products at the machine's rate, and `breakdown`.
    """
    runs: dict[str, Run] = {}
    for name, experiment in named.items():
        runs |= {f"{name}, step of {batch} clips": step_of(experiment, sizes, batch, device) for batch in batches}
        network = build_network(experiment, sizes.shape).to(device).eval()
        runs[f"{name}, one clip"] = partial(infer, network, clips(sizes, 1, device), experiment.training.precision)
    rows = side_by_side(runs, device)
    return {
        name: beside_products(rows[name], matmul_flops(run), flops_per_second)
        | {"breakdown": breakdown(run, rows[name]["seconds"])}
        for name, run in runs.items()
    }


def breakdown(run: Run, seconds: float) -> dict[str, float]:
    """Seconds of one `run` by kind of work, as long as each operation itself took; `seconds` is what it takes without
    the profiler, and what the kinds leave of it is `between operations`: Python, autograd, and waiting for threads.
    """
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        for _ in range(REPEATS):
            run()
    found: dict[str, Any] = dict.fromkeys(KINDS, 0.0)
    for event in profiler.key_averages():
        kind = kind_of(event.key)
        if kind is not None:
            found[kind] += event.self_cpu_time_total / 1e6 / REPEATS
    return found | {"between operations": max(0.0, seconds - sum(found.values()))}
