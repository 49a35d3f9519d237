"""What SpikingJelly's energy models and NeuroBench's metrics say of the same network on the same clips.

They cover less than the whole network; what each leaves out is kept beside its figure, and
docs/explanations/analysis.md says why they differ from ours. A model that refuses the network has its reason in place
of a figure.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import torch
from spikingjelly.activation_based import op_counter
from torch import nn

from neurons import eager, trace_layers
from snn_cace.counting.energy import MILLIJOULES_PER_PICOJOULE
from snn_cace.counting.operations import decomposed

LONGEST_REASON = 200


@dataclass
class OtherFigure:
    """Millijoules per clip in parts, summing to the model's total; what it left out, or why it refused."""

    energy_mj: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    refused: str | None = None


@dataclass
class OtherCounts:
    """spikingjelly: by energy model. neurobench: membrane_updates per clip, connection_sparsity, and by spiking layer
    activation_sparsity; None where NeuroBench is not installed.
    """

    spikingjelly: dict[str, OtherFigure]
    neurobench: dict[str, Any] | None = None


@torch.no_grad()
def other_counts(network: nn.Module, visual: torch.Tensor, audio: torch.Tensor) -> OtherCounts:
    """On the CPU and in evaluation mode: visual `[B, T, H, W, Cv]`, audio `[B, T, Ca]`."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        with eager(), decomposed():
            found = spikingjelly(network, visual, audio)
        return OtherCounts(found, neurobench(network, visual, audio) if find_spec("neurobench") else None)


def spikingjelly(network: nn.Module, *inputs: torch.Tensor) -> dict[str, OtherFigure]:
    """By each of SpikingJelly's energy models that covers layers like ours; inputs `[B, ...]`."""
    lemaire = op_counter.LemaireEnergyConfig(strict=False)
    models: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
        "simple": (
            lambda: op_counter.simple_energy.estimate_simple_energy(network, inputs),
            ("mac_pj", "ac_pj", "parameter_memory_pj", "neuron_state_memory_pj"),
        ),
        "lemaire": (
            lambda: op_counter.analytical_energy.estimate_lemaire_energy(network, inputs, config=lemaire),
            ("ops_pj", "addressing_pj", "memory_pj"),
        ),
        "neuromc": (lambda: op_counter.neuromc.estimate_neuromc_runtime_energy(network, inputs), ()),
    }
    found = {}
    per_clip = MILLIJOULES_PER_PICOJOULE / len(inputs[0])
    for name, (estimate, parts) in models.items():
        try:
            report = estimate()
        except (ValueError, RuntimeError, NotImplementedError) as error:
            reason = " ".join(str(error).split())
            found[name] = OtherFigure(refused=textwrap.shorten(reason, LONGEST_REASON, placeholder=" ..."))
        else:
            spent = {part.removesuffix("_pj"): report.breakdown_pj[part] * per_clip for part in parts}
            found[name] = OtherFigure(spent, list(map(str, report.warnings)))
    return found


def neurobench(network: nn.Module, visual: torch.Tensor, audio: torch.Tensor) -> dict[str, Any]:
    """NeuroBench's own metrics on `[B, T, H, W, Cv]` and `[B, T, Ca]`, fed with what our layers output, since its hooks
    know snnTorch's neurons alone.
    """
    from neurobench.metrics.static import ConnectionSparsity
    from neurobench.metrics.workload import ActivationSparsityByLayer, MembraneUpdates

    hooks = []
    for name, trace in trace_layers(network, visual, audio).items():
        after = [] if trace.membrane is None else list(trace.membrane.unbind(0))
        hooks.append(
            SimpleNamespace(
                name=name,
                layer=network.get_submodule(name),
                activation_outputs=[trace.spikes],
                pre_fire_mem_potential=[torch.empty(0), *after[:-1]][: len(after)],
                post_fire_mem_potential=after,
            )
        )
    model = SimpleNamespace(activation_hooks=hooks, __net__=lambda: network)
    data = (visual, None)
    return {
        "membrane_updates": float(MembraneUpdates()(model, None, data)),
        "connection_sparsity": float(ConnectionSparsity()(model)),
        "activation_sparsity": dict(ActivationSparsityByLayer()(model, None, data)),
    }
