"""Spikes of a few clips as spike trains in Neo's objects, for `spikes --format neo`.

A segment is a second, so a simulation step of S is 1 / S s, and a spike stands in the middle of its step. Neurons are
those of a layer at the places they lie.
"""

from __future__ import annotations

import neo
import numpy as np
import quantities as pq
import torch

from neurons import eager
from neurons.recording import trace_layers
from snn_cace.analysis.attention import spread
from snn_cace.data.batches import ClipDataset, without_padding
from snn_cace.model import Network

CLIPS = 12
"""At most so many clips are written."""


@torch.no_grad()
def layer_spikes(network: Network, visual: torch.Tensor, audio: torch.Tensor) -> dict[str, np.ndarray]:
    """Spikes of every layer that has segments, by name: `[S, B, T, N]`, each place of a picture a neuron."""
    with eager():
        traces = trace_layers(network, visual, audio)
    found = {name: trace.spikes for name, trace in traces.items()}
    return {name: s.flatten(3).numpy() for name, s in found.items() if s.ndim > 3 and s.shape[1:3] == audio.shape[:2]}


def times_of(spikes: np.ndarray) -> np.ndarray:
    """Seconds of a neuron's spikes `[S, T]`, in order; several in a step stand together."""
    steps = len(spikes)
    order = spikes.T.reshape(-1)
    return np.repeat((np.arange(len(order)) + 0.5) / steps, order.astype(int))


def as_neo(network: Network, dataset: ClipDataset, clips: int, classes: list[str]) -> neo.Block:
    """The spikes of every layer, in clips evenly spaced over a split, as a neo Block: a Segment a clip, a SpikeTrain a
    neuron that fires, annotated with its `layer` and `neuron`, and an Epoch with the class of each segment.
    """
    block = neo.Block(name="snn-cace")
    chosen = without_padding(dataset.__getitems__(spread(dataset, clips)))
    spikes = layer_spikes(network, chosen["visual"].cpu().float(), chosen["audio"].cpu().float())
    seconds = chosen["audio"].shape[1]
    for clip, index in enumerate(chosen["index"].tolist()):
        segment = neo.Segment(name=f"clip {index}", index=index)
        for layer, values in spikes.items():
            for neuron in np.flatnonzero(values[:, clip].any((0, 1))).tolist():
                times = times_of(values[:, clip, :, neuron])
                segment.spiketrains.append(
                    neo.SpikeTrain(
                        times * pq.s, t_stop=seconds * pq.s, name=f"{layer}/{neuron}", layer=layer, neuron=neuron
                    )
                )
        labels = [classes[i] for i in chosen["labels"][clip].argmax(-1).tolist()]
        segment.epochs.append(
            neo.Epoch(times=np.arange(seconds) * pq.s, durations=np.ones(seconds) * pq.s, labels=labels, name="classes")
        )
        block.segments.append(segment)
    return block
