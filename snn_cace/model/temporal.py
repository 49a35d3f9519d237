"""Temporal encoders: the slot that knows the order of segments. Dense: BiLSTM, or LSTM where the network
is causal. Spiking: LIF.

Every block here maps `[B, T, inputs]` to `[B, T, outputs]`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from neurons import BlockConfig, Padded, SpikingLinear, Streamed
from snn_cace.config import Slot
from snn_cace.model.braincog import BrainCogEncoder
from snn_cace.model.dense import ORIGINAL, DenseParts

BRAINCOG_STEPS = 15
"""The original's simulation steps per segment, used where the slot sets none of its own."""


class BiLSTM(Padded):
    """One bidirectional LSTM layer, `[B, T, inputs]` to `[B, T, outputs]`; half of the outputs run forward, half
    backward.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, outputs // 2, batch_first=True, bidirectional=True)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.lengths is None or not len(values):
            return run_lstm(self.lstm, values)[0]
        packed = pack_padded_sequence(values, self.lengths.cpu(), batch_first=True, enforce_sorted=False)
        found = run_lstm(self.lstm, packed)[0]
        return pad_packed_sequence(found, batch_first=True, total_length=values.shape[1])[0]


class ForwardLSTM(Streamed):
    """One LSTM layer that sees no later segment, `[B, T, inputs]` to `[B, T, outputs]`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, outputs, batch_first=True)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found, state = run_lstm(self.lstm, values, self.past)
        if self.streaming:
            self.past = state
        return found


def run_lstm(lstm: nn.LSTM, values: Any, state: Any = None) -> tuple[Any, Any]:
    """`lstm(values, state)`; on a CPU in float32 within autocast too, since oneDNN has an LSTM of bfloat16 for some
    processors only.
    """
    device = values.data.device if isinstance(values, PackedSequence) else values.device
    if device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return lstm(values.float(), state)
    return lstm(values, state)


def temporal_encoder(inputs: int, outputs: int, slot: Slot, shared: BlockConfig, causal: bool) -> nn.Module:
    """The block that `slot` names, `outputs` even."""
    if slot.is_dense:
        lstm = ForwardLSTM(inputs, outputs) if causal else BiLSTM(inputs, outputs)
        dense = DenseParts.of(slot, shared)
        if dense == ORIGINAL:
            return lstm
        return nn.Sequential(dense.make_rounding(inputs), lstm, dense.make_rounding(outputs), dense.make_norm(outputs))
    block = slot.spiking(shared)
    if slot.is_braincog:
        return BrainCogEncoder(
            inputs, outputs, block.neuron, slot.overrides.get("steps", BRAINCOG_STEPS), kind=slot.kind
        )
    return SpikingLinear(inputs, outputs, block, slot.direction, slot.kind)
