"""Streaming inference: a causal network that is handed one segment after another, for as long as there are any."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neurons import RateObserver, SpikingLayer
from neurons.coding import Coding
from neurons.streaming import begin, restore, snapshot
from snn_cace.analysis.anytime import evaluated_steps, simulation_steps, with_steps
from snn_cace.config import Experiment, refuse_drawn
from snn_cace.contracts import NetworkOutput
from snn_cace.errors import InputError
from snn_cace.model import Network
from snn_cace.runtime import feature_dtype, pick_device


@dataclass
class SegmentResult:
    """What a network says of a segment from it and those before.

    segment: its number, from 0. segment_class: C is background. confidence: of that class (`segment_confidence`).
    event_probability: that it is an event. class_probabilities: `[C]`, of the classes so far; of AVEL `[C + 1]`, of
    this segment's. spikes: that all neurons fired, those of every run. steps: simulation steps run, of a layer; 0 of an
    ANN. seconds: taken.
    """

    segment: int
    segment_class: int
    confidence: float
    event_probability: float
    class_probabilities: np.ndarray
    spikes: int
    steps: int
    seconds: float


class SpikeSum(RateObserver):
    """Spikes of all layers and codings since `start`."""

    kinds = (SpikingLayer, Coding)

    def start(self) -> None:
        self.total = torch.zeros((), dtype=torch.float64)
        super().start()

    def see(self, name: str, rates: torch.Tensor, steps: int) -> None:
        self.total = self.total + (rates.sum(dtype=torch.float64) * steps).cpu()


class TorchStep:
    """A causal network that PyTorch runs segment by segment."""

    def __init__(self, network: Network) -> None:
        self.network, self.fired = network, SpikeSum(network)

    def begin(self) -> None:
        """Forget the segments before."""
        begin(self.network)

    def prepare(self, visual: torch.Tensor) -> None:
        """Nothing to do."""

    @property
    def kept(self) -> Any:
        """What goes on to the next segment; may be put back."""
        return snapshot(self.network)

    @kept.setter
    def kept(self, kept: Any) -> None:
        restore(self.network, kept)

    def __call__(self, visual: torch.Tensor, audio: torch.Tensor) -> tuple[NetworkOutput, int]:
        """A segment's visual `[1, 1, H, W, Cv]` and audio `[1, 1, Ca]` to what the network says, and spikes fired."""
        with self.fired as fired:
            output = self.network(visual, audio)
        return output, round(float(fired.total))


class Stream:
    """A causal network that goes on from segment to segment; a copy, so that the one given runs whole clips as before.

    Each result equals a whole-clip run of the segments so far, to 1e-5 in float32. What a segment costs does not grow
    with their number: attention and class logits look back at `model.window` segments.

    confidence: with it, a segment is run with 1, 2, 4, ... simulation steps until the network is so confident, at most
    as many as it was trained with; its membranes go on from the last of these runs.

    make_step: what runs a network segment by segment: `TorchStep`, or `snn_cace.export.step.OnnxStep` for ONNX Runtime.

    Raises:
        InputError: a network that sees later segments, coding by chance, or, with `confidence`, one that cannot run
            with fewer simulation steps.

    >>> from snn_cace.config import ModelConfig
    >>> from snn_cace.contracts import FeatureShape
    >>> from snn_cace.model import build_network
    >>> experiment = Experiment(model=ModelConfig(causal=True, visual_dim=8, attention_dim=8, d_model=8))
    >>> stream = Stream(build_network(experiment, FeatureShape(5, 6, 3)), experiment)
    >>> results = [stream.step(torch.zeros(7, 7, 5), torch.zeros(6)) for _ in range(12)]
    >>> results[-1].segment, results[-1].class_probabilities.shape
    (11, (3,))
    """

    def __init__(
        self,
        network: Network,
        experiment: Experiment,
        confidence: float | None = None,
        make_step: Callable[[Network], Any] = TorchStep,
    ) -> None:
        refuse_unstreamable(experiment)
        self.confidence = confidence
        self.device, self.dtype = pick_device(experiment.training.device), feature_dtype(experiment.training.precision)
        trained_with = max(simulation_steps(experiment).values(), default=0)
        network = copy.deepcopy(network)
        networks = {trained_with: network}
        if confidence is not None and trained_with:
            if experiment.model.slots.slot("interaction").spikes:
                raise InputError(
                    "--confidence: spiking interaction attends to spikes of one number of simulation steps"
                )
            shallower = evaluated_steps(experiment)[:-1]
            networks = {steps: with_steps(network, experiment, steps) for steps in shallower} | networks
        for one in networks.values():
            one.to(self.device, self.dtype).eval()
        self.steps: dict[int, Any] = {steps: make_step(one) for steps, one in networks.items()}
        self.reset()

    def reset(self) -> None:
        """Forget the segments so far."""
        self.segment = 0
        for one in self.steps.values():
            one.begin()

    @torch.no_grad()
    def step(self, visual: torch.Tensor, audio: torch.Tensor) -> SegmentResult:
        """The next segment's features, visual `[H, W, Cv]` and audio `[Ca]`, to what the network says of it."""
        for one in self.steps.values():
            one.prepare(visual)
        started = time.perf_counter()
        picture, sound = visual[None, None].to(self.device, self.dtype), audio[None, None].to(self.device, self.dtype)
        first, several = next(iter(self.steps.values())), len(self.steps) > 1
        before = first.kept if several else None
        spikes = ran = 0
        for steps, one in self.steps.items():
            if several:
                one.kept = before
            output, fired = one(picture, sound)
            spikes, ran = spikes + fired, ran + steps
            sure = float(output.segment_confidence()[0, 0])
            if self.confidence is not None and sure >= self.confidence:
                break
        if several:
            first.kept = one.kept
        self.segment += 1
        return SegmentResult(
            segment=self.segment - 1,
            segment_class=int(output.segment_predictions()[0, 0]),
            confidence=sure,
            event_probability=float(output.segment_relevance[0, 0].sigmoid()),
            class_probabilities=output.class_logits()[0, 0].float().softmax(-1).cpu().numpy(),
            spikes=spikes,
            steps=ran,
            seconds=time.perf_counter() - started,
        )


def refuse_unstreamable(experiment: Experiment) -> None:
    """Raise InputError naming what keeps a network from running segment by segment."""
    if not experiment.model.causal:
        both_ways = experiment.model.slots.slot("temporal_encoder").direction == "bidirectional"
        forward = " and model.slots.temporal_encoder.direction: forward" if both_ways else ""
        raise InputError(f"{experiment.name} sees later segments; train it with model.causal: true{forward} to stream")
    refuse_drawn(experiment.model, "so a stream is no whole-clip run; use another coding")
