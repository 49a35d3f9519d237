"""Attention between spikes."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from neurons.blocks import make_projection
from neurons.config import BlockConfig, Kind
from neurons.readout import Readout
from neurons.streaming import LookBack


class SpikingCrossAttention(nn.Module):
    """Spiking attention: queries, keys and values are spikes, and no softmax comes between them.

    At each simulation step and head, with spikes q, k, v: (q k^T) v / M for a memory of M entries, then an output layer
    on what is read out. Products of spikes are accumulates; there is nothing to exponentiate (spiking self-attention:
    Zhou et al., ICLR 2023, arXiv:2209.15425, here across two sequences, and scaled by the length of the memory, so that
    each output is at most the head's width). The entries of a memory have no order, so membranes are reset at each.
    With a `window`, segment t sees its own entries and those of the window - 1 segments before, and M counts them.

    Its controls (`kind`, see `neurons.controls`) multiply values where it multiplies spikes.

    Shape: query `[B, T, width]`, memory `[B, M, width]` to `[B, T, width]`.

    >>> attention = SpikingCrossAttention(8, 2, BlockConfig(steps=2))
    >>> attention(torch.zeros(1, 10, 8), torch.zeros(1, 20, 8)).shape
    torch.Size([1, 10, 8])
    """

    def __init__(
        self, width: int, heads: int, config: BlockConfig, window: int | None = None, kind: Kind = "spiking"
    ) -> None:
        super().__init__()
        config = dataclasses.replace(config, membrane="reset")
        self.heads = heads
        self.look_back = LookBack(window)
        self.query = make_projection(width, width, config, kind)
        self.key = make_projection(width, width, config, kind)
        self.value = make_projection(width, width, config, kind)
        self.readout = Readout(config.readout, config.steps, config.tau) if kind == "spiking" else None
        self.output = nn.Linear(width, width)

    def forward(self, query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        q, k, v = (self._by_head(spikes) for spikes in (self.query(query), self.key(memory), self.value(memory)))
        look_back, segments, entries = self.look_back, query.shape[1], memory.shape[1]
        if look_back.streaming:
            (k, v), there = look_back.with_past(k, v)  # what is not there is zero
            attended = (q @ k.transpose(-1, -2)) @ v / there.sum()
        elif (seen := look_back.mask(segments, entries, query.device)) is None:
            attended = (q @ k.transpose(-1, -2)) @ v / entries
        else:
            seen = seen.unsqueeze(1)
            attended = (q @ k.transpose(-1, -2)).masked_fill(~seen, 0.0) @ v / seen.sum(-1, keepdim=True)
        by_step = attended.transpose(2, 3).flatten(3)
        return self.output(by_step.squeeze(0) if self.readout is None else self.readout(by_step))

    def _by_head(self, spikes: torch.Tensor) -> torch.Tensor:
        """`[S, B, M, width]` to `[S, B, heads, M, width / heads]`; S = 1 for values of a control, which have no S."""
        if self.readout is None:
            spikes = spikes.unsqueeze(0)
        return spikes.unflatten(-1, (self.heads, -1)).transpose(2, 3)
