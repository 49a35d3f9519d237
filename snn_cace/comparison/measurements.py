"""Measurements of one finished run: operations, firing, accuracy against steps, latency, energy on the device."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from snn_cace.analysis.attention import record_attention, spread
from snn_cace.analysis.power import energy_counter, joules_per_clip
from snn_cace.analysis.record import RunRecord, record_network
from snn_cace.analysis.stopwatch import Run, side_by_side
from snn_cace.data.batches import ClipData, without_padding
from snn_cace.files import write_json
from snn_cace.model import Network
from snn_cace.runtime import feature_dtype, pick_device
from snn_cace.training.checkpoints import RunFiles, load_checkpoint
from snn_cace.training.metrics import PADDING, SegmentMetrics

POWER_CLIPS = 32
DRAWN_CLIPS = 2
"""Clips over which attention is drawn, of a run."""
LATENCY_REPEATS = 30
OWN_CORE = 0.9
"""With less of one core than this while latency is measured, other programs run too."""
BATCH_SIZE = 64
"""At least so many clips at a time: nothing here depends on it."""


def measurements_file(files: RunFiles) -> Path:
    return files.directory / "measurements.json"


def read_measurements(files: RunFiles) -> RunRecord:
    return RunRecord.from_json(json.loads(measurements_file(files).read_text(encoding="utf-8")))


def measure(directory: Path) -> None:
    """Write measurements.json of a finished run: all that may run beside other work, so no times."""
    files = RunFiles(directory)
    trained = load_checkpoint(directory)
    network, experiment = trained.network, trained.experiment
    device = pick_device(experiment.training.device)
    dtype = feature_dtype(experiment.training.precision)
    data = ClipData(experiment.data, dtype)
    in_large_batches = dataclasses.replace(experiment.data, batch_size=max(BATCH_SIZE, experiment.data.batch_size))
    test = data.dataset("test")
    loader = ClipData(in_large_batches, dtype).loader("test")
    record = record_network(network, data, "test", 0, experiment, device, loader=loader)
    record.attention = record_attention(network, test, spread(test, DRAWN_CLIPS))
    metrics = SegmentMetrics(num_classes=data.shape.classes + 1)
    with np.load(files.predictions) as stored:
        own = stored["segment_target"] != PADDING
        metrics.update(*(torch.from_numpy(stored[name][own]) for name in ("segment_class", "segment_target")))
    record.confusion, record.class_accuracy = metrics.compute().tolist(), metrics.class_accuracy()
    write_json(measurements_file(files), record.as_json())


def measure_latency_and_power(variants: Sequence[Sequence[Path]]) -> None:
    """Add what needs the machine to itself: latency of a clip, in turns, and joules per clip on a GPU with a meter.

    variants: the run directories of each. A variant's first run is measured for all of them: weights decide neither.
    """
    latency: dict[str, Run] = {}
    power: dict[str, tuple[Run, int]] = {}
    for directory, *_ in variants:
        trained = load_checkpoint(directory)
        device = pick_device(trained.experiment.training.device)
        test = ClipData(trained.experiment.data, feature_dtype("32")).dataset("test")
        clips = without_padding(test.__getitems__(range(min(POWER_CLIPS, len(test)))))
        network = trained.network.to(device, torch.float32).eval()
        visual, audio = clips["visual"].to(device), clips["audio"].to(device)
        latency[str(directory)] = partial(forward_pass, network, visual[:1], audio[:1])
        power[str(directory)] = partial(forward_pass, network, visual, audio), len(visual)
    rows = side_by_side(latency, device, LATENCY_REPEATS)
    cores = min(row["cores"] for row in rows.values())
    if device.type == "cpu" and cores < OWN_CORE:
        print(f"  note: other programs took {1 - cores:.0%} of a core meanwhile, so these latencies are too long")
    counter = energy_counter(device)
    for runs in variants:
        first = str(runs[0])
        measured = joules_per_clip(*power[first], counter) if counter is not None else None
        for directory in runs:
            record = read_measurements(RunFiles(directory))
            record.latency_ms, record.device, record.nvml = 1000 * rows[first]["seconds"], device.type, measured
            write_json(measurements_file(RunFiles(directory)), record.as_json())


@torch.no_grad()
def forward_pass(network: Network, visual: torch.Tensor, audio: torch.Tensor) -> None:
    network(visual, audio)
    if visual.is_cuda:
        torch.cuda.synchronize(visual.device)
