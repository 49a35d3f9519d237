"""A training step beside its matrix products and LSTMs alone, beside its batch norms alone, and beside the drawing of
dropout's masks alone, which are run again one after another: how far a step is from its products, and how much a kernel
of norm and neurons together, or another source of masks, could spare.

.venv/bin/python benchmarks/products.py

AV-Digits by the batch that its configs train with (16) and by a larger one, and AVE's size (batch 8, random clips), one
ANN and one SNN each; on as many threads as PyTorch has. Milliseconds, medians, in turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from snn_cace.analysis.stopwatch import side_by_side
from snn_cace.benchmark import step_of
from snn_cace.config import Experiment, read_config
from snn_cace.data.synthetic import write_synthetic
from snn_cace.processes import flush_denormals
from snn_cace.provenance import processor

CONFIGS = Path(__file__).parents[1] / "configs"
PRODUCTS = (
    "mm", "addmm", "bmm", "baddbmm", "mkldnn_rnn_layer", "mkldnn_rnn_layer_backward",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward",
)  # fmt: skip
NORMS = ("native_batch_norm", "native_batch_norm_backward")
MASKS = ("bernoulli_", "random_")
CPU = torch.device("cpu")


class Recorded(TorchDispatchMode):
    """Every call of the operations `names` with what it was given."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in self.names:
            self.calls.append(partial(func, *args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))

    def again(self) -> None:
        """All of them, one after another."""
        with torch.no_grad():
            for call in self.calls:
                call()


def main() -> None:
    flush_denormals()
    print(f"{processor()}, {torch.get_num_threads()} threads, float32, PyTorch {torch.__version__}")
    print("| network | clips | step | products | step / products | norms / step | masks / step |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as directory:
        write_synthetic(directory, clips=16)
        changes = {"data.directory": directory, "training.device": "cpu"}
        digits = [(f"avdigits/{kind}", batch) for batch in (16, 64) for kind in ("ann", "snn")]
        for name, batch in (*digits, ("ave/ann", 8), ("ave/snn", 8)):
            settings = changes if name.startswith("ave/") else {"training.device": "cpu"}
            step = step_of(read_config(CONFIGS / f"{name}.yaml", Experiment, settings), batch, CPU)
            step()
            with Recorded(PRODUCTS) as products, Recorded(NORMS) as norms, Recorded(MASKS) as masks:
                step()
            parts = {"products": products.again, "norms": norms.again, "masks": masks.again}
            rows = side_by_side({"step": step, **parts}, CPU)
            taken, alone, normed, drawn = (1000 * rows[way]["seconds"] for way in ("step", *parts))
            ratios = (f"{taken / alone:.2f}", f"{normed / taken:.3f}", f"{drawn / taken:.3f}")
            cells = (name, str(batch), f"{taken:.1f}", f"{alone:.1f}", *ratios)
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
