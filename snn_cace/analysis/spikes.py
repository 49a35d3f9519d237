"""What the spiking layers of a trained network do over a split, as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from neurons import LayerRecord, SpikeRecorder, Trace, trace_layers, unhealthy_shares
from snn_cace.analysis.anytime import anytime, simulation_steps
from snn_cace.config import Experiment
from snn_cace.data.batches import Batch, ClipData
from snn_cace.data.labels import class_names
from snn_cace.errors import InputError
from snn_cace.evaluation import run_network
from snn_cace.metrics import segment_predictions
from snn_cace.model import CaceNet

RATE_BINS = 20
"""Bins of the distribution of firing rates over neurons, from 0 to the largest rate."""
SHOWN_NEURONS = 48
"""Neurons of a layer that a raster shows: evenly spaced."""
TRACED_NEURONS = 3
"""Neurons whose membranes are kept: the ones that fire most, at the median, and least."""


def analyse(
    network: CaceNet,
    data: ClipData,
    split: str,
    clip: int,
    experiment: Experiment,
    device: torch.device,
    quiet: bool = True,
) -> dict[str, Any]:
    """All that is known of the spiking layers over a split, and of its `clip`-th clip.

    Raises:
        InputError: nothing spikes, or the split has no such clip.
    """
    steps = simulation_steps(experiment)
    if not steps:
        raise InputError(f"{experiment.name} has no spiking slot: there are no spikes to analyse")
    dataset, loader = data.dataset(split), data.loader(split)
    if not 0 <= clip < len(dataset):
        raise InputError(f"--clip {clip}: the {split} split has clips 0 to {len(dataset) - 1}")
    layers, accuracy = record_split(network, loader, experiment, device, quiet)
    result = {
        "experiment": experiment.name,
        "data": str(data.directory),
        "split": split,
        "clips": len(dataset),
        "classes": class_names(data.directory, data.shape.classes),
        "segment_accuracy": accuracy,
        "simulation_steps": steps,
        **network_summary(layers.values()),
        "layers": {name: layer_summary(record) for name, record in layers.items()},
        "anytime": anytime(network, loader, experiment, device, quiet),
    }
    shown = {name: values.to(device) for name, values in dataset.__getitems__([clip]).items()}
    result["raster"] = raster(network, shown, int(dataset.rows[clip]))
    return result


def record_split(
    network: CaceNet, loader: DataLoader, experiment: Experiment, device: torch.device, quiet: bool = True
) -> tuple[dict[str, LayerRecord], float]:
    """Every spiking layer over a split, by the class of the segment (background last), and the segment accuracy."""
    right = segments = 0
    with SpikeRecorder(network, network.shape.classes + 1) as recorder:

        def label(batch: Batch) -> None:
            recorder.label(batch["labels"].argmax(-1))

        for batch, output in run_network(network, loader, experiment, device, quiet, label):
            same = segment_predictions(output) == batch["labels"].argmax(-1)
            right, segments = right + int(same.sum()), segments + same.numel()
    return recorder.layers, 100 * right / segments


def layer_summary(record: LayerRecord) -> dict[str, Any]:
    """Rates, distributions and histograms of a layer; rates are spikes per neuron per simulation step."""
    rates = record.neuron_rates.numpy()
    dead, saturated = unhealthy_shares(record.neuron_rates, record.largest)
    groups = record.group_rates.tolist()
    fired = record.first_spikes[:-1]
    events = slice(0, -1)
    return {
        "firing_rate": record.firing_rate,
        "simulation_steps": record.steps,
        "neurons": record.neurons,
        "activation_sparsity": record.activation_sparsity,
        "dead": dead,
        "saturated": saturated,
        "per_step": record.step_rates.tolist(),
        "per_segment": record.segment_rates.tolist(),
        "per_class": [None if math.isnan(rate) else rate for rate in groups],
        "event": pooled_rate(record, events),
        "background": pooled_rate(record, slice(-1, None)),
        "neuron_rate_quantiles": dict(
            zip(("0", "0.25", "0.5", "0.75", "1"), np.quantile(rates, [0, 0.25, 0.5, 0.75, 1]).tolist(), strict=True)
        ),
        "neuron_rate_histogram": np.histogram(rates, RATE_BINS, (0, record.largest))[0].tolist(),
        "spike_counts": record.counts.tolist(),
        "first_spikes": record.first_spikes.tolist(),
        "mean_time_to_first_spike": float((fired @ torch.arange(len(fired)).double()) / fired.sum())
        if fired.sum()
        else None,
    }


def pooled_rate(record: LayerRecord, groups: slice) -> float | None:
    """Firing rate over the segments of several groups together."""
    segments = float(record.group_segments[groups].sum())
    spikes = float(record.group_spikes[groups].sum())
    return spikes / (record.neurons * record.steps * segments) if segments else None


def network_summary(layers: Iterable[LayerRecord]) -> dict[str, float]:
    """Over all layers: spikes per neuron per simulation step, and the share of zeros that they hand on."""
    chosen = list(layers)
    sizes = np.array([layer.neurons * layer.segments * layer.steps for layer in chosen], dtype=float)
    spikes = np.array([float(layer.neuron_spikes.sum()) for layer in chosen])
    zeros = np.array([layer.activation_sparsity for layer in chosen]) * sizes
    return {"firing_rate": float(spikes.sum() / sizes.sum()), "activation_sparsity": float(zeros.sum() / sizes.sum())}


def raster(network: CaceNet, clip: Batch, index: int) -> dict[str, Any]:
    """Spikes and membranes of one clip, layer by layer, in the order of segments and, within them, simulation steps.

    spikes: pairs of time (segment * S + step) and neuron, among `neurons` of the layer that are shown. membranes: of
    `traced` neurons, after each simulation step; None where a node keeps none. Each place of a picture is a neuron
    of its own.
    """
    network.eval()
    traces = trace_layers(network, clip["visual"], clip["audio"])
    return {
        "index": index,
        "segment_class": clip["labels"][0].argmax(-1).tolist(),
        "layers": {name: layer_raster(trace) for name, trace in traces.items()},
    }


def layer_raster(trace: Trace) -> dict[str, Any]:
    spikes = in_time(trace.spikes)
    shown = np.unique(np.linspace(0, spikes.shape[1] - 1, SHOWN_NEURONS).astype(int))
    order = spikes.mean(0).argsort(descending=True)
    traced = order[[0, len(order) // 2, len(order) - 1]][:TRACED_NEURONS].tolist()
    membrane = None if trace.membrane is None else in_time(trace.membrane)[:, traced].T.double().round(decimals=4)
    return {
        "simulation_steps": len(trace.spikes),
        "times": len(spikes),
        "neurons": shown.tolist(),
        "spikes": np.argwhere(spikes[:, shown].numpy() > 0).tolist(),
        "traced": traced,
        "membranes": None if membrane is None else membrane.tolist(),
        "traced_spikes": spikes[:, traced].T.tolist(),
    }


def in_time(values: torch.Tensor) -> torch.Tensor:
    """One clip of `[S, B, T, ..., N]` as `[T S, M]`, M neurons."""
    return values[:, 0].float().cpu().transpose(0, 1).flatten(0, 1).flatten(1)
