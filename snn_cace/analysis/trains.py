"""Spike trains in neuroscientists' measures, and what they tell of the class as simulation steps go by.

A segment is a second, so a simulation step of S is 1 / S s, and a spike stands in the middle of its step. Neurons are
those of a layer at the places they lie (of a picture: averaged out of the readout, one by one in the trains). Elephant
computes the five measures (Denker et al., elephant, RRID:SCR_003833), apart for segments that are events and for those
that are background; segments of one kind that follow one another within a clip are one train.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, TypedDict

import neo
import numpy as np
import quantities as pq
import torch
from elephant.conversion import BinnedSpikeTrain
from elephant.spike_train_correlation import correlation_coefficient
from elephant.spike_train_synchrony import spike_contrast
from elephant.statistics import cv, fanofactor, isi
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from neurons import eager
from neurons.recording import trace_layers
from snn_cace.data.batches import ClipDataset
from snn_cace.model import Network

GROUPS = ("event", "background")
NEURONS, CLIPS, READ_CLIPS = 24, 12, 200
"""At most so many neurons of a layer and clips for the five measures, and clips of a split for the readout."""
BATCH = 32


class TrainMeasures(TypedDict):
    """Means over neurons, None where too few spikes tell. isi_ms: between spikes. cv: standard deviation of the
    intervals over their mean. fano: variance of spikes a segment over their mean. correlation: Pearson's, of pairs of
    neurons, step by step. synchrony: spike-contrast, 0 to 1 (Ciba et al., J. Neurosci. Methods 293, 2018).
    """

    isi_ms: float | None
    cv: float | None
    fano: float | None
    correlation: float | None
    synchrony: float | None


class TrainRecord(TypedDict):
    """measures: by layer and group. information: by layer, percent of test segments whose class (or background) a
    linear readout of the spikes up to each simulation step gets right. chance: the largest class's share.
    """

    measures: dict[str, dict[str, TrainMeasures]]
    information: dict[str, list[float]]
    chance: float


@torch.no_grad()
def layer_spikes(network: Network, clips: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Spikes of every layer that has segments, by name: `[S, B, T, ..., N]`."""
    with eager():
        traces = trace_layers(network, clips["visual"], clips["audio"])
    segments = clips["audio"].shape[1]
    found = {name: trace.spikes for name, trace in traces.items()}
    return {name: s for name, s in found.items() if s.ndim > 3 and s.shape[1:3] == (len(clips["audio"]), segments)}


def fired(spikes: torch.Tensor) -> torch.Tensor:
    """Neurons that fire, evenly spaced among all that do, at most NEURONS: `[S, B, T, ..., N]` to `[S, B, T, n]`."""
    flat = spikes.flatten(3)
    active = torch.nonzero(flat.sum((0, 1, 2)))[:, 0]
    if len(active) > NEURONS:
        active = active[torch.linspace(0, len(active) - 1, NEURONS).long()]
    return flat[..., active]


def runs_of(kind: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and one past the last of each stretch that is true, of `[T]`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], kind.astype(int), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def times_of(spikes: np.ndarray, first: int = 0) -> np.ndarray:
    """Seconds of a neuron's spikes `[S, T]` from segment `first` on, in order; several in a step stand together."""
    steps = len(spikes)
    order = spikes.T.reshape(-1)
    return np.repeat((np.arange(len(order)) + 0.5) / steps + first, order.astype(int))


def train(times: np.ndarray, start: float, stop: float, **notes: Any) -> neo.SpikeTrain:
    return neo.SpikeTrain(times * pq.s, t_start=start * pq.s, t_stop=stop * pq.s, **notes)


def measures(spikes: np.ndarray, kind: np.ndarray) -> TrainMeasures:
    """The five, over segments where `kind` `[B, T]` holds; spikes `[S, B, T, n]`."""
    steps, _, _, neurons = spikes.shape
    intervals: list[list[float]] = [[] for _ in range(neurons)]
    joined: list[list[np.ndarray]] = [[] for _ in range(neurons)]
    length = 0
    for clip, of_clip in enumerate(kind):
        for start, stop in runs_of(of_clip):
            for neuron in range(neurons):
                times = times_of(spikes[:, clip, start:stop, neuron])
                if len(times) > 1:
                    intervals[neuron] += isi(train(times, 0, stop - start)).rescale("ms").magnitude.tolist()
                joined[neuron].append(times + length)
            length += stop - start
    known = [values for values in intervals if len(values) > 1]
    counts = spikes.sum(0)[kind]
    fano = [fanofactor([np.arange(n) for n in counts[:, i].astype(int)]) for i in range(neurons) if counts[:, i].any()]
    trains = [train(np.concatenate(parts), 0, length) for parts in joined if parts and sum(map(len, parts))]
    correlation = synchrony = None
    if len(trains) > 1:
        binned = BinnedSpikeTrain(trains, bin_size=1 / steps * pq.s, tolerance=None)
        pairs = correlation_coefficient(binned)[np.triu_indices(len(trains), 1)]
        correlation = mean(pairs)
        if any(len(one) > 1 for one in trains):
            synchrony = mean([spike_contrast(trains, min_bin=1000 / steps * pq.ms)])
    return {
        "isi_ms": mean(np.concatenate(known)) if known else None,
        "cv": mean([cv(values) for values in known]),
        "fano": mean(fano),
        "correlation": correlation,
        "synchrony": synchrony,
    }


def mean(values: Any) -> float | None:
    """Of those that are numbers; None without any."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else None


def read_trains(network: Network, dataset: ClipDataset, training: ClipDataset) -> TrainRecord:
    """Measures of the first clips of `dataset`, and how well a readout trained on `training` reads it."""
    first = clips_of(dataset, CLIPS)
    event = (first["labels"][..., -1] == 0).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of neurons without variance, which are left out
        found = {
            name: {
                group: measures(fired(spikes).float().numpy(), event if group == "event" else ~event)
                for group in GROUPS
            }
            for name, spikes in layer_spikes(network, first).items()
        }
    fitted, held = (cumulated(network, clips_of(split, READ_CLIPS)) for split in (training, dataset))
    information = {
        name: [decoded(*fitted[name], *held[name], step) for step in range(len(held[name][0]))] for name in held
    }
    labels = next(iter(held.values()))[1] if held else np.zeros(1, int)
    return {
        "measures": found,
        "information": information,
        "chance": 100 * float(np.bincount(labels).max() / len(labels)),
    }


def clips_of(dataset: ClipDataset, most: int) -> dict[str, torch.Tensor]:
    """Clips evenly spaced over a split, on the CPU in float32."""
    count = min(most, len(dataset))
    rows = np.linspace(0, len(dataset) - 1, count).astype(int).tolist()
    return {
        name: values.cpu() if name == "index" else values.cpu().float()
        for name, values in dataset.__getitems__(rows).items()
    }


def cumulated(network: Network, clips: dict[str, torch.Tensor]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By layer: spikes of each neuron up to each step, places averaged, `[S, segments, N]`; classes `[segments]`."""
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(clips["audio"]), BATCH):
        batch = {name: values[start : start + BATCH] for name, values in clips.items()}
        for name, spikes in layer_spikes(network, batch).items():
            by_neuron = spikes.flatten(3, -2).mean(3) if spikes.ndim > 4 else spikes
            parts.setdefault(name, []).append(by_neuron.float().cumsum(0).flatten(1, 2).numpy())
    classes = clips["labels"].argmax(-1).flatten().numpy()
    return {name: (np.concatenate(values, 1), classes) for name, values in parts.items()}


def decoded(fit: np.ndarray, fit_classes: np.ndarray, held: np.ndarray, held_classes: np.ndarray, step: int) -> float:
    """Percent of held-out segments that a ridge classifier of the spikes up to `step` gets right."""
    scale = StandardScaler().fit(fit[step])
    readout = RidgeClassifier(alpha=1.0).fit(scale.transform(fit[step]), fit_classes)
    return 100 * float((readout.predict(scale.transform(held[step])) == held_classes).mean())


def as_neo(network: Network, dataset: ClipDataset, clips: int, classes: list[str]) -> neo.Block:
    """The spikes of every layer as a neo Block: a Segment a clip, a SpikeTrain a neuron that fires, annotated with its
    `layer` and `neuron`, and an Epoch with the class of each of the clip's segments.
    """
    block = neo.Block(name="snn-cace")
    chosen = {name: values[:clips] for name, values in clips_of(dataset, clips).items()}
    spikes = {name: s.flatten(3).numpy() for name, s in layer_spikes(network, chosen).items()}
    seconds = chosen["audio"].shape[1]
    for clip, index in enumerate(chosen["index"].tolist()):
        segment = neo.Segment(name=f"clip {index}", index=index)
        for layer, values in spikes.items():
            for neuron in np.flatnonzero(values[:, clip].any((0, 1))).tolist():
                times = times_of(values[:, clip, :, neuron])
                segment.spiketrains.append(
                    train(times, 0, seconds, name=f"{layer}/{neuron}", layer=layer, neuron=neuron)
                )
        labels = [classes[i] for i in chosen["labels"][clip].argmax(-1).tolist()]
        segment.epochs.append(
            neo.Epoch(times=np.arange(seconds) * pq.s, durations=np.ones(seconds) * pq.s, labels=labels, name="classes")
        )
        block.segments.append(segment)
    return block
