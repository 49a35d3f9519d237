"""From a trained ANN to an SNN: its weights as a start for training, or its blocks converted without training.

SpikingJelly's `ann2snn` converts networks that `torch.fx` can trace and whose activations are ReLU modules. This one
has LSTMs and fused attention, so the two slots that rectify, `feed_forward` and `visual_projection`, are converted
here, by the rule `ann2snn` uses too: weights are scaled by maxima of activations on calibration clips (Rueckauer et
al., Frontiers in Neuroscience 11, 2017), integrate-and-fire neurons reset softly, and half a spike is added to the
charge (Deng and Gu, ICLR 2021), so that the firing rate is the activation rounded to 1 / S of that maximum.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from neurons import SpikingLinear, SpikingMLP, SpikingProjection
from snn_cace.config import Experiment, SlotConfig, slots_of
from snn_cace.errors import InputError
from snn_cace.model import Network, build_network
from snn_cace.model.relation import FeedForward

CONVERTIBLE = ("feed_forward", "visual_projection")
DENSE_TO_SPIKING = {
    "feed_forward": {"linear1": "hidden.linear", "linear2": "output"},
    "visual_projection": {"": "projection.linear"},
    "event_head": {"": "output"},
    "interaction": {"out_proj": "output"},
}
"""By slot, which layer of a spiking block does what a layer of the dense one did."""


@dataclass
class Copied:
    """Names of the target's entries that took a source's weights, and of those that keep their own."""

    taken: list[str]
    kept: list[str]


@torch.no_grad()
def initialise(target: Network, source: Network) -> Copied:
    """Start `target` from `source`, in place: entries of the same name and shape, and dense layers whose spiking
    counterpart does the same job. Temporal encoders share nothing; spiking blocks' norms and thresholds keep their own.
    """
    mine = {name: value for name, value in target.state_dict().items() if isinstance(value, torch.Tensor)}
    taken = []
    for name, value in spiking_names(source).items():
        if name in mine and mine[name].shape == value.shape:
            mine[name].copy_(value)
            taken.append(name)
    return Copied(taken, [name for name in mine if name not in taken])


@torch.no_grad()
def initialise_thresholds(
    target: Network, source: Network, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], percentile: float = 99.9
) -> list[str]:
    """Start learned thresholds where `source`'s rectified activations end on `batches`; returns the layers' names.

    A neuron then fires at every step where its counterpart was most active (Diehl et al., IJCNN 2015). It makes sense
    where the current is what the counterpart rectifies: slots `feed_forward` and `visual_projection` with
    `learn_threshold` and `norm: none`. Other layers keep the threshold of their config.
    """
    maximum = activation_maxima(source, batches, percentile)
    started = []
    for name, block in target.named_modules():
        counterpart = (
            f"{name.removesuffix('.hidden')}.linear1" if name.endswith(".hidden") else name.removesuffix(".projection")
        )
        if (
            not isinstance(block, SpikingProjection)
            or counterpart not in maximum
            or not isinstance(block.norm, nn.Identity)
        ):
            continue
        if block.layer.log_threshold_gain is not None:
            block.layer.log_threshold_gain.fill_(math.log(maximum[counterpart] / block.config.threshold))
            started.append(f"{name}.layer")
    return started


def spiking_names(source: Network) -> dict[str, torch.Tensor]:
    """The source's entries under their own names, and under those of their spiking counterparts."""
    named = {name: value for name, value in source.state_dict().items() if isinstance(value, torch.Tensor)}
    counterparts: dict[str, torch.Tensor] = {}
    for slot, blocks in source.slots().items():
        layers = DENSE_TO_SPIKING.get(slot, {}).items()
        for block, (dense, spiking), part in itertools.product(blocks, layers, ("weight", "bias")):
            if (name := ".".join(filter(None, (block, dense, part)))) in named:
                counterparts[f"{block}.{spiking}.{part}"] = named[name]
            if slot == "interaction" and (joined := f"{block}.in_proj_{part}") in named:
                for role, rows in zip(("query", "key", "value"), named[joined].chunk(3), strict=True):
                    counterparts[f"{block}.{role}.linear.{part}"] = rows
    return counterparts | named


def converted_config(experiment: Experiment, slots: Iterable[str], steps: int) -> Experiment:
    """The experiment of an ANN whose `slots` are converted: integrate and fire, soft reset, S simulation steps.

    Raises:
        InputError: a slot that does not rectify, that the network does not have, or that spikes already.
    """
    converted = copy.deepcopy(experiment)
    config, there = converted.model, slots_of(experiment.model, experiment.training.supervision)
    for slot in slots:
        if slot not in CONVERTIBLE:
            raise InputError(
                f"{slot} cannot be converted: only {' and '.join(CONVERTIBLE)} are rectified linear layers"
            )
        if slot not in there:
            raise InputError(f"{config.network} has no slot {slot}; it has {', '.join(there)}")
        block = getattr(config.slots, slot).block
        if block != "dense":
            raise InputError(f"{slot} is {block}; convert a network whose {slot} is dense")
        own = SlotConfig(
            block="spiking", node="if", steps=steps, membrane="reset", threshold=1.0, reset="soft",
            coding="constant", readout="rate", norm="none",
        )  # fmt: skip
        setattr(config.slots, slot, own)
    return converted


@torch.no_grad()
def convert(
    source: Network,
    experiment: Experiment,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    percentile: float = 99.9,
) -> Network:
    """`source` with the slots converted that `experiment`, made by `converted_config`, says.

    Activations are recorded over `batches` of visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]`; `percentile` of the
    positive ones is what a neuron that fires at every step stands for. What exceeds it is cut off.
    """
    target = build_network(experiment, source.shape)
    target.to(next(source.parameters()).dtype)
    target.enhance = source.enhance
    initialise(target, source)
    maximum = activation_maxima(source, batches, percentile)
    for name, block in target.named_modules():
        if isinstance(block, SpikingMLP) and isinstance(source.get_submodule(name), FeedForward):
            rescale(block.hidden.linear, maximum[f"{name}.linear1"], block.hidden.config.steps)
            block.output.weight.mul_(maximum[f"{name}.linear1"])
        if name == "visual_projection" and isinstance(block, SpikingLinear):
            rescale(block.projection.linear, maximum[name], block.projection.config.steps)
            block.spike_value.fill_(maximum[name])
    return target.eval()


def rescale(linear: nn.Linear, maximum: float, steps: int) -> None:
    """Charge per step in units of the maximum, and half a spike over all S steps."""
    linear.weight.div_(maximum)
    linear.bias.div_(maximum).add_(0.5 / steps)


def activation_maxima(
    source: Network, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], percentile: float
) -> dict[str, float]:
    """The percentile of the positive outputs of every layer that is rectified, the largest over batches of visual
    `[B, T, H, W, Cv]` and audio `[B, T, Ca]`.
    """
    names = ["visual_projection", *(f"{name}.linear1" for name in source.slots().get("feed_forward", []))]
    layers = {name: module for name in names if isinstance(module := find(source, name), nn.Linear)}
    maximum = dict.fromkeys(layers, 0.0)

    def record(name: str, output: torch.Tensor) -> None:
        positive = output[output > 0].float().sort().values
        if len(positive):
            maximum[name] = max(maximum[name], float(positive[int((len(positive) - 1) * percentile / 100)]))

    hooks = [
        layer.register_forward_hook(lambda module, args, output, name=name: record(name, output))
        for name, layer in layers.items()
    ]
    try:
        source.eval()
        for visual, audio in batches:
            source(visual, audio)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: value or 1.0 for name, value in maximum.items()}


def find(network: nn.Module, name: str) -> nn.Module | None:
    return dict(network.named_modules()).get(name)
