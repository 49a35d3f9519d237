"""Activity of the spiking layers of a trained network over a split, as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch.utils.data import DataLoader

from neurons import LayerRecord, SpikeRecorder, Trace, trace_layers, unhealthy_shares
from snn_cace.config import Experiment
from snn_cace.data.batches import Batch, own_segments, without_padding
from snn_cace.model import Network
from snn_cace.training.evaluation import run_network
from snn_cace.training.metrics import PADDING

RATE_BINS = 20
"""Bins of the distribution of firing rates over neurons, from 0 to the largest rate."""
SHOWN_NEURONS = 48
"""Neurons of a layer that a raster shows: evenly spaced."""


@dataclass
class LayerSummary:
    """A spiking layer over a split; rates are spikes per neuron per simulation step.

    per_class, event, background: in segments of each class, of any event, and of none; None where there are none. A
    segment with several events counts as that of the lowest index.
    neuron_rate_histogram: neurons by their rate, from 0 to the largest. spike_counts: pairs of neuron and segment with
    0, 1, ... spikes. first_spikes: with their first at step 0, 1, ..., and last those without any.
    mean_time_to_first_spike: in steps from 0, of those with any.
    """

    firing_rate: float
    simulation_steps: int
    neurons: int
    activation_sparsity: float
    dead: float
    saturated: float
    per_step: list[float]
    per_segment: list[float]
    per_class: list[float | None]
    event: float | None
    background: float | None
    neuron_rate_quantiles: dict[str, float]
    neuron_rate_histogram: list[int]
    spike_counts: list[float]
    first_spikes: list[float]
    mean_time_to_first_spike: float | None


@dataclass
class NetworkSummary:
    """Over all spiking layers: spikes per neuron per simulation step, and the share of zeros that they output."""

    firing_rate: float
    activation_sparsity: float


class LayerRaster(TypedDict):
    """One layer on one clip, over `times` = T S simulation steps.

    spikes: pairs of time (segment * S + step) and neuron, among `neurons` of the layer that are shown. membranes: of
    `traced` neurons, after each simulation step; None where a node keeps none.
    """

    simulation_steps: int
    times: int
    neurons: list[int]
    spikes: list[list[int]]
    traced: list[int]
    membranes: list[list[float]] | None


class Raster(TypedDict):
    """One clip: its row on disk, the class of each segment, and its layers."""

    index: int
    segment_class: list[int]
    layers: dict[str, LayerRaster]


def record_split(
    network: Network, loader: DataLoader, experiment: Experiment, device: torch.device, quiet: bool = True
) -> tuple[dict[str, LayerRecord], float]:
    """Every spiking layer over a split, by the class of the segment (background last), and the segment accuracy."""
    right = segments = 0
    with SpikeRecorder(network, network.shape.classes + 1) as recorder:

        def label(batch: Batch) -> None:
            own, classes = own_segments(batch), batch["labels"].argmax(-1)
            recorder.label(classes if own is None else classes.masked_fill(~own, PADDING))

        for batch, output in run_network(network, loader, experiment, device, quiet, label):
            own, same = own_segments(batch), output.right(batch["labels"])
            same = same if own is None else same[own]
            right, segments = right + int(same.sum()), segments + same.numel()
    return recorder.layers, 100 * right / segments


def layer_summary(record: LayerRecord) -> LayerSummary:
    rates = record.neuron_rates.numpy()
    dead, saturated = unhealthy_shares(record.neuron_rates, record.largest)
    groups = record.group_rates.tolist()
    fired = record.first_spikes[:-1]
    events = slice(0, -1)
    quantiles = (0.0, 0.25, 0.5, 0.75, 1.0)
    values = np.quantile(rates, quantiles)
    return LayerSummary(
        firing_rate=record.firing_rate,
        simulation_steps=record.steps,
        neurons=record.neurons,
        activation_sparsity=record.activation_sparsity,
        dead=dead,
        saturated=saturated,
        per_step=record.step_rates.tolist(),
        per_segment=record.segment_rates.tolist(),
        per_class=[None if math.isnan(rate) else rate for rate in groups],
        event=pooled_rate(record, events),
        background=pooled_rate(record, slice(-1, None)),
        neuron_rate_quantiles={f"{q:g}": float(value) for q, value in zip(quantiles, values, strict=True)},
        neuron_rate_histogram=np.histogram(rates, RATE_BINS, (0, record.largest))[0].tolist(),
        spike_counts=record.counts.tolist(),
        first_spikes=record.first_spikes.tolist(),
        mean_time_to_first_spike=float((fired @ torch.arange(len(fired)).double()) / fired.sum())
        if fired.sum()
        else None,
    )


def pooled_rate(record: LayerRecord, groups: slice) -> float | None:
    """Firing rate over the segments of several groups together."""
    segments = float(record.group_segments[groups].sum())
    spikes = float(record.group_spikes[groups].sum())
    return spikes / (record.neurons * record.steps * segments) if segments else None


def network_summary(layers: Iterable[LayerRecord]) -> NetworkSummary:
    chosen = list(layers)
    sizes = np.array([layer.neurons * layer.segments * layer.steps for layer in chosen], dtype=float)
    spikes = np.array([float(layer.neuron_spikes.sum()) for layer in chosen])
    zeros = np.array([layer.activation_sparsity for layer in chosen]) * sizes
    return NetworkSummary(float(spikes.sum() / sizes.sum()), float(zeros.sum() / sizes.sum()))


def raster(network: Network, clip: Batch, index: int) -> Raster:
    """Spikes and membranes of one clip, layer by layer, in the order of segments and, within them, simulation steps.

    Each place of a picture is a neuron of its own.
    """
    network.eval()
    clip = without_padding(clip)
    traces = trace_layers(network, clip["visual"], clip["audio"])
    return {
        "index": index,
        "segment_class": clip["labels"][0].argmax(-1).tolist(),
        "layers": {name: layer_raster(trace) for name, trace in traces.items()},
    }


def layer_raster(trace: Trace) -> LayerRaster:
    spikes = in_time(trace.spikes)
    shown = np.unique(np.linspace(0, spikes.shape[1] - 1, SHOWN_NEURONS).astype(int))
    order = spikes.mean(0).argsort(descending=True)
    traced = order[[0, len(order) // 2, -1]].tolist()  # that fire most, at the median, and least
    membrane = None if trace.membrane is None else in_time(trace.membrane)[:, traced].T.double().round(decimals=4)
    return {
        "simulation_steps": len(trace.spikes),
        "times": len(spikes),
        "neurons": shown.tolist(),
        "spikes": np.argwhere(spikes[:, shown].numpy() > 0).tolist(),
        "traced": traced,
        "membranes": None if membrane is None else membrane.tolist(),
    }


def in_time(values: torch.Tensor) -> torch.Tensor:
    """One clip of `[S, B, T, ..., N]` as `[T S, M]`, M neurons."""
    return values[:, 0].float().cpu().transpose(0, 1).flatten(0, 1).flatten(1)
