"""Spiking neurons of other libraries, known by name so that none of them is imported.

| library | neurons | spikes | time |
| --- | --- | --- | --- |
| SpikingJelly | `BaseNode`, `SimpleBaseNode` | the output | first axis where `step_mode` is "m" |
| snnTorch | `SpikingNeuron` | the first output | one step a call |
| Norse | `SNNCell`, `SNN` and their recurrent kinds | the first output | one step a call; first axis |
| sinabs | `StatefulLayer` | the output | second axis, or within the first (`...Squeeze`) |

A neuron of your own: `NEURONS["my_package.MyNeuron"] = Neuron(macs=1, acs=1)`. It covers subclasses; the
nearest class that is named counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

OTHERS = {
    "EIFNode", "IzhikevichNode", "LIAFNode", "QIFNode", "SConv2dLSTM", "SLSTM",
}  # fmt: skip
"""Neurons below those of `NEURONS` whose equation or output is another: they need an entry of their own."""
HOMES = ("spikingjelly.activation_based.neuron", "spikingjelly.activation_based.rnn", "snntorch._neurons")
"""Where two libraries keep their neurons: one that is not in `NEURONS` stops an audit."""


@dataclass(frozen=True)
class Neuron:
    """MACs, ACs and a comparison of an update, words of state, ACs of a spike; whether it fires at all; and how many
    axes of its output, `[clips, ...]` or `[time, clips, ...]`, come before those of the neurons (None: SpikingJelly's
    `step_mode` says it).
    """

    macs: float = 1
    acs: float = 1
    states: float = 1
    per_spike: float = 0
    fires: bool = True
    axes: int | None = 1

    @property
    def comparisons(self) -> float:
        return float(self.fires)

    def leading(self, module: nn.Module) -> int:
        return (2 if getattr(module, "step_mode", "s") == "m" else 1) if self.axes is None else self.axes


NEURONS: dict[str, Neuron] = {
    "spikingjelly.SimpleBaseNode": Neuron(axes=None),
    "spikingjelly.BaseNode": Neuron(axes=None),
    "spikingjelly.IFNode": Neuron(macs=0, axes=None),
    "spikingjelly.NonSpikingBaseNode": Neuron(fires=False, axes=None),
    "snntorch.SpikingNeuron": Neuron(acs=0, per_spike=1),
    "snntorch.Synaptic": Neuron(macs=2, acs=0, states=2, per_spike=1),
    "snntorch.Alpha": Neuron(macs=4, acs=1, states=3, per_spike=1),
    "norse.SNNCell": Neuron(macs=2, acs=2, states=2),
    "norse.SNNRecurrentCell": Neuron(macs=2, acs=2, states=2),
    "norse.SNN": Neuron(macs=2, acs=2, states=2, axes=2),
    "norse.SNNRecurrent": Neuron(macs=2, acs=2, states=2, axes=2),
    "norse.LICell": Neuron(macs=2, acs=2, states=2, fires=False),
    "norse.LI": Neuron(macs=2, acs=2, states=2, fires=False, axes=2),
    "sinabs.StatefulLayer": Neuron(acs=0, per_spike=1, axes=2),
    "sinabs.LIFSqueeze": Neuron(acs=0, per_spike=1),
    "sinabs.IAF": Neuron(macs=0, per_spike=1, axes=2),
    "sinabs.IAFSqueeze": Neuron(macs=0, per_spike=1),
    "sinabs.ExpLeak": Neuron(acs=0, fires=False, axes=2),
}
"""By the package and the name of a class. SpikingJelly's `BaseNode` resets to a value; the others subtract."""


def neuron_of(module: nn.Module) -> Neuron | None:
    """What is known of a neuron of another library; None of every other module."""
    return next((NEURONS[name] for name in class_names(type(module)) if name in NEURONS), None)  # type: ignore[arg-type]


def is_unknown_neuron(module: nn.Module) -> bool:
    """Whether a module is a neuron of SpikingJelly or snnTorch that is not in `NEURONS`."""
    home, names = type(module).__module__, class_names(type(module))  # type: ignore[arg-type]
    if type(module).__name__ in OTHERS and home.startswith(HOMES):
        return names[0] not in NEURONS
    return home.startswith(HOMES) and neuron_of(module) is None


@cache
def class_names(kind: Any) -> tuple[str, ...]:
    return tuple(f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in kind.__mro__)


def output_of(out: Any) -> Any:
    """The first tensor of what a module returns."""
    return out[0] if isinstance(out, list | tuple) and out else out


RESETS = ("reset", "reset_mem", "reset_hidden", "reset_states")


def reset_states(network: nn.Module) -> None:
    """Put the neurons of other libraries to rest; other modules are left alone."""
    for module in network.modules():
        stateful = neuron_of(module) is not None or "spikingjelly.MemoryModule" in class_names(type(module))  # type: ignore[arg-type]
        reset = next((getattr(module, name) for name in RESETS if callable(getattr(module, name, None))), None)
        if stateful and reset is not None:
            reset()


def spikes_of(module: nn.Module, out: Any) -> torch.Tensor | None:
    """The spikes that a neuron of another library has just fired; None of every other module."""
    neuron, spikes = neuron_of(module), output_of(out)
    return spikes if neuron is not None and neuron.fires and isinstance(spikes, torch.Tensor) else None
