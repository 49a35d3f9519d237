"""Dense blocks with their spiking twins: a linear layer whose output spikes, and a two-layer perceptron around it.

A value becomes a constant current for S simulation steps; spikes become a value as their firing rate over the S steps.
The current does not change within a segment, so it is computed once, and one multi-step call runs the neuron over all
segments and steps: no Python loop over either.
"""

from __future__ import annotations

import torch
from torch import nn

from neurons.layer import NodeConfig, SpikingLayer


class ConstantCurrentLIF(nn.Module):
    """LIF under a current held for S simulation steps per segment.

    membrane: `carry` lets the state run on from segment to segment (causal in segments), `reset` starts each segment
    from rest.

    Shape: current `[B, T, N]` to spikes `[S, B, T, N]`.
    """

    def __init__(self, node: NodeConfig, simulation_steps: int, membrane: str) -> None:
        super().__init__()
        if simulation_steps < 1:
            raise ValueError(f"simulation steps must be at least 1, not {simulation_steps}")
        if membrane not in ("carry", "reset"):
            raise ValueError(f"membrane must be 'carry' or 'reset', not '{membrane}'")
        self.simulation_steps = simulation_steps
        self.membrane = membrane
        self.layer = SpikingLayer(node)

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        if self.membrane == "reset":
            return self.layer(current.expand(self.simulation_steps, *current.shape).contiguous())
        per_step = current.transpose(0, 1).repeat_interleave(self.simulation_steps, dim=0)
        spikes = self.layer(per_step)
        return spikes.unflatten(0, (-1, self.simulation_steps)).permute(1, 2, 0, 3)


class ChannelBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of `[B, T, N]` per channel, statistics over clips and segments."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return super().forward(values.flatten(0, 1)).view_as(values)


class SpikingLinear(nn.Module):
    """Linear, batch norm, LIF over S simulation steps, firing rate.

    Shape: `[B, T, inputs]` to firing rates `[B, T, outputs]` in [0, 1].
    """

    def __init__(self, inputs: int, outputs: int, node: NodeConfig, simulation_steps: int, membrane: str) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.norm = ChannelBatchNorm(outputs)
        self.lif = ConstantCurrentLIF(node, simulation_steps, membrane)

    def spikes(self, values: torch.Tensor) -> torch.Tensor:
        """The spikes themselves, `[S, B, T, outputs]`."""
        return self.lif(self.norm(self.linear(values)))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.spikes(values).mean(0)


class BidirectionalSpikingLinear(SpikingLinear):
    """A spiking linear block half of whose neurons live through the segments in reverse, as half of a BiLSTM does.

    The linear layer sees one segment at a time, so both halves share its one call, and one multi-step call runs both.

    Shape: `[B, T, inputs]` to firing rates `[B, T, outputs]` in [0, 1], `outputs` even.
    """

    def spikes(self, values: torch.Tensor) -> torch.Tensor:
        forwards, backwards = self.norm(self.linear(values)).chunk(2, dim=-1)
        forwards, backwards = self.lif(torch.cat([forwards, backwards.flip(1)], dim=-1)).chunk(2, dim=-1)
        return torch.cat([forwards, backwards.flip(2)], dim=-1)


class SpikeReadout(nn.Linear):
    """What a linear layer makes of spikes, averaged over simulation steps.

    A linear layer commutes with the mean, so it runs once on the firing rate instead of S times on spikes: the same
    values for 1/S of the arithmetic on a processor. Event-driven hardware would instead accumulate one weight column
    per spike; whoever counts operations takes the spikes of this layer's input.

    Shape: spikes `[S, ..., inputs]` to `[..., outputs]`.
    """

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        return super().forward(spikes.mean(0))


class SpikingMLP(nn.Module):
    """The spiking twin of linear, relu, dropout, linear: the hidden layer spikes.

    Shape: `[B, T, width]` to `[B, T, width]`.
    """

    def __init__(
        self, width: int, hidden: int, dropout: float, node: NodeConfig, simulation_steps: int, membrane: str
    ) -> None:
        super().__init__()
        self.hidden = SpikingLinear(width, hidden, node, simulation_steps, membrane)
        self.dropout = nn.Dropout(dropout)
        self.readout = SpikeReadout(hidden, width)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.readout(self.dropout(self.hidden.spikes(values)))
