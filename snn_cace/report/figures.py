"""Figures, drawn without a display. Each function returns a figure or, where there is nothing to show, None."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snn_cace.comparison.front import pareto_front
from snn_cace.comparison.schema import Result, Variant
from snn_cace.files import replacing, write_text
from snn_cace.report.conclusions import counterpart, energy_steps, last_control, model_words, variant_named

COLOURS = ("#2a7f9e", "#d1603d", "#5f9440", "#8a63ad", "#b8860b", "#6f6f6f", "#c2185b", "#4f8ccc")
INK = "#26282b"
"""Text and axes; a page replaces it by its own text colour, so that figures fit light and dark."""
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.facecolor": "none",
    "grid.color": "#8c8c8c",
    "grid.alpha": 0.3,
    "text.hinting": "none",  # else text is wider in a PNG than in the SVG that the figure was laid out for
    "svg.fonttype": "path",
    "svg.hashsalt": "snn-cace",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
MICROJOULES_PER_MILLIJOULE = 1000
DECADE = 10
"""Times the least energy above which an axis is logarithmic."""

styled = mpl.rc_context(STYLE)
"""Decorates what draws in the project's style."""


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def mark(index: int) -> str:
    """A shape that tells variants apart whose colours are the same."""
    return "osD^v"[index // len(COLOURS) % 5]


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure and its axes, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options).ravel()


@styled
def drawing(figure: Figure) -> str:
    """The figure as an `<svg>` element without a background."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue()[text.getvalue().index("<svg") :]


@styled
def save(figure: Figure, directory: Path, name: str) -> str:
    """Write `name`.svg, `name`.png and `name`.pdf into `directory`, on white; returns it as an `<svg>` in
    `currentColor`.
    """
    drawn = drawing(figure)
    figure.set_layout_engine(None)  # it is laid out, and is not again
    opening, end, rest = drawn.partition(">")
    write_text(directory / f"{name}.svg", f'{opening} style="background: white"{end}{rest}')
    for format, metadata in (("png", {}), ("pdf", {"CreationDate": None})):
        with replacing(directory / f"{name}.{format}") as temporary:
            figure.savefig(temporary, format=format, dpi=120, facecolor="white", metadata=metadata)
    return drawn.replace(INK, "currentColor")


def legend_below(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """What the marks of `axes` mean, under all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def whole_steps(axes: Axes) -> None:
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))


@styled
def accuracy_per_seed(variants: list[Variant]) -> Figure:
    """A dot per seed and a bar at the mean, variant by variant."""
    figure, (axes,) = new_figure(8, 0.8 + 0.5 * len(variants))
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
    return figure


@styled
def attribution(result: Result) -> Figure | None:
    """A row per spiking variant: how accuracy and energy go from the dense network's to its own, step by step."""
    chains = result["attribution"]
    if not chains:
        return None
    model = result["energy_models"][0]
    figure, panels = new_figure(11, 0.6 + 2.6 * len(chains), columns=2, rows=len(chains))
    for chain, (accuracy, spent) in zip(chains, panels.reshape(-1, 2), strict=True):
        first, steps = variant_named(result, chain["dense"]), chain["links"]
        assert first is not None
        labels = [first["name"], *(f"{link['part']}\n({link['to']})" for link in steps)]
        points = [(link["accuracy"]["difference"], link["accuracy"]["ci95"]) for link in steps]
        waterfall(accuracy, first["test_segment_accuracy"]["mean"], points, labels, written="+.2f")
        accuracy.set_ylabel("test segment accuracy, %")
        spends = energy_steps(chain)
        labels = [first["name"], *(f"{step['part']}\n({step['to']})" for step in spends)]
        energies = [(step["energy"][model]["difference_mj"], step["energy"][model]["ci95_mj"]) for step in spends]
        waterfall(spent, first["best"][model]["mean"], energies, labels, MICROJOULES_PER_MILLIJOULE, from_zero=True)
        spent.set_ylabel(f"energy, µJ, {model_words(model)}")
    return figure


def waterfall(
    axes: Axes,
    start: float,
    steps: Sequence[tuple[float, list[float] | None]],
    labels: list[str],
    scale: float = 1,
    from_zero: bool = False,
    written: str = "+.3g",
) -> None:
    """A bar from `start` to the sum of the steps so far, with each step's interval; the last stands out. All
    are drawn `scale` times as large. written: the steps' number format.
    """
    start = scale * start
    reached, lowest, highest = start, start, start
    axes.bar(0, start if from_zero else 0, bottom=0 if from_zero else start, color=INK, alpha=0.3, width=0.6)
    axes.plot([-0.3, 0.3], [start, start], color=INK, linewidth=2)
    axes.annotate(f"{start:.4g}", (0, start), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=9)
    for place, (change, interval) in enumerate(steps, start=1):
        step = scale * change
        axes.bar(place, step, bottom=reached, color=COLOURS[place == len(steps)], width=0.6)
        axes.plot([place - 1.3, place + 0.3], [reached, reached], color=INK, linewidth=0.8, linestyle=":")
        ends = [reached, reached + step]
        if interval is not None:
            ends += [reached + scale * bound for bound in interval]
            axes.plot([place, place], ends[2:], color=INK, linewidth=1.2)
        axes.annotate(
            f"{step:{written}}", (place, max(ends)), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=9
        )
        reached += step
        lowest, highest = min([lowest, *ends]), max([highest, *ends])
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    room = 0.15 * (highest - (0 if from_zero else lowest)) or 1.0
    axes.set_ylim(0 if from_zero else lowest - room, highest + room)


@styled
def accuracy_energy(result: Result) -> Figure:
    """Accuracy against each network's energy at its best count, a panel per energy model; bars are standard
    deviations over seeds. Hollow marks: controls. The stepped lines are Pareto fronts: what spikes, and what does not.
    """
    models = result["energy_models"]
    figure, panels = new_figure(11, 4.0, columns=len(models), sharey=True)
    for model, axes in zip(models, panels, strict=True):
        points: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for index, variant in enumerate(result["variants"]):
            accuracy, best = variant["test_segment_accuracy"], variant["best"][model]
            spent = MICROJOULES_PER_MILLIJOULE * best["mean"]
            points[variant["kind"] == "snn"].append((spent, accuracy["mean"]))
            axes.errorbar(
                spent, accuracy["mean"], xerr=MICROJOULES_PER_MILLIJOULE * best["std"], yerr=accuracy["std"],
                fmt=mark(index), color=colour(index), capsize=3, markersize=8, label=variant["name"],
                fillstyle="none" if variant["kind"] == "control" else "full",
            )  # fmt: skip
        for spikes, line in ((True, "-"), (False, ":")):
            front = pareto_front(points[spikes]) or [(np.nan, np.nan)]
            axes.step(*zip(*front, strict=True), where="post", color=INK, linewidth=1, linestyle=line)
        axes.set_title(model_words(model), fontsize=10)
        axes.set_xlabel("energy per clip, µJ")
        spent_by_all = [x for found in points.values() for x, _ in found]
        if max(spent_by_all) > DECADE * min(spent_by_all):
            axes.set_xscale("log")
        axes.margins(0.18)
    panels[0].set_ylabel("test segment accuracy, %")
    legend_below(figure, panels[0], columns=3)
    return figure


@styled
def energy_shares(result: Result) -> Figure:
    """Energy of what is compared, in full colour, beside the rest of the network, zeros skipped by all."""
    models = result["energy_models"]
    variants = result["variants"]
    figure, panels = new_figure(11, 1.2 + 0.42 * len(variants), columns=len(models), sharey=True)
    for model, axes in zip(models, panels, strict=True):
        for row, variant in enumerate(variants):
            counted = variant["counts"].get("zero_skipping", variant["counts"]["event_driven"])
            whole, blocks = counted["energy_mj"], counted["spiking_blocks"]["energy_mj"]
            total, part = (MICROJOULES_PER_MILLIJOULE * energies[model] for energies in (whole, blocks))
            axes.barh(row, part, color=colour(row), height=0.6)
            axes.barh(row, total - part, left=part, color=colour(row), alpha=0.3, height=0.6)
            axes.annotate(f" {100 * part / total:.1f} %", (total, row), va="center", fontsize=8)
        axes.set_title(model_words(model), fontsize=10)
        axes.set_xlabel("µJ per clip")
        axes.margins(x=0.25)
    panels[0].set_yticks(range(len(variants)), [variant["name"] for variant in variants], fontsize=8)
    panels[0].invert_yaxis()
    return figure


@styled
def verdicts(result: Result) -> Figure | None:
    """Whole-network energy of each spiking variant over its last control's, and over its ANN's, each at its best count,
    by every energy model and reuse of weights: which conclusions flip from one to another.
    """
    spiking = [v for v in result["variants"] if v["kind"] == "snn" and counterpart(result, v) is not None]
    if not spiking:
        return None
    figure, panels = new_figure(11, 1.9 + 0.45 * len(spiking), columns=2, sharey=True)
    for row, variant in enumerate(spiking):
        dense, control = counterpart(result, variant), last_control(result, variant)
        for index, (model, best) in enumerate(variant["best"].items()):
            priced, _, shared = model.partition("/")
            for axes, other in zip(panels, (control, dense), strict=True):
                if other is not None:
                    axes.plot(
                        best["mean"] / other["best"][model]["mean"], row, "osD^v<>"[index % 7],
                        color=colour(result["energy_models"].index(priced)), fillstyle="none" if shared else "full",
                        label=model_words(model) if row == 0 else None,
                    )  # fmt: skip
    for axes, title in zip(panels, ("over its last control's", "over the ANN's"), strict=True):
        axes.axvline(1, color=INK, linewidth=1)
        axes.set_xlabel(f"energy {title}")
        axes.margins(0.08, 0.15)
    panels[0].set_yticks(range(len(spiking)), [variant["name"] for variant in spiking])
    panels[0].invert_yaxis()
    legend_below(figure, panels[1], columns=2)
    return figure


@styled
def against_steps(variants: list[Variant]) -> Figure | None:
    """Accuracy and firing rate against simulation steps, and early exit; a line runs one trained network. Dashed: the
    accuracy of ANNs.
    """
    spiking = [(index, v) for index, v in enumerate(variants) if v.get("anytime") and v["anytime"]["depths"]]
    if not spiking:
        return None
    figure, (accuracy, rate, early) = new_figure(11, 3.7, columns=3)
    for index, variant in enumerate(variants):
        if variant["kind"] == "ann":
            mean = variant["test_segment_accuracy"]["mean"]
            accuracy.axhline(mean, color=colour(index), linestyle="--", linewidth=1)
    for index, variant in spiking:
        depths, exits = variant["anytime"]["depths"], variant["anytime"]["early_exit"]
        steps = [depth["steps"] for depth in depths]
        means, spread = zip(*(mean_and_std(depth["segment_accuracy"]) for depth in depths), strict=True)
        early_points = [mean_and_std(point["segment_accuracy"]) for point in exits]
        options: dict[str, Any] = {"color": colour(index), "marker": "o", "markersize": 4, "capsize": 2}
        accuracy.errorbar(steps, means, yerr=spread, label=variant["name"], **options)
        accuracy.plot(steps[-1], means[-1], "o", color=colour(index), markersize=9, fillstyle="none")
        rate.plot(steps, [depth["firing_rate"] for depth in depths], "o-", color=colour(index), markersize=4)
        early.errorbar(
            [point["mean_steps_run"] for point in exits],
            [mean for mean, _ in early_points],
            yerr=[std for _, std in early_points],
            **options,
        )
    accuracy.set_ylabel("test segment accuracy, %")
    dashes = "; dashes: ANN" if any(variant["kind"] == "ann" for variant in variants) else ""
    accuracy.set_xlabel(f"simulation steps per segment, no retraining\n(ring: as trained{dashes})")
    rate.set_ylabel("firing rate")
    rate.set_xlabel("simulation steps per segment")
    early.set_ylabel("accuracy, %, with early exit")
    early.set_xlabel("mean simulation steps run per segment")
    early.set_visible(any(variant["anytime"]["early_exit"] for _, variant in spiking))
    rate.set_ylim(0, 1.1 * rate.get_ylim()[1])
    for axes in (accuracy, rate, early):
        axes.set_xlim(left=0)  # a single point has a range too
        whole_steps(axes)
    legend_below(figure, accuracy)
    return figure


def mean_and_std(value: dict[str, float] | float) -> tuple[float, float]:
    """Of several seeds, or of one network."""
    return (value["mean"], value["std"]) if isinstance(value, dict) else (value, 0.0)


@styled
def firing_rates(variants: list[Variant]) -> Figure | None:
    """A bar per spiking layer; None where nothing spikes."""
    bars = [
        (variant["name"], layer, rate, index)
        for index, variant in enumerate(variants)
        for layer, rate in variant["firing_rate"]["per_layer"].items()
    ]
    if not bars:
        return None
    figure, (axes,) = new_figure(9, 0.8 + 0.27 * len(bars))
    for row, (_, _, rate, index) in enumerate(bars):
        axes.barh(row, rate, color=colour(index), height=0.7)
        axes.annotate(f" {rate:.3f}", (rate, row), va="center", fontsize=9)
    labels = [f"{name}: {short_layer(layer)}" for name, layer, _, _ in bars]
    axes.set_yticks(range(len(bars)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.02)
    axes.set_xlabel("firing rate, spikes per neuron per simulation step")
    return figure


@styled
def rates_in_time(variants: list[Variant]) -> Figure | None:
    """Firing rate over simulation steps and over segments, mean over layers, and in events against background. Layers
    that do not run through segments are left out of the last two.
    """
    spiking = [(index, variant) for index, variant in enumerate(variants) if variant.get("layers")]
    if not spiking:
        return None
    figure, (steps, segments, groups) = new_figure(11, 3.4, columns=3)
    for place, (index, variant) in enumerate(spiking):
        layers = list(variant["layers"].values())
        by_step = np.mean([np.interp(np.linspace(0, 1, 60), *on_unit(x["per_step"])) for x in layers], axis=0)
        longest = max(layer["simulation_steps"] for layer in layers)
        steps.plot(np.linspace(1, longest, 60), by_step, color=colour(index), label=variant["name"])
        whole = max(len(layer["per_segment"]) for layer in layers)
        per_segment = np.mean([x["per_segment"] for x in layers if len(x["per_segment"]) == whole], axis=0)
        segments.plot(range(1, len(per_segment) + 1), per_segment, "o-", color=colour(index), markersize=4)
        in_segments = [x for x in layers if x["event"] is not None and x["background"] is not None]
        pair = [np.mean([x[key] for x in in_segments]) if in_segments else 0.0 for key in ("event", "background")]
        groups.bar([place - 0.2, place + 0.2], pair, width=0.36, color=[colour(index), "none"], edgecolor=colour(index))
    steps.set_ylabel("firing rate, mean over layers")
    steps.set_xlabel("simulation step within a segment")
    segments.set_xlabel("segment of the clip")
    groups.set_xticks(
        range(len(spiking)), [v["name"] for _, v in spiking], fontsize=8, rotation=15 * (len(spiking) > 3)
    )
    groups.set_xlabel("events (full) against background (hollow)")
    whole_steps(steps)
    whole_steps(segments)
    legend_below(figure, steps)
    return figure


def on_unit(values: list[float]) -> tuple[np.ndarray, list[float]]:
    """Values at even places of [0, 1]; one value holds everywhere."""
    return np.linspace(0, 1, len(values)), values


@styled
def class_differences(variants: list[Variant], classes: list[str], baseline: str) -> Figure | None:
    """Each class's accuracy minus the baseline's, in points, mean over seeds."""
    base = next((variant for variant in variants if variant["name"] == baseline), None)
    others = [(index, variant) for index, variant in enumerate(variants) if variant is not base]
    if base is None or not others:
        return None
    figure, (axes,) = new_figure(9, 1.1 + 0.28 * len(classes))
    rows = np.arange(len(classes))
    for place, (index, variant) in enumerate(others):
        shift = 0.5 * (place + 1) / (len(others) + 1) - 0.25
        difference = np.subtract(variant["class_accuracy"], base["class_accuracy"])
        axes.plot(difference, rows + shift, mark(index), color=colour(index), markersize=6, label=variant["name"])
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(rows, classes)
    axes.invert_yaxis()
    axes.set_xlabel(f"accuracy of the class's segments, points above {baseline}")
    legend_below(figure, axes)
    return figure


@styled
def confusion(variants: list[Variant], classes: list[str]) -> Figure:
    """Confusion matrices over all seeds, as percent of each true class."""
    numbered = len(classes) <= 12
    columns = min(3, len(variants))
    rows = -(-len(variants) // columns)
    figure, panels = new_figure(3.9 * columns, 3.9 * rows, columns, rows)
    for axes in panels[len(variants) :]:
        axes.set_axis_off()
    for variant, axes in zip(variants, panels, strict=False):
        counts = np.array(variant["confusion"], dtype=float)
        shares = 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        axes.grid(visible=False)
        if numbered:
            for row, column in np.argwhere(shares >= 0.5):
                shade = "white" if shares[row, column] > 55 else "#20303c"
                axes.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=7, color=shade)
        names = [name if len(name) < 14 else name[:12] + "…" for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=7 if numbered else 5)
        axes.set_yticks(range(len(classes)), names, fontsize=7 if numbered else 5)
        axes.set_title(variant["name"], fontsize=10)
        axes.set_xlabel("predicted", fontsize=8)
    return figure


@styled
def raster(drawn: dict[str, Any], classes: list[str]) -> Figure:
    """Spikes of one clip, layer above layer, and the membranes of the first layer that keeps one."""
    layers = drawn["layers"]
    traced = next((name for name, layer in layers.items() if layer["membranes"] is not None), None)
    height = 0.5 + 0.62 * len(layers)
    figure = Figure(figsize=(10, height + (2.2 if traced else 0.4)), layout="constrained")
    spikes, membranes = figure.subplots(2, 1, height_ratios=[height, 1.8 if traced else 0.01])
    segments = len(drawn["segment_class"])
    for row, layer in enumerate(layers.values()):
        points = np.array(layer["spikes"], dtype=float).reshape(-1, 2)
        time = (points[:, 0] + 0.5) / layer["times"] * segments
        place = row + 0.08 + 0.84 * points[:, 1] / max(1, len(layer["neurons"]))
        spikes.plot(time, place, "|", color=colour(row), markersize=2.2, markeredgewidth=0.9)
    spikes.set_yticks(np.arange(len(layers)) + 0.5, [short_layer(name) for name in layers], fontsize=8)
    spikes.set_ylim(len(layers), 0)
    background = len(classes) - 1
    for segment, index in enumerate(drawn["segment_class"]):
        if index != background:
            spikes.axvspan(segment, segment + 1, color="#8c8c8c", alpha=0.18, linewidth=0)
    spikes.set_xlim(0, segments)
    spikes.grid(axis="y", visible=False)
    names = sorted({classes[index] for index in drawn["segment_class"] if index != background})
    spikes.set_title(f"clip {drawn['index']}; shaded: event ({', '.join(names) or 'none'})", fontsize=10)
    if traced:
        layer = layers[traced]
        time = (np.arange(layer["times"]) + 1) / layer["times"] * segments
        for shade, neuron, values in zip(COLOURS, layer["traced"], layer["membranes"], strict=False):
            membranes.plot(time, values, color=shade, linewidth=1, label=f"neuron {neuron}")
        membranes.set_xlim(0, segments)
        membranes.set_ylabel("membrane", fontsize=9)
        membranes.set_xlabel(f"segment ({short_layer(traced)}; membranes after each simulation step, reset included)")
        membranes.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderpad=0)
    else:
        membranes.set_axis_off()
        spikes.set_xlabel("segment")
    return figure


@styled
def curves(runs: list[dict[str, Any]], names: list[str]) -> Figure:
    """Training loss and evaluation accuracy over epochs, a line per run, coloured by variant."""
    figure, panels = new_figure(10, 3.6, columns=2)
    labelled = set()
    for run in runs:
        index = names.index(run["variant"])
        for panel, key in zip(panels, ("train/loss", "val/segment_accuracy"), strict=True):
            points = [(epoch["epoch"] + 1, epoch[key]) for epoch in run["history"] if key in epoch]
            label = run["variant"] if (run["variant"], key) not in labelled else None
            labelled.add((run["variant"], key))
            if points:
                panel.plot(*zip(*points, strict=True), color=colour(index), alpha=0.8, label=label)
    panels[0].set_ylabel("training loss (sum of terms)")
    panels[1].set_ylabel("segment accuracy, % (selection split)")
    for panel in panels:
        panel.set_xlabel("epoch")
        whole_steps(panel)
    legend_below(figure, panels[0])
    return figure


@styled
def distributions(layers: dict[str, dict[str, Any]]) -> Figure:
    """Of each layer: firing rates over neurons, spikes per segment, and the time to the first spike."""
    figure, panels = new_figure(11, 0.6 + 1.5 * len(layers), columns=3, rows=len(layers))
    for row, (name, layer) in enumerate(layers.items()):
        rates, counts, first = panels[3 * row : 3 * row + 3]
        histogram = np.array(layer["neuron_rate_histogram"], dtype=float)
        rates.bar(np.arange(len(histogram)) + 0.5, histogram / layer["neurons"], width=0.9, color=colour(row))
        rates.set_xticks([0, len(histogram)], ["0", "largest"])
        for axes, key in ((counts, "spike_counts"), (first, "first_spikes")):
            values = np.array(layer[key])
            axes.bar(range(len(values)), values / values.sum(), width=0.85, color=colour(row))
            whole_steps(axes)
        first.set_xticks([0, layer["simulation_steps"]], ["step 0", "never"])
        rates.set_ylabel(short_layer(name).replace(".", "\n"), fontsize=7, rotation=0, ha="right", va="center")
    for axes, title in zip(panels, ("neurons by firing rate", "spikes per segment", "first spike"), strict=False):
        axes.set_title(title, fontsize=10)
    return figure


@styled
def class_rates(layers: dict[str, dict[str, Any]], classes: list[str]) -> Figure:
    """Firing rate of each layer in segments of each class."""
    figure, (axes,) = new_figure(2.6 + 0.42 * len(classes), 1.6 + 0.34 * len(layers))
    table = np.array([[np.nan if rate is None else rate for rate in layer["per_class"]] for layer in layers.values()])
    image = axes.imshow(table, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=8)
    axes.set_yticks(range(len(layers)), [short_layer(name) for name in layers], fontsize=8)
    axes.grid(visible=False)
    figure.colorbar(image, label="firing rate")
    return figure


def short_layer(layer: str) -> str:
    """A layer's name without the parts that every spiking layer's name ends in."""
    for ending in (".layer", ".projection", ".hidden"):
        layer = layer.removesuffix(ending)
    return layer
