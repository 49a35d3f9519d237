"""A sweep as a Markdown table and a figure, from sweep.json's values alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from snn_cace.files import write_text
from snn_cace.report import figures
from snn_cace.report.conclusions import ENOUGH_SEEDS, markdown_table


def write_sweep_report(table: dict[str, Any], directory: Path) -> str:
    """Write sweep.md and figures/sweep (SVG and PNG); returns the Markdown."""
    figures.save(sweep_figure(table), directory / "figures", "sweep")
    text = "\n".join([*markdown_table(headings(table), sweep_rows(table)), "", *notes(table)]) + "\n"
    write_text(directory / "sweep.md", text)
    return text


def headings(table: dict[str, Any]) -> list[str]:
    published = [f"published ({table['published_on']}), %"] if has_published(table) else []
    keys = [key.removeprefix("model.").removeprefix("training.") for key in table["keys"]]
    return ["variant", *keys, "test accuracy, %", *published, "against the first row, points", "shown"]


def has_published(table: dict[str, Any]) -> bool:
    return any(row["published"] is not None for row in table["rows"])


def sweep_rows(table: dict[str, Any]) -> list[list[str]]:
    """One row of text per variant, in the order of `headings`."""
    rows = []
    for row in table["rows"]:
        accuracy, test = row["accuracy"], row["test"]
        published = "-" if row["published"] is None else f"{row['published']:.2f}"
        cells = [row["name"], *(str(row["changes"].get(key, "-")) for key in table["keys"])]
        cells.append("failed" if accuracy is None else f"{accuracy['mean']:.2f} ± {accuracy['std']:.2f}")
        cells += [published] if has_published(table) else []
        if test is None:
            cells += ["-", "-"]
        else:
            low, high = test["ci95"]
            cells += [f"{test['difference']:+.2f} ({low:+.2f} to {high:+.2f})", shown(test)]
        rows.append(cells)
    return rows


def shown(test: dict[str, Any]) -> str:
    if len(test["seeds"]) < ENOUGH_SEEDS:
        return "too few seeds"
    return f"{'yes' if test['shown'] else 'no'}, p {test['p_holm']:.3f}"


def notes(table: dict[str, Any]) -> list[str]:
    seeds = ", ".join(map(str, table["seeds"]))
    lines = [
        f"{table['dataset']}, seeds {seeds}, protocol {table['protocol']}. Differences, with 95 % intervals, are "
        "against the first row of the same base; p is Holm-corrected over a base's rows."
    ]
    if has_published(table):
        lines.append(f"Published figures are of {table['published_on']}: beside ours, not comparable with them.")
    lines += [f"Failed: {failure['reason']}" for failure in table["failed"]]
    return lines


@figures.styled
def sweep_figure(table: dict[str, Any]) -> Figure:
    """Mean and standard deviation of every row: over the value where one number is varied, else a line each."""
    rows = [row for row in table["rows"] if row["accuracy"] is not None]
    bases = list(dict.fromkeys(row["base"] for row in rows))
    numeric = len(table["keys"]) == 1 and all(
        isinstance(row["changes"].get(table["keys"][0]), int | float) for row in rows
    )
    figure, (axes,) = figures.new_figure(8, 4 if numeric else 0.8 + 0.42 * len(rows))
    for number, base in enumerate(bases):
        members = [(place, row) for place, row in enumerate(rows) if row["base"] == base]
        means = [row["accuracy"]["mean"] for _, row in members]
        spread = [row["accuracy"]["std"] for _, row in members]
        if numeric:
            values = [row["changes"][table["keys"][0]] for _, row in members]
            axes.errorbar(values, means, spread, marker="o", capsize=3, color=figures.colour(number), label=base)
        else:
            places = [place for place, _ in members]
            axes.errorbar(means, places, xerr=spread, fmt="o", capsize=3, color=figures.colour(number), label=base)
    if numeric:
        axes.set_xlabel(table["keys"][0])
        axes.set_ylabel("test segment accuracy, %")
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(nbins=8))
        axes.legend(frameon=False)
    else:
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel("test segment accuracy, %: mean and standard deviation over seeds")
    return figure
