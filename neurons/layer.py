"""A layer that runs a node over the segments of a clip and their simulation steps, and keeps nothing afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn
from torch.utils.checkpoint import checkpoint

from neurons.fused import NODES, SLOPES, Dynamics, firing_rate
from neurons.nodes import FIXED_LENGTH, PARALLEL, NodeConfig, make_node

MEMBRANES = ("carry", "reset")
DIRECTIONS = ("forward", "bidirectional", "recurrent")


def listened(module: nn.Module) -> bool:
    """Whether a hook waits for the module to run: then it must run as itself, not within something faster."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


class SpikingLayer(nn.Module):
    """A node that starts every call from rest and forgets its membrane afterwards.

    SpikingJelly's nodes keep the last membrane, with its graph, until someone resets them: state leaks between batches
    and `deepcopy` fails. Here each call is a pure function of its input.

    membrane: `reset` runs the first axis alone, so that each segment starts from rest; `carry` runs the steps of all
    segments one after another.

    A learned threshold is a learned gain: dividing the current by g moves the threshold of a node that rests at 0 from
    theta to g theta, in units of the membrane, and changes no spike otherwise. g starts at 1 and stays positive.

    Membranes are kept in float32 at least: a bf16 or fp16 current is widened, and its spikes handed back in its dtype.
    That also lets SpikingJelly's CUDA kernels run, whose membranes are float32.

    `rate` gives what a rate readout would; it writes no spikes where `neurons.fused` has kernels for the node and no
    hook listens to the layer. Set `fused` to False to go the plain way always.

    Shape: current `[S, B, T, ..., N]` to spikes of the same shape, zeros and ones (integers for `ilif`), S simulation
    steps per segment; `steps` where the node has weights per step. With membrane `reset`, any `[S, ...]`.
    """

    def __init__(self, config: NodeConfig, steps: int | None = None, membrane: str = "reset") -> None:
        super().__init__()
        self.config = config
        self.membrane = membrane
        self.node = make_node(config, steps)
        self.fused = True
        self.recompute = False
        self.log_threshold_gain = nn.Parameter(torch.zeros(())) if config.learn_threshold else None

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        return self.in_order_of_time(current, self.fire)

    def rate(self, current: torch.Tensor, held: int | None = None) -> torch.Tensor:
        """The mean over simulation steps of what `forward` gives: `[S, B, T, ..., N]` to `[B, T, ..., N]`.

        held: simulation steps for which a constant current, `[1, B, T, ..., N]`, is held. The fused path then writes
        nothing that grows with S, neither forwards nor backwards.
        """
        if not self.fuses(current):
            return self(current if held is None else current.expand(held, *current.shape[1:])).mean(0)
        dtype, steps = current.dtype, held or len(current)
        current = self._scaled(current)
        clips, segments = current.shape[1:3]
        in_rows = current.reshape(len(current), clips, segments, -1)
        if self.membrane == "reset":
            in_rows = in_rows.flatten(1, 2).unsqueeze(2)
        rate = firing_rate(in_rows, self.dynamics(steps, in_rows.shape[-1]))
        return rate.view(current.shape[1:]).to(dtype)

    def fuses(self, current: torch.Tensor) -> bool:
        """Whether `rate` takes the fused path for this current."""
        heard = listened(self) or listened(self.node)
        known = self.config.node in NODES and self.config.surrogate in SLOPES
        # Triton takes thresholds and time constants as 32-bit numbers.
        exact = not (current.is_cuda and current.dtype == torch.float64)
        return self.fused and known and exact and not heard and current.ndim > 3

    def dynamics(self, steps: int, neurons: int) -> Dynamics:
        """This layer as the fused kernels take it; all of its `neurons` run through the segments forwards."""
        config = self.config
        return Dynamics(
            steps=steps,
            leaky=config.node == "lif",
            tau=float(config.tau),
            threshold=float(config.threshold),
            soft=config.reset == "soft",
            detach=config.detach_reset,
            strict=config.surrogate == "quadratic_gate",
            slope=SLOPES[config.surrogate],
            alpha=float(cast(Any, self.node).surrogate_function.alpha),
            first_reversed=neurons,
        )

    def membranes(self, current: torch.Tensor) -> torch.Tensor:
        """The membrane after each simulation step of what `forward` would run, reset included: `[S, B, T, ..., N]`.

        Raises:
            ValueError: a node that keeps none.
        """
        if not isinstance(self.node, neuron.BaseNode):
            raise ValueError(f"{self.config.node} keeps no membrane from step to step")
        return self.in_order_of_time(current, self.trace)

    def in_order_of_time(self, current: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """`run` over currents in the order in which a neuron lives through them; its results put back in place."""
        if self.membrane == "reset":
            return run(current.contiguous())
        in_time = current.movedim(2, 0).flatten(0, 1)
        return run(in_time).unflatten(0, (-1, len(current))).movedim(0, 2)

    def fire(self, current: torch.Tensor) -> torch.Tensor:
        """Currents to spikes, both in order of time, from rest; with `recompute`, only the currents are kept."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self.run_from_rest, current, use_reentrant=False)
        return self.run_from_rest(current)

    def run_from_rest(self, current: torch.Tensor) -> torch.Tensor:
        """Currents to spikes, both in order of time; nothing of the node's state is left."""
        self.reset()
        spikes = self.run(current)
        self.reset()
        return spikes

    def trace(self, current: torch.Tensor) -> torch.Tensor:
        """Currents to membranes, both in order of time, from rest."""
        node = cast(neuron.BaseNode, self.node)
        self.reset()
        node.store_v_seq = True
        try:
            self.run(current)
            return node.v_seq
        finally:
            node.store_v_seq = False
            self.reset()

    def run(self, current: torch.Tensor) -> torch.Tensor:
        """Currents to spikes, both in order of time, going on from where the node is."""
        return self.node(self._scaled(current)).to(current.dtype)

    def _scaled(self, current: torch.Tensor) -> torch.Tensor:
        if current.dtype in (torch.bfloat16, torch.float16):
            current = current.float()
        return current if self.log_threshold_gain is None else current * torch.exp(-self.log_threshold_gain)

    def reset(self) -> None:
        """Forget the membrane, where the node has one."""
        functional.reset_net(self.node)

    def implementation(self, device: torch.device) -> str:
        """The kernel that SpikingJelly runs this node with on `device`, for the log of a run."""
        name = self.config.node
        if name not in ("if", "lif", "plif", "ilif") or self.config.surrogate == "quadratic_gate":
            return "torch-reference"
        return str(functional.neuron_implementation(name, device)["implementation"])


class BidirectionalLayer(SpikingLayer):
    """A layer half of whose neurons live through the segments in reverse, as half of a BiLSTM does; one multi-step call
    runs both halves.

    Shape: `[S, B, T, ..., N]`, N even.
    """

    def fuses(self, current: torch.Tensor) -> bool:
        return super().fuses(current) and current.ndim == 4

    def dynamics(self, steps: int, neurons: int) -> Dynamics:
        forwards = (neurons + 1) // 2 if self.membrane == "carry" else neurons
        return dataclasses.replace(super().dynamics(steps, neurons), first_reversed=forwards)

    def in_order_of_time(self, current: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        return reverse_second_half(super().in_order_of_time(reverse_second_half(current), run))


def reverse_second_half(values: torch.Tensor) -> torch.Tensor:
    """The segments of the second half of the channels in reverse."""
    forwards, backwards = values.chunk(2, dim=-1)
    return torch.cat([forwards, backwards.flip(2)], dim=-1)


class RecurrentLayer(SpikingLayer):
    """A layer whose spikes feed back into its current one simulation step later: x_t + W s_(t - 1).

    The only one that loops over steps in Python, since each step waits for the one before.

    Raises:
        ValueError: a node that runs over whole sequences only.
    """

    def __init__(self, config: NodeConfig, steps: int | None, membrane: str, neurons: int) -> None:
        if config.node in (*FIXED_LENGTH, *PARALLEL):
            raise ValueError(f"a recurrent block steps its node; {config.node} runs over whole sequences only")
        super().__init__(config, steps, membrane)
        self.fused = False
        self.feedback = nn.Linear(neurons, neurons, bias=False)

    def run(self, current: torch.Tensor) -> torch.Tensor:
        spikes = [torch.zeros_like(current[0])]
        node = cast(neuron.BaseNode, self.node)
        for now in current:
            driven = self._scaled(now + self.feedback(spikes[-1]))
            spikes.append(node.single_step_forward(driven).to(current.dtype))
        return torch.stack(spikes[1:])


def run_layers(network: nn.Module, fused: bool = True, recompute: bool = False) -> None:
    """How every spiking layer runs: by the fused path where it can, and, elsewhere, keeping every simulation step for
    the way back or running them again (activation checkpointing, for long S).
    """
    for layer in network.modules():
        if isinstance(layer, SpikingLayer):
            layer.fused = fused and not isinstance(layer, RecurrentLayer)
            layer.recompute = recompute


def make_layer(config: NodeConfig, steps: int, membrane: str, direction: str, neurons: int) -> SpikingLayer:
    """A layer of `neurons` that runs through the segments of a clip in `direction`.

    Raises:
        ValueError: an unknown direction, or a node that cannot run so.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, not '{direction}'")
    if direction == "recurrent":
        return RecurrentLayer(config, steps, membrane, neurons)
    return (BidirectionalLayer if direction == "bidirectional" else SpikingLayer)(config, steps, membrane)
