"""The bit-matched baseline of a spiking block, run: the dense block with activations of a few bits.

Post-training: PyTorch's `HistogramObserver` picks the range of each activation that loses least on training clips, and
what enters a linear layer, an attention or an LSTM, and what an LSTM outputs, is rounded to 2^bits levels. Weights
stay as they are, as they do in a spiking block. An LSTM's recurrent state runs fused and is not rounded, and nothing is
trained again: training with rounding in place would do better, a rounded state perhaps worse.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.ao.quantization.observer import HistogramObserver

from snn_cace.model.relation import DenseAttention

ROUNDED = (nn.Linear, DenseAttention, nn.LSTM)
LARGEST_BITS = 8


class FakeQuantize(nn.Module):
    """Rounds a tensor `[...]` to 2^bits levels over the range that it saw while it was calibrated."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 2**bits - 1
        self.observer = HistogramObserver(dtype=torch.quint8, quant_min=0, quant_max=self.levels)
        self.scale: tuple[float, int] | None = None

    def freeze(self) -> None:
        scale, zero = self.observer.calculate_qparams()
        self.scale = float(scale), int(zero)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.scale is None:
            self.observer(values.detach().float())
            return values
        return torch.fake_quantize_per_tensor_affine(values.float(), *self.scale, 0, self.levels).to(values.dtype)


@contextmanager
def quantised(
    network: nn.Module, names: Iterable[str], bits: int, calibration: Iterable[tuple[torch.Tensor, ...]]
) -> Iterator[None]:
    """Within it, activations in the modules called `names`, and all below them, have `bits` bits.

    calibration: batches of the network's inputs `[B, T, ...]`, whose activations say which range the levels cover.

    Raises:
        ValueError: bits below 1 or above 8.
    """
    if not 1 <= bits <= LARGEST_BITS:
        raise ValueError(f"activations of {bits} bits: choose 1 to {LARGEST_BITS}")
    roots = tuple(names)
    chosen = [
        module
        for name, module in network.named_modules()
        if isinstance(module, ROUNDED) and any(name == root or name.startswith(root + ".") for root in roots)
    ]
    roundings: list[FakeQuantize] = []
    hooks: list[Any] = []

    def add() -> FakeQuantize:
        roundings.append(FakeQuantize(bits))
        return roundings[-1]

    for module in chosen:
        # An attention takes a query and a memory; an LSTM may be handed a state, which stays as it is.
        inputs = [add() for _ in range(2 if isinstance(module, DenseAttention) else 1)]

        def before(module: nn.Module, args: tuple, inputs: list[FakeQuantize] = inputs) -> tuple:
            rounded = [rounding(value) for rounding, value in zip(inputs, args[: len(inputs)], strict=True)]
            return (*rounded, *args[len(rounded) :])

        hooks.append(module.register_forward_pre_hook(before))
        if isinstance(module, nn.LSTM):
            output = add()

            def after(module: nn.Module, args: tuple, out: tuple, output: FakeQuantize = output) -> tuple:
                return (output(out[0]), *out[1:])

            hooks.append(module.register_forward_hook(after))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for batch in calibration:
                network(*batch)
            for rounding in roundings:
                rounding.freeze()
        yield
    finally:
        for hook in hooks:
            hook.remove()
