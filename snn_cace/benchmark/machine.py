"""What limits anything on this machine, and how far from it something is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from snn_cace.analysis.stopwatch import Row, Run, side_by_side, timed
from snn_cace.config import Precision
from snn_cace.contracts import FeatureShape
from snn_cace.runtime import use_tensor_cores

AVE_SHAPE = FeatureShape(visual_channels=512, audio_channels=128, classes=28)
AVE_PATCHES = (7, 7)
SEGMENTS = 10
SQUARE = 2048
"""Side of the matrices whose product gives the machine's rate."""
COPIED = {"cpu": 1 << 28, "cuda": 1 << 30}
"""Bytes of the copy that gives its bandwidth: too many for any cache."""
PRODUCTS: dict[str, tuple[torch.dtype, Callable[..., torch.Tensor], Precision]] = {
    "float32": (torch.float32, torch.matmul, "32"),
    "float64": (torch.float64, torch.matmul, "64"),
    "tf32": (torch.float32, torch.matmul, "tf32"),
    "bfloat16": (torch.bfloat16, torch.matmul, "bf16-mixed"),
}
"""Ways to multiply matrices, each with training's name of its precision: those of `TENSOR_CORES` on CUDA only.
"""
TENSOR_CORES = ("tf32", "bfloat16")


@dataclass
class Sizes:
    """Features that are made up for a measurement: their shape, and patches per picture."""

    shape: FeatureShape = AVE_SHAPE
    patches: tuple[int, int] = AVE_PATCHES


def at_precision(run: Run, precision: Precision, device: torch.device) -> Run:
    """`run` with CUDA's products in that precision, whatever ran before."""

    def wrapped() -> None:
        use_tensor_cores(precision, device)
        run()

    return wrapped


def products(device: torch.device) -> dict[str, Run]:
    """A product of two square matrices, 2 SQUARE^3 operations, in every way that `device` has."""
    runs = {}
    for kind, (dtype, multiply, precision) in PRODUCTS.items():
        if device.type == "cuda" or kind not in TENSOR_CORES:
            factors = (torch.randn(SQUARE, SQUARE, dtype=dtype, device=device) for _ in range(2))
            runs[kind] = at_precision(partial(multiply, *factors), precision, device)
    return runs


def product_kind(precision: Precision, device: torch.device) -> str:
    """The product that sets the pace of training in `precision`."""
    kind = next((kind for kind, (_, _, of) in PRODUCTS.items() if of == precision), "float32")
    return "float32" if kind in TENSOR_CORES and device.type != "cuda" else kind


def beside_rates(runs: Mapping[str, Run], device: torch.device) -> tuple[dict[str, Row], dict[str, float]]:
    """`runs` in turns with matrix products: rows, and the products' operations per second by kind."""
    rates = products(device)
    rows = side_by_side({**runs, **{f"a product in {kind}": run for kind, run in rates.items()}}, device)
    return rows, {kind: 2 * SQUARE**3 / rows.pop(f"a product in {kind}")["seconds"] for kind in rates}


def limits(device: torch.device) -> dict[str, float]:
    """What the machine reaches: matrix products in operations per second, a copy in bytes per second."""
    _, rates = beside_rates({}, device)
    source = torch.ones(COPIED[device.type] // 4, device=device)
    target = torch.ones_like(source)
    copied = timed(lambda: target.copy_(source), device)["seconds"]
    return {f"matmul_flops_{kind}": rate for kind, rate in rates.items()} | {
        "copy_bytes_per_second": 2 * source.nbytes / copied
    }


def lstm_flops(passes: int) -> Callable[..., int]:
    """Operations of a fused LSTM's matrix products, which PyTorch's counter does not know: per row of its input
    `[T, B, inputs]`, two per number of its weight matrices, and `passes` times that.
    """

    def count(values: Any, weights: Any, *others: Any, **_: Any) -> int:
        # cuDNN's takes a list of all weights, oneDNN's the two matrices of one direction.
        given = [weights, others[0]] if isinstance(weights, torch.Size) else list(weights)
        return passes * 2 * values[0] * values[1] * sum(prod(shape) for shape in given if len(shape) == 2)

    return count


aten = torch.ops.aten
LSTM_FLOPS = {
    aten.mkldnn_rnn_layer: lstm_flops(1),
    aten.mkldnn_rnn_layer_backward: lstm_flops(2),
    aten._cudnn_rnn: lstm_flops(1),
    aten._cudnn_rnn_backward: lstm_flops(2),
}


def matmul_flops(run: Run) -> float:
    """Floating-point operations of the matrix products within `run`, an LSTM's too."""
    with FlopCounterMode(display=False, custom_mapping=LSTM_FLOPS) as counter:
        run()
    return float(counter.get_total_flops())


def roofline_bound(flops: float, moved: float, limits: dict[str, float], kind: str) -> float:
    """What work takes at least here: its matrix products at the rate of their `kind`, or the bytes that it must move at
    a copy's, whichever is longer.
    """
    return max(flops / limits[f"matmul_flops_{kind}"], moved / limits["copy_bytes_per_second"])


def beside_products(row: Row, flops: float, flops_per_second: float) -> Row:
    """`row` with how long its matrix products alone take at the machine's rate, and how many times that it took."""
    alone = flops / flops_per_second
    return row | {"matmul_flops": flops, "matmul_seconds": alone, "times_matmul": row["seconds"] / alone}
