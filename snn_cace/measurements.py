"""What one finished run is measured for: operations, firing, accuracy against steps, latency, energy on the device."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snn_cace.analysis.anytime import anytime, simulation_steps
from snn_cace.analysis.operations import ModuleCount, count_operations
from snn_cace.analysis.power import energy_counter, joules_per_clip
from snn_cace.analysis.quantised import quantised
from snn_cace.analysis.rules import Operations
from snn_cace.analysis.spikes import layer_summary, network_summary, raster, record_split
from snn_cace.checkpoints import RunFiles, load_checkpoint
from snn_cace.data.batches import ClipData
from snn_cace.data.labels import class_names
from snn_cace.evaluation import evaluate_network
from snn_cace.files import write_json
from snn_cace.model import CaceNet
from snn_cace.runtime import feature_dtype, pick_device
from snn_cace.stopwatch import Run, side_by_side

MEASURED_CLIPS = 32
"""Test clips over which operations are counted."""
CALIBRATION_BATCHES = 8
"""Training batches that say which range the activations of a quantised ANN cover."""
POWER_CLIPS = 32
LATENCY_REPEATS = 30
BATCH_SIZE = 64
"""At least so many clips at a time: nothing here depends on it."""


def measurements_file(files: RunFiles) -> Path:
    return files.directory / "measurements.json"


Opponent = tuple[int, tuple[str, ...]]
"""A bit-matched ANN: so many bits in the activations of these slots."""


def opponent_key(bits: int, slots: Sequence[str]) -> str:
    """What `quantised` in measurements.json calls an opponent: 3 bits in feed_forward, temporal_encoder."""
    return f"{bits} bits in {', '.join(sorted(slots))}"


def measure(directory: Path, opponents: Sequence[Opponent]) -> None:
    """Write measurements.json of a finished run: all that may run beside other work, so no times.

    A network without spiking slots is also evaluated as each of `opponents`.
    """
    files = RunFiles(directory)
    trained = load_checkpoint(directory)
    network, experiment = trained.network, trained.experiment
    device = pick_device(experiment.training.device)
    data = ClipData(experiment.data, feature_dtype("32"))
    held = dataclasses.replace(experiment.data, batch_size=max(BATCH_SIZE, experiment.data.batch_size))
    held_data = ClipData(held, feature_dtype("32"))
    loader, test = held_data.loader("test"), held_data.dataset("test")
    clips = test.__getitems__(range(min(MEASURED_CLIPS, len(test))))
    count = count_operations(network, clips["visual"], clips["audio"])
    steps = simulation_steps(experiment)
    result: dict[str, Any] = {
        "kind": "snn" if steps else "ann",
        "parameters": sum(p.numel() for p in network.parameters()),
        "clips": len(clips["index"]),
        "modules": [module_record(module) for module in count.modules],
        "idle": count.idle,
        "slots": network.slots(),
        "simulation_steps": steps,
        "activation_sparsity": count.activation_sparsity,
        "classes": class_names(data.directory, data.shape.classes),
        **confusion(files, data.shape.classes),
        "quantised": {},
    }
    if steps:
        layers, _ = record_split(network, loader, experiment, device)
        result["layers"] = {name: layer_summary(record) for name, record in layers.items()}
        result["network"] = network_summary(layers.values())
        result["anytime"] = anytime(network, loader, experiment, device)
        network.to("cpu", torch.float32)
        result["raster"] = raster(network, test.__getitems__([0]), int(test.rows[0]))
    else:
        for bits, slots in opponents:
            names = [name for slot in slots for name in network.slots()[slot]]
            batches = islice(data.loader("train"), CALIBRATION_BATCHES)
            calibration = ((batch["visual"].to(device), batch["audio"].to(device)) for batch in batches)
            with quantised(network.to(device, torch.float32), names, bits, calibration):
                found = evaluate_network(network, loader, experiment, device, quiet=True)
            result["quantised"][opponent_key(bits, slots)] = found.segment_accuracy
    write_json(measurements_file(files), result)


def measure_alone(directories: Sequence[Path]) -> None:
    """Add what needs the machine to itself: latency of a clip, in turns, and joules per clip on a GPU with a meter."""
    latency: dict[str, Run] = {}
    power: dict[str, tuple[Run, int]] = {}
    for directory in directories:
        trained = load_checkpoint(directory)
        device = pick_device(trained.experiment.training.device)
        test = ClipData(trained.experiment.data, feature_dtype("32")).dataset("test")
        clips = test.__getitems__(range(min(POWER_CLIPS, len(test))))
        network = trained.network.to(device, torch.float32).eval()
        visual, audio = clips["visual"].to(device), clips["audio"].to(device)
        latency[str(directory)] = partial(forward_pass, network, visual[:1], audio[:1])
        power[str(directory)] = partial(forward_pass, network, visual, audio), len(visual)
    rows = side_by_side(latency, device, LATENCY_REPEATS)
    counter = energy_counter(device)
    for directory in directories:
        measured = joules_per_clip(*power[str(directory)], counter) if counter is not None else None
        path = measurements_file(RunFiles(directory))
        result = json.loads(path.read_text(encoding="utf-8"))
        times = {"latency_ms": 1000 * rows[str(directory)]["seconds"], "device": device.type, "nvml": measured}
        write_json(path, result | times)


@torch.no_grad()
def forward_pass(network: CaceNet, visual: torch.Tensor, audio: torch.Tensor) -> None:
    network(visual, audio)
    if visual.is_cuda:
        torch.cuda.synchronize(visual.device)


def module_record(module: ModuleCount) -> dict[str, Any]:
    """A module's count as plain numbers, zeros left out."""
    record = dataclasses.asdict(module)
    for part in ("fixed", "driven"):
        record[part] = {name: value for name, value in record[part].items() if value}
    return record


def module_from(record: dict[str, Any]) -> ModuleCount:
    """The count that `module_record` made plain."""
    return ModuleCount(**{**record, "fixed": Operations(**record["fixed"]), "driven": Operations(**record["driven"])})


def confusion(files: RunFiles, classes: int) -> dict[str, Any]:
    """The confusion matrix of the run's test predictions, rows true, background last, and percent right by class."""
    with np.load(files.predictions) as stored:
        true, predicted = stored["segment_target"].ravel(), stored["segment_class"].ravel()
    counts = np.bincount(true * (classes + 1) + predicted, minlength=(classes + 1) ** 2).reshape(classes + 1, -1)
    with np.errstate(invalid="ignore"):
        right = 100 * counts.diagonal() / counts.sum(1)
    return {
        "confusion": counts.tolist(),
        "class_accuracy": [None if math.isnan(value) else value for value in right.tolist()],
    }
