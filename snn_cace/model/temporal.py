"""Temporal encoders: the slot that knows the order of segments. Dense: BiLSTM. Spiking: LIF.

Every block here maps `[B, T, inputs]` to `[B, T, outputs]`.
"""

from __future__ import annotations

import torch
from torch import nn

from neurons import BrainCogEncoder, SpikingLinear
from snn_cace.config import SlotConfig, SpikingConfig, node_config

BRAINCOG_STEPS = 15
"""The original's simulation steps per segment, used where the slot sets none of its own."""


class BiLSTM(nn.Module):
    """One bidirectional LSTM layer; half of the outputs run forwards, half backwards."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, outputs // 2, batch_first=True, bidirectional=True)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.lstm(values)[0]


class BidirectionalSpikingLinear(nn.Module):
    """Two spiking linear blocks, half of the outputs each; the second sees the segments in reverse."""

    def __init__(self, forward_block: SpikingLinear, backward_block: SpikingLinear) -> None:
        super().__init__()
        self.forwards = forward_block
        self.backwards = backward_block

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.forwards(values), self.backwards(values.flip(1)).flip(1)], dim=-1)


def temporal_encoder(inputs: int, outputs: int, slot: SlotConfig, shared: SpikingConfig) -> nn.Module:
    """The block that `slot` names, `outputs` even."""
    if slot.block == "dense":
        return BiLSTM(inputs, outputs)
    spiking = slot.spiking(shared)
    node = node_config(spiking)
    if slot.block == "braincog":
        return BrainCogEncoder(inputs, outputs, node, slot.steps or BRAINCOG_STEPS)
    if slot.direction == "forward":
        return SpikingLinear(inputs, outputs, node, spiking.steps, spiking.membrane)
    return BidirectionalSpikingLinear(
        *(SpikingLinear(inputs, outputs // 2, node, spiking.steps, spiking.membrane) for _ in range(2))
    )
