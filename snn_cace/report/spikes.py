"""Figures, table and TensorBoard of `snn-cace spikes`, from its JSON alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from snn_cace.files import write_text
from snn_cace.report import figures


def draw(result: dict[str, Any]) -> dict[str, Figure]:
    """Every figure by name."""
    layers = result["layers"]
    variant: Any = {
        "name": result["experiment"],
        "kind": "snn",
        "firing_rate": {"per_layer": {name: layer["firing_rate"] for name, layer in layers.items()}},
        "layers": layers,
        "anytime": result["anytime"],
    }
    drawn = {
        "firing-rates": figures.firing_rates([variant]),
        "rates-in-time": figures.rates_in_time([variant]),
        "distributions": figures.distributions(layers),
        "class-rates": figures.class_rates(layers, result["classes"]),
        "steps": figures.against_steps([variant]),
        "raster": figures.raster(result["raster"], result["classes"]),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def table(result: dict[str, Any]) -> list[tuple[str, str, str, float]]:
    """One row per number: layer, what, of which, value."""
    rows: list[tuple[str, str, str, float]] = []
    for layer, summary in result["layers"].items():
        for name, value in summary.items():
            if isinstance(value, list):
                keys = result["classes"] if name == "per_class" else map(str, range(len(value)))
                value = dict(zip(keys, value, strict=True))
            pairs = value.items() if isinstance(value, dict) else [("", value)]
            rows += [(layer, name, key, number) for key, number in pairs if number is not None]
    for point in result["anytime"]["depths"]:
        rows += [
            ("", f"anytime {name}", str(point["steps"]), point[name]) for name in ("segment_accuracy", "firing_rate")
        ]
    return rows


def write_spike_report(result: dict[str, Any], directory: Path) -> None:
    """Write spikes.csv, figures/ (SVG and PNG) and tensorboard/ into `directory`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("layer", "what", "of", "value"))
    writer.writerows(table(result))
    write_text(directory / "spikes.csv", text.getvalue())
    drawn = draw(result)
    for name, figure in drawn.items():
        figures.save(figure, directory / "figures", name)
    write_tensorboard(result, drawn, directory / "tensorboard")


def write_tensorboard(result: dict[str, Any], drawn: dict[str, Figure], directory: Path) -> None:
    """Rates of layers, accuracy by simulation steps, and the figures."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(directory)) as board:
        for layer, summary in result["layers"].items():
            for name in ("firing_rate", "dead", "saturated", "activation_sparsity"):
                board.add_scalar(f"{name}/{layer}", summary[name])
            for step, rate in enumerate(summary["per_step"]):
                board.add_scalar(f"rate_per_step/{layer}", rate, step)
            for segment, rate in enumerate(summary["per_segment"]):
                board.add_scalar(f"rate_per_segment/{layer}", rate, segment)
        for depth in result["anytime"]["depths"]:
            board.add_scalar("anytime/segment_accuracy", depth["segment_accuracy"], depth["steps"])
        for name, figure in drawn.items():
            board.add_figure(name, figure)
