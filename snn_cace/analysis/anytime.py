"""Accuracy against simulation steps without retraining: fewer steps per segment than the network was trained with, and
stopping early where it is confident.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch.utils.data import DataLoader

from neurons import RateMonitor
from snn_cace.config import Experiment
from snn_cace.data.batches import own_segments
from snn_cace.errors import InputError
from snn_cace.model import Network, build_network
from snn_cace.model.temporal import BRAINCOG_STEPS
from snn_cace.training.evaluation import run_network

CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
"""Mean confidences over a clip's segments above which early exit stops."""


def simulation_steps(experiment: Experiment) -> dict[str, int]:
    """Simulation steps S per segment of each slot that spikes."""
    model = experiment.model
    return {
        name: slot.overrides.get("steps", BRAINCOG_STEPS if slot.is_braincog else model.spiking.steps)
        for name, slot in model.slots.every().items()
        if slot.spikes
    }


def carries_membranes(experiment: Experiment) -> bool:
    """Whether any slot's membranes run on from segment to segment."""
    model = experiment.model
    return any(
        slot.is_braincog or slot.spiking(model.spiking).membrane == "carry"
        for name, slot in model.slots.every().items()
        if slot.spikes and name != "interaction"
    )


def evaluated_steps(experiment: Experiment) -> list[int]:
    """Simulation steps worth trying: powers of two, and what the network was trained with; none without spikes."""
    largest = max(simulation_steps(experiment).values(), default=0)
    return sorted({2**power for power in range(largest.bit_length()) if 2**power < largest} | {largest} - {0})


def with_steps(network: Network, experiment: Experiment, steps: int) -> Network:
    """`network` with at most `steps` simulation steps in every slot that spikes, its weights unchanged.

    Raises:
        InputError: a slot with weights per simulation step, or a coding that needs more steps.
    """
    changed_experiment = copy.deepcopy(experiment)
    for name, trained in simulation_steps(experiment).items():
        getattr(changed_experiment.model.slots, name)["steps"] = min(steps, trained)
    try:
        changed = build_network(changed_experiment, network.shape)
        changed.load_state_dict(network.state_dict())
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if "size mismatch" in reason or "Missing key" in reason:
            reason = "it has weights per simulation step"
        raise InputError(f"{experiment.name} cannot run with {steps} simulation steps: {reason}") from None
    return changed.to(next(network.parameters()).dtype).eval()


def percent(right: np.ndarray) -> float:
    """Percent of the segments that are no padding."""
    return 100 * float(right[~np.isnan(right)].mean())


@dataclass
class Depth:
    """A network run with `steps` simulation steps over N clips.

    right `[N, T]`: 1 where each segment's class was, else 0; NaN in padding. confidence `[N]`: mean over segments.
    firing_rate: spikes per neuron per simulation step, over all layers.
    """

    steps: int
    right: np.ndarray
    confidence: np.ndarray
    firing_rate: float = 0.0

    @property
    def segment_accuracy(self) -> float:
        return percent(self.right)


def run_depth(
    network: Network, loader: DataLoader, experiment: Experiment, steps: int, device: torch.device, quiet: bool = True
) -> Depth:
    """The network with fewer simulation steps over a split."""
    right, confidence = [], []
    shallow = with_steps(network, experiment, steps)
    with RateMonitor(shallow) as monitor:
        for batch, output in run_network(shallow, loader, experiment, device, quiet):
            same, sure = output.right(batch["labels"]).double(), output.segment_confidence()
            if (own := own_segments(batch)) is not None:
                same, sure = (values.masked_fill(~own, torch.nan) for values in (same, sure))
            right.append(same.cpu())
            confidence.append(sure.nanmean(1).cpu())
    return Depth(steps, torch.cat(right).numpy(), torch.cat(confidence).double().numpy(), monitor.firing_rate)


class DepthResult(TypedDict):
    """A network with `steps` simulation steps: percent of segments right, and spikes per neuron per step."""

    steps: int
    segment_accuracy: float
    firing_rate: float


class EarlyExit(TypedDict):
    """See `early_exit`."""

    confidence: float
    segment_accuracy: float
    mean_steps_run: float


class Anytime(TypedDict):
    """Accuracy at every depth, and of early exit at every confidence; `reason` says why where it cannot be had."""

    depths: list[DepthResult]
    early_exit: list[EarlyExit]
    carries_membranes: bool
    reason: str | None


def early_exit(runs: list[Depth], confidence: float, carries: bool) -> EarlyExit:
    """Each clip stops at the first depth whose confidence is high enough, at the latest at the last.

    mean_steps_run: simulation steps that had to run; where membranes are carried from segment to segment a deeper run
    cannot go on from a shallower one, so it is the sum of all depths tried.
    """
    answered = np.stack([run.confidence >= confidence for run in runs])
    answered[-1] = True
    chosen = answered.argmax(0)
    steps = np.array([run.steps for run in runs])
    right = np.stack([run.right for run in runs])[chosen, np.arange(len(chosen))]
    ran = np.cumsum(steps)[chosen] if carries else steps[chosen]
    return {"confidence": confidence, "segment_accuracy": percent(right), "mean_steps_run": float(ran.mean())}


def anytime(
    network: Network, loader: DataLoader, experiment: Experiment, device: torch.device, quiet: bool = True
) -> Anytime:
    """The network with every number of simulation steps that is worth trying."""
    runs: list[Depth] = []
    reason = None
    for steps in evaluated_steps(experiment):
        try:
            runs.append(run_depth(network, loader, experiment, steps, device, quiet))
        except InputError as error:
            reason = str(error)
    carries = carries_membranes(experiment)
    return {
        "depths": [
            {"steps": run.steps, "segment_accuracy": run.segment_accuracy, "firing_rate": run.firing_rate}
            for run in runs
        ],
        "early_exit": [early_exit(runs, confidence, carries) for confidence in CONFIDENCES] if len(runs) > 1 else [],
        "carries_membranes": carries,
        "reason": reason,
    }
