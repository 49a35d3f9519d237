"""Equal tuning: every variant gets the same trials of the same length, and the validation split alone says which won.

Optuna draws a trial's settings from its number and the seed (`random`), or from the trials before its batch (`tpe`,
Bergstra et al., NeurIPS 2011), so that a search that is broken off goes on as it would have. After `rungs[k]` epochs
the better share `keep` of a batch's trials goes on and the others end there (synchronous successive halving: Jamieson
and Talwalkar, AISTATS 2016); who goes on depends on scores alone, not on which trial was done first. Ranges that
variants share are searched at the same points in all of them.

Trials lie in DIR/tuning/VARIANT/trial-NNN and never read the test split.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from snn_cace.comparison.engine import Engine, Task, train_all
from snn_cace.comparison.plan import Run, Tuning, Variant
from snn_cace.config import Experiment, different_keys, put_over, read_config
from snn_cace.counting.energy import Prices, energies_mj
from snn_cace.errors import InputError
from snn_cace.files import read_json
from snn_cace.training.checkpoints import RunFiles

COUNTED_CLIPS = 16
"""Of the validation split, over which a trial's operations are counted."""
ENERGY_MODEL = "memory"
"""Whose energies are searched by, and shown."""


@dataclass
class Trial:
    """One setting, as far as it was trained. score: the best validation accuracy of its `epochs`, in percent; state:
    `finished`, `pruned` or `failed`, with the reason; energy_mj: by energy model, event-driven, where it was counted.
    """

    number: int
    settings: dict[str, Any]
    run: Run
    state: Literal["waiting", "finished", "pruned", "failed"] = "waiting"
    reason: str | None = None
    energy_mj: dict[str, float] | None = None

    @property
    def scores(self) -> list[float]:
        """Validation accuracy by epoch, percent."""
        history = read_json(self.run.files.history) if self.run.files.history.is_file() else []
        return [epoch["val/segment_accuracy"] for epoch in history]

    def score(self, epochs: int | None = None) -> float:
        return max(self.scores[:epochs], default=-math.inf)

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "settings": self.settings,
            "state": self.state,
            "reason": self.reason,
            "epochs": len(self.scores),
            "score": None if self.state == "failed" else self.score(),
            "energy_mj": self.energy_mj,
        }


@dataclass
class Tuned:
    """A variant's search. ranges: all that applied to it."""

    variant: str
    ranges: dict[str, Any]
    trials: list[Trial]

    @property
    def best(self) -> Trial:
        """The finished trial with the best validation accuracy, the first of equals.

        Raises:
            InputError: none finished.
        """
        finished = [trial for trial in self.trials if trial.state == "finished"]
        if not finished:
            raise InputError(f"no trial of {self.variant} finished: {self.trials[0].reason}")
        return max(finished, key=lambda trial: (trial.score(), -trial.number))

    def as_json(self) -> dict[str, Any]:
        scores = [trial.score() for trial in self.trials if trial.state != "failed"]
        return {
            "variant": self.variant,
            "ranges": self.ranges,
            "trials": [trial.as_json() for trial in self.trials],
            "best": self.best.number,
            "expected_best": expected_best(scores),
        }


def spikes(experiment: Experiment) -> bool:
    """Whether the ranges of spiking variants hold for it: also for a control of one, so that both are tuned alike."""
    return any(not slot.is_dense for slot in experiment.model.slots.every().values())


def by_key(ranges: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Ranges, nested or dotted, by dotted key."""
    found: dict[str, Any] = {}
    for key, given in ranges.items():
        if isinstance(given, dict) and given and not given.keys() & {"low", "high", "choices"}:
            found |= by_key(given, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = given
    return found


def distribution(key: str, given: Any) -> Any:
    """A range of the YAML as Optuna has it; choices by their JSON, since Optuna takes no lists.

    Raises:
        InputError: naming the key of a range that is none.
    """
    import optuna

    try:
        if set(given) == {"choices"}:
            return optuna.distributions.CategoricalDistribution([json.dumps(choice) for choice in given["choices"]])
        low, high, log = given["low"], given["high"], given.get("log", False)
        if set(given) - {"low", "high", "log"}:
            raise ValueError(f"unknown {sorted(set(given) - {'low', 'high', 'log'})[0]}")
        if isinstance(low, int) and isinstance(high, int):
            return optuna.distributions.IntDistribution(low, high, log=log)
        return optuna.distributions.FloatDistribution(float(low), float(high), log=log)
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"tuning: {key} needs {{low: A, high: B}}, with log: true or not, or {{choices: [...]}}: {error!r}"
        ) from None


def draw(tuning: Tuning, ranges: dict[str, Any], before: Sequence[Trial], count: int) -> list[dict[str, Any]]:
    """Settings of the next `count` trials, from those before and nothing else."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {key: distribution(key, given) for key, given in ranges.items()}

    def study(sampler: type, number: int, **options: Any) -> optuna.Study:
        seed = int(np.random.SeedSequence([tuning.seed, number]).generate_state(1)[0])
        directions: list[Any] = ["maximize", "minimize"] if tuning.energy else ["maximize"]
        return optuna.create_study(directions=directions, sampler=sampler(seed=seed, **options))

    if tuning.sampler == "random":
        numbers = range(len(before), len(before) + count)
        drawn = [study(optuna.samplers.RandomSampler, number).ask(distributions).params for number in numbers]
    else:
        options = {"constant_liar": True, "n_startup_trials": tuning.batch or count}
        searched = study(optuna.samplers.TPESampler, len(before), **options)
        for trial in before:
            searched.add_trial(told(trial, ranges, distributions, tuning.energy))
        drawn = [searched.ask(distributions).params for _ in range(count)]
    return [{key: json.loads(one[key]) if "choices" in ranges[key] else one[key] for key in one} for one in drawn]


def told(trial: Trial, ranges: dict[str, Any], distributions: dict[str, Any], energy: bool) -> Any:
    """A trial as Optuna has it: its settings, and its score and energy unless it failed."""
    from optuna.trial import TrialState, create_trial

    settings = {key: json.dumps(value) if "choices" in ranges[key] else value for key, value in trial.settings.items()}
    if trial.state == "failed":
        return create_trial(params=settings, distributions=distributions, state=TrialState.FAIL)
    values = [trial.score(), *[trial.energy_mj[ENERGY_MODEL] if trial.energy_mj else math.inf] * energy]
    return create_trial(params=settings, distributions=distributions, values=values)


def tune(tuning: Tuning, variants: Sequence[Variant], output: Path, engine: Engine, prices: Prices) -> list[Tuned]:
    """Search for every variant: all together, so that no core waits.

    Raises:
        InputError: nothing to search, a range that is none, a setting that the experiment does not take, a trial's
            directory with another setting, or no trial of a variant that finished.
    """
    try:
        import optuna  # noqa: F401  (its parts are used below)
    except ModuleNotFoundError as missing:
        raise InputError(f"tuning needs {missing.name}: install snn-cace[tune]") from None
    searches = []
    for variant in variants:
        experiment = variant.read()
        if experiment.training.devices > 1:
            raise InputError(f"{variant.file}: trials train on one device each, not {experiment.training.devices}")
        ranges = by_key(tuning.ranges) | by_key(tuning.spiking if spikes(experiment) else {})
        if not ranges:
            raise InputError("tuning needs ranges: which settings are searched, and between which values")
        searches.append(Tuned(experiment.name, ranges, []))
    batch = tuning.batch or tuning.trials
    for start in range(0, tuning.trials, batch):
        count = min(batch, tuning.trials - start)
        for variant, search in zip(variants, searches, strict=True):
            drawn = enumerate(draw(tuning, search.ranges, search.trials, count), start)
            search.trials += [make_trial(tuning, variant, output, number, settings) for number, settings in drawn]
        new = [search.trials[start:] for search in searches]
        run_batch(tuning, new, engine)
        for trial in (trial for trials in new for trial in trials if tuning.energy and trial.state == "finished"):
            trial.energy_mj = energy_of(trial.run, prices)
    return searches


def make_trial(tuning: Tuning, variant: Variant, output: Path, number: int, settings: dict[str, Any]) -> Trial:
    """A trial with its run, whose directory may hold it already, as far as it got."""
    name = variant.read().name
    own = {"training.seed": tuning.training_seed, "name": f"{name}, trial {number}"}
    experiment = read_config(variant.file, Experiment, put_over(variant.changes, settings, own))
    files = RunFiles(output / "tuning" / name / f"trial-{number:03d}")
    if files.config.is_file():
        changed = different_keys(read_config(files.config, Experiment), experiment)
        if changed:
            raise InputError(f"{files.directory} was tried with another {changed[0]}; give a fresh --output")
    return Trial(number, settings, Run(experiment, tuning.training_seed, files))


def run_batch(tuning: Tuning, variants: Sequence[Sequence[Trial]], engine: Engine) -> None:
    """Train a batch of each variant, thinning it out at every rung; trained epochs are not trained again."""
    for rung in [*sorted(tuning.rungs), None]:
        alive = [trial for trials in variants for trial in trials if trial.state == "waiting"]
        waiting = [trial for trial in alive if not trial.run.finished and (rung is None or len(trial.scores) < rung)]
        failed = train_all([Task(trial.run, rung, test=False) for trial in waiting], engine)
        for trial in alive:
            if trial.run.label in failed:
                trial.state, trial.reason = "failed", failed[trial.run.label]
            elif rung is None:
                trial.state = "finished"
        if rung is not None:
            for trials in variants:
                thin_out([trial for trial in trials if trial.state == "waiting"], rung, tuning.keep)


def thin_out(trials: list[Trial], rung: int, keep: float) -> None:
    """End all but the better share, rounded up, by the best accuracy of the first `rung` epochs."""
    ranked = sorted(trials, key=lambda trial: (-trial.score(rung), trial.number))
    for trial in ranked[math.ceil(keep * len(ranked)) :]:
        trial.state = "pruned"


def energy_of(run: Run, prices: Prices) -> dict[str, float]:
    """Millijoules of a clip of the validation split, event-driven, by energy model."""
    import torch

    from snn_cace.counting.operations import count_operations
    from snn_cace.data.batches import ClipData
    from snn_cace.training.checkpoints import load_checkpoint

    network = load_checkpoint(run.files.directory).network.to("cpu", torch.float32).eval()
    dataset = ClipData(run.experiment.data, torch.float32).dataset("val")
    clips = dataset.__getitems__(range(min(COUNTED_CLIPS, len(dataset))))
    count = count_operations(network, clips["visual"], clips["audio"])
    return energies_mj(count.counted["zero_skipping"], prices)


def expected_best(scores: Sequence[float]) -> list[dict[str, float]]:
    """Mean and standard deviation of the best of n trials, n from 1 to all, were they drawn with replacement from these
    scores (Dodge et al., EMNLP 2019, equation 8).
    """
    ordered = np.sort(np.asarray(scores, dtype=float))
    ranks = np.arange(len(ordered) + 1) / max(1, len(ordered))
    found = []
    for number in range(1, len(ordered) + 1):
        weights = np.diff(ranks**number)
        mean = float(weights @ ordered)
        found.append({"mean": mean, "std": math.sqrt(max(0.0, float(weights @ ordered**2) - mean**2))})
    return found
