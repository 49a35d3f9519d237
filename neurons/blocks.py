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
from neurons.layer import SpikingLayer
from neurons.nodes import FIXED_LENGTH, NodeConfig
from neurons.norm import NORMS, make_norm
from neurons.readout import READOUTS, Readout

MEMBRANES = ("carry", "reset")


@dataclass(frozen=True)
class BlockConfig:
    """A spiking block: its node, and everything around it.

    simulation_steps: S per segment, at least 1; S = 1 with a carried membrane takes segments as steps. membrane:
    `carry` lets the state run on from segment to segment (causal in segments), `reset` starts each segment from rest.
    coding, readout, norm: see the modules of those names.

    Raises:
        ValueError: a number out of range, an unknown name, or parts that do not go together.
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

    Shape: `[B, T, ..., inputs]` to spikes `[S, B, T, ..., outputs]`.
    """

    def __init__(self, inputs: int, outputs: int, config: BlockConfig) -> None:
        super().__init__()
        self.config = config
        self.coding = make_coding(config.coding, inputs, config.simulation_steps, config.node)
        self.linear = nn.Linear(inputs, outputs)
        self.norm = make_norm(config.norm, outputs, config.node.threshold)
        self.layer = SpikingLayer(config.node, config.simulation_steps)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.coding is not None:
            return self.run(self.norm(self.linear(self.coding(values))))
        current = self.norm(self.linear(values))
        return self.run(current.expand(self.config.simulation_steps, *current.shape))

    def run(self, current: torch.Tensor) -> torch.Tensor:
        """Currents to spikes, both `[S, B, T, ..., outputs]`."""
        if self.config.membrane == "reset":
            return self.fire(current.contiguous())
        in_time = current.movedim(2, 0).flatten(0, 1)
        return self.fire(in_time).unflatten(0, (-1, self.config.simulation_steps)).movedim(0, 2)

    def fire(self, current: torch.Tensor) -> torch.Tensor:
        """Currents to spikes, both in order of time."""
        return self.layer(current)


class BidirectionalProjection(SpikingProjection):
    """A projection half of whose neurons live through the segments in reverse, as half of a BiLSTM does.

    The linear layer sees one segment at a time, so both halves share its one call, and one multi-step call runs both.

    Shape: `[B, T, inputs]` to spikes `[S, B, T, outputs]`, `outputs` even.
    """

    def run(self, current: torch.Tensor) -> torch.Tensor:
        forwards, backwards = current.chunk(2, dim=-1)
        spikes = super().run(torch.cat([forwards, backwards.flip(2)], dim=-1))
        forwards, backwards = spikes.chunk(2, dim=-1)
        return torch.cat([forwards, backwards.flip(2)], dim=-1)


class RecurrentProjection(SpikingProjection):
    """A projection whose spikes feed back into its current one simulation step later: x_t + W s_(t - 1).

    The only one that loops over steps in Python, since each step waits for the one before.

    Shape: `[B, T, inputs]` to spikes `[S, B, T, outputs]`.

    Raises:
        ValueError: a node that runs over whole sequences only.
    """

    def __init__(self, inputs: int, outputs: int, config: BlockConfig) -> None:
        super().__init__(inputs, outputs, config)
        if config.node.node in (*FIXED_LENGTH, "sliding_psn"):
            raise ValueError(f"a recurrent block steps its node; {config.node.node} runs over whole sequences only")
        self.feedback = nn.Linear(outputs, outputs, bias=False)

    def fire(self, current: torch.Tensor) -> torch.Tensor:
        self.layer.reset()
        spikes = [torch.zeros_like(current[0])]
        for now in current:
            spikes.append(self.layer.step(now + self.feedback(spikes[-1])))
        self.layer.reset()
        return torch.stack(spikes[1:])


PROJECTIONS = {
    "forward": SpikingProjection,
    "bidirectional": BidirectionalProjection,
    "recurrent": RecurrentProjection,
}
"""How a block runs through the segments of a clip."""


class SpikingLinear(nn.Module):
    """A projection and a readout: a linear layer with norm whose outputs are what its spikes say.

    `spike_value` is what one spike per step is worth, 1 unless a conversion sets it.

    Shape: `[B, T, ..., inputs]` to `[B, T, ..., outputs]`.
    """

    spike_value: torch.Tensor

    def __init__(self, inputs: int, outputs: int, config: BlockConfig, direction: str = "forward") -> None:
        super().__init__()
        self.projection = PROJECTIONS[direction](inputs, outputs, config)
        self.readout = Readout(config.readout, config.simulation_steps, config.node.tau)
        self.register_buffer("spike_value", torch.ones(()))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.spike_value * self.readout(self.projection(values))


class SpikeLinear(nn.Linear):
    """A linear layer of values that a readout made of spikes.

    It runs once on what was read out, not once per simulation step: the readouts are linear in the spikes (`maximum`
    is binary), so the values are the same. Event-driven hardware would instead accumulate one weight column per spike;
    whoever counts operations takes the spikes of this layer's input.

    Shape: spikes `[S, ..., inputs]` to `[..., outputs]`.
    """

    def __init__(self, inputs: int, outputs: int, readout: Readout) -> None:
        super().__init__(inputs, outputs)
        self.readout = readout

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        return super().forward(self.readout(spikes))


class SpikingMLP(nn.Module):
    """The spiking twin of linear, relu, dropout, linear: the hidden layer spikes.

    Shape: `[B, T, inputs]` to `[B, T, outputs]`.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float, config: BlockConfig) -> None:
        super().__init__()
        self.hidden = SpikingProjection(inputs, hidden, config)
        self.dropout = nn.Dropout(dropout)
        self.output = SpikeLinear(hidden, outputs, Readout(config.readout, config.simulation_steps, config.node.tau))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.output(self.dropout(self.hidden(values)))
