"""Keep a comparison under results/: its JSON without what fills megabytes, three figures and a page, and a row in the
index for each spiking network. Without arguments, every page and the index are made again from the JSON that is there.

.venv/bin/python scripts/keep_result.py runs/demo demo
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from snn_cace.comparison.schema import Difference, Result
from snn_cace.contracts import ENOUGH_SEEDS
from snn_cace.files import write_text
from snn_cace.report.comparison import read_result
from snn_cace.report.conclusions import (
    EQUAL_ACCURACY,
    Table,
    cautions,
    equal_accuracy_table,
    fewest_seeds,
    limits,
    markdown_table,
    model_words,
    notes,
    sentences,
    variant_named,
)
from snn_cace.report.interactive import page_data
from snn_cace.report.tables import summary_table

RESULTS = Path(__file__).resolve().parents[1] / "results"
BULKY = ("modules", "raster", "layers", "anytime", "config", "confusion", "class_accuracy")
"""What no table of results/ or README shows."""
INDEXED = {"compute": "arithmetic", "memory": "with traffic", "memory/segment": "a weight read once a segment"}
"""Energy models of the networks' table, in words."""
FIGURES = ("attribution", "accuracy-energy", "verdicts")


def kept(value: object) -> object:
    """`value` without what is bulky."""
    if isinstance(value, dict):
        return {key: kept(inner) for key, inner in value.items() if key not in BULKY}
    return [kept(inner) for inner in value] if isinstance(value, list) else value


def keep(source: Path, name: str) -> None:
    result = json.loads((source / "comparison.json").read_text(encoding="utf-8"))
    runs = [{key: run[key] for key in ("variant", "seed", "segment_accuracy", "best_epoch")} for run in result["runs"]]
    slim = {**result, "attention": None, "runs": runs, "variants": kept(result["variants"])}
    write_text(RESULTS / f"{name}.json", json.dumps(slim, indent=1, allow_nan=False) + "\n")
    for figure in FIGURES:
        if (source / "figures" / f"{figure}.svg").is_file():
            shutil.copy(source / "figures" / f"{figure}.svg", RESULTS / f"{name}-{figure}.svg")


def command(result: Result, name: str) -> str:
    """What makes the comparison again."""
    if name == "demo":
        return "make demo"
    return f"snn-cace compare --config configs/compare/{result['name']}.yaml"


def lead(result: Result) -> str:
    """What spikes themselves do, of each spiking network, of more than two by how many; else the first sentence."""
    said = sentences(result)
    alone = [found["links"][-1]["accuracy"] for found in result["attribution"]]
    chosen = [line for line in said if line.startswith("Spikes themselves")]
    if len(alone) > 2:
        signs = [1 if link["difference"] > 0 else -1 for link in alone if link["shown"]]
        numbers = {
            "more accurate": signs.count(1),
            "less accurate": signs.count(-1),
            "not shown to differ": len(alone) - len(signs),
        }
        counted = ", ".join(
            f"{number} {'is' if number == 1 else 'are'} {what}" for what, number in numbers.items() if number
        )
        chosen = [f"Of {len(alone)} spiking networks, each beside its last control, {counted}."]
    return " ".join(chosen or said[:1])


def at_equal_accuracy(result: Result) -> str:
    """How the best spiking network compares with any without spikes that is as accurate; empty without such."""
    return " ".join(line for line in sentences(result) if line.startswith("Energy at equal"))


def spikes_table(result: Result) -> str:
    """What the last step of each chain changes, by energy model, with its 95 % interval."""
    chains, models = page_data(result)["chains"], result["energy_models"] + result["reusing_models"]
    rows = []
    for chain in chains:
        for model in models:
            energy, low, high = map(signed, chain["steps"][-1]["energy"][model])
            named = {"network": chain["variant"]} if len(chains) > 1 else {}
            rows.append(named | {"energy model": model_words(model), "%": energy, "from": low, "to": high})
    return "\n".join(markdown_table(rows))


def signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"


def page(result: Result, name: str) -> str:
    rivals = equal_accuracy_table(result)
    pictures = [figure for figure in FIGURES if (RESULTS / f"{name}-{figure}.svg").is_file()]
    if len(result["attribution"]) > 2:
        pictures.sort(key=lambda figure: figure == "attribution")  # a row a network: it fills a page
    parts = [
        f"# {name}",
        f"{lead(result)} {at_equal_accuracy(result)}".strip(),
        *(f"![{figure}]({name}-{figure}.svg)" for figure in pictures[:1]),
        f"Made by `{command(result, name)}`.",
        "\n".join(markdown_table(summary_table(result))),
        "## What may be concluded",
        "\n".join(f"- {line}" for line in [*cautions(result), *sentences(result), *limits(result)]),
    ]
    if result["attribution"]:
        parts += ["## Energy by the spikes alone, % of the ANN's", spikes_table(result)]
    if rivals:
        parts += ["## Energy at equal accuracy", EQUAL_ACCURACY, "\n".join(markdown_table(rivals))]
    parts += [f"![{figure}]({name}-{figure}.svg)" for figure in pictures[1:]]
    parts += ["## How it was measured", "\n".join(f"- {line}" for line in notes(result))]
    return "\n\n".join(parts) + "\n"


@dataclass
class Spikes:
    """What spikes themselves do in a network: the last link of its chain. percent, interval: by energy model, of the
    dense network's energy.
    """

    network: str
    stem: str
    accuracy: Difference
    percent: dict[str, float]
    interval: dict[str, tuple[float, float]]


def all_spikes(results: dict[str, Result]) -> list[Spikes]:
    """Every spiking network over enough seeds, once: of the same runs, those of the comparison with fewest chains."""
    found: dict[tuple[float, ...], Spikes] = {}
    for stem, result in sorted(results.items(), key=lambda item: len(item[1]["attribution"])):
        if fewest_seeds(result) >= ENOUGH_SEEDS:
            for chain, drawn in zip(result["attribution"], page_data(result)["chains"], strict=True):
                energy = drawn["steps"][-1]["energy"]
                one = Spikes(
                    chain["variant"],
                    stem,
                    chain["links"][-1]["accuracy"],
                    {model: percent for model, (percent, _, _) in energy.items()},
                    {model: (low, high) for model, (_, low, high) in energy.items()},
                )
                variant = variant_named(result, one.network)
                assert variant is not None
                found.setdefault((variant["test_segment_accuracy"]["mean"], variant["best"]["compute"]["mean"]), one)
    return [*found.values()]


def accuracy_digest(found: Sequence[Spikes]) -> str:
    points = [one.accuracy["difference"] for one in found]
    shown = [one.accuracy["difference"] > 0 for one in found if one.accuracy["shown"]]
    return (
        f"Of {len(found)} spiking networks, {shown.count(False)} are shown less accurate than their last control, and "
        f"{shown.count(True) or 'none'} more. The median difference is {median(points):+.1f} points."
    )


SMALL = 0.5
"""Percent of an ANN's energy."""


def small_savings(found: Sequence[Spikes]) -> str:
    saved = [-one.percent["compute"] for one in found if one.interval["compute"][1] < 0]
    few = sum(percent < SMALL for percent in saved)
    return f"Of the {len(saved)} that save by arithmetic, {few} save less than {SMALL} %."


def energy_digest(found: Sequence[Spikes]) -> Table:
    """A row per energy model: in how many networks spikes save and cost, and how much."""
    rows = []
    for model in found[0].percent:
        percent = [one.percent[model] for one in found]
        saves, costs = (sum(sign * one.interval[model][end] > 0 for one in found) for sign, end in ((-1, 1), (1, 0)))
        rows.append(
            {
                "energy model": model_words(model),
                "save": str(saves),
                "cost": str(costs),
                "neither shown": str(len(found) - saves - costs),
                "least, %": f"{min(percent):+.1f}",
                "median, %": f"{median(percent):+.1f}",
                "most, %": f"{max(percent):+.1f}",
            }
        )
    return rows


def index(results: dict[str, Result]) -> str:
    found = all_spikes(results)
    rows = [
        {
            "spiking network": one.network,
            "comparison": f"[{one.stem}]({one.stem}.md)",
            "points": f"{one.accuracy['difference']:+.2f}",
            "from": f"{one.accuracy['ci95'][0]:+.2f}",
            "to": f"{one.accuracy['ci95'][1]:+.2f}",
            "shown": "yes" if one.accuracy["shown"] else "-",
            **{f"{words}, %": f"{one.percent[model]:+.1f}" for model, words in INDEXED.items()},
        }
        for one in found
    ]
    others = [stem for stem in results if stem not in {one.stem for one in found}]
    parts = [
        "# Results",
        "What do spikes themselves do? A spiking network is set beside its last control, which has the same shape, "
        "norm, memory and bits (8 values for the SNN's 5 at four steps: [controls](../docs/explanations/controls.md)). "
        "Five seeds each. The [leaderboard](leaderboard.md) ranks all networks.",
        f"**Accuracy.** {accuracy_digest(found)}",
        "**Energy**, of the spikes alone, in percent of the ANN's; zeros are skipped by all networks. They save, or "
        "cost, where the 95 % interval over seeds leaves out zero, however small the difference. "
        + small_savings(found),
        "\n".join(markdown_table(energy_digest(found))),
        f"The networks are not independent: {sum('games' not in one.stem for one in found)} are on AV-Digits, with the "
        "same test clips, and many are variants of one. Accuracy is corrected for the tests of its own comparison; the "
        "intervals of energy are not corrected for several models. In the leaderboard and in avdigits-tuned each "
        "network has the settings that its own search picked: there a difference is of spikes and search together.",
        "Quantised controls were trained again when the [size of their step]"
        "(../docs/explanations/controls.md#the-size-of-a-controls-step) was changed. The networks beside them, but for "
        "the demo's, are older: they drew masks of dropout in another way.",
        "## Each network",
        'Points are of test accuracy; "from" and "to" are their 95 % interval. "Shown": the interval leaves out '
        "zero, and the corrected p is below 0.05. The comparisons' pages have the intervals of energy.",
        "\n".join(markdown_table(rows)),
        "## Other comparisons",
        "\n".join(f"- [{stem}]({stem}.md): {lead(results[stem])}" for stem in others),
    ]
    return "\n\n".join(parts) + "\n"


def make_pages() -> None:
    results = {file.stem: read_result(file) for file in sorted(RESULTS.glob("*.json"))}
    for stem, result in results.items():
        write_text(RESULTS / f"{stem}.md", page(result, stem))
    write_text(RESULTS / "README.md", index(results))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        keep(Path(sys.argv[1]), sys.argv[2])
    make_pages()
