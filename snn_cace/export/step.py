"""One segment of a stream as an ONNX graph: features and what the stream keeps in, results and what it keeps now out.

Of one segment every shape is known. So simulation steps are unrolled, and ONNX Runtime prepares weights once.
"""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from neurons import SpikingLayer, eager
from neurons.layer import RecurrentLayer
from neurons.streaming import begin, streamed
from snn_cace.config import Experiment
from snn_cace.contracts import NetworkOutput
from snn_cace.export.onnx import exported_program, ready, said_by, session
from snn_cace.export.stream import SpikeSum, Stream
from snn_cace.model import Network


def unrolled(layer: SpikingLayer, current: torch.Tensor) -> torch.Tensor:
    """What `layer.fire` outputs, time-major `[time, ...]`, step by step, from what the layer keeps in `past`."""
    config, node = layer.config, cast(Any, layer.node)
    if layer.goes_on and layer.past is not None:
        state, fired = layer.past
    else:
        state, fired = tuple(torch.zeros_like(current[0]) for _ in config.states), torch.zeros_like(current[0])
    spikes = []
    for now in current:
        if isinstance(layer, RecurrentLayer):
            now = now + layer.feedback(fired)
        fired, state = config.step(layer._scaled(now), state, node.surrogate_function, config.leak_of(node))
        spikes.append(fired)
    if layer.goes_on:
        layer.past = state, fired
    return torch.stack(spikes)


class Step(nn.Module):
    """One segment: visual `[1, 1, H, W, Cv]`, audio `[1, 1, Ca]` and what is kept of those before, as tensors, to what
    the network says by `names`, the spikes fired, and what is kept now. Before the first segment, zeros are kept.
    """

    def __init__(self, network: Network, visual: torch.Tensor, audio: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        begin(network)
        output = network(visual, audio)
        self.output_type, self.names = type(output), said_by(output)
        self.looking_back = {name: one for name, one in streamed(network).items() if one.past is not None}
        kept, self.structure = tree_flatten(self.pasts())
        self.at_rest = [torch.zeros_like(values) for values in kept]

    def pasts(self) -> dict[str, Any]:
        """What every module that looks back keeps."""
        return {name: module.past for name, module in self.looking_back.items()}

    def forward(self, visual: torch.Tensor, audio: torch.Tensor, *kept: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for name, past in tree_unflatten(list(kept), self.structure).items():
            self.looking_back[name].past = past
        with SpikeSum(self.network) as fired:
            output = self.network(visual, audio)
        said = tuple(getattr(output, name) for name in self.names)
        return *said, fired.total, *tree_flatten(self.pasts())[0]


@dataclass(frozen=True)
class ExportedStep:
    """An ONNX model of one segment.

    output_type, names: what the network says, and what of it the model outputs. at_rest: what is kept before the first
    segment, by the name of the input; its output is called so with `_now` behind.
    """

    model: bytes
    output_type: type[NetworkOutput]
    names: tuple[str, ...]
    at_rest: dict[str, np.ndarray]


def export_step(network: Network, patches: torch.Size, simplify: bool = False) -> ExportedStep:
    """One segment of a causal network whose pictures have so many patches, `[H, W]`, as an ONNX model. simplify: for
    readers; it takes as long as the rest, and ONNX Runtime does it itself.

    Raises:
        InputError: what PyTorch's exporter cannot say, in its words.
    """
    prepared, shape = ready(network), network.shape
    visual, audio = torch.randn(1, 1, *patches, shape.visual_channels), torch.randn(1, 1, shape.audio_channels)
    for layer in prepared.modules():
        if isinstance(layer, SpikingLayer) and layer.config.has_steps:
            layer.fire = partial(unrolled, layer)  # type: ignore[method-assign]
    with eager(), torch.no_grad():
        step = Step(prepared, visual, audio)
    kept = [f"kept_{number}" for number in range(len(step.at_rest))]
    outputs = [*step.names, "spikes", *(f"{name}_now" for name in kept)]
    names = ["visual", "audio", *kept]
    program = exported_program(step, (visual, audio, *step.at_rest), names, outputs, simplify=simplify)
    at_rest = {name: values.numpy() for name, values in zip(kept, step.at_rest, strict=True)}
    return ExportedStep(program.model_proto.SerializeToString(), step.output_type, step.names, at_rest)


class OnnxStep:
    """A causal network that ONNX Runtime runs segment by segment, in float32; as `snn_cace.export.stream.TorchStep`.
    simplify: as of `export_step`.

    Raises:
        InputError: what PyTorch's exporter cannot say, in its words, when the first segment comes.
    """

    def __init__(self, network: Network, simplify: bool = False) -> None:
        self.network, self.simplify = network, simplify
        self.session: Any = None
        self.begin()

    def begin(self) -> None:
        """Forget the segments before."""
        self.kept: dict[str, np.ndarray] | None = None

    def prepare(self, visual: torch.Tensor) -> None:
        """Export the network for pictures `[H, W, Cv]`, at the first."""
        if self.session is None:
            self.exported = export_step(self.network, visual.shape[:2], self.simplify)
            self.session = session(self.exported.model)

    def __call__(self, visual: torch.Tensor, audio: torch.Tensor) -> tuple[NetworkOutput, int]:
        """A segment's visual `[1, 1, H, W, Cv]` and audio `[1, 1, Ca]` to what the network says, and spikes fired."""
        step = self.exported
        given = {"visual": visual.cpu().float().numpy(), "audio": audio.cpu().float().numpy()}
        given |= self.kept or step.at_rest
        found = self.session.run(None, given)
        *said, fired = found[: len(step.names) + 1]
        self.kept = dict(zip(step.at_rest, found[len(step.names) + 1 :], strict=True))
        values: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(step.output_type))
        values |= zip(step.names, map(torch.from_numpy, said), strict=True)
        return step.output_type(**values), round(float(fired))


def check_step(step: OnnxStep, experiment: Experiment, clips: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Largest difference of class probabilities from PyTorch's, over clips' `visual` and `audio` run segment by
    segment, and median milliseconds a segment of both, in turns.
    """
    experiment = dataclasses.replace(experiment, training=dataclasses.replace(experiment.training, device="cpu"))
    streams = {
        "pytorch": Stream(step.network, experiment),
        "onnxruntime": Stream(step.network, experiment, make_step=lambda network: step),
    }
    difference, seconds = 0.0, {name: list[float]() for name in streams}
    for visual, audio in zip(clips["visual"], clips["audio"], strict=True):
        for stream in streams.values():
            stream.reset()
        for picture, sound in zip(visual, audio, strict=True):
            found = {name: stream.step(picture, sound) for name, stream in streams.items()}
            wanted, got = (found[name].class_probabilities for name in streams)
            difference = max(difference, float(np.abs(wanted - got).max()))
            for name, result in found.items():
                seconds[name].append(result.seconds)
    return {
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "segments": len(seconds["pytorch"]),
        "largest_difference": difference,
        "milliseconds_per_segment": {name: 1000 * statistics.median(taken) for name, taken in seconds.items()},
    }
