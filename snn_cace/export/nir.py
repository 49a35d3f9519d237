"""The spiking blocks of a trained network as NIR graphs (Pedersen et al., Nature Communications 15, 2024).

NIR has no product of activations, no softmax and no norm, so the network is cut at named boundaries: each spiking block
is a file of its own, `export.json` says what enters it and what reads it, and all else stays in this program.

A block is input, affine, neurons, output. Norms and learned thresholds are folded into the affine map, so that the
neurons stand as NIR has them:

    tau dv/dt = v_leak - v + r I,   spike above v_threshold, then v = v_reset

With a time step dt, one simulation step of a `lif` with time constant tau (in steps) is NIR's with tau dt, r = 1 and
v_leak = v_reset = 0. Importers differ in what they take: `TARGETS` says how a file is written for each.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import nir
import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from neurons import SpikeLinear, SpikingLayer, SpikingProjection
from neurons.layer import BidirectionalLayer, RecurrentLayer
from snn_cace.files import replacing, write_json
from snn_cace.model import Network
from snn_cace.model.braincog import BrainCogEncoder
from snn_cace.training.checkpoints import Trained

NEVER_LEAKS = 1e20
"""A time constant in steps beyond which 1 - 1 / tau is 1 in any precision."""
BOUNDARIES = {
    "guidance": "attention between picture and sound: products of activations and softmax",
    "attention": "attention of relation and interaction blocks: products of activations, softmax or spikes with spikes",
    "residual": "sums and layer norms between blocks",
    "head": "relevance, classes of the clip, contrastive projector",
}
"""What is not in the files, and why."""


@dataclass(frozen=True)
class Target:
    """How an importer reads NIR.

    dt: of a simulation step, in seconds. if_resistance: what an `if` neuron's r must be. if_as_lif: whether it has no
    `if` of its own. notes: what to know of it.
    """

    dt: float
    if_resistance: float
    if_as_lif: bool
    notes: str


TARGETS = {
    "spikingjelly": Target(1e-4, 1e4, False, "fires at or above the threshold; hand the returned state back each step"),
    "snntorch": Target(
        1e-4,
        1.0,
        True,
        "fires strictly above the threshold; imports an IF with a leak of 0.9, so it is written as a LIF that never "
        "leaks; a module keeps its membranes from one run to the next, so import it anew",
    ),
    "norse": Target(1.0, 1.0, False, "fires strictly above the threshold; import with dt=1, and r is passed over"),
}
"""By importer: snnTorch 1.0, SpikingJelly 2.0, Norse 1.1."""


@dataclass
class Block:
    """A spiking block to export.

    name: of the module that holds linear layer and neurons. slot: that it fills. reverse: whether its neurons run
    through the segments in reverse. refused: why there is no file of it. weight `[N, inputs]`, bias `[N]`: norm and
    learned threshold folded in, in float32. behind_norm: whether currents enter, behind a layer norm, which stays
    outside, so that weight is diagonal. layer: the neurons alone.
    """

    name: str
    slot: str
    layer: SpikingLayer
    steps: int
    coding: str = "constant"
    readout: str = "rate"
    neurons: slice = field(default_factory=lambda: slice(None))
    reverse: bool = False
    weight: torch.Tensor = field(default_factory=lambda: torch.empty(0, 0))
    bias: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    behind_norm: bool = False
    refused: str | None = None

    @property
    def file(self) -> str:
        return f"{self.name}{'.reverse' if self.reverse else ''}.nir"

    @property
    def label(self) -> str:
        return self.file.removesuffix(".nir")

    @property
    def strict(self) -> bool:
        """Whether the neurons fire strictly above the threshold only."""
        return self.layer.config.surrogate == "quadratic_gate"

    @property
    def tau(self) -> float:
        """Membrane time constant in simulation steps; infinite without a leak."""
        config = self.layer.config
        return cast(float, config.time_constant(config.leak_of(self.layer.node)))


def blocks_of(network: Network) -> list[Block]:
    """Every spiking block of a network in evaluation mode, those that NIR cannot say with the reason."""
    slots = {name: slot for slot, names in network.slots().items() for name in names}
    found: list[Block] = []
    for name, module in network.named_modules():
        if isinstance(module, SpikingProjection | BrainCogEncoder):
            slot = next(slot for root, slot in slots.items() if name == root or name.startswith(root + "."))
            found += blocks_at(name, slot, module, readout_of(network, name))
    return found


def readout_of(network: Network, name: str) -> str:
    """What reads a block's spikes."""
    parent = network.get_submodule(name.rpartition(".")[0])
    for reader in (getattr(parent, "readout", None), getattr(getattr(parent, "output", None), "readout", None)):
        if reader is not None:
            return reader.name
    return "rate"


def blocks_at(name: str, slot: str, module: SpikingProjection | BrainCogEncoder, readout: str) -> Iterator[Block]:
    """The block of one module: two where half of its neurons run through the segments in reverse."""
    layer = module.layer
    if not isinstance(layer, SpikingLayer):
        return  # a control, which has no spikes to export
    if isinstance(module, BrainCogEncoder):
        steps, coding = module.simulation_steps, "constant"
    else:
        steps, coding = module.config.steps, module.config.coding
    behind_norm = isinstance(module.norm, nn.LayerNorm)
    make = partial(Block, name, slot, layer, steps, coding, readout, behind_norm=behind_norm)
    refused = why_refused(layer)
    if refused:
        yield make(refused=refused)
        return
    weight, bias = folded(module)
    if not isinstance(layer, BidirectionalLayer) or layer.membrane == "reset":
        yield make(weight=weight, bias=bias)
        return
    outputs = module.linear.out_features
    half = (outputs + 1) // 2
    for neurons, reverse in ((slice(0, half), False), (slice(half, outputs), True)):
        yield make(neurons=neurons, reverse=reverse, weight=weight[neurons], bias=bias[neurons])


def why_refused(layer: SpikingLayer) -> str | None:
    config = layer.config
    if config.time_constant() is None:
        return f"NIR has no {config.name} neuron"
    if config.reset == "soft":
        return "NIR's neurons are reset to a value; it cannot say that the threshold is subtracted"
    if isinstance(layer, RecurrentLayer):
        return "spikes that feed back one step later: importers disagree on that step"
    return None


@torch.no_grad()
def folded(module: SpikingProjection | BrainCogEncoder) -> tuple[torch.Tensor, torch.Tensor]:
    """The affine map before the neurons, in units of their threshold, folded in float64 and rounded to float32;
    behind a layer norm, that of its outputs.
    """
    linear, norm = copy.deepcopy(module.linear).double(), copy.deepcopy(module.norm).double()
    if isinstance(norm, nn.BatchNorm1d):
        linear = fuse_linear_bn_eval(linear, norm)
    weight, bias = linear.weight.detach(), linear.bias.detach()
    if isinstance(norm, nn.LayerNorm):
        weight, bias = torch.eye(len(bias), dtype=bias.dtype), torch.zeros_like(bias)
    gain = cast(SpikingLayer, module.layer).log_threshold_gain
    if gain is not None:
        scale = torch.exp(-gain.double())
        weight, bias = weight * (scale[:, None] if scale.ndim else scale), bias * scale
    return weight.float(), bias.float()


def graph_of(block: Block, target: Target) -> nir.NIRGraph:
    """The NIR graph of a block for an importer."""
    count = len(block.bias)
    zeros = np.zeros(count, np.float32)
    fires = {"v_threshold": np.full(count, block.layer.config.threshold, np.float32), "v_reset": zeros}
    if block.tau == float("inf") and not target.if_as_lif:
        neurons: Any = nir.IF(np.full(count, target.if_resistance, np.float32), **fires)
    else:
        # A neuron that never leaks takes the current whole: r / tau is 1.
        tau = min(block.tau, NEVER_LEAKS)
        resistance = tau if block.tau == float("inf") else 1.0
        neurons = nir.LIF(np.full(count, tau * target.dt), np.full(count, resistance), v_leak=zeros, **fires)
    return chain(block.weight, block.bias, neurons=neurons)


def chain(weight: torch.Tensor, bias: torch.Tensor, **others: Any) -> nir.NIRGraph:
    """A graph of an affine map of weight `[N, inputs]` and bias `[N]`, and of other nodes, one behind the other."""
    outputs, inputs = weight.shape
    nodes = {
        "input": nir.Input({"input": np.array([inputs])}),
        "affine": nir.Affine(weight.detach().float().numpy(), bias.detach().float().numpy()),
        **others,
        "output": nir.Output({"output": np.array([outputs])}),
    }
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)))


def write_nir(trained: Trained, directory: Path, target_name: str) -> list[Block]:
    """A `.nir` file of every spiking block, those of layers that read them, and export.json, into `directory`."""
    network, target = trained.network, TARGETS[target_name]
    blocks = blocks_of(network)
    listed = []
    for block in blocks:
        if block.refused is None:
            write_graph(directory / block.file, graph_of(block, target))
        listed.append(described(block, target))
    readers = {}
    for name, module in network.named_modules():
        if isinstance(module, SpikeLinear):
            file = f"{name}.nir"
            write_graph(directory / file, chain(module.weight, module.bias))
            readers[file] = f"reads the {module.readout.name} of {name.rpartition('.')[0]}.hidden"
    write_json(
        directory / "export.json",
        {
            "checkpoint": str(trained.path),
            "experiment": trained.experiment.name,
            "target": target_name,
            "dt": target.dt,
            "notes": target.notes,
            "blocks": listed,
            "readers": readers,
            "boundaries": BOUNDARIES,
        },
    )
    return blocks


def write_graph(path: Path, graph: nir.NIRGraph) -> None:
    with replacing(path) as temporary:
        nir.write(temporary, graph)


def described(block: Block, target: Target) -> dict[str, Any]:
    """What export.json says of a block."""
    config = block.layer.config
    enters = "currents behind its layer norm" if block.behind_norm else f"values, coded {block.coding}"
    if block.coding == "constant":
        enters += f", the same for {block.steps} simulation steps"
    order = "from rest in each segment"
    if block.layer.membrane == "carry":
        order = f"from segment to segment{', last to first' if block.reverse else ''}, at rest before each clip"
    return {
        "file": None if block.refused else block.file,
        "module": block.name,
        "slot": block.slot,
        "refused": block.refused,
        "enters": enters,
        "steps": block.steps,
        "membranes": order,
        "leaves": f"spikes, of which the {block.readout} is read",
        "node": config.name,
        "tau_steps": None if block.tau == float("inf") else block.tau,
        "threshold": config.threshold,
        "fires": "strictly above the threshold" if block.strict else "at or above the threshold",
        "written_as": None if block.refused else ("LIF" if block.tau < float("inf") or target.if_as_lif else "IF"),
    }
