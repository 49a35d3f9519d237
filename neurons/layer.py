"""A layer that runs a node over the segments of a clip and their simulation steps, and keeps nothing afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from neurons.config import DIRECTIONS, BlockConfig
from neurons.kernels.dispatch import INTERPRETED, why_eager
from neurons.kernels.lif import Dynamics, firing_rate
from neurons.nodes.modules import make_node
from neurons.nodes.node import Node, one_of
from neurons.padding import Padded, reverse
from neurons.streaming import Streamed


class SpikingLayer(Streamed, Padded):
    """A node that starts every call from rest and forgets its membrane potential afterwards.

    SpikingJelly's nodes keep the last membrane potential, with its graph, until someone resets them: state leaks
    between batches and `deepcopy` fails. Here each call is a pure function of its input.

    membrane: `reset` runs the first axis alone, so that each segment starts from rest; `carry` runs the steps of all
    segments one after another.

    A learned threshold, of the layer or of each of `neurons` channels, is a learned gain: dividing the current by g
    moves the threshold of a node that rests at 0 from theta to g theta, in units of the membrane, and changes no spike
    otherwise. g starts at 1 and stays positive.

    Membrane potentials are kept in float32 at least: a bf16 or fp16 current is widened, and its spikes cast back.
    That also lets SpikingJelly's CUDA kernels run, whose membranes are float32.

    `rate` outputs what a rate readout would; it writes no spikes where `neurons.kernels.lif` has kernels for the node
    and `neurons.kernels.dispatch` lets them run. Set `fused` to False to run the layer eagerly always.

    Within a stream (`neurons.streaming`) carried membranes go on from the segment before; `past` holds them by name.

    monitors: each is called with the firing rates `[B, T, ..., N]` of every call, whichever implementation ran, and its
    number of simulation steps; where clips are padded, with those of their own segments, `[n, N]`.

    Shape: current `[S, B, T, ..., N]` to spikes of the same shape, zeros and ones (integers for `ilif`), S simulation
    steps per segment; `steps` where the node has weights per step. With membrane `reset`, any `[S, ...]`.

    Raises:
        TypeError: no neuron.
        ValueError: a threshold per channel without `neurons`, or a current without segments for membrane `carry`.

    >>> layer = SpikingLayer(IF(threshold=1), membrane="carry")
    >>> layer(torch.full((2, 1, 3, 1), 0.6)).flatten().tolist()  # [S, B, T, N]: fires at every second step
    [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """

    def __init__(
        self, config: Node, steps: int | None = None, membrane: str = "reset", neurons: int | None = None
    ) -> None:
        super().__init__()
        if not isinstance(config, Node):
            raise TypeError(f"give a neuron such as LIF(tau=2.0, threshold=0.5), not {config!r}")
        if config.learn_threshold == "channel" and neurons is None:
            raise ValueError("learn_threshold: channel needs to know how many neurons the layer has")
        self.config = config
        self.membrane = membrane
        self.node = make_node(config, steps)
        self.fused = True
        self.monitors: list[Callable[[torch.Tensor, int], None]] = []
        self.log_threshold_gain: nn.Parameter | None = None
        if config.learn_threshold:
            shape = (neurons,) if config.learn_threshold == "channel" and neurons else ()
            self.log_threshold_gain = nn.Parameter(torch.zeros(shape))

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        spikes = self.time_major(current, self.fire)
        if self.monitors:
            self.tell(spikes.mean(0), len(spikes))
        return spikes

    def tell(self, rates: torch.Tensor, steps: int) -> None:
        """Show the monitors rates `[B, T, ..., N]`, without those of padding."""
        own = self.own(rates)
        for monitor in self.monitors:
            monitor(rates if own is None else rates[own], steps)

    def rate(self, current: torch.Tensor, num_steps: int | None = None) -> torch.Tensor:
        """The mean over simulation steps of what `forward` outputs: `[S, B, T, ..., N]` to `[B, T, ..., N]`.

        num_steps: simulation steps of a constant current, `[1, B, T, ..., N]`. The fused path then writes nothing that
        grows with S, neither in the forward nor in the backward pass.
        """
        if self.why_eager(current):
            return self(current if num_steps is None else current.expand(num_steps, *current.shape[1:])).mean(0)
        dtype, steps = current.dtype, num_steps or len(current)
        current = self._scaled(current)
        in_rows = current.flatten(3)
        if self.membrane == "reset":
            in_rows = in_rows.flatten(1, 2).unsqueeze(2)
        rate = firing_rate(in_rows, *self.dynamics(steps, in_rows.shape[-1])).view(current.shape[1:]).to(dtype)
        self.tell(rate, steps)
        return rate

    def why_eager(self, current: torch.Tensor) -> str | None:
        """Why `rate` runs this current through the node; None where it runs fused."""
        if not self.fused:
            return "the layer's `fused` is off"
        if self.goes_on:
            return "a stream goes on from membranes"
        if self.config.dynamics(self.node, 1, 1) is None:
            return f"no kernels for {self.config.name} with {self.config.surrogate}"
        if current.is_cuda and current.dtype == torch.float64:
            return "Triton takes thresholds and time constants as 32-bit numbers"
        if INTERPRETED and not current.is_cuda:
            return "Numba is not installed, or NUMBA_DISABLE_JIT is set"
        if current.ndim <= 3:
            return "no segments"
        return why_eager(self, self.node)

    def dynamics(self, steps: int, neurons: int) -> Dynamics:
        """This layer as the fused kernels take it; all of its `neurons` run through the segments forward."""
        found = self.config.dynamics(self.node, steps, neurons)
        assert found is not None
        return found

    def membrane_potentials(self, current: torch.Tensor) -> torch.Tensor:
        """The membrane potential after each simulation step of `forward`, reset included: `[S, B, T, ..., N]`.

        Raises:
            ValueError: a node that keeps none.
        """
        if not isinstance(self.node, neuron.BaseNode):
            raise ValueError(f"{self.config.name} keeps no membrane from step to step")
        return self.time_major(current, self.trace)

    def time_major(self, current: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """`run` over currents with time first: `[S, ...]`, or `[T S, B, ..., N]` where membranes are carried."""
        if self.membrane == "reset":
            return run(current.contiguous())
        if current.ndim < 4:
            raise ValueError(
                "membrane: carry needs segments, values [B, T, ..., N]; as currents [S, B, T, ..., N], not "
                f"{list(current.shape)}; or use membrane: reset"
            )
        in_time = current.movedim(2, 0).flatten(0, 1)
        return run(in_time).unflatten(0, (-1, len(current))).movedim(0, 2)

    @property
    def goes_on(self) -> bool:
        return self.streaming and self.membrane == "carry"

    def fire(self, current: torch.Tensor) -> torch.Tensor:
        """Currents to spikes, both time-major, from rest or from the past of a stream; the node keeps no state."""
        if self.goes_on:
            return self.run_from_past(current)
        functional.reset_net(self.node)
        spikes = self.run(current)
        functional.reset_net(self.node)
        return spikes

    def run_from_past(self, current: torch.Tensor) -> torch.Tensor:
        """Currents to spikes, both time-major, from where the segment before has ended; its end is kept in `past`."""
        functional.reset_net(self.node)
        if not self.config.has_steps:  # no recursion: it looks back at the last currents
            back = self.config.looks_back
            past = current.new_zeros(back, *current.shape[1:]) if self.past is None else self.past
            whole = torch.cat([past, current])
            self.past = whole[len(whole) - back :]
            return self.run(whole)[-len(current) :]
        node = cast(neuron.BaseNode, self.node)
        memories = [name for name, _ in node.named_memories()]
        for name in memories if self.past else ():
            setattr(node, name, self.past[name])
        spikes = self.run(current)
        self.past = {name: getattr(node, name) for name in memories}
        functional.reset_net(self.node)
        return spikes

    def trace(self, current: torch.Tensor) -> torch.Tensor:
        """Currents to membrane potentials, both time-major, from rest."""
        node = cast(neuron.BaseNode, self.node)
        functional.reset_net(node)
        node.store_v_seq = True
        try:
            self.run(current)
            return node.v_seq
        finally:
            node.store_v_seq = False
            functional.reset_net(node)

    def run(self, current: torch.Tensor) -> torch.Tensor:
        """Currents to spikes, both time-major, going on from where the node is."""
        return self.node(self._scaled(current)).to(current.dtype)

    def _scaled(self, current: torch.Tensor) -> torch.Tensor:
        if current.dtype in (torch.bfloat16, torch.float16):
            current = current.float()
        return current if self.log_threshold_gain is None else current * torch.exp(-self.log_threshold_gain)

    def implementation(self, device: torch.device) -> str:
        """What `rate` and `forward` run this layer on, on `device`, for the log of a run."""
        rates = self.why_eager(torch.empty(1, 1, 1, 1, device=device)) is None
        spikes = "torch-reference"
        if self.config.has_backends and self.config.surrogate != "quadratic_gate":
            spikes = str(functional.neuron_implementation(self.config.name, device)["implementation"])
        fused = "Triton" if device.type == "cuda" else "Numba"
        return f"rates by {fused}, spikes by {spikes}" if rates else f"spikes by {spikes}"


class BidirectionalLayer(SpikingLayer):
    """A layer half of whose neurons run through the segments in reverse, as half of a BiLSTM does; one multi-step call
    runs both halves.

    Shape: `[S, B, T, ..., N]`, N even.
    """

    def why_eager(self, current: torch.Tensor) -> str | None:
        if current.ndim != 4:
            return "no kernel for several places of a bidirectional layer"
        return super().why_eager(current) if self.lengths is None else "clips have different lengths"

    def dynamics(self, steps: int, neurons: int) -> Dynamics:
        forward = (neurons + 1) // 2 if self.membrane == "carry" else neurons
        return super().dynamics(steps, neurons)._replace(backward_start=forward)

    def time_major(self, current: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        turned = super().time_major(reverse_second_half(current, self.lengths), run)
        return reverse_second_half(turned, self.lengths)


def reverse_second_half(values: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """The segments of the second half of the channels in reverse: `[S, B, T, ..., N]` to the same shape. lengths: of
    the clips, `[B]`, where some are padded.
    """
    forward, backward = values.chunk(2, dim=-1)
    return torch.cat([forward, reverse(backward, lengths)], dim=-1)


class RecurrentLayer(SpikingLayer):
    """A layer whose spikes feed back into its current one simulation step later: x_t + W s_(t - 1).

    The only one that loops over steps in Python, since each step waits for the one before.

    Raises:
        ValueError: a node that runs over whole sequences only.
    """

    def __init__(self, config: Node, steps: int | None, membrane: str, neurons: int) -> None:
        if not config.has_steps:
            raise ValueError(f"a recurrent block steps its node; {config.name} runs over whole sequences only")
        super().__init__(config, steps, membrane, neurons)
        self.fused = False
        self.feedback = nn.Linear(neurons, neurons, bias=False)

    def run_from_past(self, current: torch.Tensor) -> torch.Tensor:
        spikes = super().run_from_past(current)
        self.past["spikes"] = spikes[-1]
        return spikes

    def run(self, current: torch.Tensor) -> torch.Tensor:
        spikes = [(self.past or {}).get("spikes", torch.zeros_like(current[0]))]
        node = cast(neuron.BaseNode, self.node)
        for now in current:
            driven = self._scaled(now + self.feedback(spikes[-1]))
            spikes.append(node.single_step_forward(driven).to(current.dtype))
        return torch.stack(spikes[1:])


def run_layers(network: nn.Module, fused: bool = True) -> None:
    """How every spiking layer runs: fused where it can, or never."""
    for layer in network.modules():
        if isinstance(layer, SpikingLayer):
            layer.fused = fused and not isinstance(layer, RecurrentLayer)


def make_layer(config: BlockConfig, direction: str, neurons: int) -> SpikingLayer:
    """A layer of `neurons` that runs through the segments of a clip in `direction`.

    Raises:
        ValueError: an unknown direction, or a node that cannot run so.
    """
    one_of("direction", direction, DIRECTIONS)
    if direction == "recurrent":
        return RecurrentLayer(config.neuron, config.steps, config.membrane, neurons)
    kind = BidirectionalLayer if direction == "bidirectional" else SpikingLayer
    return kind(config.neuron, config.steps, config.membrane, neurons)
