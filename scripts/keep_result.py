"""Keep a comparison under results/: its JSON without what fills megabytes, two figures and a page, and a line in the
index. Without arguments, every page and the index are made again from the JSON that is there.

.venv/bin/python scripts/keep_result.py runs/demo demo
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from snn_cace.comparison.schema import Result
from snn_cace.files import write_text
from snn_cace.report.comparison import read_result
from snn_cace.report.conclusions import (
    EQUAL_ACCURACY,
    cautions,
    equal_accuracy_table,
    limits,
    markdown_table,
    model_words,
    notes,
    sentences,
)
from snn_cace.report.interactive import page_data
from snn_cace.report.tables import summary_table

RESULTS = Path(__file__).resolve().parents[1] / "results"
BULKY = ("modules", "raster", "layers", "anytime", "config", "confusion", "class_accuracy")
"""What no table of results/ or README shows."""
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
    folder = "leaderboard" if result["name"].startswith("leaderboard-") else "compare"
    return f"snn-cace compare --config configs/{folder}/{result['name'].removeprefix('leaderboard-')}.yaml"


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
            energy, low, high = map(signed, chain["links"][-1]["energy"][model])
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


def make_pages() -> None:
    rows = []
    for file in sorted(RESULTS.glob("*.json")):
        result = read_result(file)
        write_text(file.with_suffix(".md"), page(result, file.stem))
        rows.append(
            {
                "comparison": f"[{file.stem}]({file.stem}.md)",
                "seeds": str(len(result["variants"][0]["seeds"])),
                "what spikes themselves do": lead(result).removeprefix("Spikes themselves: "),
                "energy, of the best spiking network against the cheapest without spikes that is as accurate": (
                    at_equal_accuracy(result).partition(": ")[2]
                ),
            }
        )
    index = ["# Results", "", *markdown_table(rows)]
    write_text(RESULTS / "README.md", "\n".join(index) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        keep(Path(sys.argv[1]), sys.argv[2])
    make_pages()
