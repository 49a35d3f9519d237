"""Neurons, a file each: parameters, equation, states and cost. Nothing here imports torch before a neuron runs.

A config may also name a neuron from elsewhere, a class below `Node`, as `package.module:Class`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeVar

from neurons.nodes.alif import ALIF
from neurons.nodes.gated import GatedLIF
from neurons.nodes.ilif import ILIF
from neurons.nodes.lif import IF, LIF, PLIF
from neurons.nodes.node import Node
from neurons.nodes.psn import PSN, MaskedPSN, SlidingPSN

Kind = TypeVar("Kind")

NODES: dict[str, type[Node]] = {
    kind.name: kind for kind in (IF, LIF, PLIF, ALIF, GatedLIF, ILIF, PSN, MaskedPSN, SlidingPSN)
}


def find_node(name: str) -> type[Node]:
    """The neuron that a config names.

    Raises:
        ValueError: there is none of this name, or what is imported by it is none, or lacks a name or an equation.
    """
    if name in NODES:
        return NODES[name]
    if ":" not in name:
        raise ValueError(f"node must be one of {', '.join(NODES)}, or package.module:Class, not '{name}'")
    found = imported_class("node", name, Node)
    if not hasattr(found, "name"):
        raise ValueError(f"node: {name} has no name; give the class one: name = '{found.__name__.lower()}'")
    if found.step is Node.step and found.module is Node.module:
        raise ValueError(f"node: {name} has no equation; write step(self, current, state, fire, leak=None)")
    return found


def imported(name: str) -> Any:
    """What `package.module:Class` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def imported_class(key: str, name: str, base: type[Kind]) -> type[Kind]:
    """The class below `base` that the config's `key` names.

    Raises:
        ValueError: it cannot be imported, or is no such class.
    """
    try:
        found = imported(name)
    except Exception as error:  # a module may raise whatever it does while it is imported
        module, why = name.partition(":")[0], " ".join(str(error).split()) or type(error).__name__
        is_absent = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        hint = f"; run where {module} lies, or name that directory in PYTHONPATH" if is_absent else ""
        raise ValueError(f"{key}: {name} cannot be imported: {why}{hint}") from None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{key}: {name} is no class derived from {base.__module__}.{base.__name__}")
    return found


def try_step(name: str, node: Node) -> None:
    """Run one step of the `node` that a config names so, on a small tensor; random numbers stay as they are.

    Raises:
        ValueError: it has no state `v`, it fails, or it returns something else than `Node.step` says.
    """
    import torch

    if node.states[:1] != ("v",):
        raise ValueError(f"{name} has states {node.states}; call the first, the membrane, 'v'")
    current, *states = torch.zeros(1 + len(node.states), 1, 2)
    with torch.random.fork_rng([]), torch.no_grad():
        try:
            returned = node.step(current, tuple(states), node.surrogate_function())
        except Exception as error:  # a step may raise whatever it does
            lacks = isinstance(error, IndexError) or "unpack" in str(error)
            hint = "; list in states all that step unpacks" if lacks else ""
            raise ValueError(f"node: {name}: step fails with states {node.states}: {error}{hint}") from None
    match returned:
        case (spikes, tuple() | list() as after) if all(
            getattr(x, "shape", None) == current.shape for x in (spikes, *after)
        ) and len(after) == len(states):
            return
    wanted = str(tuple(node.states)).replace("'", "")
    raise ValueError(f"node: {name}: step must return spikes, {wanted}, each a tensor of the current's shape")


def name_of(node: Node) -> str:
    """What a config names it by."""
    kind = type(node)
    return node.name if NODES.get(node.name) is kind else f"{kind.__module__}:{kind.__qualname__}"
