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
from snn_cace.report.comparison import EQUAL_ACCURACY, SUMMARY_HEADINGS, read_result, summary_rows
from snn_cace.report.conclusions import (
    RIVAL_HEADINGS,
    cautions,
    equal_accuracy_rows,
    limits,
    markdown_table,
    model_words,
    notes,
    sentences,
)
from snn_cace.report.interactive import page_data

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
    chosen += [line for line in said if line.startswith("Energy at equal")]
    return " ".join(chosen or said[:1])


def spikes_table(result: Result) -> str:
    """What the last step of each chain changes, by energy model; of one chain with its 95 % interval."""
    chains = page_data(result)["chains"]
    models = result["energy_models"] + result.get("reusing_models", [])
    changes = [{model: chain["links"][-1]["energy"][model] for model in models} for chain in chains]
    headings = ["energy model", *(chain["variant"] for chain in chains)]
    if len(chains) == 1:
        headings += ["from", "to"]
        rows = [[model_words(model), *map(signed, changes[0][model])] for model in models]
    else:
        rows = [[model_words(model), *(signed(change[model][0]) for change in changes)] for model in models]
    return "\n".join(markdown_table(headings, rows))


def signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"


def page(result: Result, name: str) -> str:
    rivals = equal_accuracy_rows(result)
    pictures = [figure for figure in FIGURES if (RESULTS / f"{name}-{figure}.svg").is_file()]
    if len(result["attribution"]) > 2:
        pictures.sort(key=lambda figure: figure == "attribution")  # a row a network: it fills a page
    parts = [
        f"# {name}",
        lead(result),
        *(f"![{figure}]({name}-{figure}.svg)" for figure in pictures[:1]),
        f"Made by `{command(result, name)}`.",
        "\n".join(markdown_table(SUMMARY_HEADINGS, summary_rows(result))),
        "## What may be concluded",
        "\n".join(f"- {line}" for line in [*cautions(result), *sentences(result), *limits(result)]),
    ]
    if result["attribution"]:
        parts += ["## Energy by the spikes alone, % of the ANN's", spikes_table(result)]
    if rivals:
        parts += ["## Energy at equal accuracy", EQUAL_ACCURACY, "\n".join(markdown_table(RIVAL_HEADINGS, rivals))]
    parts += [f"![{figure}]({name}-{figure}.svg)" for figure in pictures[1:]]
    parts += ["## How it was measured", "\n".join(f"- {line}" for line in notes(result))]
    return "\n\n".join(parts) + "\n"


def make_pages() -> None:
    rows = []
    for file in sorted(RESULTS.glob("*.json")):
        result = read_result(file)
        write_text(file.with_suffix(".md"), page(result, file.stem))
        rows.append([f"[{file.stem}]({file.stem}.md)", str(len(result["variants"][0]["seeds"])), lead(result)])
    index = ["# Results", "", *markdown_table(("comparison", "seeds", "what spikes themselves do"), rows)]
    older = "[before-controls](before-controls/README.md) has what was measured before comparisons had controls."
    write_text(RESULTS / "README.md", "\n".join([*index, "", older]) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        keep(Path(sys.argv[1]), sys.argv[2])
    make_pages()
