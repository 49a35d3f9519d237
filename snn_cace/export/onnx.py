"""A whole network, ANN or SNN, as an ONNX graph of any number of clips and segments, compared with PyTorch.

Neurons that run step by step become one Scan over all segments and simulation steps, from their `step`; batch
norms are folded. Dropout and the contrastive views, whose noise is drawn anew each time, are left out.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch._higher_order_ops.scan import scan

from neurons import SpikingLayer, eager, fold
from neurons.layer import RecurrentLayer
from snn_cace.analysis.stopwatch import side_by_side
from snn_cace.contracts import NetworkOutput
from snn_cace.errors import InputError
from snn_cace.files import replacing
from snn_cace.model import Network
from snn_cace.model.localisation import LocalisationHead
from snn_cace.model.temporal import BiLSTM, ForwardLSTM

NOT_EXPORTED = ("query", "key")
"""The contrastive views, whose noise is drawn anew each time."""
TRACED = 2
"""Clips that the network is traced with."""
MOST = (1 << 16, 1 << 12)
"""Clips and segments that a file takes at most: without a bound, PyTorch guards against overflow."""


class Exported(nn.Module):
    """visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]` to the outputs by `names`."""

    def __init__(self, network: Network, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, visual: torch.Tensor, audio: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.network(visual, audio)
        return tuple(getattr(output, name) for name in self.names)


def said_by(output: NetworkOutput) -> tuple[str, ...]:
    """What a network's output says, but the contrastive views."""
    return tuple(name for name, values in vars(output).items() if values is not None and name not in NOT_EXPORTED)


@torch.no_grad()
def output_names(network: Network, visual: torch.Tensor, audio: torch.Tensor) -> tuple[str, ...]:
    """What the network says of visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]`."""
    return said_by(network(visual, audio))


def scanned(layer: SpikingLayer, current: torch.Tensor) -> torch.Tensor:
    """What `layer.fire` outputs, time-major `[time, ...]`, as one scan over time."""
    config, node = layer.config, cast(Any, layer.node)
    rest = [torch.zeros_like(current[0]) for _ in range(1 + len(config.states))]

    def one(before: list[torch.Tensor], now: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        *state, fired = before
        if isinstance(layer, RecurrentLayer):
            now = now + layer.feedback(fired)
        leak = config.leak_of(node)
        spikes, after = config.step(layer._scaled(now), tuple(state), node.surrogate_function, leak)
        return [*(x.clone() for x in after), spikes.clone()], spikes

    return scan(one, rest, current)[1]


class ScannedLSTM(nn.Module):
    """An LSTM of one layer as a scan over segments; the exporter's own takes one number of segments only."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, values: torch.Tensor, state: None = None) -> tuple[torch.Tensor, None]:
        in_time = values.transpose(0, 1)
        found = [self.run(in_time, "")]
        if self.lstm.bidirectional:
            found.append(self.run(in_time.flip(0), "_reverse").flip(0))
        return torch.cat(found, dim=-1).transpose(0, 1), None

    def run(self, values: torch.Tensor, suffix: str) -> torch.Tensor:
        weights = {
            part: getattr(self.lstm, f"{part}_l0{suffix}") for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        driven = nn.functional.linear(values, weights["weight_ih"], weights["bias_ih"] + weights["bias_hh"])
        rest = [driven.new_zeros(values.shape[1], self.lstm.hidden_size) for _ in range(2)]

        def one(before: list[torch.Tensor], now: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
            hidden, cell = before
            gates = (now + hidden @ weights["weight_hh"].T).chunk(4, dim=-1)
            inward, forget, outward = (gates[i].sigmoid() for i in (0, 1, 3))
            cell = forget * cell + inward * gates[2].tanh()
            hidden = outward * cell.tanh()
            return [hidden, cell], hidden.clone()

        return scan(one, rest, driven)[1]


@contextmanager
def silent() -> Iterator[None]:
    """Without what PyTorch's exporter prints of its progress."""
    logging.disable(logging.WARNING)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(logging.NOTSET)


def takes_any_number(network: Network, segments: int) -> bool:
    """Whether a file traced with clips of so many segments takes other numbers of them, too."""
    return segments >= max(2, network.top_segments)  # PyTorch binds a size of 1, and the mean over fewer segments


def write_onnx(network: Network, path: Path, visual: torch.Size) -> None:
    """Write `network` as an ONNX file for clips whose visual features have the shape `visual`, `[T, H, W, Cv]`: for any
    number of clips and, where `takes_any_number`, of segments.

    Raises:
        InputError: what PyTorch's exporter cannot say, in its words.
    """
    exported = ready(network)
    example = torch.randn(TRACED, *visual), torch.randn(TRACED, visual[0], network.shape.audio_channels)
    names = output_names(exported, *example)
    for layer in exported.modules():
        if isinstance(layer, SpikingLayer) and layer.config.has_steps:
            layer.fire = partial(scanned, layer)  # type: ignore[method-assign]
        if isinstance(layer, BiLSTM | ForwardLSTM):
            layer.lstm = ScannedLSTM(layer.lstm)  # type: ignore[assignment]
    clips = torch.export.Dim("clips", max=MOST[0])
    segments = torch.export.Dim("segments", min=network.top_segments, max=MOST[1])
    dynamic = {0: clips, 1: segments} if takes_any_number(network, visual[0]) else {0: clips}
    shapes = {"visual": dynamic, "audio": dynamic}
    program = exported_program(Exported(exported, names), example, ["visual", "audio"], list(names), shapes)
    sizes = [size for given in program.model.graph.inputs for size in (given.shape or ())[: len(dynamic)]]
    if any(isinstance(size, int) for size in sizes):
        raise InputError(f"PyTorch binds the exported network to clips and segments {sizes[:2]}, not any number")
    with replacing(path) as temporary, silent():
        program.save(str(temporary), external_data=False)


def ready(network: Network) -> Network:
    """A copy that can be exported: in float32, batch norms folded, without the noise of the contrastive views."""
    exported = fold(copy.deepcopy(network).cpu().float().eval())
    assert isinstance(exported, Network)
    for layer in exported.modules():
        if isinstance(layer, LocalisationHead):
            layer.draw_noise = torch.zeros_like  # type: ignore[assignment]
    return exported


@torch.no_grad()
def exported_program(
    module: nn.Module,
    example: tuple[torch.Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    dynamic_shapes: dict[str, Any] | None = None,
    simplify: bool = True,
) -> Any:
    """`module` as PyTorch's exporter writes it, from `example` inputs; simplify: constants folded, say.

    Raises:
        InputError: what it cannot say, in its words.
    """
    try:
        with silent(), eager():
            return torch.onnx.export(
                module,
                example,
                dynamo=True,
                dynamic_shapes=dynamic_shapes,
                input_names=inputs,
                output_names=outputs,
                optimize=simplify,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = error.__cause__ or error
        raise InputError(f"PyTorch cannot export this network: {' '.join(str(reason).split())[:300]}") from None


def session(model: Path | bytes) -> Any:
    """ONNX Runtime on as many threads as PyTorch, which spin while it runs, and not while PyTorch's work."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


def check_onnx(network: Network, path: Path, clips: dict[str, torch.Tensor], repeats: int = 10) -> dict[str, Any]:
    """Largest difference of each output from PyTorch's, on clips' `visual` and `audio` and on shorter ones, and seconds
    a clip of both, in turns.
    """
    network = network.cpu().float().eval()
    visual, audio = clips["visual"].float(), clips["audio"].float()
    running, names = session(path), output_names(network, visual[:1], audio[:1])
    differences = dict.fromkeys(names, 0.0)
    shorter = max(network.top_segments, visual.shape[1] // 2)
    for batch, segments in ((len(visual), visual.shape[1]), (1, shorter)):
        given = visual[:batch, :segments], audio[:batch, :segments]
        found = running.run(list(names), dict(zip(("visual", "audio"), (x.numpy() for x in given), strict=True)))
        with torch.no_grad():
            wanted = network(*given)
        for name, values in zip(names, found, strict=True):
            difference = float(np.abs(values - getattr(wanted, name).numpy()).max())
            differences[name] = max(differences[name], difference)
    one = {"visual": visual[:1].contiguous().numpy(), "audio": audio[:1].contiguous().numpy()}

    def torch_run() -> None:
        with torch.no_grad():
            network(visual[:1], audio[:1])

    rows = side_by_side(
        {"pytorch": torch_run, "onnxruntime": lambda: running.run(list(names), one)}, torch.device("cpu"), repeats
    )
    return {
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "clips": len(visual),
        "largest_differences": differences,
        "milliseconds_per_clip": {name: 1000 * row["seconds"] for name, row in rows.items()},
    }
