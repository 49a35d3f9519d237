"""Spike trains in neuroscientists' measures, and what their spikes tell of the class, from plain values alone."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from snn_cace.report import figures

HEADINGS = [
    "layer",
    "segments",
    "interval, ms",
    "CV of intervals",
    "Fano factor",
    "pairwise correlation",
    "synchrony",
    "class read after each step, %",
]
MEASURES = {"isi_ms": "{:.0f}", "cv": "{:.2f}", "fano": "{:.2f}", "correlation": "{:.3f}", "synchrony": "{:.2f}"}


def train_rows(variant: dict[str, Any]) -> list[list[str]]:
    """A row per layer and kind of segments."""
    found = variant.get("trains")
    if not found:
        return []
    rows = []
    for layer, groups in found["measures"].items():
        for group, measures in groups.items():
            shown = [
                "-" if measures[name] is None else pattern.format(measures[name]) for name, pattern in MEASURES.items()
            ]
            read = ", ".join(f"{value:.0f}" for value in found["information"][layer]) if group == "event" else ""
            rows.append([layer if group == "event" else "", group, *shown, read])
    return rows


def information(variants: list[dict[str, Any]]) -> Figure | None:
    """How many segments a linear readout of each layer's spikes gets right, after each simulation step."""
    known = [variant for variant in variants if variant.get("trains")]
    if not known:
        return None
    figure, axes = figures.new_figure(3.6 * len(known) + 2.6, 3.6, columns=len(known))
    for place, (variant, axis) in enumerate(zip(known, axes, strict=True)):
        for index, (layer, shares) in enumerate(variant["trains"]["information"].items()):
            axis.plot(range(1, len(shares) + 1), shares, "o-", markersize=4, color=figures.colour(index), label=layer)
        axis.axhline(variant["trains"]["chance"], color=figures.INK, linewidth=0.8, linestyle=":")
        axis.set_title(variant["name"], fontsize=9)
        axis.set_xlabel("simulation step within a segment")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if place == 0:
            axis.set_ylabel("segments a linear readout gets right, %")
    most = max(axes, key=lambda axis: len(axis.get_lines()))
    lines = {line.get_label(): line for line in most.get_lines() if not str(line.get_label()).startswith("_")}
    names = [str(name).removesuffix(".layer") for name in lines]
    figure.legend(list(lines.values()), names, fontsize=7, frameon=False, loc="outside right upper")
    return figure
