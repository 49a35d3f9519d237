"""Where a step's time goes beyond its matrix products, by PyTorch's profiler."""

from __future__ import annotations

from typing import Any

from torch.profiler import ProfilerActivity, profile

from snn_cace.stopwatch import Run

REPEATS = 5
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
