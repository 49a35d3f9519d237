"""Linear blocks that spike: coding, linear, norm, a node over S simulation steps, readout.

Every block takes the `kind` of its nonlinearity: `spiking`, or one of `neurons.controls`, which has no steps and leaves
nothing to read out. All else is the same, initial weights included.

A constant current does not change within a segment, so it is computed once, and one multi-step call runs the neuron
over all segments and steps: no Python loop over either. Only the recurrent block, whose spikes feed back, runs step by
step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from neurons.coding import make_coding
from neurons.config import KINDS, BlockConfig, Kind, block_of
from neurons.controls import ControlLayer, control_coding
from neurons.dropout import Dropout
from neurons.kernels.dispatch import why_eager
from neurons.kernels.event import Multiplies
from neurons.layer import make_layer
from neurons.nodes.node import Node, one_of
from neurons.norm import make_norm, normalised
from neurons.readout import Readout


class Projection(nn.Module):
    """Coding, linear, norm and a nonlinearity.

    direction: how the nonlinearity runs through the segments of a clip, see `neurons.layer`. The linear layer sees one
    segment at a time, so both halves of a `bidirectional` block share its one call.
    """

    def __init__(self, inputs: int, outputs: int, config: BlockConfig, coding: nn.Module | None) -> None:
        super().__init__()
        self.config = config
        self.coding = coding
        self.linear = nn.Linear(inputs, outputs)
        self.norm = make_norm(config.norm, outputs, config.threshold)


class SpikingProjection(Projection):
    """A projection whose nonlinearity is a node.

    Shape: `[B, T, ..., inputs]` to spikes `[S, B, T, ..., outputs]`.

    >>> SpikingProjection(3, 5, BlockConfig(steps=4))(torch.zeros(2, 10, 3)).shape
    torch.Size([4, 2, 10, 5])
    """

    def __init__(self, inputs: int, outputs: int, config: BlockConfig, direction: str = "forward") -> None:
        super().__init__(inputs, outputs, config, make_coding(config, inputs))
        self.layer = make_layer(config, direction, outputs)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.layer(self.currents(values))

    def currents(self, values: torch.Tensor) -> torch.Tensor:
        """What drives the neurons, `[S, B, T, ..., outputs]`; a constant current is one tensor, expanded."""
        current = self.distinct_currents(values)
        return current.expand(self.config.steps, *current.shape[1:])

    def distinct_currents(self, values: torch.Tensor) -> torch.Tensor:
        """The same; `[1, B, T, ..., outputs]` where all simulation steps are alike."""
        if self.coding is not None:
            return normalised(self.norm, self.linear(self.coding(values)))
        return self.norm(self.linear(values)).unsqueeze(0)

    def read(self, values: torch.Tensor, readout: Readout) -> torch.Tensor:
        """`readout` of the spikes, which are not written where only their rate is asked for: `[B, T, ..., outputs]`."""
        if readout.name != "rate" or why_eager(self, readout):
            return readout(self(values))
        current = self.distinct_currents(values)
        return self.layer.rate(current, self.config.steps if len(current) == 1 else None)


class ControlProjection(Projection):
    """A projection whose nonlinearity is one of `neurons.controls`.

    Shape: `[B, T, ..., inputs]` to `[B, T, ..., outputs]`.

    >>> ControlProjection(3, 5, BlockConfig(steps=4), "forward", "leaky")(torch.zeros(2, 10, 3)).shape
    torch.Size([2, 10, 5])
    """

    def __init__(self, inputs: int, outputs: int, config: BlockConfig, direction: str, kind: Kind) -> None:
        super().__init__(inputs, outputs, config, control_coding(config, inputs, kind))
        self.layer = ControlLayer(config, direction, outputs, kind)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        coded = values if self.coding is None else self.coding(values)
        return self.layer(self.norm(self.linear(coded)))


def make_projection(
    inputs: int, outputs: int, config: BlockConfig, kind: Kind, direction: str = "forward"
) -> SpikingProjection | ControlProjection:
    """The projection of a block of that kind.

    Raises:
        ValueError: an unknown kind.
    """
    one_of("kind", kind, KINDS)
    if kind == "spiking":
        return SpikingProjection(inputs, outputs, config, direction)
    return ControlProjection(inputs, outputs, config, direction, kind)


class SpikingLinear(nn.Module):
    """A projection and a readout: a linear layer with norm whose outputs are what its spikes say.

    config: of the block, or its neuron; then keys of a `BlockConfig` may follow by name.

    Shape: `[B, T, ..., inputs]` to `[B, T, ..., outputs]`; with membrane `reset`, any `[..., inputs]`.

    >>> rates = SpikingLinear(3, 5, LIF(tau=2, threshold=1), steps=4, norm="none")(torch.randn(2, 10, 3))
    >>> set((4 * rates).flatten().tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    True
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        config: BlockConfig | Node,
        direction: str = "forward",
        kind: Kind = "spiking",
        **block: Any,
    ) -> None:
        super().__init__()
        config = block_of(config, **block)
        self.projection = make_projection(inputs, outputs, config, kind, direction)
        self.readout = Readout(config.readout, config.steps, config.tau) if kind == "spiking" else None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if isinstance(self.projection, ControlProjection):
            return self.projection(values)
        assert self.readout is not None
        return self.projection.read(values, self.readout)


class DroppedLinear(Multiplies):
    """Dropout, then a linear layer: `[..., inputs]` to `[..., outputs]`."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__(inputs, outputs)
        self.dropout = Dropout(dropout)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.multiply(self.dropout(values))


class SpikeLinear(DroppedLinear):
    """A linear layer of values that a readout made of spikes.

    It runs once on what was read out, not once per simulation step: the readouts are linear in the spikes, so
    the values are the same. Event-driven hardware would instead accumulate one weight column per spike;
    whoever counts operations takes the spikes of this layer's input. Dropout drops a neuron for all simulation steps at
    once, as SpikingJelly's multi-step dropout does.

    Shape: spikes `[S, ..., inputs]` to `[..., outputs]`.

    >>> SpikeLinear(3, 5, Readout("rate", 4, tau=2.0))(torch.ones(4, 2, 3)).shape
    torch.Size([2, 5])
    """

    def __init__(self, inputs: int, outputs: int, readout: Readout, dropout: float = 0.0) -> None:
        super().__init__(inputs, outputs, dropout)
        self.readout = readout

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        return self.of(self.readout(spikes))

    def of(self, read: torch.Tensor) -> torch.Tensor:
        """The layer behind its readout: `[..., inputs]` to `[..., outputs]`."""
        return super().forward(read)


class SpikingMLP(nn.Module):
    """The spiking counterpart of linear, relu, dropout, linear: the hidden layer spikes. `config` and `block` as of
    `SpikingLinear`.

    Shape: `[B, T, inputs]` to `[B, T, outputs]`.

    >>> SpikingMLP(3, 8, 5, 0.1, BlockConfig())(torch.zeros(2, 10, 3)).shape
    torch.Size([2, 10, 5])
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        dropout: float,
        config: BlockConfig | Node,
        kind: Kind = "spiking",
        **block: Any,
    ) -> None:
        super().__init__()
        config = block_of(config, **block)
        self.hidden = make_projection(inputs, hidden, config, kind)
        self.output: DroppedLinear
        if kind == "spiking":
            readout = Readout(config.readout, config.steps, config.tau)
            self.output = SpikeLinear(hidden, outputs, readout, dropout)
        else:
            self.output = DroppedLinear(hidden, outputs, dropout)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        output = self.output
        if isinstance(self.hidden, SpikingProjection) and isinstance(output, SpikeLinear) and not why_eager(output):
            return output.of(self.hidden.read(values, output.readout))
        return output(self.hidden(values))
