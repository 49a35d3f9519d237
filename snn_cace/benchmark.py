"""How fast everything is on this machine, each figure beside what limits it and beside its peers, in one run.

Every timing warms up, repeats, and reports the median with quartiles; CUDA is synchronised. Beside it stands the share
of the process's cores that it really had (`cores`): on a shared machine a figure with less than its threads is noise.
Peak memory of a training step is that of a process of its own.
"""

from __future__ import annotations

import copy
import importlib.util
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from spikingjelly.activation_based import functional
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from neurons import BlockConfig, BrainCogEncoder, NodeConfig, SpikingLayer, SpikingLinear
from neurons.nodes import make_node
from snn_cace.config import DataConfig, Experiment
from snn_cace.contracts import FeatureShape
from snn_cace.data.batches import ClipData
from snn_cace.data.synthetic import write_synthetic
from snn_cace.losses import loss_terms, targets_from_labels, training_loss
from snn_cace.model import CaceNet
from snn_cace.model.temporal import BiLSTM
from snn_cace.runtime import workers

AVE_SHAPE = FeatureShape(visual_channels=512, audio_channels=128, classes=28)
AVE_PATCHES = (7, 7)
SEGMENTS = 10
WARM_UP, REPEATS = 3, 9
SQUARE = 2048
"""Side of the matrices whose product gives the machine's rate."""
COPIED = 1 << 26
"""Bytes of the copy that gives its bandwidth."""
NODE = NodeConfig(tau=2.0, threshold=0.5, surrogate="piecewise_quadratic", alpha=2.0)


@dataclass
class Sizes:
    """Features that are made up for a measurement: their shape, and patches per picture."""

    shape: FeatureShape = AVE_SHAPE
    patches: tuple[int, int] = AVE_PATCHES


def timed(
    run: Callable[[], Any], device: torch.device, repeats: int = REPEATS, warm_up: int = WARM_UP
) -> dict[str, float]:
    """Median seconds and quartiles of `run`, and how many cores it had."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(WARM_UP):
        run()
    wait()
    seconds = []
    processor, wall = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - started)
    cores = (time.process_time() - processor) / (time.perf_counter() - wall)
    low, middle, high = statistics.quantiles(seconds, n=4) if repeats > 1 else seconds * 3
    return {"seconds": middle, "quartile_1": low, "quartile_3": high, "cores": cores}


def limits(device: torch.device) -> dict[str, float]:
    """What the machine reaches: matrix products in operations per second, a copy in bytes per second."""
    found = {}
    for name, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        a, b = (torch.randn(SQUARE, SQUARE, dtype=dtype, device=device) for _ in range(2))
        spent = timed(partial(torch.matmul, a, b), device)["seconds"]
        found[f"matmul_flops_{name}"] = 2 * SQUARE**3 / spent
    source = torch.empty(COPIED // 4, device=device)
    target = torch.empty_like(source)
    found["copy_bytes_per_second"] = 2 * COPIED / timed(lambda: target.copy_(source), device)["seconds"]
    return found


def clips(
    sizes: Sizes, batch: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """A batch of random features with labels."""
    generator = torch.Generator().manual_seed(0)
    shape = sizes.shape
    classes = torch.randint(shape.classes + 1, (batch, SEGMENTS), generator=generator)
    made = {
        "visual": torch.rand(batch, SEGMENTS, *sizes.patches, shape.visual_channels, generator=generator),
        "audio": torch.rand(batch, SEGMENTS, shape.audio_channels, generator=generator),
        "labels": torch.eye(shape.classes + 1)[classes],
    }
    return {name: values.to(device, dtype) for name, values in made.items()}


def with_steps(experiment: Experiment, steps: int) -> Experiment:
    """The experiment with S = `steps` in every slot."""
    changed = copy.deepcopy(experiment)
    changed.model.spiking.steps = steps
    for slot in vars(changed.model.slots).values():
        slot.steps = steps if slot.block != "dense" else slot.steps
    return changed


def training_step(experiment: Experiment, sizes: Sizes, batch: int, device: torch.device) -> Callable[[], Any]:
    """One step as training takes it: forward, loss, backward, clipping, Adam."""
    torch.manual_seed(0)
    dtype = torch.float64 if experiment.training.precision == "64" else torch.float32
    network = CaceNet(experiment.model, sizes.shape).to(device, dtype).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    given = clips(sizes, batch, device, dtype)
    contrast, autocast = experiment.model.contrast, experiment.training.precision == "bf16-mixed"

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            output = network(given["visual"], given["audio"])
            terms = loss_terms(output, targets_from_labels(given["labels"]), contrast.temperature, False)
            loss = training_loss(terms, contrast, contrast.enabled)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), experiment.training.gradient_clip or 1.0)
        optimiser.step()

    return step


def measure_training(
    experiment: Experiment, sizes: Sizes, batch: int, device: torch.device, threads: int
) -> dict[str, Any]:
    """Seconds, floating-point operations and peak memory of a training step; for a process of its own."""
    torch.set_num_threads(threads)
    step = training_step(experiment, sizes, batch, device)
    found: dict[str, Any] = timed(step, device)
    with FlopCounterMode(display=False) as counter:
        step()
    found["matmul_flops"] = float(counter.get_total_flops())
    found["samples_per_second"] = batch / found["seconds"]
    if device.type == "cuda":
        found["peak_memory_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        found["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return found


def measure_inference(experiment: Experiment, sizes: Sizes, batch: int, device: torch.device) -> dict[str, Any]:
    """Latency of one clip and throughput of a batch."""
    torch.manual_seed(0)
    network = CaceNet(experiment.model, sizes.shape).to(device).eval()
    found: dict[str, Any] = {}
    for name, size in (("latency", 1), ("throughput", batch)):
        given = clips(sizes, size, device)
        with torch.no_grad():
            found[name] = timed(partial(network, given["visual"], given["audio"]), device)
        found[name]["samples_per_second"] = size / found[name]["seconds"]
    return found


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns, run where nothing else has used memory."""
    with ProcessPoolExecutor(1, workers()) as pool:
        return pool.submit(function, *arguments).result()


def epochs(
    experiment: Experiment, sizes: Sizes, counts: Sequence[int], batch: int, device: torch.device
) -> dict[str, Any]:
    """One pass over so many clips on disk in AVE's layout, for training, read into memory first: seconds of both."""
    found = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as directory:
            shape = sizes.shape
            write_synthetic(
                Path(directory),
                count,
                None,
                (*sizes.patches, shape.visual_channels),
                shape.audio_channels,
                "float16",
                0,
            )
            experiment = copy.deepcopy(experiment)
            experiment.data = DataConfig(directory=directory, batch_size=batch, keep_in="memory")
            data = ClipData(experiment.data, torch.float32)
            started = time.perf_counter()
            loader = data.loader("all")
            read = time.perf_counter() - started
            torch.manual_seed(0)
            network = CaceNet(experiment.model, data.shape).to(device).train()
            optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
            contrast = experiment.model.contrast
            started = time.perf_counter()
            for clip_batch in loader:
                given = {name: values.to(device, non_blocking=True) for name, values in clip_batch.items()}
                output = network(given["visual"], given["audio"])
                terms = loss_terms(output, targets_from_labels(given["labels"]), contrast.temperature, False)
                optimiser.zero_grad()
                training_loss(terms, contrast, contrast.enabled).backward()
                optimiser.step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            found[str(count)] = {"seconds": time.perf_counter() - started, "read": {"seconds": read}}
    return found


def forward_backward(module: nn.Module, values: torch.Tensor) -> Callable[[], Any]:
    """One forward and backward pass in training mode."""
    module.train()
    values = values.detach().requires_grad_()

    def run() -> None:
        module.zero_grad()
        module(values).sum().backward()

    return run


def temporal_encoders(device: torch.device, batch: int, steps: int = 15) -> dict[str, Any]:
    """The picture's and the sound's temporal encoder at AVE's sizes, forward and backward: the dense one, ours, and
    the original's as `braincog`, in float64 as it was trained and in float32.
    """

    class Both(nn.Module):
        def __init__(self, make: Callable[[int, int], nn.Module]) -> None:
            super().__init__()
            self.sound, self.picture = make(128, 256), make(512, 512)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.sound(values[..., :128]), self.picture(values)], dim=-1)

    block = BlockConfig(NODE, steps)
    gate = NodeConfig(tau=2.0, threshold=0.5, surrogate="quadratic_gate", alpha=2.0)
    made = {
        "BiLSTM": (Both(BiLSTM), torch.float32),
        f"spiking, S = {steps}": (Both(lambda i, o: SpikingLinear(i, o, block, "bidirectional")), torch.float32),
        f"braincog, S = {steps}": (Both(lambda i, o: BrainCogEncoder(i, o, gate, steps)), torch.float32),
        f"braincog, S = {steps}, float64": (Both(lambda i, o: BrainCogEncoder(i, o, gate, steps)), torch.float64),
    }
    values = torch.rand(batch, SEGMENTS, 512, device=device)
    return {
        name: timed(forward_backward(module.to(device, dtype), values.to(dtype)), device)
        for name, (module, dtype) in made.items()
    }


class FusedRate(nn.Module):
    """Ours, by the fused path."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = SpikingLayer(NODE)

    def forward(self, current: torch.Tensor, steps: int) -> torch.Tensor:
        return self.layer.rate(current.unsqueeze(0), held=steps)


class SpikingJellyRate(nn.Module):
    """SpikingJelly's own multi-step LIF, whose kernel it picks by device."""

    def __init__(self) -> None:
        super().__init__()
        self.node = make_node(NODE)

    def forward(self, current: torch.Tensor, steps: int) -> torch.Tensor:
        functional.reset_net(self.node)
        rate = self.node(current.expand(steps, *current.shape)).mean(0)
        functional.reset_net(self.node)
        return rate


class SnnTorchRate(nn.Module):
    """snnTorch's Leaky with the same dynamics: beta = 1 - 1 / tau, currents divided by tau, reset to zero at once."""

    def __init__(self) -> None:
        super().__init__()
        import snntorch

        self.node = snntorch.Leaky(
            beta=0.5, threshold=NODE.threshold, reset_mechanism="zero", reset_delay=False, init_hidden=False
        )

    def forward(self, current: torch.Tensor, steps: int) -> torch.Tensor:
        membrane = torch.zeros_like(current)
        spikes, into = [], current / NODE.tau
        for _ in range(steps):
            fired, membrane = self.node(into, membrane)
            spikes.append(fired)
        return torch.stack(spikes).mean(0)


class NorseRate(nn.Module):
    """Norse's box LIF with the same dynamics: dt / tau_mem = 1 / tau, no synaptic current."""

    def __init__(self) -> None:
        super().__init__()
        from norse.torch import LIFBoxCell, LIFBoxParameters

        self.node = LIFBoxCell(
            LIFBoxParameters(tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(NODE.threshold)), dt=0.001
        )

    def forward(self, current: torch.Tensor, steps: int) -> torch.Tensor:
        state, spikes = None, []
        for _ in range(steps):
            fired, state = self.node(current, state)
            spikes.append(fired)
        return torch.stack(spikes).mean(0)


def lif_layers(
    device: torch.device, steps: Sequence[int], batch: int, compiled: bool = False, neurons: int = 512
) -> dict[str, Any]:
    """A layer of LIF neurons on a constant current with a rate readout, forward and backward, ours and its peers';
    `equal`: whether the rates are ours exactly. Segments are rows here: every membrane starts from rest. `compiled`
    times SpikingJelly's under torch.compile too, which takes half a minute for each S.
    """
    generator = torch.Generator().manual_seed(0)
    current = torch.randn(batch, SEGMENTS, neurons, generator=generator).to(device)
    found: dict[str, Any] = {"neurons": current.numel(), "steps": {}}
    for number in steps:
        layers: dict[str, nn.Module] = {"fused (ours)": FusedRate(), "SpikingJelly": SpikingJellyRate()}
        if compiled:
            layers["SpikingJelly, compiled"] = SpikingJellyRate()
            layers["SpikingJelly, compiled"].compile()
        layers |= {name: make() for name, make in PEERS.items() if importlib.util.find_spec(name.lower())}
        ours = layers["fused (ours)"](current, number)
        rows = {}
        for name, layer in layers.items():
            layer = layer.to(device)
            with torch.no_grad():
                equal = bool(torch.equal(layer(current, number), ours))
            rows[name] = timed(rate_step(layer, current, number), device, repeats=5) | {"equal": equal}
            rows[name]["bytes_per_second"] = 4 * 4 * current.numel() / rows[name]["seconds"]
        for row in rows.values():
            row["times_ours"] = row["seconds"] / rows["fused (ours)"]["seconds"]
        found["steps"][str(number)] = rows
    found["missing"] = [name for name in PEERS if not importlib.util.find_spec(name.lower())]
    return found


PEERS: dict[str, Callable[[], nn.Module]] = {"snnTorch": SnnTorchRate, "Norse": NorseRate}


def rate_step(layer: nn.Module, current: torch.Tensor, steps: int) -> Callable[[], Any]:
    """Forward and backward of a rate of a constant current."""
    leaf = current.detach().requires_grad_()
    weight = torch.ones_like(current)

    def run() -> None:
        leaf.grad = None
        layer(leaf, steps).backward(weight)

    return run


@dataclass
class Amounts:
    """How much is measured: the batch of training steps; simulation steps, batch sizes and clips of an epoch to try;
    and the batch of temporal encoders and LIF layers.
    """

    batch: int
    steps: Sequence[int]
    batches: Sequence[int]
    clips: Sequence[int]
    encoder_batch: int


def benchmark(
    experiments: Sequence[Experiment], sizes: Sizes, amounts: Amounts, device: torch.device, compiled: bool = False
) -> dict[str, Any]:
    """All measurements; `experiments[0]` is what the others' ratios are against."""
    say = partial(print, flush=True)
    threads = torch.get_num_threads()
    say("limits of the machine")
    result: dict[str, Any] = {
        "batch": amounts.batch,
        "encoder_batch": amounts.encoder_batch,
        "threads": threads,
        "shape": vars(sizes.shape) | {"patches": sizes.patches},
        "limits": limits(device),
        "variants": {},
    }

    def trained(experiment: Experiment, size: int) -> dict[str, Any]:
        row = in_own_process(measure_training, experiment, sizes, size, device, threads)
        kind = "float64" if experiment.training.precision == "64" else "float32"
        row["matmul_seconds"] = row["matmul_flops"] / result["limits"][f"matmul_flops_{kind}"]
        row["times_matmul"] = row["seconds"] / row["matmul_seconds"]
        return row

    for experiment in experiments:
        say(f"{experiment.name}: training step and inference")
        result["variants"][experiment.name] = {
            "training": trained(experiment, amounts.batch),
            **measure_inference(experiment, sizes, amounts.batch, device),
        }
    first = next(iter(result["variants"].values()))
    for row in result["variants"].values():
        row["training"]["times_first"] = row["training"]["seconds"] / first["training"]["seconds"]
        row["latency"]["times_first"] = row["latency"]["seconds"] / first["latency"]["seconds"]
    spiking = [e for e in experiments if any(s.block != "dense" for s in vars(e.model.slots).values())]
    say("against simulation steps and batch size")
    result["against_steps"] = {
        e.name: {str(s): trained(with_steps(e, s), amounts.batch) for s in amounts.steps}
        for e in spiking
        if e.name != "snn-braincog"
    }
    result["against_batch"] = {e.name: {str(b): trained(e, b) for b in amounts.batches} for e in experiments}
    say("epochs by clips")
    result["epochs"] = epochs(experiments[0], sizes, amounts.clips, amounts.batch, device)
    say("temporal encoders")
    result["temporal_encoders"] = temporal_encoders(device, amounts.encoder_batch)
    say("LIF layers")
    result["lif"] = lif_layers(device, amounts.steps, amounts.encoder_batch, compiled)
    return result
