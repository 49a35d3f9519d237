"""The comparison as a Markdown table and as a self-contained HTML page, from comparison.json alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from snn_cace import yaml_text
from snn_cace.comparison.schema import VERSION, Result
from snn_cace.errors import InputError
from snn_cace.files import write_text
from snn_cace.networks import title_of
from snn_cace.report import attention, conclusions, figures, interactive, tables, tuning
from snn_cace.report.conclusions import markdown_table

NEEDED = ("variants", "tests", "runs", "prices", "environment", "energy_models")


def summary(result: Result) -> str:
    """What the command line prints: one table, what must not be overlooked, and what may be concluded."""
    said = conclusions.cautions(result) + conclusions.sentences(result)
    return "\n".join([*markdown_table(tables.summary_table(result)), "", *(f"- {line}" for line in said)]) + "\n"


def markdown(result: Result) -> str:
    """The summary, what bounds the saving, and how it was made; report.html has all else."""
    searched, rivals = tuning.tuning_table(result), conclusions.equal_accuracy_table(result)
    lines = ["", conclusions.EQUAL_ACCURACY, "", *markdown_table(rivals), ""] if rivals else []
    lines += [f"- {line}" for line in conclusions.limits(result)]
    if searched:
        lines += ["", *tuning.tuning_notes(result), "", *markdown_table(searched), ""]
    return summary(result) + "\n".join(lines + [f"- {line}" for line in conclusions.notes(result)]) + "\n"


def draw(result: Result) -> dict[str, Any]:
    """Every figure of the page by name; rasters by variant."""
    variants = result["variants"]
    return {
        "accuracy": figures.accuracy_per_seed(variants),
        "attribution": figures.attribution(result),
        "accuracy-energy": figures.accuracy_energy(result),
        "energy-shares": figures.energy_shares(result),
        "verdicts": figures.verdicts(result),
        "steps": figures.against_steps(variants),
        "firing-rates": figures.firing_rates(variants),
        "rates-in-time": figures.rates_in_time(variants),
        **({} if is_shortened(result) else whole_figures(result)),
        "tuning": tuning.expected_best(result),
        "tuning-front": tuning.front(result),
        **{
            f"attention-{place}": attention.clip_figure(clip, result["classes"])
            for place, clip in enumerate((result["attention"] or {"clips": []})["clips"])
        },
        **{
            f"raster-{variant['name']}": figures.raster(variant["raster"], result["classes"])
            for variant in variants
            if variant.get("raster")
        },
    }


def whole_figures(result: Result) -> dict[str, Any]:
    """Figures of what a shortened comparison lacks."""
    variants, classes = result["variants"], result["classes"]
    return {
        "classes": figures.class_differences(variants, classes, result["baseline"]),
        "confusion": figures.confusion(variants, classes),
        "curves": figures.curves(result["runs"], [variant["name"] for variant in variants]),
    }


def is_shortened(result: Result) -> bool:
    """Whether it is one of `results/`, without configs, classes, modules and histories (`scripts/keep_result.py`)."""
    return "config" not in result["variants"][0]


def read_result(source: Path) -> Result:
    """A comparison.json.

    Raises:
        InputError: missing, not JSON, or without what a report needs.
    """
    if not source.is_file():
        raise InputError(f"no file {source}; it is what snn-cace compare writes")
    try:
        result = json.loads(source.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{source} is not JSON (line {error.lineno}): {error.msg}; compare again") from None
    missing = [key for key in NEEDED if not isinstance(result, dict) or key not in result]
    if missing:
        raise InputError(f"{source} has no '{missing[0]}': it is not a comparison of this version; compare again")
    if result.get("version", VERSION) > VERSION:
        raise InputError(f"{source} is of version {result['version']}, later than {VERSION}: update snn-cace")
    return in_present_terms(result)


def in_present_terms(result: Any) -> Result:
    """A comparison of any version with the names of this one. Before counts were siblings, the conservative one was the
    variant itself; there were no controls.
    """
    result = {"attribution": [], "attention": None, "reusing_models": [], "encoders": None, "tuning": None} | result
    for variant in result["variants"]:
        variant.setdefault("published", None)
        variant.setdefault("network", "cace")
        variant.setdefault("pointing", None)
        variant.setdefault("dense_counterpart", result["dense_baseline"])
        if "counts" not in variant:
            counts = {"event_driven": variant.get("event_driven", variant), "conservative": variant}
            variant["counts"] = {
                name: {**counted, "operations": counted["operations"]} for name, counted in counts.items()
            }
            variant["best"] = {
                model: min(
                    (
                        {"count": name, "mean": counted["energy_mj"][model], "std": 0.0}
                        for name, counted in counts.items()
                    ),
                    key=lambda best: best["mean"],
                )
                for model in result["energy_models"]
            }
    return result


def write_report(source: Path, directory: Path) -> str:
    """Write report.html, comparison.md, card.md and the figures (SVG and PNG) of the comparison.json at `source` into
    `directory`, all of them from it alone; the page needs no other file and no network. Returns its summary.
    """
    from plotly.offline import get_plotlyjs

    from snn_cace.report.audit import comparison_card
    from snn_cace.report.page import as_html, as_markdown, packaged

    result = read_result(source)
    whole = not is_shortened(result)
    drawn = {
        name: figures.save(figure, directory / "figures", name)
        for name, figure in draw(result).items()
        if figure is not None
    }
    page = as_html(
        "comparison.html",
        result=result,
        whole=whole,
        networks=", ".join(dict.fromkeys(title_of(variant["network"]) for variant in result["variants"])),
        conclusions=conclusions,
        tables=tables,
        tuning=tuning,
        pointing=attention.pointing_table(
            (v["name"], v["config"]["model"]["guidance"], v["pointing"]) for v in result["variants"] if whole
        ),
        interactive=interactive,
        as_yaml=yaml_text.dump,
        figures=drawn,
        plotly=get_plotlyjs(),
        data=json.dumps(interactive.page_data(result), allow_nan=False).replace("<", "\\u003c"),
        script=packaged("comparison.js"),
    )
    write_text(directory / "report.html", page)
    write_text(directory / "comparison.md", markdown(result))
    write_text(directory / "card.md", as_markdown(f"Claim card: {result['name']}", comparison_card(result)))
    if whole:
        write_text(directory / "runs.csv", tables.runs_csv(result))
    return summary(result)
