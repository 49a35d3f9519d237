"""Trains experiments drawn at random and runs the other verbs on them: each must end well, or in one line.

    python benchmarks/random_experiments.py 100 --seed 0

Half a minute each, most of it ONNX's export. From a small experiment, keys with a list of values or of yes and no are
changed one after another, each where the config still takes it. Prints what ends otherwise, with the keys that make it.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import random
import tempfile
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, get_args, get_type_hints

from snn_cace.cli import main
from snn_cace.config import Experiment, as_dict, as_yaml, dotted, from_dict, put_over
from snn_cace.data.synthetic import write_synthetic
from snn_cace.errors import InputError
from snn_cace.networks import NETWORKS

SMALL: dict[str, Any] = {
    "model.guidance": "none",
    "model.contrast.enabled": False,
    "model.visual_dim": 8,
    "model.attention_dim": 8,
    "model.d_model": 8,
    "model.heads": 2,
    "model.encoder_layers": 1,
    "model.encoder_feed_forward": 16,
    "model.decoder_feed_forward": 16,
    "model.avel.units": 6,
    "model.avel.hidden": 8,
    "model.spiking.steps": 2,
    "data.batch_size": 4,
    "training.epochs": 2,
    "training.device": "cpu",
}
NUMBERS: dict[str, list[Any]] = {
    "model.network": list(NETWORKS),
    "model.window": [1, 3],
    "model.interaction_heads": [1],
    "model.contrast.start": [0.0, 1.0],
    "model.spiking.steps": [1, 4],
    "model.spiking.levels": [1],
    "training.firing_rate_weight": [0.1],
    "training.energy_weight": [0.1],
    "training.patience": [1],
    "training.weight_decay": [0.01],
}
"""Numbers that change what runs, not only how well."""
LEFT = ("training.compile", "training.device", "model.spiking.surrogate", "data.background_clips")
"""Keys that no small data set on a CPU takes, or that other benchmarks try."""
INTERRUPTED = (130, 143)
"""Exit codes of Ctrl-C and SIGTERM, which end this too."""
OWN = 8
"""Keys of slots that differ from model.spiking."""


def choices(config_class: Any = Experiment, prefix: str = "") -> dict[str, list[Any]]:
    """Values to try of every key that has few."""
    found: dict[str, list[Any]] = {} if prefix else dict(NUMBERS)
    for name, hint in get_type_hints(config_class).items():
        key = prefix + name
        if dataclasses.is_dataclass(hint):
            found |= choices(hint, f"{key}.")
        elif key not in LEFT and (values := values_of(hint)):
            found[key] = values
    return found


def values_of(hint: Any) -> list[Any]:
    if hint is bool:
        return [True, False]
    parts = get_args(hint)
    if parts and all(isinstance(part, str | bool | int) for part in parts):
        return list(parts)
    return [value for part in parts for value in values_of(part)]


def drawn(generator: random.Random, base: dict[str, Any]) -> Experiment:
    """`base` with every key drawn anew that it takes so, in random order, but few of those that slots alone have."""
    keys = choices()
    own = [key for key in keys if key.startswith("model.slots.") and not key.endswith((".block", ".direction"))]
    rest = sorted(set(keys) - set(own) - {"model.network"})
    order = ["model.network", *generator.sample(rest, len(rest)), *generator.sample(own, OWN)]
    plain = base
    for key in order:
        changed = put_over(plain, {key: generator.choice(keys[key])})
        try:
            from_dict(changed, Experiment, "drawn")
        except InputError:
            continue
        plain = changed
    return from_dict(plain, Experiment, "drawn")


def run(*words: object) -> str | None:
    """What is wrong with how a command ended, if anything is."""
    said = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            code = main([str(word) for word in words])
    except Exception:
        return traceback.format_exc(limit=-3)
    if code in INTERRUPTED:
        raise SystemExit(code)
    lines = [line for line in said.getvalue().splitlines() if line.startswith("snn-cace: ")]
    if code == 0 or (code == 2 and len(lines) == 1 and words[0] != "train"):
        return None
    return f"exit code {code}: {' '.join(lines)[:300]}"


def verbs(config: Path, output: Path, experiment: Experiment) -> dict[str, str | None]:
    """What is wrong, by verb."""
    found = {"train": run("train", "--config", config, "--output", output, "--quiet")}
    if found["train"]:
        return found
    given = ("--checkpoint", output)
    for verb in ("evaluate", "predict", "spikes"):
        found[verb] = run(verb, *given, "--output", output / verb, "--quiet")
    found["attention"] = run("attention", *given, "--output", output / "attention")
    for name in ("nir", "onnx"):
        found[name] = run("export", *given, "--output", output / name, "--format", name, "--verify")
    if experiment.model.causal:
        found["stream"] = run("stream", *given, "--output", output / "stream")
    return found


def try_all(count: int, seed: int) -> int:
    """How many experiments ended otherwise."""
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write_synthetic(root / "data", 24, (2, 3, 8), 6, "float32", seed=0)
        base = put_over(as_dict(Experiment()), SMALL | {"data.directory": str(root / "data")})
        for number in range(seed, seed + count):
            experiment = drawn(random.Random(number), base)
            config = root / f"{number}.yaml"
            config.write_text(as_yaml(experiment))
            wrong = {verb: what for verb, what in verbs(config, root / str(number), experiment).items() if what}
            failed += bool(wrong)
            for verb, what in wrong.items():
                print(f"{number}, {verb}: {what}")
            if wrong:
                before = dotted(base)
                print({key: value for key, value in dotted(as_dict(experiment)).items() if value != before.get(key)})
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int, help="experiments")
    parser.add_argument("--seed", type=int, default=0, help="of the first; the others count on from it")
    options = parser.parse_args()
    wrong = try_all(options.count, options.seed)
    print(f"{options.count} experiments, {wrong} with a command that ended otherwise")
    raise SystemExit(bool(wrong))
