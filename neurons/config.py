"""What describes a spiking block, as checked numbers and names; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from neurons.nodes import find_node, name_of, try_step
from neurons.nodes.alif import Adaptation
from neurons.nodes.ilif import Levels
from neurons.nodes.lif import Leak
from neurons.nodes.node import Node, one_of
from neurons.nodes.psn import Order

Membrane = Literal["carry", "reset"]
Coding = Literal["constant", "poisson", "latency", "learned", "threshold", "integer"]
ReadoutName = Literal["rate", "membrane"]
Norm = Literal["batch", "threshold", "layer", "none"]
Direction = Literal["forward", "bidirectional", "recurrent"]
Kind = Literal["spiking", "rectified", "leaky", "quantised"]

MEMBRANES: tuple[str, ...] = get_args(Membrane)
CODINGS: tuple[str, ...] = get_args(Coding)
READOUTS: tuple[str, ...] = get_args(ReadoutName)
NORMS: tuple[str, ...] = get_args(Norm)
DIRECTIONS: tuple[str, ...] = get_args(Direction)
KINDS: tuple[str, ...] = get_args(Kind)
CONTROLS: tuple[str, ...] = KINDS[1:]
"""Kinds of block without spikes."""


@dataclass
class NodeChoice:
    """
    Args:
        node: `if`, `lif`, `plif` (learned tau), `alif` (adaptive threshold), `gated_lif`, `ilif` (several spikes a
            step), or the parallel `psn`, `masked_psn`, `sliding_psn`, equations in `neurons.nodes`; or one of your own,
            `package.module:Class`.
        node_parameters: parameters that a neuron of your own has beside those here, by name. Where another `node` is
            named over a base or a default, those of the node before are dropped.
    """

    node: str = "lif"
    node_parameters: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True)
class BlockConfig(Order, Levels, Adaptation, Leak, NodeChoice):
    """A spiking block: its neuron, with the parameters of every neuron in `neurons.nodes`, and everything around it.

    Args:
        threshold: firing threshold, above 0, in units of the current.
        steps: simulation steps S per segment, at least 1; 1 with a carried membrane takes segments as steps.
        membrane: `carry` the membrane from segment to segment (causal in segments), or `reset` it at each.
        coding: how values become what the block is fed: `constant` current, `poisson` rate, `latency` (time to first
            spike), a `learned` spiking encoder, neurons that the values drive up to a `threshold` per channel, or
            `integer` numbers of spikes; formulas in `neurons.coding`.
        coding_threshold: where learned thresholds of a coding start, in units of the values.
        coding_levels: most spikes per value of coding `integer`.
        readout: how spikes become values: firing `rate`, or `membrane` of a non-spiking integrator; formulas in
            `neurons.readout`.
        norm: of the current: `batch`, `threshold` (batch norm scaled to the threshold), `layer` or `none`.

    Raises:
        ValueError: a number out of range, an unknown name, or parts that do not go together.

    >>> BlockConfig("psn", membrane="carry")
    Traceback (most recent call last):
    ValueError: psn has weights per simulation step; use membrane: reset
    """

    threshold: float = 0.5
    steps: int = 4
    membrane: Membrane = "carry"
    coding: Coding = "constant"
    coding_threshold: float = 1.0
    coding_levels: int = 4
    readout: ReadoutName = "rate"
    norm: Norm = "batch"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ValueError(f"simulation steps must be at least 1, not {self.steps}")
        one_of("membrane", self.membrane, MEMBRANES)
        one_of("coding", self.coding, CODINGS)
        if not self.coding_threshold > 0:
            raise ValueError(f"coding_threshold must be above 0, not {self.coding_threshold}")
        if self.coding_levels < 1:
            raise ValueError(f"coding_levels must be at least 1, not {self.coding_levels}")
        one_of("readout", self.readout, READOUTS)
        one_of("norm", self.norm, NORMS)
        if self.coding == "latency" and self.steps < 2:
            raise ValueError(f"latency coding needs at least 2 simulation steps, not {self.steps}")
        neuron = self.neuron
        if ":" in self.node and neuron.has_steps:
            try_step(self.node, neuron)
        if neuron.fixed_length and self.membrane != "reset":
            raise ValueError(f"{self.node} has weights per simulation step; use membrane: reset")

    @property
    def neuron(self) -> Node:
        """The block's neuron, with what the config says of its parameters."""
        kind, flat = find_node(self.node), {f.name for f in fields(self)}
        names = [f.name for f in fields(kind)]
        own = [name for name in names if name not in flat]
        unknown = self.node_parameters.keys() - set(own)
        if unknown:
            raise ValueError(f"node_parameters: {self.node} takes {', '.join(own) or 'none'}; leave {min(unknown)} out")
        shared: dict[str, Any] = {name: getattr(self, name) for name in names if name in flat}
        try:
            return kind(**shared | self.node_parameters)
        except TypeError as error:  # one without a default is missing
            raise ValueError(f"node: {self.node}: {error}; see node_parameters") from None

    @classmethod
    def of(cls, neuron: Node, **block: Any) -> BlockConfig:
        """The block of a `neuron`; `block` gives what else differs from the defaults.

        >>> from neurons import LIF
        >>> BlockConfig.of(LIF(tau=3), steps=2).tau
        3
        """
        flat = {f.name for f in fields(cls)}
        own = {f.name: getattr(neuron, f.name) for f in fields(neuron)}
        shared = {name: value for name, value in own.items() if name in flat}
        others = {name: value for name, value in own.items() if name not in flat}
        return cls(name_of(neuron), others, **shared, **block)


def block_of(config: BlockConfig | Node, **block: Any) -> BlockConfig:
    """The block that `config` describes, or that of a neuron, with the keys of `block` put over it.

    Raises:
        TypeError: neither a block nor a neuron.
    """
    if not isinstance(config, Node | BlockConfig):
        raise TypeError(f"give a neuron such as LIF(tau=2.0, threshold=0.5), not {config!r}")
    return BlockConfig.of(config, **block) if isinstance(config, Node) else replace(config, **block)
