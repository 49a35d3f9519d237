"""Relations between segments: within a modality, across modalities, and the interaction of both (CMRAN).

No positional encoding: only the temporal encoder knows the order of segments.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import Linear
from torch.nn import functional as F

from neurons import Dropout, LookBack
from snn_cace.model.dense import ORIGINAL, DenseParts


class FeedForward(nn.Module):
    """linear, relu, dropout, linear: `[B, T, width]` to `[B, T, outputs]`, as many as inputs unless said; with a norm
    before the rectifier and rounding before each linear layer where `dense` asks for them.
    """

    def __init__(
        self, width: int, hidden: int, dropout: float, dense: DenseParts = ORIGINAL, outputs: int | None = None
    ) -> None:
        super().__init__()
        self.linear1 = Linear(width, hidden)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(hidden, outputs or width)
        self.norm = dense.make_norm(hidden)
        self.round_inputs, self.round_hidden = dense.make_rounding(width), dense.make_rounding(hidden)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.norm(self.linear1(self.round_inputs(values))))
        return self.linear2(self.dropout(self.round_hidden(hidden)))


class DenseAttention(nn.MultiheadAttention):
    """Multi-head softmax attention over a memory: `[B, T, d]` and `[B, M, d]` to `[B, T, d]`.

    With a `window`, segment t sees its own entries of the memory and those of the window - 1 segments before.
    """

    def __init__(self, d_model: int, heads: int, dropout: float, window: int | None = None) -> None:
        super().__init__(d_model, heads, dropout=dropout, batch_first=True)
        self.look_back = LookBack(window)

    def forward(self, query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        if self.look_back.streaming:
            return self.over_past(query, memory)
        mask = self.look_back.mask(query.shape[1], memory.shape[1], query.device)
        masked = None if mask is None else ~mask.squeeze(0)
        if masked is not None and masked.ndim == 3:  # PyTorch takes a mask of each head
            masked = masked.repeat_interleave(self.num_heads, 0)
        return super().forward(query, memory, memory, attn_mask=masked, need_weights=False)[0]

    def over_past(self, query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Within a stream, from one segment, whose memory has n entries: `[B, 1, d]` and `[B, n, d]` to `[B, 1, d]`."""
        width = self.embed_dim
        queries = F.linear(query, self.in_proj_weight[:width], self.in_proj_bias[:width])
        keys, values = F.linear(memory, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, dim=-1)
        (keys, values), seen = self.look_back.with_past(keys, values)
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (queries, keys, values))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, seen.unsqueeze(0)).transpose(1, 2).flatten(2))


class RoundedAttention(DenseAttention):
    """Softmax attention over a memory with the parts that its slot asks for: rounded query and memory, a norm after it.

    Shape: `[B, T, d]` and `[B, M, d]` to `[B, T, d]`.
    """

    def __init__(self, d_model: int, heads: int, dropout: float, window: int | None, dense: DenseParts) -> None:
        super().__init__(d_model, heads, dropout, window)
        self.norm = dense.make_norm(d_model)
        self.round_query, self.round_memory = dense.make_rounding(d_model), dense.make_rounding(d_model)

    def forward(self, query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.norm(super().forward(self.round_query(query), self.round_memory(memory)))


class RelationLayer(nn.Module):
    """Attention over a memory, then a feed-forward block, each with residual and layer norm after it.

    Shape: query `[B, T, d]`, memory `[B, M, d]` to `[B, T, d]`.
    """

    def __init__(
        self, d_model: int, heads: int, dropout: float, feed_forward: nn.Module, window: int | None = None
    ) -> None:
        super().__init__()
        self.attention = DenseAttention(d_model, heads, dropout, window)
        self.feed_forward = feed_forward
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)

    def forward(self, query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        query = self.norm1(query + self.dropout1(self.attention(query, memory)))
        return self.norm2(query + self.dropout2(self.feed_forward(query)))


class RelationBlock(nn.Module):
    """A projection to `d_model` and a stack of relation layers that start as copies of one another.

    `forward(x)` relates the segments of x to each other (the original's encoder). `forward(x, memory)` lets them attend
    over memory and themselves, concatenated in time, memory first (the original's decoder). With a `window` no segment
    sees later ones.

    Shape: `[B, T, inputs]`, memory `[B, M, d_model]` to `[B, T, d_model]`.
    """

    def __init__(
        self,
        inputs: int,
        d_model: int,
        heads: int,
        layers: int,
        dropout: float,
        feed_forward: nn.Module,
        window: int | None = None,
    ) -> None:
        super().__init__()
        layer = RelationLayer(d_model, heads, dropout, feed_forward, window)
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(layers))
        self.project = Linear(inputs, d_model)

    def forward(self, values: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        query = self.project(values)
        for layer in self.layers:
            query = layer(query, query if memory is None else torch.cat([memory, query], dim=1))
        return query


class Interaction(nn.Module):
    """The product of two streams attends over both: `[B, T, d]` twice to `[B, T, d]`."""

    def __init__(self, d_model: int, attention: nn.Module, dropout: float) -> None:
        super().__init__()
        self.attention = attention
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(dropout)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        joint = first * second
        memory = torch.cat([second, first], dim=1)
        return self.norm(joint + self.dropout(self.attention(joint, memory)))
