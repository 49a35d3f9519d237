"""Temporal encoders: the slot that knows the order of segments. Dense: BiLSTM. Spiking: LIF.

Every block here maps `[B, T, inputs]` to `[B, T, outputs]`.
"""

from __future__ import annotations

import torch
from torch import nn

from neurons import BlockConfig, BrainCogEncoder, SpikingLinear
from snn_cace.config import SlotConfig

BRAINCOG_STEPS = 15
"""The original's simulation steps per segment, used where the slot sets none of its own."""


class BiLSTM(nn.Module):
    """One bidirectional LSTM layer, `[B, T, inputs]` to `[B, T, outputs]`; half of the outputs run forward, half
    backward.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, outputs // 2, batch_first=True, bidirectional=True)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.lstm(values)[0]


def temporal_encoder(inputs: int, outputs: int, slot: SlotConfig, shared: BlockConfig) -> nn.Module:
    """The block that `slot` names, `outputs` even."""
    if slot.block == "dense":
        return BiLSTM(inputs, outputs)
    block = slot.spiking(shared)
    if slot.block == "braincog":
        return BrainCogEncoder(inputs, outputs, block, slot.steps or BRAINCOG_STEPS)
    return SpikingLinear(inputs, outputs, block, slot.direction)
