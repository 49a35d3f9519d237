"""The comparison as a Markdown table and as a self-contained HTML page, from comparison.json."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from snn_cace.files import write_text
from snn_cace.report import figures

HEADINGS = (
    "variant",
    "kind",
    "test accuracy, %",
    "parameters",
    "MACs",
    "ACs",
    "SynOps",
    "arithmetic energy, mJ",
    "… of the compared slots",
    "firing rate",
    "zeros in activations, %",
    "latency, ms",
    "training, s",
)
SELECTION = {
    "validation": "The epoch was picked on the validation split; the test split was read once.",
    "paper": "The epoch was picked on the test split, as in the published protocol: these are not held-out figures.",
}


def count(value: float) -> str:
    """An operation count with a unit: 885.4 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def table_rows(result: dict[str, Any]) -> list[list[str]]:
    """One row of text per variant, in the order of `HEADINGS`."""
    rows = []
    for variant in result["variants"]:
        accuracy, rate = variant["test_segment_accuracy"], variant["firing_rate"]["mean"]
        rows.append(
            [
                variant["name"],
                variant["kind"].upper(),
                f"{accuracy['mean']:.2f} ± {accuracy['std']:.2f}",
                count(variant["parameters"]),
                count(variant["macs"]),
                count(variant["acs"]),
                count(variant["synops"]),
                f"{variant['energy_mj']['arithmetic']:.3g}",
                f"{variant['spiking_blocks']['energy_mj']['arithmetic']:.3g}",
                "-" if rate is None else f"{rate:.3f}",
                f"{100 * variant['activation_sparsity']:.1f}",
                f"{variant['latency_ms']:.1f}",
                f"{variant['train_seconds']:.0f}",
            ]
        )
    return rows


def test_lines(result: dict[str, Any]) -> list[str]:
    return [
        f"{test['a']} against {test['b']}: {test['difference']:+.2f} points, 95 % interval "
        f"{test['ci95'][0]:+.2f} to {test['ci95'][1]:+.2f}, p = {test['p_value']:.3g} ({test['method']})"
        for test in result["tests"]
    ]


def notes(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    seeds = ", ".join(map(str, result["variants"][0]["seeds"]))
    slots = ", ".join(result["compared_slots"]) or "none"
    return [
        f"Data: {result['dataset']}; seeds {seeds}; protocol {result['protocol']}. {SELECTION[result['protocol']]}",
        f"Accuracy: mean ± standard deviation over seeds. Operations per clip, counted on {result['measured_clips']} "
        "test clips; means over seeds.",
        "Arithmetic energy: 4.6 pJ a MAC, 0.9 pJ an AC (fp32, 45 nm, Horowitz 2014). Memory traffic, leakage and "
        "analogue parts are left out: a lower bound, and one that flatters spikes.",
        f"Compared slots (spiking in at least one variant): {slots}.",
        f"Machine: {machine['cores']} cores, {machine['device']}, PyTorch {machine['torch']}, precision "
        f"{result['precision']}. Latency: one clip, forward pass. Training seconds: runs shared the machine.",
    ]


def markdown(result: dict[str, Any]) -> str:
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(row) + " |" for row in table_rows(result)]
    lines += ["", *(f"- {line}" for line in test_lines(result)), *(f"- {line}" for line in notes(result))]
    return "\n".join(lines) + "\n"


def write_report(source: Path, target: Path) -> None:
    """Write the HTML page for the comparison.json at `source`, which needs no other file and no network, and its
    figures beside it as SVG files.
    """
    from jinja2 import Environment

    result = json.loads(source.read_text(encoding="utf-8"))
    names = [variant["name"] for variant in result["variants"]]
    template = (resources.files("snn_cace.report") / "comparison.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    drawn = {
        "accuracy": figures.accuracy_per_seed(result["variants"]),
        "curves": figures.curves(result["runs"], names),
        "firing_rates": figures.firing_rates(result["variants"]),
    }
    for name, drawing in drawn.items():
        if drawing:
            write_text(target.parent / f"{name}.svg", drawing)
    html = page.render(
        result=result,
        headings=HEADINGS,
        rows=table_rows(result),
        tests=test_lines(result),
        notes=notes(result),
        **drawn,
    )
    write_text(target, html)
