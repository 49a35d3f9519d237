"""What every neuron has: its parameters, and what the rest of the package asks of it. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from neurons.kernels.lif import Dynamics

Reset = Literal["hard", "soft"]
LearnThreshold = bool | Literal["layer", "channel"]
State = tuple["torch.Tensor", ...]


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise ValueError, listing what is known, for a value that is not."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not '{value}'")


@dataclass(kw_only=True)
class Parameters:
    """Parameters of all neurons. Numbers may be int or float.

    Args:
        threshold: firing threshold, above 0, in units of the current.
        learn_threshold: train the threshold: true or `layer` one for the layer, `channel` one for each channel.
        reset: `hard` to zero, or `soft` by subtracting the threshold.
        detach_reset: keep the reset out of the gradient.
        surrogate: SpikingJelly's surrogates fire at or above the threshold: `piecewise_quadratic`, `atan`, `sigmoid`
            and so on; `quadratic_gate` fires strictly above it.
        alpha: the surrogate's slope or width parameter; null is SpikingJelly's default.
        surrogate_parameters: further parameters of the surrogate, by name.

    Raises:
        ValueError: a number out of range or an unknown name, naming it.
    """

    threshold: float = 1.0
    learn_threshold: LearnThreshold = False
    reset: Reset = "hard"
    detach_reset: bool = True
    surrogate: str = "piecewise_quadratic"
    alpha: float | None = None
    surrogate_parameters: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("reset", self.reset, get_args(Reset))
        if self.learn_threshold not in (True, False, "layer", "channel"):
            raise ValueError(f"learn_threshold must be true, false, layer or channel, not {self.learn_threshold!r}")
        if not self.threshold > 0:
            raise ValueError(f"threshold must be above 0, not {self.threshold}")
        if self.surrogate != "piecewise_quadratic" or self.surrogate_settings:
            from neurons.surrogate import make_surrogate

            make_surrogate(self.surrogate, **self.surrogate_settings)

    @property
    def surrogate_settings(self) -> dict[str, float]:
        """What `neurons.surrogate.make_surrogate` takes beside the name."""
        alpha = {} if self.alpha is None else {"alpha": float(self.alpha)}
        return self.surrogate_parameters | alpha


@dataclass
class NodeCost:
    """Operations per neuron and simulation step, but `per_spike`: accumulates that each spike adds. macs:
    multiply-accumulates. acs: accumulates. states: words read and written.

    >>> IF(reset="soft").cost(steps=4)
    NodeCost(macs=0, acs=1, comparisons=1, states=1, per_spike=1.0)
    """

    macs: float = 0
    acs: float = 0
    comparisons: float = 1
    states: float = 1
    per_spike: float = 0


class Node(Parameters):
    """A kind of neuron. A class below it is a dataclass of its parameters, and all that the package knows of it.

    `step` is its equation, `cost` what an update costs. A neuron that carries a membrane which is linear in the
    currents, but for threshold and reset, has a `leak`: controls are made of it. One that runs over whole sequences has
    no `step`, but a `module` of its own.

    name: what configs and messages call it. states: what it keeps from step to step, the membrane first; zero at rest.
    fixed_length: whether it has weights per simulation step. has_backends: whether SpikingJelly has several
    implementations of it, by device.

    >>> class Saturating(Node):
    ...     name = "saturating"
    ...     def step(self, current, state, fire, leak=None):
    ...         v = state[0] + torch.tanh(current)
    ...         spikes = fire(v - self.threshold)
    ...         return spikes, (self.after_reset(v, spikes, self.threshold),)
    >>> SpikingLayer(Saturating(threshold=1))(torch.full((4, 1), 9.0)).flatten().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    name: ClassVar[str]
    states: ClassVar[tuple[str, ...]] = ("v",)
    fixed_length: ClassVar[bool] = False
    has_backends: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learn_threshold and not self.has_steps:
            raise ValueError(f"{self.name} learns its own threshold; leave out learn_threshold")

    @property
    def has_steps(self) -> bool:
        """Whether it has single simulation steps."""
        return type(self).step is not Node.step

    @property
    def is_leaky(self) -> bool:
        """Whether its membrane is linear in the currents but for threshold and reset."""
        return type(self).leak is not Node.leak

    @property
    def largest_value(self) -> int:
        """What it can fire in one simulation step at most."""
        return 1

    @property
    def looks_back(self) -> int:
        """Currents before a simulation step that it sees, where it has no state instead."""
        return 0

    def step(
        self, current: torch.Tensor, state: State, fire: Callable[..., Any], leak: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """One simulation step: current `[...]` and `states` `[...]` to spikes `[...]` and the states after them.

        fire: the surrogate, from the distance to the threshold to spikes. leak: the learned leak, if there is one.

        Raises:
            ValueError: a neuron without single steps.
        """
        raise ValueError(f"{self.name} has no single simulation step")

    def leak(self, learned: torch.Tensor | None = None) -> tuple[Any, Any]:
        """(d, g) of v <- d v + g x, the charge of a step; tensors where the leak is learned.

        Raises:
            ValueError: a neuron without a leaky membrane.
        """
        raise ValueError(f"{self.name} has no leaky membrane; use block rectified, not leaky")

    def new_leak(self) -> torch.Tensor | None:
        """Where a learned leak starts; None where none is learned."""
        return None

    def leak_of(self, module: nn.Module) -> torch.Tensor | None:
        """The learned leak of a `module`."""
        return None

    def time_constant(self, learned: torch.Tensor | None = None) -> float | None:
        """Simulation steps tau of a membrane that is charged by (x - v) / tau, as other simulators have it; infinite
        for one that adds up currents, None where the equation is another.
        """
        return None

    def cost(self, steps: int) -> NodeCost:
        """What an update costs in a sequence of so many steps; a learned threshold is a threshold, and free.

        Raises:
            NotImplementedError: it is not known.
        """
        raise NotImplementedError(f"node {self.name} has no cost per update; give its class a method `cost`")

    def surrogate_function(self) -> Any:
        """What makes spikes of the distance to the threshold."""
        from neurons.surrogate import make_surrogate

        return make_surrogate(self.surrogate, **self.surrogate_settings)

    def module(self, steps: int) -> nn.Module:
        """What runs it over sequences `[steps, ...]`: `step` in a loop, where nothing is faster."""
        from neurons.nodes.modules import Stepped

        return Stepped(self)

    def dynamics(self, module: Any, steps: int, neurons: int) -> Dynamics | None:
        """What the kernels of `neurons.kernels.lif` need to know of a `module` of so many neurons; None where they
        cannot run it.
        """
        return None

    def after_reset(self, v: torch.Tensor, spikes: torch.Tensor, threshold: Any) -> torch.Tensor:
        """The membrane after spikes, all `[...]`."""
        fired = spikes.detach() if self.detach_reset else spikes
        return (1 - fired) * v if self.reset == "hard" else v - fired * threshold

    def spikingjelly_settings(self) -> dict[str, Any]:
        """What SpikingJelly's nodes with a membrane take."""
        return {
            "v_threshold": float(self.threshold),
            "v_reset": 0.0 if self.reset == "hard" else None,
            "detach_reset": self.detach_reset,
            "surrogate_function": self.surrogate_function(),
            "step_mode": "m",
        }
