"""Linear blocks that spike: coding, linear, norm, a node over S simulation steps, readout.

A constant current does not change within a segment, so it is computed once, and one multi-step call runs the neuron
over all segments and steps: no Python loop over either. Only the recurrent block, whose spikes feed back, runs step by
step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from neurons.coding import CODINGS, make_coding
from neurons.kernels.dispatch import why_eager
from neurons.kernels.linear import Linear, linear
from neurons.layer import MEMBRANES, make_layer
from neurons.nodes import FIXED_LENGTH, NodeConfig
from neurons.norm import NORMS, make_norm
from neurons.readout import READOUTS, Readout


@dataclass(frozen=True)
class BlockConfig:
    """A spiking block: its node, and everything around it.

    simulation_steps: S per segment, at least 1; S = 1 with a carried membrane takes segments as steps. membrane:
    `carry` lets the state run on from segment to segment (causal in segments), `reset` starts each segment from rest.
    coding, readout, norm: see the modules of those names.

    Raises:
        ValueError: a number out of range, an unknown name, or parts that do not go together.

    >>> BlockConfig(NodeConfig("psn"), membrane="carry")
    Traceback (most recent call last):
    ValueError: psn has weights per simulation step; use membrane: reset
    """

    node: NodeConfig = field(default_factory=NodeConfig)
    simulation_steps: int = 4
    membrane: str = "carry"
    coding: str = "constant"
    readout: str = "rate"
    norm: str = "batch"

    def __post_init__(self) -> None:
        if self.simulation_steps < 1:
            raise ValueError(f"simulation steps must be at least 1, not {self.simulation_steps}")
        known = {"membrane": MEMBRANES, "coding": CODINGS, "readout": READOUTS, "norm": NORMS}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {', '.join(values)}, not '{getattr(self, name)}'")
        if self.coding == "latency" and self.simulation_steps < 2:
            raise ValueError(f"latency coding needs at least 2 simulation steps, not {self.simulation_steps}")
        if self.node.node in FIXED_LENGTH and self.membrane != "reset":
            raise ValueError(f"{self.node.node} has weights per simulation step; use membrane: reset")


class SpikingProjection(nn.Module):
    """Coding, linear, norm, node.

    direction: how the neurons run through the segments of a clip, see `neurons.layer`. The linear layer sees one
    segment at a time, so both halves of a `bidirectional` block share its one call.

    Shape: `[B, T, ..., inputs]` to spikes `[S, B, T, ..., outputs]`.

    >>> SpikingProjection(3, 5, BlockConfig(simulation_steps=4))(torch.zeros(2, 10, 3)).shape
    torch.Size([4, 2, 10, 5])
    """

    def __init__(self, inputs: int, outputs: int, config: BlockConfig, direction: str = "forward") -> None:
        super().__init__()
        self.config = config
        self.coding = make_coding(config.coding, inputs, config.simulation_steps, config.node)
        self.linear = Linear(inputs, outputs)
        self.norm = make_norm(config.norm, outputs, config.node.threshold)
        self.layer = make_layer(config.node, config.simulation_steps, config.membrane, direction, outputs)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.layer(self.currents(values))

    def currents(self, values: torch.Tensor) -> torch.Tensor:
        """What drives the neurons, `[S, B, T, ..., outputs]`; a constant current is one tensor, expanded."""
        if self.coding is not None:
            return self.norm(self.linear(self.coding(values)))
        current = self.constant_current(values)
        return current.expand(self.config.simulation_steps, *current.shape[1:])

    def constant_current(self, values: torch.Tensor) -> torch.Tensor:
        """What drives the neurons at every simulation step where there is no coding: `[1, B, T, ..., outputs]`."""
        return self.norm(self.linear(values)).unsqueeze(0)

    def read(self, values: torch.Tensor, readout: Readout) -> torch.Tensor:
        """`readout` of the spikes, which are not written where only their rate is asked for: `[B, T, ..., outputs]`."""
        if readout.name != "rate" or why_eager(self, readout):
            return readout(self(values))
        if self.coding is not None:
            return self.layer.rate(self.currents(values))
        return self.layer.rate(self.constant_current(values), num_steps=self.config.simulation_steps)


class SpikingLinear(nn.Module):
    """A projection and a readout: a linear layer with norm whose outputs are what its spikes say.

    `spike_value` is what one spike per step is worth, 1 unless a conversion sets it.

    Shape: `[B, T, ..., inputs]` to `[B, T, ..., outputs]`.

    >>> rates = SpikingLinear(3, 5, BlockConfig(simulation_steps=4))(torch.randn(2, 10, 3))
    >>> set((4 * rates).flatten().tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    True
    """

    spike_value: torch.Tensor

    def __init__(self, inputs: int, outputs: int, config: BlockConfig, direction: str = "forward") -> None:
        super().__init__()
        self.projection = SpikingProjection(inputs, outputs, config, direction)
        self.readout = Readout(config.readout, config.simulation_steps, config.node.tau)
        self.register_buffer("spike_value", torch.ones(()))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.spike_value * self.projection.read(values, self.readout)


class SpikeLinear(nn.Linear):
    """A linear layer of values that a readout made of spikes.

    It runs once on what was read out, not once per simulation step: the readouts are linear in the spikes (`maximum`
    is binary), so the values are the same. Event-driven hardware would instead accumulate one weight column per spike;
    whoever counts operations takes the spikes of this layer's input. Dropout drops a neuron for all simulation steps at
    once, as SpikingJelly's multi-step dropout does.

    Shape: spikes `[S, ..., inputs]` to `[..., outputs]`.

    >>> SpikeLinear(3, 5, Readout("rate", 4, tau=2.0))(torch.ones(4, 2, 3)).shape
    torch.Size([2, 5])
    """

    def __init__(self, inputs: int, outputs: int, readout: Readout, dropout: float = 0.0) -> None:
        super().__init__(inputs, outputs)
        self.readout = readout
        self.dropout = nn.Dropout(dropout)

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        return self.of(self.readout(spikes))

    def of(self, read: torch.Tensor) -> torch.Tensor:
        """The layer behind its readout: `[..., inputs]` to `[..., outputs]`."""
        return linear(self.dropout(read), self.weight, self.bias)


class SpikingMLP(nn.Module):
    """The spiking counterpart of linear, relu, dropout, linear: the hidden layer spikes.

    Shape: `[B, T, inputs]` to `[B, T, outputs]`.

    >>> SpikingMLP(3, 8, 5, 0.1, BlockConfig())(torch.zeros(2, 10, 3)).shape
    torch.Size([2, 10, 5])
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float, config: BlockConfig) -> None:
        super().__init__()
        readout = Readout(config.readout, config.simulation_steps, config.node.tau)
        self.hidden = SpikingProjection(inputs, hidden, config)
        self.output = SpikeLinear(hidden, outputs, readout, dropout)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if why_eager(self.output):
            return self.output(self.hidden(values))
        return self.output.of(self.hidden.read(values, self.output.readout))
