"""Exported NIR graphs run elsewhere: the same spikes on real clips, or how many differ and why.

Two runs of each block, on what enters it in the network. In float64 the importer's neurons are compared with this
project's on the very numbers of the file: a difference is one of equations or conventions. In float32 they are held
against the network itself, whose norms are not folded: what differs then is rounding, if at all.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nir
import torch
from torch import nn
from torch.nn import functional as F

from neurons import SpikingProjection, eager
from snn_cace.export.nir import Block
from snn_cace.model import Network

ROUNDING = 1e-4
"""A membrane this near to its threshold, as a share of it, may end on either side by rounding in float32."""


@dataclass
class BlockCertificate:
    """float64, float32: of all spikes that either fires, the share that both fire. spikes: in the network, in float32.
    verdict: `spike-exact`, `bounded drift`, `differs` or `refused`. cause: of drift, or why it is refused. rate: the
    largest difference of a neuron's firing rate within a clip, float32.
    """

    block: str
    verdict: str
    spikes: int = 0
    float64: float | None = None
    float32: float | None = None
    rate: float | None = None
    cause: str | None = None


@dataclass
class Activity:
    """What a block did in the network: what enters its affine map or its neurons `[X, B, T, ..., C]`, X the simulation
    steps or 1 where all are alike, and its spikes `[S, B, T, ..., N]`.
    """

    enters: torch.Tensor
    spikes: torch.Tensor


@torch.no_grad()
def record_activity(
    network: Network, blocks: list[Block], visual: torch.Tensor, audio: torch.Tensor
) -> dict[str, Activity]:
    """Run clips, visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]`; what each block sees and fires, by label."""
    enters: dict[str, torch.Tensor] = {}
    spikes: dict[str, torch.Tensor] = {}

    def take(name: str, module: nn.Module, args: tuple, constant: bool) -> None:
        enters[name] = args[0][None] if constant else args[0]

    def fire(name: str, module: nn.Module, args: tuple, out: torch.Tensor) -> None:
        spikes[name] = out

    with ExitStack() as hooks, eager():
        for name, block in {block.name: block for block in blocks}.items():
            module = network.get_submodule(name)
            hooks.enter_context(block.layer.register_forward_hook(partial(fire, name)))
            where, constant = module, block.coding == "constant"
            if block.behind_norm:
                where, constant = block.layer, False
            elif isinstance(module, SpikingProjection) and not constant:
                where = module.linear
            hooks.enter_context(where.register_forward_pre_hook(partial(take, name, constant=constant)))
        network(visual, audio)
    return {block.label: Activity(enters[block.name], spikes[block.name][..., block.neurons]) for block in blocks}


def in_time(values: torch.Tensor, block: Block) -> torch.Tensor:
    """`[S, B, T, ..., C]` as the neurons run through it: `[time, rows, C]`."""
    if block.layer.membrane == "reset":
        return values.flatten(1, -2)
    ordered = values.flip(2) if block.reverse else values
    return ordered.movedim(2, 0).flatten(0, 1).flatten(1, -2)


@torch.no_grad()
def reference(block: Block, enters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The block's spikes by this project's neurons in float64, from the numbers of its file, and the membranes before
    they fire: `[time, rows, N]` each.
    """
    current = F.linear(enters.double(), block.weight.double(), block.bias.double())
    layer = copy.deepcopy(block.layer).double()
    layer.log_threshold_gain = None
    layer.membrane = "reset"  # the first axis is time already
    spikes = layer.time_major(current, layer.fire)
    after = layer.membrane_potentials(current)
    before = torch.cat([torch.zeros_like(after[:1]), after[:-1]])
    return spikes, before + (current - before if block.tau == float("inf") else (current - before) / block.tau)


def import_module(simulator: str, graph: nir.NIRGraph, dt: float, dtype: torch.dtype) -> nn.Module:
    """A NIR graph as the simulator's own importer makes it; called with an input and a state, it returns both."""
    with redirect_stdout(io.StringIO()):
        if simulator == "spikingjelly":
            from spikingjelly.activation_based import nir_exchange

            return nir_exchange.import_from_nir(graph, dt=dt, dtype=dtype)
        if simulator == "snntorch":
            from snntorch.import_nir import import_from_nir

            return import_from_nir(graph).to(dtype)
        import norse.torch

        return norse.torch.from_nir(graph, dt=dt).to(dtype)


@torch.no_grad()
def simulate(module: Callable[..., Any], sequence: torch.Tensor) -> torch.Tensor:
    """Spikes `[time, rows, N]` of a simulator's module, step by step over `[time, rows, C]`, from rest."""
    state, spikes = None, []
    for now in sequence:
        fired, state = module(now, state)
        spikes.append(fired)
    return torch.stack(spikes)


def certify_block(block: Block, activity: Activity, path: Path, simulator: str, dt: float) -> BlockCertificate:
    """Run a block's file in a simulator and hold its spikes against the reference in both precisions."""
    enters = in_time(activity.enters.expand(block.steps, *activity.enters.shape[1:]), block)
    fired = in_time(activity.spikes, block)
    exact, membranes = reference(block, enters)
    try:
        runs = [
            simulate(import_module(simulator, nir.read(path), dt, dtype), enters.to(dtype))
            for dtype in (torch.float64, torch.float32)
        ]
    except (ValueError, NotImplementedError, AssertionError) as error:
        return BlockCertificate(block.label, "refused", cause=" ".join(str(error).split()))
    shares = [agreement(run, wanted) for run, wanted in zip(runs, (exact, fired), strict=True)]
    clip_rates = (runs[1].double().mean(0) - fired.double().mean(0)).abs().max()
    result = BlockCertificate(
        block.label, "spike-exact", int(fired.sum()), float64=shares[0], float32=shares[1], rate=float(clip_rates)
    )
    if min(shares) == 1:
        return result
    threshold = block.layer.config.threshold
    margins = [
        nearest_miss(run.double() != wanted.double(), membranes, threshold)
        for run, wanted in zip(runs, (exact, fired), strict=True)
    ]
    near = max(margins) < ROUNDING
    where = (
        f"where a neuron first differs, its membrane is within {max(margins):.1e} of the threshold, as a share of it"
    )
    why = "rounding in float32" if shares[0] == 1 else "the importer keeps constants in float32"
    return replace(result, verdict="bounded drift" if near else "differs", cause=f"{why}: {where}" if near else where)


def agreement(spikes: torch.Tensor, wanted: torch.Tensor) -> float:
    """Of the places where either holds a spike, the share where both do; 1 where nothing fires."""
    either = (spikes > 0) | (wanted > 0)
    both = (spikes > 0) & (wanted > 0)
    return float(both.sum()) / float(either.sum()) if bool(either.any()) else 1.0


def nearest_miss(differs: torch.Tensor, membranes: torch.Tensor, threshold: float) -> float:
    """Of neurons that differ at all, how far the membrane lies from the threshold where each first does: the largest,
    as a share of the threshold. differs, membranes: `[time, rows, N]`.
    """
    any_time = differs.any(0)
    if not bool(any_time.any()):
        return 0.0
    first = differs.to(torch.uint8).argmax(0, keepdim=True)
    return float(((membranes.gather(0, first)[0] - threshold).abs() / threshold)[any_time].max())


def certify(
    network: Network, blocks: list[Block], directory: Path, simulator: str, dt: float, clips: dict[str, torch.Tensor]
) -> dict[str, Any]:
    """A simulator's certificate for the files in `directory`, from clips' `visual` and `audio` in float32."""
    network = network.float().eval()
    written = [block for block in blocks if block.refused is None]
    activity = record_activity(network, written, clips["visual"], clips["audio"]) if written else {}
    found = [
        BlockCertificate(block.label, "refused", cause=block.refused)
        if block.refused
        else certify_block(block, activity[block.label], directory / block.file, simulator, dt)
        for block in blocks
    ]
    return {
        "simulator": simulator,
        "version": version(simulator),
        "nir": version("nir"),
        "torch": version("torch"),
        "clips": len(clips["audio"]),
        "blocks": [asdict(one) for one in found],
    }
