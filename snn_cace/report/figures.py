"""Figures as SVG text, to be put into a page."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = ("#1f6f8b", "#d1603d", "#5b8c3a", "#7a5195", "#b8860b", "#3d3d3d", "#c2185b", "#4682b4")
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "path",
    "svg.hashsalt": "snn-cace",
}


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """A figure and its axes, drawn without any display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def svg(figure: Figure) -> str:
    """The figure as an `<svg>` element."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, facecolor="white")
    return text.getvalue()[text.getvalue().index("<svg") :]


def accuracy_per_seed(variants: list[dict[str, Any]]) -> str:
    """A dot per seed and a bar at the mean, variant by variant."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = new_figure(8, 0.7 + 0.5 * len(variants))
        for row, variant in enumerate(variants):
            values = variant["test_segment_accuracy"]["values"]
            mean = variant["test_segment_accuracy"]["mean"]
            axes.plot(values, [row] * len(values), "o", color=colour(row), alpha=0.7, markersize=7)
            axes.plot([mean, mean], [row - 0.28, row + 0.28], color=colour(row), linewidth=2.5)
            axes.annotate(f"{mean:.1f}", (mean, row - 0.3), ha="center", va="bottom", fontsize=9)
        axes.set_yticks(range(len(variants)), [variant["name"] for variant in variants])
        axes.set_ylim(len(variants) - 0.4, -0.75)
        axes.margins(x=0.08)
        axes.set_xlabel("test segment accuracy, % (a dot per seed, bar at the mean)")
        return svg(figure)


def curves(runs: list[dict[str, Any]], names: list[str]) -> str:
    """Training loss and evaluation accuracy over epochs, a line per run, coloured by variant."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(10, 3.4, columns=2)
        labelled = set()
        for run in runs:
            index = names.index(run["variant"])
            for panel, key in zip(axes, ("train/loss", "val/segment_accuracy"), strict=True):
                points = [(epoch["epoch"] + 1, epoch[key]) for epoch in run["history"] if key in epoch]
                label = run["variant"] if (run["variant"], key) not in labelled else None
                labelled.add((run["variant"], key))
                panel.plot(*zip(*points, strict=True), color=colour(index), alpha=0.8, label=label)
        axes[0].set_ylabel("training loss (sum of terms)")
        axes[1].set_ylabel("segment accuracy, % (selection split)")
        for panel in axes:
            panel.set_xlabel("epoch")
            panel.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes[0].legend(frameon=False, fontsize=9)
        return svg(figure)


def firing_rates(variants: list[dict[str, Any]]) -> str:
    """A bar per spiking layer; empty where nothing spikes."""
    bars = [
        (variant["name"], layer, rate, index)
        for index, variant in enumerate(variants)
        for layer, rate in variant["firing_rate"]["per_layer"].items()
    ]
    if not bars:
        return ""
    with mpl.rc_context(STYLE):
        figure, (axes,) = new_figure(9, 0.8 + 0.3 * len(bars))
        for row, (_, _, rate, index) in enumerate(bars):
            axes.barh(row, rate, color=colour(index), height=0.7)
            axes.annotate(f" {rate:.3f}", (rate, row), va="center", fontsize=9)
        labels = [f"{name}: {short_layer(layer)}" for name, layer, _, _ in bars]
        axes.set_yticks(range(len(bars)), labels)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("firing rate, spikes per neuron per simulation step")
        return svg(figure)


def short_layer(layer: str) -> str:
    """A layer's name without the parts that every spiking layer's name ends in."""
    for ending in (".layer", ".projection", ".hidden"):
        layer = layer.removesuffix(ending)
    return layer
