"""Where guidance attention looks, drawn over the pictures, from plain values alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snn_cace.files import write_text
from snn_cace.report import figures
from snn_cace.report.conclusions import markdown_table


@figures.styled
def clip_figure(clip: dict[str, Any], classes: list[str]) -> Figure:
    """A row for the pictures with the truth, then one for each network: its weights over them, and its prediction.

    pictures `[T, height, width]` or `[T, height, width, 3]` in [0, 1]; each network's weights `[T, H, W]`, shown from
    none to its largest; green where the predicted class is the true one.
    """
    pictures = np.asarray(clip["pictures"])
    rows, columns = 1 + len(clip["networks"]), len(pictures)
    figure, panels = figures.new_figure(1.35 * columns, 1.75 * rows, columns, rows)
    for place, axes in enumerate(np.asarray(panels).ravel()):
        row, segment = divmod(place, columns)
        height, width = pictures.shape[1:3]
        extent = (0, width, height, 0)
        axes.imshow(pictures[segment], cmap="gray", vmin=0, vmax=1, extent=extent)
        label, shade = classes[clip["truth"][segment]], figures.INK
        if row:
            network = clip["networks"][row - 1]
            weights = np.asarray(network["weights"][segment])
            axes.imshow(weights, cmap="inferno", alpha=0.6, vmin=0, vmax=max(weights.max(), 1e-9), extent=extent)
            right = network["predicted"][segment] == clip["truth"][segment]
            label, shade = classes[network["predicted"][segment]], "#3f7d2c" if right else "#b3541e"
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set_xlabel(label, fontsize=8, color=shade)
        if segment == 0:
            axes.set_ylabel("truth" if row == 0 else clip["networks"][row - 1]["name"], fontsize=9)
    return figure


def pointing_rows(result: dict[str, Any]) -> list[list[str]]:
    """Of each network and map: how often the peak lies on the class's digit, muted too, and chance."""
    return [
        [network["name"], network["guidance"], name, *(f"{found[key]:.1f}" for key in ("accuracy", "muted", "chance"))]
        for network in result["networks"]
        for name, found in (network["pointing"] or {}).items()
    ]


HEADINGS = ("network", "guidance", "attention", "peak on the digit, %", "the same clips muted, %", "chance, %")


def write_attention_report(result: dict[str, Any], directory: Path) -> str:
    """Write figures/clip-N (SVG and PNG) and attention.md; returns the Markdown."""
    for clip in result["clips"]:
        figures.save(clip_figure(clip, result["classes"]), directory / "figures", f"clip-{clip['index']}")
    rows = pointing_rows(result)
    lines = markdown_table(HEADINGS, rows) if rows else []
    text = "\n".join([*lines, "", f"{len(result['clips'])} clips drawn: {directory / 'figures'}"]) + "\n"
    write_text(directory / "attention.md", text)
    return text
