"""Options of a dense block: a norm, and activations of few bits."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn import Linear

from neurons import BlockConfig, Rounding, bits_for, value_levels
from neurons.norm import make_norm
from snn_cace.config import Slot


@dataclass(frozen=True)
class DenseParts:
    """norm: of what a block's linear layer or LSTM outputs, `none` as in the original. bits: of its activations, whose
    step sizes are learned; None leaves them as they are.
    """

    norm: str = "none"
    bits: int | None = None

    @classmethod
    def of(cls, slot: Slot, shared: BlockConfig) -> DenseParts:
        """The parts that a dense slot names; its bits tell the levels apart that a spiking block there would have."""
        rounds = slot.block == "dense-quantised"
        return cls(slot.overrides.get("norm", "none"), bits_for(value_levels(slot.spiking(shared))) if rounds else None)

    def make_norm(self, channels: int) -> nn.Module:
        return make_norm(self.norm, channels, 1.0)

    def make_rounding(self, channels: int) -> nn.Module:
        return nn.Identity() if self.bits is None else Rounding(self.bits, channels)


ORIGINAL = DenseParts()
"""What the original has."""


def rounded_linear(inputs: int, outputs: int, dense: DenseParts, bias: bool = True) -> nn.Module:
    """Rounding, linear, norm, as the slot asks for them, `[..., inputs]` to `[..., outputs]`: the original's linear
    layer alone where it asks for none.
    """
    linear = Linear(inputs, outputs, bias=bias)
    if dense == ORIGINAL:
        return linear
    return nn.Sequential(dense.make_rounding(inputs), linear, dense.make_norm(outputs))
