"""The leaderboard: every network, dense, spiking and its controls, on three data sets, from comparisons that have run.

.venv/bin/python scripts/leaderboard.py runs/leaderboard   # what `make leaderboard` ran, and the weights of the best
.venv/bin/python scripts/leaderboard.py                    # the page again, from results/
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from keep_result import RESULTS, keep, make_pages

from snn_cace.comparison.front import pareto_front
from snn_cace.comparison.schema import Result, Variant
from snn_cace.comparison.statistics import student_interval
from snn_cace.files import read_json, write_text
from snn_cace.report.comparison import read_result
from snn_cace.report.conclusions import best_rivalries, equal_accuracy_sentence, markdown_table
from snn_cace.report.tables import microjoules
from snn_cace.training.checkpoints import RunFiles, load_checkpoint, save_checkpoint

SETS = {"avdigits": "AV-Digits", "games": "Videos of games", "games-events": "Videos of games, as events"}
"""Title by name: of `configs/compare/leaderboard-NAME.yaml`, of `results/leaderboard-NAME.json`, of runs."""
KINDS = {"ann": "dense", "control": "control", "snn": "SNN"}
WEIGHTS = RESULTS / "weights"


def ranked(result: Result) -> list[Variant]:
    """The networks, most accurate first."""
    return sorted(result["variants"], key=lambda variant: -variant["test_segment_accuracy"]["mean"])


def table(result: Result) -> list[dict[str, str]]:
    """A row a network: accuracy with its interval over seeds, energy by two models, and whether it is on the front."""
    first, second = result["energy_models"][:2]
    points = {v["name"]: (v["best"][first]["mean"], v["test_segment_accuracy"]["mean"]) for v in result["variants"]}
    front, rows = pareto_front([*points.values()]), []
    for variant in ranked(result):
        accuracy, name = variant["test_segment_accuracy"], variant["name"]
        low, high = student_interval(accuracy["values"])
        rows.append(
            {
                "network": name,
                "kind": KINDS[variant["kind"]],
                "test accuracy, %": f"{accuracy['mean']:.2f}",
                "from": f"{low:.2f}",
                "to": f"{high:.2f}",
                "arithmetic, µJ": microjoules(variant["best"][first]["mean"]),
                "with traffic, µJ": microjoules(variant["best"][second]["mean"]),
                "front": "yes" if points[name] in front else "-",
            }
        )
    return rows


def page(results: dict[str, Result]) -> str:
    parts = [
        "# Leaderboard",
        "Four networks, dense and spiking, and controls of each spiking one, on three data sets. Within a set all were "
        "tuned by as many trials, at the same points, on the validation split, and then trained with five seeds.",
        "`make leaderboard` does all of it, in about two hours on two cores; broken off, it goes on where it "
        'stopped. `make leaderboard OPTIONS="--launcher ray"` runs it on a Ray cluster.',
        '"From" and "to" are the 95 % interval of the accuracy: Student\'s over seeds, for the same clips. Differences '
        "between two networks, tested over seeds and clips, stand on each set's own page. A network is on the front "
        "where none is both more accurate and cheaper by arithmetic. [Controls](../docs/explanations/controls.md) says "
        "what a control is. Which network is best is seen on the test split, of many networks without spikes and few "
        "with: the first place is no test. The weights of each set's best network without spikes, and of its best SNN, "
        "are in [weights](weights/README.md).",
    ]
    for name, result in results.items():
        parts += [
            f"## {SETS[name]}",
            f"{(result.get('tuning') or {})['trials']} trials each; {result['test_clips']} test clips.",
            "\n".join(markdown_table(table(result))),
            equal_accuracy_sentence([*best_rivalries(result).values()]),
            f"Tests, all energy models and how it was measured: [{SETS[name]}](leaderboard-{name}.md).",
        ]
    return "\n\n".join(parts) + "\n"


def best_two(result: Result) -> list[Variant]:
    """The most accurate network without spikes, and the most accurate with."""
    return [next(v for v in ranked(result) if (v["kind"] == "snn") is spikes) for spikes in (False, True)]


def release(name: str, result: Result, runs: Path) -> list[str]:
    """Write the weights of the best two, each of the seed that the validation split likes best. Returns their cards."""
    cards = []
    for variant in best_two(result):
        seed = max(variant["seeds"], key=lambda seed: validation(runs, variant, seed))
        trained = load_checkpoint(run_of(runs, variant, seed).directory)
        file = WEIGHTS / f"{name}-{variant['name']}.ckpt"
        save_checkpoint(file, trained.network, trained.experiment)
        cards.append(card(name, variant, seed, run_of(runs, variant, seed), file, result))
    return cards


def run_of(runs: Path, variant: Variant, seed: int) -> RunFiles:
    return RunFiles(runs / variant["name"] / f"seed-{seed}")


def validation(runs: Path, variant: Variant, seed: int) -> float:
    return float(read_json(run_of(runs, variant, seed).metrics)["val"]["segment_accuracy"])


def card(name: str, variant: Variant, seed: int, run: RunFiles, file: Path, result: Result) -> str:
    """What a file of weights is, how it was made, and what it is good for."""
    metrics, spread = read_json(run.metrics), variant["test_segment_accuracy"]
    search = next(one for one in (result.get("tuning") or {})["variants"] if one["variant"] == variant["name"])
    settings = search["trials"][search["best"]]["settings"]
    data = "" if name == "avdigits" else f" --data data/{name}"
    energy = ", ".join(
        f"{microjoules(variant['best'][model]['mean'])} ({words})"
        for model, words in zip(result["energy_models"], ("arithmetic", "with traffic"), strict=False)
    )
    lines = [
        f"Network: `{variant['name']}` of [{SETS[name]}](../leaderboard-{name}.md), {KINDS[variant['kind']]}, "
        f"{variant['parameters']:,} parameters.",
        f"Test accuracy of this file: {metrics['test']['segment_accuracy']:.2f} % of segments. Over five seeds it is "
        f"{spread['mean']:.2f} %, standard deviation {spread['std']:.2f}.",
        f"Picked on the validation split: seed {seed}, epoch {metrics['best_epoch']}, and the settings "
        f"{', '.join(f'`{key}: {value:.3g}`' for key, value in settings.items())}.",
        f"Energy a clip, µJ, modelled, over five seeds: {energy}.",
        f"Try it: `snn-cace evaluate --checkpoint results/weights/{file.name}{data}`.",
        f"SHA-256: `{hashlib.sha256(file.read_bytes()).hexdigest()}`.",
    ]
    return "\n\n".join([f"## {file.stem}", "\n".join(f"- {line}" for line in lines)])


INTRODUCTION = """# Released weights

Of each data set of the [leaderboard](../leaderboard.md), the most accurate network without spikes and the most accurate
SNN. Which network is best was seen on the test split; seed, epoch and settings were picked on the validation split.

- Each file holds weights and config, loads with `weights_only=True`, and goes wherever a verb takes `--checkpoint`.
- They are for trying the tool, and for checking that numbers come out again. They know nothing of AVE's sounds and
  pictures.
- AV-Digits ships with the package. The [games](../../docs/how-to/games-data.md) are made on your machine, and
  `make leaderboard` says how.
- Licence: MIT, as the code. AV-Digits holds Japanese Vowels recordings, CC BY 4.0.
"""


def main(runs: Path | None) -> None:
    cards: list[str] = []
    for name in SETS if runs else ():
        keep(runs / name, f"leaderboard-{name}")
        cards += release(name, read_result(runs / name / "comparison.json"), runs / name)
    if cards:
        write_text(WEIGHTS / "README.md", "\n\n".join([INTRODUCTION.strip(), *cards]) + "\n")
    make_pages()
    results = {name: read_result(RESULTS / f"leaderboard-{name}.json") for name in SETS}
    write_text(RESULTS / "leaderboard.md", page(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
