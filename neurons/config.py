"""What describes a spiking block, as checked numbers and names; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Node = Literal["if", "lif", "plif", "alif", "gated_lif", "ilif", "psn", "masked_psn", "sliding_psn"]
Reset = Literal["hard", "soft"]
Membrane = Literal["carry", "reset"]
Coding = Literal["constant", "poisson", "latency", "learned", "threshold", "integer"]
LearnThreshold = bool | Literal["layer", "channel"]
ReadoutName = Literal["rate", "membrane"]
Norm = Literal["batch", "threshold", "layer", "none"]
Direction = Literal["forward", "bidirectional", "recurrent"]
Kind = Literal["spiking", "rectified", "leaky", "quantised"]

NODES: tuple[str, ...] = get_args(Node)
MEMBRANES: tuple[str, ...] = get_args(Membrane)
CODINGS: tuple[str, ...] = get_args(Coding)
READOUTS: tuple[str, ...] = get_args(ReadoutName)
NORMS: tuple[str, ...] = get_args(Norm)
DIRECTIONS: tuple[str, ...] = get_args(Direction)
KINDS: tuple[str, ...] = get_args(Kind)
CONTROLS: tuple[str, ...] = KINDS[1:]
"""Kinds of block without spikes."""
PARALLEL = ("psn", "masked_psn", "sliding_psn")
"""Nodes without a recursion over steps."""
FIXED_LENGTH = ("gated_lif", "psn", "masked_psn")
"""Nodes with weights per simulation step: they only run over sequences of one length."""
LEAKY = ("if", "lif", "plif", "alif", "ilif")
"""Nodes whose membrane is linear in the currents but for threshold and reset."""
WHOLE_SEQUENCE = (*PARALLEL, "gated_lif")
"""Nodes without single steps."""


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise ValueError, listing what is known, for a value that is not."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not '{value}'")


@dataclass
class NodeConfig:
    """One spiking node. Numbers may be int or float; they are checked here, where the message can name them.

    Args:
        node: `if`, `lif`, `plif` (learned tau), `alif` (adaptive threshold), `gated_lif`, `ilif` (several spikes a
            step), or the parallel `psn`, `masked_psn`, `sliding_psn`; equations in `neurons.nodes`.
        tau: membrane time constant in simulation steps, above 1.
        threshold: firing threshold, above 0, in units of the current.
        learn_threshold: train the threshold: true or `layer` one for the layer, `channel` one for each channel.
        reset: `hard` to zero, or `soft` by subtracting the threshold.
        detach_reset: keep the reset out of the gradient.
        surrogate: SpikingJelly's surrogates fire at or above the threshold: `piecewise_quadratic`, `atan`, `sigmoid`
            and so on; `quadratic_gate` fires strictly above it, as the original does.
        alpha: the surrogate's slope or width parameter; null is SpikingJelly's default.
        surrogate_parameters: further parameters of the surrogate, by name.
        levels: most spikes per simulation step of `ilif`.
        adaptation: how far the threshold of `alif` rises per unit of recent firing.
        adaptation_tau: its time constant in simulation steps, at least 1.
        order: simulation steps that `masked_psn` and `sliding_psn` look back.

    Raises:
        ValueError: a number out of range or an unknown name, naming it.

    >>> NodeConfig(tau=0.5)
    Traceback (most recent call last):
    ValueError: tau must be above 1 simulation step, not 0.5
    """

    node: Node = "lif"
    tau: float = 2.0
    threshold: float = 1.0
    learn_threshold: LearnThreshold = False
    reset: Reset = "hard"
    detach_reset: bool = True
    surrogate: str = "piecewise_quadratic"
    alpha: float | None = None
    surrogate_parameters: dict[str, float] = field(default_factory=dict)
    levels: int = 4
    adaptation: float = 0.5
    adaptation_tau: float = 10.0
    order: int = 4

    def __post_init__(self) -> None:
        one_of("node", self.node, NODES)
        one_of("reset", self.reset, get_args(Reset))
        if self.learn_threshold not in (True, False, "layer", "channel"):
            raise ValueError(f"learn_threshold must be true, false, layer or channel, not {self.learn_threshold!r}")
        if not self.tau > 1:
            raise ValueError(f"tau must be above 1 simulation step, not {self.tau}")
        if not self.threshold > 0:
            raise ValueError(f"threshold must be above 0, not {self.threshold}")
        if not self.adaptation_tau >= 1:
            raise ValueError(f"adaptation_tau must be at least 1 simulation step, not {self.adaptation_tau}")
        if not self.adaptation >= 0:
            raise ValueError(f"adaptation must not be negative, not {self.adaptation}")
        for name in ("levels", "order"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.learn_threshold and self.node in WHOLE_SEQUENCE:
            raise ValueError(f"{self.node} learns its own threshold; leave out learn_threshold")
        if self.surrogate != "piecewise_quadratic" or self.surrogate_settings:
            from neurons.surrogate import make_surrogate

            make_surrogate(self.surrogate, **self.surrogate_settings)

    @property
    def surrogate_settings(self) -> dict[str, float]:
        """What `neurons.surrogate.make_surrogate` takes beside the name."""
        alpha = {} if self.alpha is None else {"alpha": float(self.alpha)}
        return self.surrogate_parameters | alpha

    @property
    def largest_value(self) -> int:
        """What a neuron can fire in one simulation step at most: 1, or `levels` for `ilif`."""
        return self.levels if self.node == "ilif" else 1


@dataclass
class BlockConfig(NodeConfig):
    """A spiking block: its node, and everything around it.

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
        if self.node in FIXED_LENGTH and self.membrane != "reset":
            raise ValueError(f"{self.node} has weights per simulation step; use membrane: reset")
