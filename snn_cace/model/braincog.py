"""The spiking encoder of the original CACE-Net (BrainCog's `SHD_SNN` as it is run there), number for number.

Each segment is copied S times; every copy goes through linear, dropout, batch norm and LIF; the output is the firing
rate. Membranes are reset once per clip batch and carry from each segment to the next.
"""

from __future__ import annotations

import torch
from torch import nn

from neurons.collective import batch_norm
from neurons.config import BlockConfig, Kind
from neurons.controls import ControlLayer
from neurons.dropout import Dropout
from neurons.layer import SpikingLayer
from neurons.nodes.node import Node
from neurons.padding import Padded


class PerSegmentBatchNorm(nn.BatchNorm1d, Padded):
    """Batch norm that sees one segment at a time, as a loop over segments would, in one call.

    In training, segment t is normalised with the statistics of its own rows and the running statistics move T times,
    in the order of segments. Segments of a single row, one copy of one clip, are normalised with the running
    statistics, which stay. Padding takes no part, and becomes 0.

    Shape: `[T, R, N]`, R rows per segment, of B clips or of several copies of them, one behind the other.
    """

    momentum: float
    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(values.flatten(0, 1)).view_as(values)
        segments, rows, channels = values.shape
        if self.lengths is not None:
            return self.segment_by_segment(values)
        # They stay as they are where a segment's statistics are none.
        mean, variance = self.running_mean.repeat(segments), self.running_var.repeat(segments)
        normalised = batch_norm(
            values.transpose(0, 1).reshape(rows, segments * channels),
            mean,
            variance,
            self.weight.repeat(segments),
            self.bias.repeat(segments),
            momentum=1.0,
            eps=self.eps,
        )
        self._move_running_statistics(mean.view(segments, channels), variance.view(segments, channels))
        return normalised.view(rows, segments, channels).transpose(0, 1)

    def segment_by_segment(self, values: torch.Tensor) -> torch.Tensor:
        """The loop itself, over the rows of each segment that are no padding."""
        assert self.lengths is not None
        segments, rows, _ = values.shape
        own = self.present(segments)
        assert own is not None
        statistics = (self.running_mean, self.running_var, self.weight, self.bias, self.momentum, self.eps)
        found = []
        for now, there in zip(values, own.T.repeat(1, rows // len(self.lengths)), strict=True):
            normalised = batch_norm(now[there], *statistics)
            found.append(torch.zeros_like(now, dtype=normalised.dtype).masked_scatter(there.unsqueeze(1), normalised))
        self.num_batches_tracked.add_(segments)
        return torch.stack(found)

    @torch.no_grad()
    def _move_running_statistics(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        segments = mean.shape[0]
        kept = 1.0 - self.momentum
        age = torch.arange(segments - 1, -1, -1, device=mean.device, dtype=self.running_mean.dtype)
        weight = self.momentum * kept**age
        for running, observed in ((self.running_mean, mean), (self.running_var, variance)):
            running.mul_(kept**segments).add_(weight @ observed.to(running.dtype))
        self.num_batches_tracked.add_(segments)


class BrainCogEncoder(nn.Module):
    """`[B, T, inputs]` to firing rates `[B, T, outputs]` in [0, 1]; of its controls (`kind`), to values.

    The linear layer runs once per segment, not once per copy, since its copies are equal; dropout is drawn afresh for
    each copy and comes before the norm, as in the original.

    >>> encoder = BrainCogEncoder(3, 4, LIF(threshold=0.5, surrogate="quadratic_gate"))
    >>> encoder(torch.zeros(2, 10, 3)).shape
    torch.Size([2, 10, 4])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        node: Node,
        simulation_steps: int = 15,
        dropout: float = 0.1,
        kind: Kind = "spiking",
    ) -> None:
        super().__init__()
        self.simulation_steps = simulation_steps
        self.linear = nn.Linear(inputs, outputs)
        self.dropout = Dropout(dropout)
        self.norm = PerSegmentBatchNorm(outputs)
        self.layer: SpikingLayer | ControlLayer
        if kind == "spiking":
            self.layer = SpikingLayer(node, membrane="carry", neurons=outputs)
        else:
            self.layer = ControlLayer(BlockConfig.of(node, steps=simulation_steps), "forward", outputs, kind)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        current = self.linear(values.transpose(0, 1))
        if isinstance(self.layer, ControlLayer):  # one copy: nothing runs over steps
            return self.layer(self.norm(self.dropout(current)).transpose(0, 1))
        if self.training:
            copies = current.unsqueeze(1).expand(-1, self.simulation_steps, -1, -1)
            copies = self.norm(self.dropout(copies).flatten(1, 2)).view(copies.shape)
            return self.layer.rate(copies.movedim(0, 2))
        return self.layer.rate(self.norm(current).transpose(0, 1).unsqueeze(0), num_steps=self.simulation_steps)
